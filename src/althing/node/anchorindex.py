"""All anchors of a chain by gateway and number, from the streams' logs: what a whole archive is verified against."""

from __future__ import annotations

from althing.archive.verify import AnchoredBatch
from althing.ledger.query import LedgerView
from althing.ledger.runtime.errors import NotFoundError
from althing.ledger.state.store import StateStore
from althing.protocol.messages.streams import AnchorRow
from althing.protocol.schema import StreamSchema

__all__ = ["AnchorIndex"]


class AnchorIndex:
    """`archive.verify.Anchors`. Reads every row once; a gateway's anchors are numbered in the order of their blocks,
    which is unambiguous because it has one unconfirmed anchor at a time."""

    def __init__(self, store: StateStore) -> None:
        self._view = LedgerView(store)
        found: dict[tuple[bytes, int, bytes], list[tuple[int, AnchorRow]]] = {}
        for stream in range(self._view.stream_count()):
            for index in range(self._view.head(stream).log_size):
                row, _ = self._view.row(stream, index)
                found.setdefault((row.gateway, row.height, row.batch_root), []).append((stream, row))
        self._batches: dict[bytes, list[AnchoredBatch]] = {}
        for (gateway, _, root), rows in sorted(found.items()):
            self._batches.setdefault(gateway, []).append(AnchoredBatch(root, tuple(rows)))

    def anchored(self, gateway: bytes, number: int) -> AnchoredBatch | None:
        batches = self._batches.get(gateway, [])
        return batches[number] if number < len(batches) else None

    def schema(self, stream: int, version: int) -> StreamSchema | None:
        try:
            return self._view.definition_at(stream, version).schema
        except NotFoundError:
            return None
