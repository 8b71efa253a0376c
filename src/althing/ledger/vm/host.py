"""What a run asks of the ledger, as a Protocol. Prices are charged by the machine before each call."""

from __future__ import annotations

from typing import Protocol

from althing.ledger.vm.meter import Meter
from althing.ledger.vm.values import Value

__all__ = ["HOST_PRICES", "PRICES", "Host"]


class PRICES:
    """Gas of what reaches beyond the machine; a unit is about a tenth of a microsecond."""

    READ = 200
    READ_BYTE = 1
    WRITE = 1000
    WRITE_BYTE = 20
    SCAN_KEY = 100
    EVENT = 100
    EVENT_BYTE = 5


HOST_PRICES = {
    "caller": 5,
    "origin": 5,
    "this": 5,
    "now": 5,
    "height": 5,
    "organisation": 300,
    "role": 300,
    "sha256": 20,
    "verify": 1000,
    "balance": 300,
    "transfer": 2500,
    "escrow": 2500,
    "device": 500,
    "stream": 500,
    "reading": 5000,
}


class Host(Protocol):
    """One contract's view of the ledger within one call. Keys and values are bytes; keys are the contract's own."""

    def get(self, key: bytes) -> bytes | None:
        """What is stored under a key."""
        ...

    def put(self, key: bytes, value: bytes) -> None:
        """Store under a key."""
        ...

    def delete(self, key: bytes) -> None:
        """Remove a key; one that is not there stays so."""
        ...

    def scan(self, prefix: bytes, after: bytes, limit: int) -> list[bytes]:
        """At most `limit` keys with the prefix that stand behind `after`, in order."""
        ...

    def emit(self, name: str, values: list[tuple[str, Value]], meter: Meter) -> None:
        """An event."""
        ...

    def ask(self, name: str, arguments: list[Value], meter: Meter) -> Value:
        """A function of `surface.HOST`."""
        ...

    def call(self, address: Value, method: str, arguments: list[Value], meter: Meter) -> Value:
        """A method of another contract; what fails in it is undone there, and raised here as CallError."""
        ...
