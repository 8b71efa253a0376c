"""The latest version read through one open snapshot: what executing a block uses, thousands of reads at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from althing.ledger.state.backend import Snapshot
from althing.ledger.state.history import TREE, read_span, value_in
from althing.ledger.state.nodes import path_of
from althing.ledger.state.store import StateStore
from althing.ledger.state.tree import leaf_key
from althing.protocol.errors import StateError

__all__ = ["PinnedView", "pinned"]


class PinnedView:
    """State map and side tables as of the latest committed version; dead after its `with` block."""

    __slots__ = ("_snapshot", "_store", "version")

    def __init__(self, store: StateStore, snapshot: Snapshot, version: int) -> None:
        self._store = store
        self._snapshot = snapshot
        self.version = version

    def get(self, key: bytes) -> bytes | None:
        record = self._snapshot.get(TREE, leaf_key(path_of(key)))
        return value_in(record) if record is not None and len(record) > 8 else None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._store.view(self.version).scan(prefix)

    def side(self, table: str, key: bytes) -> bytes | None:
        return self._snapshot.get(table, key)


@contextmanager
def pinned(store: StateStore) -> Iterator[PinnedView]:
    """Open the latest version. The caller makes sure that nothing commits meanwhile (it is the one that would)."""
    with store.backend.read() as snapshot:
        span = read_span(snapshot)
        if span is None:
            raise StateError("state.uninitialised", "there is no version yet", hint="commit a genesis state first")
        yield PinnedView(store, snapshot, span.latest)
