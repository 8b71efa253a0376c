"""Forgetting old versions in bounded steps, and taking the newest back."""

from __future__ import annotations

from althing.ledger.state.backend import Batch, Snapshot
from althing.ledger.state.history import META, NAMES, SPAN_KEY, UNDO_OF, VALUES, VERSIONS, Span, version_key
from althing.ledger.state.nodes import path_of

__all__ = ["rollback_batch", "sweep_batch"]

_Changes = dict[str, dict[bytes, bytes | None]]


def sweep_batch(snapshot: Snapshot, span: Span, entries_max: int) -> tuple[Batch, bool]:
    """Remove what only versions before `span.oldest` need, up to `entries_max` records; True when some is left.

    An undo entry of version v serves reads before v, so those up to `oldest` go. With the entry of a deletion goes
    the dead record, unless the key was written again since.
    """
    oldest = version_key(span.oldest)
    batch: _Changes = {}
    removed = 0
    for table, undo_table in UNDO_OF.items():
        undo = batch.setdefault(undo_table, {})
        for undo_key, entry in snapshot.scan(undo_table, b"", version_key(span.oldest + 1)):
            if removed == entries_max:
                break
            removed += 1
            undo[undo_key] = None
            if entry[:1] == b"\x01":
                key = undo_key[8:]
                if snapshot.get(table, key) == undo_key[:8]:
                    batch.setdefault(table, {})[key] = None
                    if table == VALUES:
                        batch.setdefault(NAMES, {})[path_of(key)] = None
    versions = batch.setdefault(VERSIONS, {})
    for key, _ in snapshot.scan(VERSIONS, b"", oldest):
        if removed == entries_max:
            break
        removed += 1
        versions[key] = None
    more = removed == entries_max
    swept = span.swept if more else span.oldest
    batch[META] = {SPAN_KEY: Span(span.oldest, span.latest, swept).encode()}
    return batch, more


def rollback_batch(snapshot: Snapshot, span: Span, version: int) -> Batch:
    """Undo all versions after `version`, newest first, so that the oldest undone record stays."""
    batch: _Changes = {}
    after = version_key(version + 1)
    oldest = version_key(span.oldest)
    for table, undo_table in UNDO_OF.items():
        undo = batch.setdefault(undo_table, {})
        current = batch.setdefault(table, {})
        for undo_key, entry in snapshot.scan(undo_table, after, reverse=True):
            undo[undo_key] = None
            record = entry[1:] or None
            if record is not None and len(record) == 8 and record <= oldest:
                record = None  # deleted before anything readable: sweeping would not meet it again
            current[undo_key[8:]] = record
        if table == VALUES:
            batch[NAMES] = {path_of(key): None for key, record in current.items() if record is None}
    batch[VERSIONS] = {key: None for key, _ in snapshot.scan(VERSIONS, after)}
    batch[META] = {SPAN_KEY: Span(span.oldest, version, span.swept).encode()}
    return batch
