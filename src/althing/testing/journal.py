"""A disk in memory that forgets what was not synced, and a backend of the state on it: for power cuts in simulated time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from hashlib import sha256
from random import Random
from typing import Final

from althing.ledger.state.backend import Batch, Snapshot
from althing.protocol.codec import decode, encode
from althing.storage.memory import MemoryBackend

__all__ = ["Disk", "JournalBackend", "PowerLossError"]

_SECTOR: Final = 64
_BYTES_MAX: Final = 1 << 30


class PowerLossError(Exception):
    """The replica is gone in the middle of what it did. Not an expected failure of the ledger."""


class Disk:
    """Bytes that survive: those before the last `sync`. Of later ones a loss of power leaves any sectors, or none."""

    def __init__(self) -> None:
        self._durable = bytearray()
        self._late = bytearray()

    def append(self, data: bytes) -> None:
        self._late += data

    def sync(self) -> None:
        self._durable += self._late
        self._late.clear()

    def lose_power(self, random: Random) -> None:
        size = random.randint(0, len(self._late))
        for at in range(0, size, _SECTOR):
            sector = bytes(self._late[at : min(at + _SECTOR, size)])
            self._durable += sector if random.random() < 0.7 else bytes(len(sector))
        self._late.clear()

    def read(self) -> bytes:
        return bytes(self._durable)

    def cut(self, size: int) -> None:
        del self._durable[size:]


class JournalBackend:
    """`Backend` whose durable form is a journal of batches on a simulated disk: a torn last one never was.

    `fault` is told "before sync" and "after sync" within each write, and may raise PowerLossError.
    """

    def __init__(self, disk: Disk, *, fault: Callable[[str], None] = lambda _at: None) -> None:
        self._disk = disk
        self._fault = fault
        self._memory = MemoryBackend()
        data, position = disk.read(), 0
        while (end := _record_end(data, position)) is not None:
            self._memory.write(_batch(data[position + 36 : end]))
            position = end
        disk.cut(position)

    @property
    def readonly(self) -> bool:
        return False

    def read(self) -> AbstractContextManager[Snapshot]:
        return self._memory.read()

    def write(self, batch: Batch) -> None:
        body = encode(
            [[table, [[key, value] for key, value in sorted(rows.items())]] for table, rows in sorted(batch.items())]
        )
        self._disk.append(len(body).to_bytes(4, "big") + sha256(body).digest() + body)
        self._fault("before sync")
        self._disk.sync()
        self._fault("after sync")
        self._memory.write(batch)

    def sync(self) -> None:
        self._disk.sync()

    def bytes_used(self) -> int:
        return self._memory.bytes_used()

    def close(self) -> None:
        self._memory.close()


def _record_end(data: bytes, position: int) -> int | None:
    if len(data) < position + 36:
        return None
    end = position + 36 + int.from_bytes(data[position : position + 4], "big")
    body = data[position + 36 : end]
    return end if len(data) >= end and sha256(body).digest() == data[position + 4 : position + 36] else None


def _batch(body: bytes) -> Batch:
    tables = decode(body, bytes_max=_BYTES_MAX)
    assert type(tables) is list
    return {table: dict(rows) for table, rows in tables}
