"""Forgetting old versions in bounded steps, and taking the newest back."""

from __future__ import annotations

from althing.ledger.state.backend import Batch, Snapshot
from althing.ledger.state.history import (
    LEAF_UNDO,
    META,
    ORDER,
    PAGE_UNDO,
    REMOVED,
    SPAN_KEY,
    TREE,
    UPPER,
    VERSIONS,
    Span,
    key_in,
    page_table,
    record_before,
    version_key,
)

__all__ = ["rollback_batch", "sweep_batch"]

_Changes = dict[str, dict[bytes, bytes | None]]


def sweep_batch(snapshot: Snapshot, span: Span, entries_max: int) -> tuple[Batch, bool]:
    """Remove what only versions before `span.oldest` need, up to `entries_max` records; True when some is left.

    An undo entry of version v serves reads before v, so those up to `oldest` go. With the entry of a removal goes
    the dead record, unless the key was written again since.
    """
    order: dict[bytes, bytes | None] = {}
    batch: _Changes = {TREE: {}, UPPER: {}, ORDER: order}
    left = entries_max
    for table in (LEAF_UNDO, PAGE_UNDO):
        undo = batch[table] = {}
        for undo_key, entry in snapshot.scan(table, b"", version_key(span.oldest + 1)):
            if not left:
                break
            left -= 1
            undo[undo_key] = None
            key = undo_key[8:]
            where = page_table(key)
            if entry[:1] == REMOVED and snapshot.get(where, key) == undo_key[:8]:
                batch[where][key] = None
                if table == LEAF_UNDO:
                    order[key_in(entry[1:])] = None
    versions = batch[VERSIONS] = {}
    for key, _ in snapshot.scan(VERSIONS, b"", version_key(span.oldest)):
        if not left:
            break
        left -= 1
        versions[key] = None
    swept = span.oldest if left else span.swept
    batch[META] = {SPAN_KEY: Span(span.oldest, span.latest, swept).encode()}
    return batch, not left


def rollback_batch(snapshot: Snapshot, span: Span, version: int) -> Batch:
    """Undo all versions after `version`, newest first, so that the oldest undone record stays."""
    order: dict[bytes, bytes | None] = {}
    batch: _Changes = {TREE: {}, UPPER: {}, ORDER: order}
    after = version_key(version + 1)
    oldest = version_key(span.oldest)
    for table in (LEAF_UNDO, PAGE_UNDO):
        undo = batch[table] = {}
        for undo_key, entry in snapshot.scan(table, after, reverse=True):
            undo[undo_key] = None
            key = undo_key[8:]
            where = page_table(key)
            records = batch[where]
            record = records[key] if key in records else snapshot.get(where, key)
            assert record is not None, "an undo entry without its record"
            before = record_before(record, entry)
            if before is not None and len(before) == 8 and before <= oldest:
                before = None  # removed before anything readable: sweeping would not meet it again
            if before is None and table == LEAF_UNDO:
                order[key_in(record)] = None
            records[key] = before
    batch[VERSIONS] = {key: None for key, _ in snapshot.scan(VERSIONS, after)}
    batch[META] = {SPAN_KEY: Span(span.oldest, version, span.swept).encode()}
    return batch
