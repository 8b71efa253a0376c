"""The state as it was at one version: values, ordered scans and proofs."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from althing.ledger.state.backend import Backend, Snapshot
from althing.ledger.state.history import (
    NAMES,
    TREE,
    VALUES,
    Span,
    VersionRecord,
    content_at,
    read_span,
    version_key,
)
from althing.ledger.state.nodes import path_of
from althing.ledger.state.tree import find, neighbour
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
        return content_at(snapshot, VALUES, key, snapshot.get(VALUES, key), self._version_key)

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
        """Up to `size` entries, and the key to go on behind (None: the range is done)."""
        chunk: list[tuple[bytes, bytes]] = []
        visited = 0
        with self._backend.read() as snapshot:
            self._span(snapshot)
            for key, record in snapshot.scan(VALUES, low, high, reverse=reverse):
                visited += 1
                content = content_at(snapshot, VALUES, key, record, self._version_key)
                if content is not None:
                    chunk.append((key, content))
                if len(chunk) == size or visited == 4 * _CHUNK_MAX:  # a run of deleted keys must not hold the snapshot
                    return chunk, key
        return chunk, None

    def prove(self, key: bytes) -> tuple[bytes | None, PresenceProof | AbsenceProof]:
        """The value with the proof that it is there, or None with the proof that the key is absent."""
        with self._backend.read() as snapshot:
            self._span(snapshot)
            value = self._value(snapshot, key)
            if value is not None:
                return value, self._presence(snapshot, key)
            path = path_of(key)
            siblings, end = find(self._loader(snapshot), self._record.kind, path)
            terminal = None
            if end is not None:
                assert end != path, "a key without value has a leaf"
                terminal = Terminal(end, sha256(self._value_at_path(snapshot, end)[1]).digest())
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
        siblings, end = find(self._loader(snapshot), self._record.kind, path)
        assert end == path, "a key with a value has no leaf"
        return PresenceProof(tuple(reversed(siblings)))

    def _neighbour(self, snapshot: Snapshot, key: bytes, *, right: bool) -> tuple[bytes, bytes, PresenceProof] | None:
        path = neighbour(self._loader(snapshot), self._record.kind, path_of(key), right=right)
        if path is None:
            return None
        name, value = self._value_at_path(snapshot, path)
        return name, value, self._presence(snapshot, name)

    def _value_at_path(self, snapshot: Snapshot, path: bytes) -> tuple[bytes, bytes]:
        name = snapshot.get(NAMES, path)
        assert name is not None, "a leaf's key is unknown"
        value = self._value(snapshot, name)
        assert value is not None, "a leaf has no value"
        return name, value

    def _loader(self, snapshot: Snapshot) -> _Loader:
        return _Loader(snapshot, self._version_key)


class _Loader:
    """Tree records as they were at one version."""

    def __init__(self, snapshot: Snapshot, version: bytes) -> None:
        self._snapshot = snapshot
        self._version = version

    def __call__(self, key: bytes) -> bytes | None:
        return content_at(self._snapshot, TREE, key, self._snapshot.get(TREE, key), self._version)


def _prefix_end(prefix: bytes) -> bytes | None:
    """The first key behind all that begin with `prefix`; None when there is no end."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None
