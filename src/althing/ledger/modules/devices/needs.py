"""What `devices` asks of others."""

from __future__ import annotations

from typing import Protocol

from althing.ledger.runtime.context import Context
from althing.ledger.runtime.overlay import State
from althing.protocol.messages.identity import Account, AccountKind, AccountStatus, Key, Role

__all__ = ["Accounts"]


class Accounts(Protocol):
    """Accounts and authority (`identity`)."""

    def account(self, state: State, address: bytes) -> Account | None: ...

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

    def new_address(self, ctx: Context, owner: bytes, key: Key) -> bytes: ...

    def close(self, ctx: Context, address: bytes, status: AccountStatus) -> None: ...

    def require(self, ctx: Context, organisation: bytes, role: Role) -> None: ...
