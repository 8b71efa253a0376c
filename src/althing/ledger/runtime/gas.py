"""Gas: what work costs, in units of about a tenth of a microsecond. Prices are consensus rules of an app version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.ledger.runtime.errors import OutOfGasError

__all__ = ["PRICES", "GasMeter", "Prices", "intrinsic"]


@dataclass(frozen=True, slots=True)
class Prices:
    """The gas schedule of an app version."""

    base: int = 500  # parsing, replay check, receipt
    byte: int = 2  # bytes travel, are hashed and kept by every node
    signature: int = 700
    key: int = 700  # a key's check is a point decompressed, as in a signature's
    read: int = 30
    write: int = 300  # a path of the state tree
    log_append: int = 300  # reads the log's frontier, writes the entry and the nodes it completes


PRICES: Final = Prices()
"""Those of version 1."""


def intrinsic(size: int, signatures: int, prices: Prices = PRICES) -> int:
    """Gas that a transaction of `size` bytes costs whatever it does."""
    return prices.base + prices.byte * size + prices.signature * signatures


class GasMeter:
    """Counts up to a limit; the charge that would pass it raises and leaves the meter at the limit."""

    __slots__ = ("limit", "prices", "used")

    def __init__(self, limit: int, prices: Prices = PRICES) -> None:
        self.limit = limit
        self.prices = prices
        self.used = 0

    def charge(self, amount: int) -> None:
        if self.used + amount > self.limit:
            self.used = self.limit
            raise OutOfGasError(self.limit)
        self.used += amount
