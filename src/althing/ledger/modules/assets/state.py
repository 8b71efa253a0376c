"""State of `assets`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.ledger.runtime.overlay import Table
from althing.protocol.messages.assets import Balance, Escrow, Unit
from althing.protocol.record import NAME, UINT, Record, of

__all__ = [
    "BALANCES",
    "ESCROWS",
    "ESCROW_COUNT",
    "FEES",
    "UNITS",
    "EscrowCount",
    "FeesTaken",
    "own_balance",
    "own_escrow",
]


@dataclass(frozen=True, slots=True)
class EscrowCount(Record):
    """How many escrows there have been: the number of the next one."""

    value: int = of(UINT)


@dataclass(frozen=True, slots=True)
class FeesTaken(Record):
    """The unit that fees are paid in, and what this block has taken so far: nothing between blocks."""

    unit: str = of(NAME)
    amount: int = of(UINT)


UNITS: Final = Table("assets/unit/", Unit)  # own key: symbol
BALANCES: Final = Table("assets/balance/", Balance)  # own key: address, symbol
ESCROWS: Final = Table("assets/escrow/", Escrow)  # own key: number, 8 bytes big-endian
ESCROW_COUNT: Final = Table("assets/escrows", EscrowCount)
FEES: Final = Table("assets/fees", FeesTaken)


def own_balance(account: bytes, symbol: str) -> bytes:
    """Behind the address, so that one account's balances stand together."""
    return account + symbol.encode("ascii")


def own_escrow(number: int) -> bytes:
    return number.to_bytes(8, "big")
