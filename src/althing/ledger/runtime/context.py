"""What a handler is given: the block it runs in, who signed, the state, gas and events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from althing.ledger.runtime.gas import GasMeter
from althing.ledger.runtime.overlay import Overlay, R, Table
from althing.protocol.codec import Item
from althing.protocol.receipt import Event

__all__ = ["BlockContext", "Context"]


@dataclass(frozen=True, slots=True)
class BlockContext:
    """The block being executed. `time_ns` is its BFT time; `time_s` whole seconds of it are ledger time."""

    chain_id: str
    genesis_hash: bytes
    height: int
    time_ns: int
    block_hash: bytes

    @property
    def time_s(self) -> int:
        return self.time_ns // 1_000_000_000


@dataclass(slots=True)
class Context:
    """One transaction's execution. Reads and writes through it are charged."""

    block: BlockContext
    state: Overlay
    gas: GasMeter
    signers: frozenset[bytes]
    events: list[Event] = field(default_factory=list)

    def get(self, table: Table[R], own: bytes) -> R | None:
        self.gas.charge(self.gas.prices.read)
        return table.get(self.state, own)

    def has(self, table: Table[R], own: bytes) -> bool:
        """Whether there is a record: charged as a read."""
        self.gas.charge(self.gas.prices.read)
        return self.state.has(table.key(own))

    def put(self, table: Table[R], own: bytes, value: R) -> None:
        self.gas.charge(self.gas.prices.write)
        table.put(self.state, own, value)

    def delete(self, table: Table[R], own: bytes) -> None:
        self.gas.charge(self.gas.prices.write)
        table.delete(self.state, own)

    def scan(self, table: Table[R]) -> Iterator[tuple[bytes, R]]:
        """All records of a small table, each charged as a read."""
        for own, value in table.scan(self.state):
            self.gas.charge(self.gas.prices.read)
            yield own, value

    def emit(self, name: str, *values: Item) -> None:
        self.events.append(Event(name, values))
