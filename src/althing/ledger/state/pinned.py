"""The latest version read through one open snapshot: what executing a block uses, thousands of reads at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from althing.ledger.state.backend import Snapshot
from althing.ledger.state.history import TREE, value_in
from althing.ledger.state.nodes import path_of
from althing.ledger.state.store import StateStore
from althing.ledger.state.tree import leaf_key
from althing.ledger.state.view import StateView

__all__ = ["PinnedView", "pinned"]


class PinnedView:
    """State map and side tables as of the latest committed version; dead after its `with` block."""

    __slots__ = ("_snapshot", "_view")

    def __init__(self, view: StateView, snapshot: Snapshot) -> None:
        self._view = view
        self._snapshot = snapshot

    @property
    def version(self) -> int:
        return self._view.version

    def get(self, key: bytes) -> bytes | None:
        record = self._snapshot.get(TREE, leaf_key(path_of(key)))
        return value_in(record) if record is not None and len(record) > 8 else None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._view.scan(prefix)

    def side(self, table: str, key: bytes) -> bytes | None:
        return self._snapshot.get(table, key)


@contextmanager
def pinned(store: StateStore) -> Iterator[PinnedView]:
    """Open the latest version. The caller makes sure that nothing commits meanwhile (it is the one that would)."""
    view = store.view()
    with store.backend.read() as snapshot:
        yield PinnedView(view, snapshot)
