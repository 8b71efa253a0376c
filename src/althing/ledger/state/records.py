"""The stored tree as `tree` reads it: as it is now, for the next version, or as it was, for proofs."""

from __future__ import annotations

from althing.ledger.state.backend import Snapshot
from althing.ledger.state.history import LEAF_UNDO, PAGE_UNDO, TREE, page_table, record_at

__all__ = ["CurrentRecords", "RecordsAt"]

_LEAF_KEY_BYTES = 33


class CurrentRecords:
    """The newest records."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def page(self, key: bytes) -> bytes | None:
        return self._snapshot.get(page_table(key), key)

    def leaves(self, start: bytes, stop: bytes | None) -> tuple[list[int], list[bytes]]:
        paths: list[int] = []
        leaves: list[bytes] = []
        for key, record in self._snapshot.scan(TREE, start, stop):
            if len(key) == _LEAF_KEY_BYTES and key[32] == 255 and len(record) > 8:
                paths.append(int.from_bytes(key[:32], "big"))
                leaves.append(record[8:40])
        return paths, leaves


class RecordsAt:
    """The records of one kept version."""

    def __init__(self, snapshot: Snapshot, version: bytes) -> None:
        self._snapshot = snapshot
        self._version = version

    def page(self, key: bytes) -> bytes | None:
        return record_at(self._snapshot, PAGE_UNDO, key, self._snapshot.get(page_table(key), key), self._version)

    def leaves(self, start: bytes, stop: bytes | None) -> tuple[list[int], list[bytes]]:
        paths: list[int] = []
        leaves: list[bytes] = []
        for key, current in self._snapshot.scan(TREE, start, stop):
            if len(key) == _LEAF_KEY_BYTES and key[32] == 255:
                record = record_at(self._snapshot, LEAF_UNDO, key, current, self._version)
                if record is not None:
                    paths.append(int.from_bytes(key[:32], "big"))
                    leaves.append(record[8:40])
        return paths, leaves
