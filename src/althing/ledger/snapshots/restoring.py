"""Filling an empty ledger from a snapshot's chunks: nothing is the state before all of it has been verified.

1. A chunk is unpacked and compared with its hash in the metadata before a byte of it is used.
2. Its records go into the store, and the chunk is marked as done in one durable write: an interrupted restore goes on there.
3. The root over all entries is the app hash that the light client verified for the height.
4. Side rows are those, and only those, that digests in the verified state name.
5. This program knows the rules of the state.
Then one atomic write makes the height known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NoReturn

from althing.ledger.modules.governance.state import VERSIONS
from althing.ledger.retention import begun_at
from althing.ledger.runtime import logs
from althing.ledger.runtime.overlay import R
from althing.ledger.runtime.replay import EXECUTED, EXECUTED_IDS, ID_BYTES, Location, buckets, chained
from althing.ledger.snapshots.format import IDS, STATE, Content, Entry, records_of, unpack
from althing.ledger.snapshots.making import state_logs
from althing.ledger.state.backend import Backend
from althing.ledger.state.loading import StateLoader
from althing.protocol.errors import StateError
from althing.protocol.merkle import Frontier
from althing.protocol.record import Record

__all__ = ["Restoration"]

_SIDE: Final = (EXECUTED, EXECUTED_IDS, logs.LOG_NODES, logs.LOG_ENTRIES)
_ROW_IDS_MAX: Final = (
    4 * 1024 * 1024
)  # ids that one block can have executed in one bucket; 100 MiB of transactions have fewer


class Restoration:
    """One snapshot on its way into an empty store. `known` is told the app version before the height is made known."""

    def __init__(
        self, backend: Backend, height: int, content: Content, app_hash: bytes, known: Callable[[int], None]
    ) -> None:
        self.height = height
        self.content = content
        self._backend = backend
        self._app_hash = app_hash
        self._known = known
        self._loader = StateLoader(backend, height, source=content.hash, side=_SIDE)

    @property
    def next_chunk(self) -> int:
        """Chunks before this one are in the store."""
        return self._loader.progress

    @property
    def keys(self) -> int:
        """Entries of the state map so far."""
        return self._loader.keys

    def add(self, packed: bytes) -> bool:
        """Take chunk `next_chunk`; True when it was the last and the height is now the state.

        ProtocolError `snapshot.chunk` for a wrong chunk, which changes nothing; StateError for a snapshot that is not what
        it says (`snapshot.content`, `state.load_entry`, `state.load_root`): then everything loaded is removed.
        """
        index = self.next_chunk
        chunk = unpack(packed, self.content.leaves[index])  # 1
        try:
            self._load(index, chunk)
            if self.next_chunk < len(self.content.leaves):
                return False
            self._loader.finish(self._app_hash, begun_at(self.height), check=self._check)
        except StateError as error:
            if error.code in ("snapshot.content", "state.load_entry"):
                self._loader.discard()
            raise
        return True

    def finish(self) -> None:
        """For an interrupted restore whose chunks are all there."""
        try:
            self._loader.finish(self._app_hash, begun_at(self.height), check=self._check)
        except StateError as error:
            if error.code == "snapshot.content":
                self._loader.discard()
            raise

    def discard(self) -> None:
        """Give up: the store is empty again."""
        self._loader.discard()

    # --- steps ----------------------------------------------------------------------------------------------------------

    def _load(self, index: int, chunk: bytes) -> None:
        """2. A chunk that a crash cut short is loaded again: every write of it gives the same rows."""
        records = records_of(chunk)
        behind: list[Entry] = []

        def entries() -> Iterator[tuple[bytes, bytes]]:
            for kind, key, value in records:
                if kind != STATE:
                    behind.append((kind, key, value))
                    return
                yield key, value

        self._loader.add(entries())
        behind.extend(records)
        self._loader.mark(index + 1, self._side_rows(behind))

    def _side_rows(self, entries: list[Entry]) -> dict[str, dict[bytes, bytes | None]]:
        side: dict[str, dict[bytes, bytes | None]] = {EXECUTED_IDS: {}, EXECUTED: {}, logs.LOG_NODES: {}}
        rows: dict[bytes, bytearray] = {}
        for kind, key, value in entries:
            if kind == STATE:
                raise _not_as_named()
            if kind != IDS:
                side[logs.LOG_NODES][key] = value
                continue
            if len(key) != 16 or len(value) % ID_BYTES:
                raise _not_as_named()
            if key not in rows:
                with self._backend.read() as snapshot:
                    rows[key] = bytearray(snapshot.get(EXECUTED_IDS, key) or b"")
            rows[key] += value
            if len(rows[key]) > _ROW_IDS_MAX * ID_BYTES:
                raise _not_as_named()
            # Which bundle it was in, the snapshot does not say: receipts of these heights are not kept here.
            place = Location(int.from_bytes(key[8:], "big"), 0, 0).to_bytes()
            for at in range(0, len(value), ID_BYTES):
                side[EXECUTED][value[at : at + ID_BYTES]] = place
        side[EXECUTED_IDS] = {key: bytes(row) for key, row in rows.items()}
        return side

    def _check(self) -> None:
        """4., 5.: the root has been verified, so the entries can be believed."""
        state = _Loaded(self._loader, self._backend)
        rows = peaks = 0
        for number, bucket in buckets(state):
            digest, count = bytes(32), 0
            for _, ids in self._scan(EXECUTED_IDS, number):
                digest, count, rows = chained(digest, ids), count + len(ids) // ID_BYTES, rows + 1
            if (count, digest) != (bucket.count, bucket.digest):
                raise _not_as_named()
        for log, size, root in state_logs(state):
            found = [state.side_get(logs.LOG_NODES, logs.node_key(log, *node)) for node in logs.peaks(size)]
            nodes = tuple(node for node in found if node is not None)
            if len(nodes) != len(found) or Frontier(size, nodes).root != root:
                raise _not_as_named()
            peaks += len(nodes)
        if rows != self._count(EXECUTED_IDS) or peaks != self._count(logs.LOG_NODES):
            raise _not_as_named()
        versions = VERSIONS.get(state, b"")
        assert versions is not None, "genesis writes the versions, and the root is verified"
        self._known(versions.app_version)

    def _scan(self, table: str, number: int) -> Iterator[tuple[bytes, bytes]]:
        low, high = number.to_bytes(8, "big"), (number + 1).to_bytes(8, "big")
        with self._backend.read() as snapshot:
            yield from snapshot.scan(table, low, high)

    def _count(self, table: str) -> int:
        with self._backend.read() as snapshot:
            return sum(1 for _ in snapshot.scan(table))


class _Loaded:
    """Entries and side rows of a load, as typed tables read them."""

    def __init__(self, loader: StateLoader, backend: Backend) -> None:
        self._loader = loader
        self._backend = backend

    def get(self, key: bytes, cls: type[R]) -> R | None:
        data = self._loader.get(key)
        return None if data is None else cls.from_bytes(data)

    def scan(self, prefix: bytes, cls: type[R]) -> Iterator[tuple[bytes, R]]:
        for key, data in self._loader.scan(prefix):
            yield key, cls.from_bytes(data)

    def side_get(self, table: str, key: bytes) -> bytes | None:
        with self._backend.read() as snapshot:
            return snapshot.get(table, key)

    def put(self, key: bytes, value: Record) -> NoReturn:
        raise AssertionError("a load is read only")

    def delete(self, key: bytes) -> NoReturn:
        raise AssertionError("a load is read only")

    def side_put(self, table: str, key: bytes, value: bytes) -> NoReturn:
        raise AssertionError("a load is read only")


def _not_as_named() -> StateError:
    return StateError(
        "snapshot.content",
        "the snapshot's ids or log nodes are not those that its state names",
        hint="take another snapshot",
    )
