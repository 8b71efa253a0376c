"""Messages and records of `assets`: units of account, balances, escrow (docs/spec/messages.md §6).

Amounts are whole numbers of a unit's smallest part, below 2⁶³: every language's integer, and a transaction's fee, hold
them. A unit's supply is below 2⁶³ too, so no sum of its balances can overflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from althing.protocol.limits import INT_MAX
from althing.protocol.record import ADDRESS, BOOL, NAME, UINT, Record, array, integer, of, optional, text

__all__ = [
    "ARBITERS_MAX",
    "DECIMALS_MAX",
    "MESSAGES",
    "Balance",
    "Burn",
    "DefineUnit",
    "Escrow",
    "FreezeBalance",
    "FreezeUnit",
    "Lock",
    "Mint",
    "Settle",
    "Transfer",
    "Unit",
]

DECIMALS_MAX: Final = 9  # with 63 bits this still leaves nine digits before the point
ARBITERS_MAX: Final = 8

AMOUNT: Final = integer(1, INT_MAX)
DECIMALS: Final = integer(0, DECIMALS_MAX)
TEXT: Final = text(0, 256)
ARBITERS: Final = array(ADDRESS, ARBITERS_MAX)


@dataclass(frozen=True, slots=True)
class Unit(Record):
    """A unit of account: who issues it, and how much of it there is. `decimals` says how amounts are written."""

    version: int = of(integer(1, 1))
    symbol: str = of(NAME)
    title: str = of(TEXT)
    issuer: bytes = of(ADDRESS)
    decimals: int = of(DECIMALS)
    cap: int | None = of(optional(AMOUNT))
    supply: int = of(UINT)
    frozen: bool = of(BOOL)
    defined_at: int = of(UINT)


@dataclass(frozen=True, slots=True)
class Balance(Record):
    """What an account has of a unit, and whether its issuer has frozen it. None is kept for nothing."""

    amount: int = of(UINT)
    frozen: bool = of(BOOL)


@dataclass(frozen=True, slots=True)
class Escrow(Record):
    """An amount that is locked until it goes to the recipient or back to the sender."""

    version: int = of(integer(1, 1))
    number: int = of(UINT)
    unit: str = of(NAME)
    sender: bytes = of(ADDRESS)
    recipient: bytes = of(ADDRESS)
    amount: int = of(AMOUNT)
    arbiters: tuple[bytes, ...] = of(ARBITERS)
    needed: int = of(integer(0, ARBITERS_MAX))
    timeout: int = of(UINT)
    memo: str = of(TEXT)


@dataclass(frozen=True, slots=True)
class DefineUnit(Record):
    """An organisation issues a unit. Nothing of it changes later but supply and freezing; the cap least of all."""

    TYPE: ClassVar[str] = "assets.define"
    organisation: bytes = of(ADDRESS)
    symbol: str = of(NAME)
    title: str = of(TEXT)
    decimals: int = of(DECIMALS)
    cap: int | None = of(optional(AMOUNT))


@dataclass(frozen=True, slots=True)
class Mint(Record):
    """The issuer makes an amount."""

    TYPE: ClassVar[str] = "assets.mint"
    unit: str = of(NAME)
    recipient: bytes = of(ADDRESS)
    amount: int = of(AMOUNT)


@dataclass(frozen=True, slots=True)
class Burn(Record):
    """Who has an amount destroys it."""

    TYPE: ClassVar[str] = "assets.burn"
    unit: str = of(NAME)
    account: bytes = of(ADDRESS)
    amount: int = of(AMOUNT)


@dataclass(frozen=True, slots=True)
class Transfer(Record):
    """An amount changes hands."""

    TYPE: ClassVar[str] = "assets.transfer"
    unit: str = of(NAME)
    sender: bytes = of(ADDRESS)
    recipient: bytes = of(ADDRESS)
    amount: int = of(AMOUNT)
    memo: str = of(TEXT)


@dataclass(frozen=True, slots=True)
class FreezeUnit(Record):
    """The issuer stops all movements of a unit, or allows them again."""

    TYPE: ClassVar[str] = "assets.freeze_unit"
    unit: str = of(NAME)
    frozen: bool = of(BOOL)


@dataclass(frozen=True, slots=True)
class FreezeBalance(Record):
    """The issuer stops an account's movements of a unit, to it and from it, or allows them again."""

    TYPE: ClassVar[str] = "assets.freeze_balance"
    unit: str = of(NAME)
    account: bytes = of(ADDRESS)
    frozen: bool = of(BOOL)


@dataclass(frozen=True, slots=True)
class Lock(Record):
    """The sender locks an amount for a recipient. `timeout` is ledger time in seconds; arbiters in ascending order."""

    TYPE: ClassVar[str] = "assets.lock"
    unit: str = of(NAME)
    sender: bytes = of(ADDRESS)
    recipient: bytes = of(ADDRESS)
    amount: int = of(AMOUNT)
    arbiters: tuple[bytes, ...] = of(ARBITERS)
    needed: int = of(integer(0, ARBITERS_MAX))
    timeout: int = of(UINT)
    memo: str = of(TEXT)


@dataclass(frozen=True, slots=True)
class Settle(Record):
    """Release a locked amount to its recipient, or return it to its sender."""

    TYPE: ClassVar[str] = "assets.settle"
    escrow: int = of(UINT)
    release: bool = of(BOOL)


MESSAGES: Final = (DefineUnit, Mint, Burn, Transfer, FreezeUnit, FreezeBalance, Lock, Settle)
