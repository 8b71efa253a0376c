"""Gas: what work costs, in units of about a tenth of a microsecond. Prices are consensus rules of an app version."""

from __future__ import annotations

from typing import Final

from althing.ledger.runtime.errors import OutOfGasError

__all__ = ["BASE", "PER_BYTE", "PER_KEY", "PER_LOG_APPEND", "PER_READ", "PER_WRITE", "GasMeter", "intrinsic"]

BASE: Final = 500  # parsing, replay check, receipt
PER_BYTE: Final = 2  # bytes travel, are hashed and kept by every node
PER_SIGNATURE: Final = 700
PER_KEY: Final = 700  # a key's check is a point decompressed, as in a signature's
PER_READ: Final = 30
PER_WRITE: Final = 300  # a path of the state tree
PER_LOG_APPEND: Final = 300  # reads the log's frontier, writes the entry and the nodes it completes


def intrinsic(size: int, signatures: int) -> int:
    """Gas that a transaction of `size` bytes costs whatever it does."""
    return BASE + PER_BYTE * size + PER_SIGNATURE * signatures


class GasMeter:
    """Counts up to a limit; the charge that would pass it raises and leaves the meter at the limit."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def charge(self, amount: int) -> None:
        if self.used + amount > self.limit:
            self.used = self.limit
            raise OutOfGasError(self.limit)
        self.used += amount
