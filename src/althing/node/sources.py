"""What the archive asks of the chain, and what proofs ask of the archive, joined here."""

from __future__ import annotations

from collections.abc import Sequence

from althing.archive.reader import ArchiveReader
from althing.ledger.query import LedgerView
from althing.ledger.state.store import StateStore
from althing.protocol.errors import UnavailableError
from althing.protocol.messages.streams import AnchorRow

__all__ = ["ArchiveLeaves", "ChainAnchors"]


class ChainAnchors:
    """`archive.reader.AnchorRows` from the ledger's logs."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def rows(self, stream: int, first: int, end: int) -> Sequence[AnchorRow]:
        view = LedgerView(self._store)
        head = view.head(stream)
        found: list[AnchorRow] = []
        if first >= min(end, head.next_sequence):
            return found
        index = view.row_of(stream, first)
        while index < head.log_size:
            row, _ = view.row(stream, index)
            if row.first >= end:
                break
            found.append(row)
            index += 1
        return found


class ArchiveLeaves:
    """`LeafSource` from segments; what they say is checked against the anchor row before it is used."""

    def __init__(self, reader: ArchiveReader) -> None:
        self._reader = reader

    def leaf_with_path(
        self, stream: int, sequence: int, batch_root: bytes, batch_size: int, index: int
    ) -> tuple[bytes, tuple[bytes, ...]]:
        message = self._reader.message(stream, sequence)
        path = self._reader.batch_path(message)
        if (path.root, path.size, path.index) != (batch_root, batch_size, index):
            raise UnavailableError(
                "archive.segment_unavailable",
                f"the segment with sequence {sequence} is not the batch that the chain has anchored",
                hint="verify the archive: althing segment verify",
            )
        return message.leaf_bytes, path.path
