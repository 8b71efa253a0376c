"""Filling an empty store from an ordered stream: the restoring side of a state snapshot, in bounded memory.

Leaf records go in as they come, some thousands a write; when all are there, one pass over them in path order builds the
pages, each once. Nothing can be read before the last write makes the version known, with a root that the caller named.
What a crash leaves behind is marked as a load under way: no version can follow it. The next load of the same source goes
on behind the last mark; any other removes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from typing import Final

from althing.ledger.state.backend import Backend, Batch
from althing.ledger.state.history import (
    LOADING_KEY,
    META,
    ORDER,
    SPAN_KEY,
    TREE,
    UPPER,
    VERSIONS,
    Span,
    VersionRecord,
    leaf_content,
    page_table,
    read_span,
    value_in,
    version_key,
)
from althing.ledger.state.nodes import leaf_hash, path_of, subtree_root
from althing.ledger.state.pages import PAGE, STRIDE, new_page
from althing.ledger.state.records import CurrentRecords
from althing.ledger.state.store import STATE_KEY_BYTES_MAX, STATE_VALUE_BYTES_MAX, checked_extra
from althing.ledger.state.tree import SLOT_LEAVES_MAX, grow, leaf_key, path_range
from althing.protocol.errors import StateError

__all__ = ["StateLoader"]

_CHUNK_ENTRIES: Final = 20_000  # leaf records of one write
_CHUNK_BYTES: Final = 1 << 23
_GATHERED: Final = 4_096  # leaves whose subtree is built in memory, on average
_PAGES: Final = 2_048  # pages of one write
_SCAN: Final = 256  # entries of one read
_SOURCE_BYTES: Final = 32


class StateLoader:
    """Loads one version: `add` entries in ascending order of keys, in any number of calls, then `finish`.

    Raises `state.not_empty` where there is a version already. `source` (a hash) names what is loaded: after a crash a load
    of the same goes on at `progress`, the last `mark`; without one, or from another, what was left is removed. `side` names
    the caller's tables that are filled beside. One at a time, and no other writer meanwhile.
    """

    def __init__(self, backend: Backend, version: int, *, source: bytes = b"", side: Sequence[str] = ()) -> None:
        assert len(source) in (0, _SOURCE_BYTES), "a source is named by a hash"
        checked_extra({table: {} for table in side})
        self._backend = backend
        self._version = version
        self._version_key = version_key(version)
        self._source = source
        self._side = tuple(side)
        self._last = b""
        self._keys = 0
        self._progress = 0
        with backend.read() as snapshot:
            if read_span(snapshot) is not None:
                raise StateError("state.not_empty", "this state has versions already", hint="load into an empty state")
            left = snapshot.get(META, LOADING_KEY)
        if source and left is not None and left.startswith(self._version_key + source):
            rest = left[8 + _SOURCE_BYTES :]
            self._progress, self._keys = int.from_bytes(rest[:8], "big"), int.from_bytes(rest[8:16], "big")
            self._last = rest[16:]
            return
        self.discard()
        backend.write({META: {LOADING_KEY: self._marked()}})

    @property
    def progress(self) -> int:
        """How far an interrupted load of the same source had come: the number it gave last to `mark`, else 0."""
        return self._progress

    @property
    def keys(self) -> int:
        """How many entries are there."""
        return self._keys

    def mark(self, progress: int, side: Batch | None = None) -> None:
        """Everything added so far is there, and so are these rows of the side tables: one atomic, durable write."""
        assert all(table in self._side for table in side or ()), "side tables are named at the beginning"
        self._progress = progress
        self._backend.write({META: {LOADING_KEY: self._marked()}, **(side or {})})

    def get(self, key: bytes) -> bytes | None:
        """The value of an entry that was added."""
        with self._backend.read() as snapshot:
            record = snapshot.get(TREE, leaf_key(path_of(key)))
        return None if record is None else value_in(record)

    def scan(self, prefix: bytes, /) -> Iterator[tuple[bytes, bytes]]:
        """Entries that were added, under a prefix, in key order."""
        low = prefix
        while True:
            with self._backend.read() as snapshot:
                keys = [key for key, _ in islice(snapshot.scan(ORDER, low), _SCAN)]
                found = snapshot.get_many(TREE, [leaf_key(path_of(key)) for key in keys])
            for key, record in zip(keys, found, strict=True):
                if not key.startswith(prefix):
                    return
                assert record is not None, "a listed key has a leaf"
                yield key, value_in(record)
            if len(keys) < _SCAN:
                return
            low = keys[-1] + b"\x00"

    def _marked(self) -> bytes:
        if not self._source:
            return self._version_key
        numbers = self._progress.to_bytes(8, "big") + self._keys.to_bytes(8, "big")
        return self._version_key + self._source + numbers + self._last

    def add(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Entries behind all given before; `state.load_entry` for one that is out of order or out of bounds."""
        tree: dict[bytes, bytes | None] = {}
        order: dict[bytes, bytes | None] = {}
        size = 0
        for key, value in entries:
            if not (self._last < key and len(key) <= STATE_KEY_BYTES_MAX and 0 < len(value) <= STATE_VALUE_BYTES_MAX):
                raise StateError(
                    "state.load_entry",
                    f"entry {self._keys + 1} of the snapshot is out of order or has a key or value of a wrong size",
                    hint="take the snapshot from another node",
                )
            self._last = key
            self._keys += 1
            path = sha256(key).digest()
            tree[leaf_key(path)] = self._version_key + leaf_content(leaf_hash(path, value), key, value)
            order[key] = b""
            size += len(key) + len(value)
            if size > _CHUNK_BYTES or len(order) == _CHUNK_ENTRIES:
                self._backend.write({TREE: tree, ORDER: order})
                tree, order, size = {}, {}, 0
        if order:
            self._backend.write({TREE: tree, ORDER: order})

    def finish(self, root: bytes, extra: Batch | None = None, *, check: Callable[[], None] | None = None) -> None:
        """Build the tree and make the version known, with the caller's side tables, in one atomic write.

        `state.load_root` unless the entries have this root; then everything loaded is removed. `check` is asked after that
        and before the version is known: what it raises leaves the load as it is.
        """
        found, kind = _Builder(self._backend, self._version_key, self._keys).build()
        if found != root:
            self.discard()
            raise StateError(
                "state.load_root",
                f"the entries have the root {found.hex()[:16]}, not {root.hex()[:16]}",
                hint="take the snapshot from another node",
            )
        if check is not None:
            check()
        record = VersionRecord(found, kind, self._keys)
        span = Span(self._version, self._version, self._version)
        batch: Batch = {
            VERSIONS: {self._version_key: record.encode()},
            META: {SPAN_KEY: span.encode(), LOADING_KEY: None},
        }
        self._backend.write({**batch, **checked_extra(extra)})

    def discard(self) -> None:
        """Remove what was loaded so far, in bounded steps."""
        # First of all the mark: a load that goes on from it would miss what is gone.
        self._backend.write({META: {LOADING_KEY: self._version_key}})
        for table in (TREE, UPPER, ORDER, *self._side):
            while True:
                with self._backend.read() as snapshot:
                    keys = [key for key, _ in islice(snapshot.scan(table), _CHUNK_ENTRIES)]
                if not keys:
                    break
                self._backend.write({table: dict.fromkeys(keys)})
        self._backend.write({META: {LOADING_KEY: None}})
        self._last = b""
        self._keys = 0
        self._progress = 0


class _Builder:
    """The pages above leaf records that are all there, written as they become complete.

    A subtree small enough is built in memory. Above, one page for each level is open at a time.
    """

    def __init__(self, backend: Backend, version: bytes, keys: int) -> None:
        self._backend = backend
        self._version = version
        self._keys = keys
        self._pages: dict[bytes, bytes | None] = {}

    def build(self) -> tuple[bytes, int]:
        """The root of the whole tree and its kind."""
        root, kind, _, _ = self._subtree(0, 0)
        self._write()
        return root, kind

    def _subtree(self, prefix: int, depth: int) -> tuple[bytes, int, list[int], list[bytes]]:
        """Root and kind of the subtree; its leaves too where they are so few that it has no page."""
        if self._keys >> depth <= _GATHERED:
            return self._gathered(prefix, depth)
        children = []
        paths: list[int] = []
        leaves: list[bytes] = []
        for slot in range(1 << STRIDE):
            root, kind, below, hashes = self._subtree(prefix << STRIDE | slot, depth + STRIDE)
            children.append((root, kind))
            paths += below
            leaves += hashes
        if sum(kind for _, kind in children) <= SLOT_LEAVES_MAX:  # no page below: as a kind it counts 255
            return subtree_root(paths, leaves, depth), len(paths), paths, leaves
        key, page, root = new_page(self._version, prefix, depth, children)
        self._pages[key] = page
        return root, PAGE, [], []

    def _gathered(self, prefix: int, depth: int) -> tuple[bytes, int, list[int], list[bytes]]:
        start, stop = path_range(prefix, depth)
        with self._backend.read() as snapshot:
            paths, leaves = CurrentRecords(snapshot).leaves(start, stop)
        root, kind = grow(self._pages, self._version, paths, leaves, prefix, depth)
        if len(self._pages) >= _PAGES:
            self._write()
        return (root, kind, [], []) if kind == PAGE else (root, kind, paths, leaves)

    def _write(self) -> None:
        batch: dict[str, dict[bytes, bytes | None]] = {TREE: {}, UPPER: {}}
        for key, page in self._pages.items():
            batch[page_table(key)][key] = page
        self._backend.write(batch)
        self._pages = {}
