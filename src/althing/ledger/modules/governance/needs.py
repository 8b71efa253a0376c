"""What `governance` asks of others."""

from __future__ import annotations

from typing import Protocol

from althing.ledger.runtime.context import Context
from althing.ledger.runtime.overlay import State
from althing.protocol.messages.identity import Account, AccountKind, AccountStatus, Key, Role

__all__ = ["Accounts", "Bonds"]


class Accounts(Protocol):
    """Accounts and the nodes among them (`identity`)."""

    def account(self, state: State, address: bytes) -> Account | None: ...

    def new_address(self, ctx: Context, owner: bytes, key: Key) -> bytes:
        """Where a new account with this first key stands."""
        ...

    def active_nodes(self, ctx: Context, organisation: bytes) -> int:
        """How many active accounts of kind node an organisation has."""
        ...

    def check_keys(self, ctx: Context, keys: tuple[Key, ...]) -> None:
        """Refuse weak keys and two of one key id."""
        ...

    def set_status(self, ctx: Context, address: bytes, kind: AccountKind, status: AccountStatus) -> None:
        """Set the status of an account of this kind: a node, a reader."""
        ...

    def create(
        self,
        ctx: Context,
        *,
        address: bytes,
        kind: AccountKind,
        organisation: bytes,
        name: str,
        roles: tuple[Role, ...],
        threshold: int,
        keys: tuple[Key, ...],
    ) -> None: ...


class Bonds(Protocol):
    """What organisations have bonded (`staking`)."""

    def bonded(self, ctx: Context, organisation: bytes) -> bool:
        """True when it has a bond, or units that are not released yet."""
        ...

    def convicted(self, ctx: Context, organisation: bytes, public: bytes, height: int) -> None:
        """Evidence convicts an organisation's key of something done at `height`."""
        ...
