"""The versioned, authenticated key-value state: stage a version, commit it, read any kept version, prune, roll back.

Staging computes the root and writes nothing; committing writes values, tree, root, version and the caller's own
tables in one atomic, durable batch (ABCI 2.0: FinalizeBlock and Commit).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from althing.ledger.state.backend import Backend, Batch, Snapshot
from althing.ledger.state.history import (
    LEAF_UNDO,
    LOADING_KEY,
    META,
    NEW,
    ORDER,
    PAGE_UNDO,
    REMOVED,
    SPAN_KEY,
    TREE,
    UPPER,
    VERSIONS,
    WHOLE,
    Span,
    VersionRecord,
    leaf_content,
    page_table,
    read_span,
    read_version,
    version_key,
)
from althing.ledger.state.nodes import EMPTY
from althing.ledger.state.pages import UPPER_KEY_BYTES
from althing.ledger.state.pruning import rollback_batch, sweep_batch
from althing.ledger.state.records import CurrentRecords
from althing.ledger.state.tree import Change, TreeUpdate
from althing.ledger.state.view import StateView
from althing.protocol.errors import StateError

__all__ = ["FORMAT_VERSION", "STATE_KEY_BYTES_MAX", "STATE_VALUE_BYTES_MAX", "Staged", "StateStore", "checked_extra"]

FORMAT_VERSION: Final = 2  # of the tables on the disk; what is hashed has versions of its own
STATE_KEY_BYTES_MAX: Final = 255
STATE_VALUE_BYTES_MAX: Final = 1 << 20

_RESERVED: Final = "state."
_EMPTY_VERSION: Final = VersionRecord(EMPTY, 0, 0)


@dataclass(frozen=True, slots=True)
class Staged:
    """A version computed but not written. Valid while the version it builds on is the latest."""

    version: int
    root: bytes
    keys: int
    base: int | None
    batch: Batch


class StateStore:
    """One writer at a time stages and commits; views are read from any thread."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def backend(self) -> Backend:
        """For side tables: `with store.backend.read() as snapshot: snapshot.get("my.table", key)`."""
        return self._backend

    @property
    def latest_version(self) -> int | None:
        """The last committed version, None before the first."""
        with self._backend.read() as snapshot:
            span = read_span(snapshot)
        return None if span is None else span.latest

    @property
    def oldest_version(self) -> int | None:
        """The oldest version that can be read, None before the first."""
        with self._backend.read() as snapshot:
            span = read_span(snapshot)
        return None if span is None else span.oldest

    def root(self, version: int | None = None) -> bytes:
        """Root of the tree at a kept version (default: the latest)."""
        return self.view(version).root

    def view(self, version: int | None = None) -> StateView:
        """Reads at a kept version (default: the latest); `state.pruned`, `state.unknown_version`."""
        with self._backend.read() as snapshot:
            span = read_span(snapshot)
            if span is None:
                raise StateError("state.uninitialised", "there is no version yet", hint="commit a genesis state first")
            at = span.latest if version is None else version
            span.check(at)
            return StateView(self._backend, at, read_version(snapshot, at))

    def iterate(self, version: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        """All entries of a kept version in key order: the content of a snapshot, which `StateLoader` takes.

        Lazy and in bounded memory; later commits do not disturb it, pruning the version ends it (`state.pruned`).
        """
        return self.view(version).scan(b"")

    def stage(self, version: int, writes: Mapping[bytes, bytes | None]) -> Staged:
        """Compute the version after the latest from `writes` (None deletes) without persisting anything.

        Keys have 1 to 255 bytes, values 1 to 2^20. Writing what is there already changes nothing. The first
        version may have any number, later ones follow without gaps: `state.version_order`.
        """
        for key, value in writes.items():
            assert 0 < len(key) <= STATE_KEY_BYTES_MAX, "state keys have 1 to 255 bytes"
            assert value is None or 0 < len(value) <= STATE_VALUE_BYTES_MAX, "state values have 1 to 2^20 bytes"
        with self._backend.read() as snapshot:
            span = read_span(snapshot)
            if span is None and snapshot.get(META, LOADING_KEY) is not None:
                raise StateError(
                    "state.loading",
                    "a snapshot was not loaded to its end",
                    hint="load it again, or use an empty directory",
                )
            if span is not None and version != span.latest + 1:
                raise StateError("state.version_order", f"version {version} cannot follow {span.latest}")
            before = _EMPTY_VERSION if span is None else read_version(snapshot, span.latest)
            batch, after = _stage(snapshot, version_key(version), before, writes)
        oldest, swept = (version, version) if span is None else (span.oldest, span.swept)
        batch[VERSIONS] = {version_key(version): after.encode()}
        batch[META] = {SPAN_KEY: Span(oldest, version, swept).encode()}
        return Staged(version, after.root, after.keys, None if span is None else span.latest, batch)

    def commit(self, staged: Staged, extra: Batch | None = None) -> None:
        """Persist a staged version and the caller's side tables in one atomic, durable write.

        `state.stale` when another version was committed in between: stage again.
        """
        latest = self.latest_version
        if latest != staged.base:
            raise StateError(
                "state.stale", f"version {staged.version} was staged on {staged.base}, the latest is {latest}"
            )
        self._backend.write({**staged.batch, **checked_extra(extra)})

    def prune(self, keep_versions: int, *, entries_max: int = 20_000) -> bool:
        """Make all but the newest `keep_versions` unreadable, and remove at most `entries_max` of their records.

        True while there is more to remove: call again, best after a commit.
        """
        assert keep_versions >= 1, "the latest version is always kept"
        with self._backend.read() as snapshot:
            span = read_span(snapshot)
            if span is None:
                return False
            oldest = max(span.oldest, span.latest - keep_versions + 1)
            if span.swept >= oldest:
                return False
            batch, more = sweep_batch(snapshot, Span(oldest, span.latest, span.swept), entries_max)
        self._backend.write(batch)
        return more

    def rollback(self, version: int, extra: Batch | None = None) -> None:
        """Take back every version after `version`, for operators; `extra` corrects the caller's side tables."""
        with self._backend.read() as snapshot:
            span = read_span(snapshot)
            if span is None:
                raise StateError("state.uninitialised", "there is no version yet")
            span.check(version)
            batch = rollback_batch(snapshot, span, version)
        self._backend.write({**batch, **checked_extra(extra)})


def checked_extra(extra: Batch | None) -> Batch:
    """The caller's side tables, none of which is the store's own."""
    for name in extra or ():
        assert not name.startswith(_RESERVED), "tables named state.* belong to the state store"
    return extra or {}


def _stage(
    snapshot: Snapshot, version: bytes, before: VersionRecord, writes: Mapping[bytes, bytes | None]
) -> tuple[dict[str, dict[bytes, bytes | None]], VersionRecord]:
    """The batch of a version: 1. leaves with their undo entries, in path order, 2. pages with theirs."""
    tree: dict[bytes, bytes | None] = {}
    order: dict[bytes, bytes | None] = {}
    leaf_undo: dict[bytes, bytes | None] = {}
    changes: list[Change] = []
    keys = before.keys
    # 1.
    ordered = sorted([(sha256(key).digest(), key) for key in writes])
    records = snapshot.get_many(TREE, [path + b"\xff" for path, _ in ordered])
    for (path, key), old in zip(ordered, records, strict=True):
        value = writes[key]
        record_key = path + b"\xff"
        present = old is not None and len(old) > 8
        if value is None:
            if present:
                assert old is not None
                tree[record_key] = version
                leaf_undo[version + record_key] = REMOVED + old
                changes.append((path, None, True))
                keys -= 1
            continue
        leaf = sha256(b"\x00" + path + sha256(value).digest()).digest()
        if old is None:
            order[key] = b""
            leaf_undo[version + record_key] = NEW
        else:
            if old[8:40] == leaf:
                continue
            leaf_undo[version + record_key] = WHOLE + old
        if not present:
            keys += 1
        tree[record_key] = version + leaf_content(leaf, key, value)
        changes.append((path, leaf, present))
    if not changes:
        return {}, before
    # 2.
    update = TreeUpdate(CurrentRecords(snapshot), version)
    root, kind = update.apply(before.kind, changes)
    for page, record in update.grown.items():  # perhaps over the dead record of an older one
        dead = snapshot.get(page_table(page), page)
        update.undo[version + page] = NEW if dead is None else WHOLE + dead
        (update.upper if len(page) == UPPER_KEY_BYTES else update.pages)[page] = record
    tree.update(update.pages)
    batch = {TREE: tree, UPPER: update.upper, ORDER: order, LEAF_UNDO: leaf_undo, PAGE_UNDO: update.undo}
    return batch, VersionRecord(root, kind, keys)
