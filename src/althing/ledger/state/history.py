"""How versions are kept: every table holds the newest record, an undo table what each version replaced.

    record      = version written (8 bytes) ‖ content;   empty content: deleted at that version
    undo key    = version ‖ key;    undo value = deleted?(1 byte) ‖ the record before (nothing: there was none)
    versions    : version → root[32] ‖ kind of the root's record ‖ number of keys (8 bytes)
    meta "span" = oldest readable version ‖ latest version ‖ version up to which undo entries are swept

Undo entries of one version lie together and are appended in order: cheap to write, cheap to drop, and a version is
taken back by writing them over the current records. Reading at an old version follows a key's undo entries back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.ledger.state.backend import Snapshot
from althing.protocol.errors import StateError

__all__ = [
    "META",
    "NAMES",
    "SPAN_KEY",
    "TREE",
    "UNDO_OF",
    "VALUES",
    "VERSIONS",
    "Span",
    "VersionRecord",
    "content_at",
    "read_span",
    "read_version",
    "undo_entry",
    "version_key",
]

META: Final = "state.meta"
VERSIONS: Final = "state.versions"
VALUES: Final = "state.values"
TREE: Final = "state.tree"
NAMES: Final = "state.names"  # path → key, for proofs that must name a neighbour; a fact, so not versioned
UNDO_OF: Final = {VALUES: "state.values.undo", TREE: "state.tree.undo"}
SPAN_KEY: Final = b"span"


@dataclass(frozen=True, slots=True)
class Span:
    """Which versions can be read. `swept` runs after `oldest` while pruning still has work."""

    oldest: int
    latest: int
    swept: int

    def encode(self) -> bytes:
        return self.oldest.to_bytes(8, "big") + self.latest.to_bytes(8, "big") + self.swept.to_bytes(8, "big")

    def check(self, version: int) -> None:
        """Raise `state.pruned` or `state.unknown_version` unless `version` can be read."""
        if version < self.oldest:
            raise StateError(
                "state.pruned",
                f"version {version} is no longer kept, the oldest is {self.oldest}",
                hint="ask a node that keeps more versions, or prove old readings through their stream's log",
            )
        if version > self.latest:
            raise StateError(
                "state.unknown_version", f"version {version} does not exist yet, the latest is {self.latest}"
            )


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What one version is: its root, what kind of record holds the root, and how many keys it has."""

    root: bytes
    kind: int
    keys: int

    def encode(self) -> bytes:
        return self.root + bytes((self.kind,)) + self.keys.to_bytes(8, "big")


def version_key(version: int) -> bytes:
    """Big-endian, so that byte order is version order."""
    return version.to_bytes(8, "big")


def read_span(snapshot: Snapshot) -> Span | None:
    """The readable versions, None before the first commit."""
    raw = snapshot.get(META, SPAN_KEY)
    if raw is None:
        return None
    return Span(int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:16], "big"), int.from_bytes(raw[16:], "big"))


def read_version(snapshot: Snapshot, version: int) -> VersionRecord:
    """The record of a version known to be readable."""
    raw = snapshot.get(VERSIONS, version_key(version))
    assert raw is not None, f"version {version} has no record"
    return VersionRecord(raw[:32], raw[32], int.from_bytes(raw[33:], "big"))


def content_at(snapshot: Snapshot, table: str, key: bytes, record: bytes | None, version: bytes) -> bytes | None:
    """The content of `key` at `version`, given its current record; None when it was absent."""
    while record is not None and record[:8] > version:
        entry = snapshot.get(UNDO_OF[table], record[:8] + key)
        assert entry is not None, "an undo entry is missing"
        record = entry[1:] or None
    if record is None or len(record) == 8:
        return None
    return record[8:]


def undo_entry(*, deleted: bool, before: bytes | None) -> bytes:
    """`deleted` marks that the version removed the key, so that pruning knows to look for a dead record."""
    return (b"\x01" if deleted else b"\x00") + (before or b"")
