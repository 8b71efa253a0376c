"""The state as it was at one version: values, ordered scans and proofs."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from typing import Final

from althing.ledger.state.backend import Backend, Snapshot
from althing.ledger.state.history import (
    LEAF_UNDO,
    ORDER,
    TREE,
    Span,
    VersionRecord,
    key_in,
    read_span,
    record_at,
    value_in,
    version_key,
)
from althing.ledger.state.nodes import path_of
from althing.ledger.state.records import RecordsAt
from althing.ledger.state.tree import find, leaf_key, neighbour
from althing.protocol.errors import StateError
from althing.protocol.stateproof import (
    AbsenceProof,
    PresenceProof,
    Terminal,
    absence_to_ics23,
    presence_to_ics23,
)

__all__ = ["StateView"]

_CHUNK_MIN: Final = 32
_CHUNK_MAX: Final = 1024
_CHUNK_BYTES: Final = 1 << 22


class StateView:
    """Reads at one version, from any thread, for as long as the version is kept (then `state.pruned`).

    Every call opens a short snapshot of its own, so a view may be held without cost and need not be closed.
    """

    def __init__(self, backend: Backend, version: int, record: VersionRecord) -> None:
        self._backend = backend
        self._version = version
        self._version_key = version_key(version)
        self._record = record

    @property
    def version(self) -> int:
        return self._version

    @property
    def root(self) -> bytes:
        """Root of the state tree; 32 zero bytes while there is no key."""
        return self._record.root

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return self._record.keys

    def _span(self, snapshot: Snapshot) -> Span:
        span = read_span(snapshot)
        if span is None:
            raise StateError("state.uninitialised", "there is no version yet")
        span.check(self._version)
        return span

    def _value(self, snapshot: Snapshot, key: bytes) -> bytes | None:
        record = self._leaf(snapshot, path_of(key))
        return None if record is None else value_in(record)

    def _leaf(self, snapshot: Snapshot, path: bytes) -> bytes | None:
        key = leaf_key(path)
        return record_at(snapshot, LEAF_UNDO, key, snapshot.get(TREE, key), self._version_key)

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, None when it has none."""
        with self._backend.read() as snapshot:
            self._span(snapshot)
            return self._value(snapshot, key)

    def scan(
        self, prefix: bytes, start: bytes | None = None, limit: int | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Entries whose key begins with `prefix`, in key byte order (or the opposite), at most `limit`.

        Begins at `start`, inclusive in either direction. Lazy: reads in chunks, all at this view's version, even
        while later versions are committed.
        """
        low, high = prefix, _prefix_end(prefix)
        if start is not None:
            if reverse:
                after = start + b"\x00"
                high = after if high is None else min(high, after)
            else:
                low = max(low, start)
        left = -1 if limit is None else limit
        size = _CHUNK_MIN
        while left != 0:
            chunk, last = self._chunk(low, high, size if left < 0 else min(size, left), reverse)
            yield from chunk
            if last is None:
                return
            left -= len(chunk) if left > 0 else 0
            low, high = (low, last) if reverse else (last + b"\x00", high)
            size = min(size * 2, _CHUNK_MAX)

    def _chunk(
        self, low: bytes, high: bytes | None, size: int, reverse: bool
    ) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """What the next `size` listed keys have at this version, and the key to go on behind (None: that was all)."""
        chunk: list[tuple[bytes, bytes]] = []
        with self._backend.read() as snapshot:
            self._span(snapshot)
            listed = [key for key, _ in islice(snapshot.scan(ORDER, low, high, reverse=reverse), size)]
            held = 0
            for key in listed:
                record = self._leaf(snapshot, path_of(key))
                if record is not None:
                    chunk.append((key, value_in(record)))
                    held += len(record)
                    if held > _CHUNK_BYTES:  # values may be large: a chunk is bounded in bytes too
                        return chunk, key
        return chunk, listed[-1] if len(listed) == size else None

    def prove(self, key: bytes) -> tuple[bytes | None, PresenceProof | AbsenceProof]:
        """The value with the proof that it is there, or None with the proof that the key is absent."""
        with self._backend.read() as snapshot:
            self._span(snapshot)
            value = self._value(snapshot, key)
            if value is not None:
                return value, self._presence(snapshot, key)
            path = path_of(key)
            siblings, end = find(RecordsAt(snapshot, self._version_key), self._record.kind, path)
            terminal = None
            if end is not None:
                assert end != path, "a key without value has a leaf"
                record = self._leaf(snapshot, end)
                assert record is not None, "a leaf of the tree has no record"
                terminal = Terminal(end, sha256(value_in(record)).digest())
            return None, AbsenceProof(tuple(reversed(siblings)), terminal)

    def prove_ics23(self, key: bytes) -> tuple[bytes | None, bytes]:
        """As `prove`, but the proof is an ICS-23 `CommitmentProof` for any stock verifier (docs/spec/state.md §5).

        Absence is shown there by the two neighbouring keys, so an empty tree has no such proof: `state.empty`.
        """
        with self._backend.read() as snapshot:
            self._span(snapshot)
            value = self._value(snapshot, key)
            if value is not None:
                return value, presence_to_ics23(key, value, self._presence(snapshot, key))
            if self._record.keys == 0:
                raise StateError("state.empty", "ICS-23 cannot prove absence from an empty state")
            return None, absence_to_ics23(
                key, self._neighbour(snapshot, key, right=False), self._neighbour(snapshot, key, right=True)
            )

    def _presence(self, snapshot: Snapshot, key: bytes) -> PresenceProof:
        path = path_of(key)
        siblings, end = find(RecordsAt(snapshot, self._version_key), self._record.kind, path)
        assert end == path, "a key with a value has no leaf"
        return PresenceProof(tuple(reversed(siblings)))

    def _neighbour(self, snapshot: Snapshot, key: bytes, *, right: bool) -> tuple[bytes, bytes, PresenceProof] | None:
        path = neighbour(RecordsAt(snapshot, self._version_key), self._record.kind, path_of(key), right=right)
        if path is None:
            return None
        record = self._leaf(snapshot, path)
        assert record is not None, "a leaf of the tree has no record"
        name = key_in(record)
        return name, value_in(record), self._presence(snapshot, name)


def _prefix_end(prefix: bytes) -> bytes | None:
    """The first key behind all that begin with `prefix`; None when there is no end."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None
