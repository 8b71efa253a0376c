"""Backend in memory: for tests and for chains that may vanish. Same contract as the durable ones."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from althing.ledger.state.backend import KEY_BYTES_MAX, Batch
from althing.protocol.errors import StateError

__all__ = ["MemoryBackend"]

_RESORT_ABOVE = 256  # more new keys than this: sort once instead of inserting each


class _Table:
    """A dict and its keys in order; copied before a write only while a snapshot looks at it."""

    __slots__ = ("keys", "rows")

    def __init__(self, rows: dict[bytes, bytes], keys: list[bytes]) -> None:
        self.rows = rows
        self.keys = keys

    def copy(self) -> _Table:
        return _Table(dict(self.rows), list(self.keys))


class _MemorySnapshot:
    def __init__(self, tables: dict[str, _Table]) -> None:
        self._tables = tables

    def get(self, table: str, key: bytes) -> bytes | None:
        found = self._tables.get(table)
        return None if found is None else found.rows.get(key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        found = self._tables.get(table)
        if found is None:
            return [None] * len(keys)
        get = found.rows.get
        return [get(key) for key in keys]

    def scan(
        self, table: str, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        found = self._tables.get(table)
        if found is None:
            return
        low = bisect_left(found.keys, start)
        high = len(found.keys) if stop is None else bisect_left(found.keys, stop)
        for index in range(high - 1, low - 1, -1) if reverse else range(low, high):
            key = found.keys[index]
            yield key, found.rows[key]


class MemoryBackend:
    """`bytes_max` bounds keys plus values, so that a full disk can be tested here too."""

    def __init__(self, *, bytes_max: int | None = None) -> None:
        self._tables: dict[str, _Table] = {}
        self._bytes = 0
        self._bytes_max = bytes_max
        self._snapshots = 0
        self._closed = False
        self._lock = threading.Lock()

    @property
    def readonly(self) -> bool:
        return False

    @contextmanager
    def read(self) -> Iterator[_MemorySnapshot]:
        with self._lock:
            self._check_open()
            self._snapshots += 1
            snapshot = _MemorySnapshot(dict(self._tables))
        try:
            yield snapshot
        finally:
            with self._lock:
                self._snapshots -= 1

    def write(self, batch: Batch) -> None:
        with self._lock:
            self._check_open()
            grown = self._bytes + self._growth(batch)
            if self._bytes_max is not None and grown > self._bytes_max:
                raise StateError(
                    "state.disk_full",
                    f"the state would need {grown} bytes, {self._bytes_max} are allowed",
                    hint="raise the limit",
                )
            self._bytes = grown
            for name, changes in batch.items():
                if changes:
                    self._apply(name, changes)

    def _growth(self, batch: Batch) -> int:
        growth = 0
        for name, changes in batch.items():
            table = self._tables.get(name)
            rows = {} if table is None else table.rows
            for key, value in changes.items():
                assert 0 < len(key) <= KEY_BYTES_MAX, "backend keys have 1 to 511 bytes"
                old = rows.get(key)
                if old is not None:
                    growth -= len(key) + len(old)
                if value is not None:
                    growth += len(key) + len(value)
        return growth

    def _apply(self, name: str, changes: Mapping[bytes, bytes | None]) -> None:
        table = self._tables.get(name) or _Table({}, [])
        if self._snapshots:
            table = table.copy()
        self._tables[name] = table
        rows, keys = table.rows, table.keys
        added: list[bytes] = []
        removed: set[bytes] = set()
        for key, value in changes.items():
            if value is None:
                if rows.pop(key, None) is not None:
                    removed.add(key)
            else:
                if key not in rows:
                    added.append(key)
                rows[key] = value
        if len(removed) > _RESORT_ABOVE:
            table.keys = keys = [key for key in keys if key not in removed]
        else:
            for key in removed:
                del keys[bisect_left(keys, key)]
        if len(added) > _RESORT_ABOVE:
            keys.extend(added)
            keys.sort()
        else:
            for key in added:
                insort(keys, key)

    def sync(self) -> None:
        self._check_open()

    def bytes_used(self) -> int:
        return self._bytes

    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("state.closed", "this state has been closed")
