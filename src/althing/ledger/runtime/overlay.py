"""Uncommitted state: a block's writes over a committed view, and a transaction's writes over those.

Values are records. They are encoded once, when the block ends, however often the block touches them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

from althing.protocol.record import Record

__all__ = ["Overlay", "R", "ReadView", "RecordCache", "SideReader", "State", "Table"]

R = TypeVar("R", bound=Record)
_MISSING: Final = object()
_CACHE_MAX: Final = 200_000


class ReadView(Protocol):
    """A committed version of the state map."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes, /) -> Iterator[tuple[bytes, bytes]]: ...


class SideReader(Protocol):
    """Committed side tables: bulk data under a digest in the state map."""

    def get(self, table: str, key: bytes) -> bytes | None: ...


class RecordCache:
    """Decoded records by key, valid only for the very bytes they came from."""

    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[bytes, Record]] = {}

    def decode(self, key: bytes, data: bytes, cls: type[R]) -> R:
        entry = self._entries.get(key)
        # The class is compared too: a migration reads with the old one what newer rules read with another.
        if entry is not None and entry[0] == data and type(found := entry[1]) is cls:
            return found
        decoded = cls.from_bytes(data)
        if len(self._entries) >= _CACHE_MAX:
            self._entries.clear()
        self._entries[key] = (data, decoded)
        return decoded


class Overlay:
    """Reads fall through transaction → block → committed view; writes stay until `flush`."""

    def __init__(self, view: ReadView, side: SideReader, cache: RecordCache) -> None:
        self._view = view
        self._side = side
        self._cache = cache
        self._read: dict[
            bytes, Record | None
        ] = {}  # what the block reads: its own writes, else the view's, which stays
        self._block: dict[bytes, Record | None] = {}
        self._tx: dict[bytes, Record | None] = {}
        self._side_block: dict[tuple[str, bytes], bytes] = {}
        self._side_tx: dict[tuple[str, bytes], bytes] = {}

    def get(self, key: bytes, cls: type[R]) -> R | None:
        found = self._tx.get(key, _MISSING)
        if found is _MISSING:
            found = self._read.get(key, _MISSING)
            if found is _MISSING:
                data = self._view.get(key)
                found = self._read[key] = None if data is None else self._cache.decode(key, data, cls)
        assert found is None or isinstance(found, cls)
        return found

    def has(self, key: bytes) -> bool:
        """As `get` is not None, for those who need not know the record: it is not decoded."""
        for layer in (self._tx, self._read):
            found = layer.get(key, _MISSING)
            if found is not _MISSING:
                return found is not None
        return self._view.get(key) is not None

    def put(self, key: bytes, value: Record) -> None:
        self._tx[key] = value

    def delete(self, key: bytes) -> None:
        self._tx[key] = None

    def scan(self, prefix: bytes, cls: type[R]) -> Iterator[tuple[bytes, R]]:
        """All records under a prefix in byte order of their keys. For small sets (validators, organisations)."""
        merged: dict[bytes, R | None] = {
            key: self._cache.decode(key, data, cls) for key, data in self._view.scan(prefix)
        }
        for layer in (self._block, self._tx):
            for key, value in layer.items():
                if key.startswith(prefix):
                    assert value is None or isinstance(value, cls)
                    merged[key] = value
        for key in sorted(merged):
            record = merged[key]
            if record is not None:
                yield key, record

    def committed(self, key: bytes, cls: type[R]) -> R | None:
        """The record as it was before this block."""
        data = self._view.get(key)
        return None if data is None else self._cache.decode(key, data, cls)

    def side_get(self, table: str, key: bytes) -> bytes | None:
        found = self._side_tx.get((table, key))
        if found is None:
            found = self._side_block.get((table, key))
        return self._side.get(table, key) if found is None else found

    def side_put(self, table: str, key: bytes, value: bytes) -> None:
        self._side_tx[(table, key)] = value

    def keep(self) -> None:
        """The transaction succeeded: its writes join the block's."""
        self._block.update(self._tx)
        self._read.update(self._tx)
        self._side_block.update(self._side_tx)
        self._tx.clear()
        self._side_tx.clear()

    def drop(self) -> None:
        """The transaction failed: nothing of it remains."""
        self._tx.clear()
        self._side_tx.clear()

    def written(self, prefix: bytes) -> list[tuple[bytes, Record | None]]:
        """What the block has written under a prefix so far, in byte order of keys; None for deleted."""
        return sorted(
            ((key, value) for key, value in self._block.items() if key.startswith(prefix)), key=lambda pair: pair[0]
        )

    @property
    def changed(self) -> bool:
        return bool(self._block)

    def flush(self) -> tuple[dict[bytes, bytes | None], dict[str, dict[bytes, bytes | None]]]:
        """The block's writes: state map, and side tables by name."""
        assert not self._tx
        assert not self._side_tx
        writes = {key: None if value is None else value.to_bytes() for key, value in self._block.items()}
        side: dict[str, dict[bytes, bytes | None]] = {}
        for (table, key), value in self._side_block.items():
            side.setdefault(table, {})[key] = value
        return writes, side


class State(Protocol):
    """What typed tables read and write: an `Overlay`, or a read-only view of one version."""

    def get(self, key: bytes, cls: type[R]) -> R | None: ...

    def put(self, key: bytes, value: Record) -> None: ...

    def delete(self, key: bytes) -> None: ...

    def scan(self, prefix: bytes, cls: type[R]) -> Iterator[tuple[bytes, R]]: ...

    def side_get(self, table: str, key: bytes) -> bytes | None: ...

    def side_put(self, table: str, key: bytes, value: bytes) -> None: ...


class Table(Generic[R]):
    """A module's records of one kind: state key = `<module>/<kind>/` ‖ own key."""

    __slots__ = ("cls", "prefix")

    def __init__(self, prefix: str, cls: type[R]) -> None:
        self.prefix = prefix.encode("ascii")
        self.cls = cls

    def key(self, own: bytes) -> bytes:
        return self.prefix + own

    def get(self, state: State, own: bytes) -> R | None:
        return state.get(self.prefix + own, self.cls)

    def put(self, state: State, own: bytes, value: R) -> None:
        state.put(self.prefix + own, value)

    def delete(self, state: State, own: bytes) -> None:
        state.delete(self.prefix + own)

    def scan(self, state: State) -> Iterator[tuple[bytes, R]]:
        for key, value in state.scan(self.prefix, self.cls):
            yield key[len(self.prefix) :], value
