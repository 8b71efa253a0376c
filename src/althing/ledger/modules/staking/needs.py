"""What `staking` asks of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from althing.ledger.runtime.context import Context
from althing.ledger.runtime.overlay import State
from althing.protocol.messages.governance import GenesisOrganisation, Organisation, Validator
from althing.protocol.messages.identity import Account, Role

__all__ = ["Accounts", "Members", "Units"]


class Accounts(Protocol):
    """Accounts and who may act for an organisation (`identity`)."""

    def account(self, state: State, address: bytes) -> Account | None: ...

    def require(self, ctx: Context, organisation: bytes, role: Role) -> None:
        """Refuse with `auth.organisation` unless a signer may act for the organisation."""
        ...


class Members(Protocol):
    """Members and validators (`governance`)."""

    def organisation(self, state: State, address: bytes) -> Organisation | None: ...

    def register(self, ctx: Context, founder: GenesisOrganisation, sponsor: bytes) -> bytes:
        """Make a member; its address."""
        ...

    def resign(self, ctx: Context, organisation: bytes) -> None:
        """End a membership."""
        ...

    def validators(self, ctx: Context) -> dict[bytes, Validator]:
        """The set as the engine will have it two heights on, by public key."""
        ...

    def waiting(self, ctx: Context) -> frozenset[bytes]:
        """Keys that evidence convicts and that stay validators until governors decide."""
        ...

    def unfit(self, ctx: Context, public: bytes) -> bool:
        """True for a key that evidence convicts."""
        ...

    def check_validator(self, ctx: Context, public: bytes) -> None:
        """Refuse what cannot become a validator's key."""
        ...

    def departures_left(self, ctx: Context) -> int:
        """How many validators may leave now."""
        ...

    def change_validators(self, ctx: Context, changes: Sequence[Validator]) -> None:
        """Change several validators at once; power 0 removes."""
        ...

    def replace_key(self, ctx: Context, public: bytes, successor: bytes) -> None:
        """Put another key in the place of a validator's."""
        ...


class Units(Protocol):
    """Units of account (`assets`). What is held is counted by who holds it."""

    def found(self, ctx: Context, *, symbol: str, title: str, decimals: int, supply: int) -> None:
        """Make the chain's own unit, all of it held."""
        ...

    def hold(self, ctx: Context, symbol: str, account: bytes, amount: int) -> None:
        """Take an amount from an account."""
        ...

    def hand_out(self, ctx: Context, symbol: str, account: bytes, amount: int) -> None:
        """Give an amount that was held."""
        ...

    def destroy(self, ctx: Context, symbol: str, amount: int) -> None:
        """Destroy an amount that was held."""
        ...

    def collect(self, ctx: Context) -> int:
        """The fees that the block has taken, from now on held."""
        ...
