"""What a run may use: gas, memory and depth, shared by every contract that one transaction enters.

Each is counted down by rules of docs/spec/contracts.md, never measured; passing a bound ends the run at the bound.
"""

from __future__ import annotations

from typing import Final

from althing.ledger.vm.errors import Halt, Raised
from althing.ledger.vm.limits import DEPTH_UNITS_MAX, MEMORY_MAX

__all__ = ["BYTES_PER_GAS", "SLOT_BYTES", "Meter"]

BYTES_PER_GAS: Final = 16  # of memory allocated, copied or compared
SLOT_BYTES: Final = 64  # of one element of a container: a reference and the object behind it


class Meter:
    """Fields are read and written in the machine's hot paths; `charge` and `allocate` say the rule."""

    __slots__ = ("depth", "gas", "handling", "limit", "memory")

    def __init__(self, gas: int) -> None:
        self.limit = gas
        self.gas = gas
        self.memory = MEMORY_MAX
        self.depth = DEPTH_UNITS_MAX
        self.handling: list[
            Raised
        ] = []  # errors whose handlers are open, the innermost last: what `raise` alone raises

    @property
    def used(self) -> int:
        return self.limit - self.gas

    def charge(self, gas: int) -> None:
        self.gas -= gas
        if self.gas < 0:
            self.end()

    def end(self) -> None:
        """The gas is used up: all of it, and not more."""
        self.gas = 0
        raise Halt("gas")

    def allocate(self, size: int) -> None:
        """So many bytes are about to be made."""
        self.gas -= size // BYTES_PER_GAS
        if self.gas < 0:
            self.end()
        self.memory -= size
        if self.memory < 0:
            self.memory = 0
            raise Halt("memory")

    def work(self, size: int) -> None:
        """So many bytes are about to be read or compared."""
        self.gas -= size // BYTES_PER_GAS
        if self.gas < 0:
            self.end()
