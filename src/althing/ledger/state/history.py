"""How versions are kept: tables hold the newest records, undo tables what each version replaced.

    tree        : leaf key → version ‖ leaf hash[32] ‖ length of key ‖ key ‖ value;   page key → a page record (pages.py)
                  (8 bytes of version; nothing behind it: removed at that version)
    upper       : page key → a page record, for pages so near the root that a commit touches many of them
    order       : key → nothing; lists every key that some kept version has
    undo tables : version ‖ record key → how ‖ what:
                  NEW (there was no record), WHOLE ‖ record before, SLOTS ‖ version before ‖ changed slots of a page,
                  REMOVED ‖ record before (the version removed it: pruning looks for the dead record)
    versions    : version → root[32] ‖ kind of the root ‖ number of keys (8 bytes)
    meta "span" = oldest readable version ‖ latest version ‖ version up to which undo entries are swept
    meta "loading" = version being loaded (loading.py); there is no span then

Undo entries of one version lie together and are appended in order: cheap to write, cheap to drop, and a version is
taken back by applying them to the current records. Reading at an old version follows a record's undo entries back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.ledger.state.backend import Snapshot
from althing.ledger.state.pages import SLOTS as PAGE_SLOTS
from althing.ledger.state.pages import UPPER_KEY_BYTES, refresh, restore_slots
from althing.protocol.errors import StateError

__all__ = [
    "LEAF_UNDO",
    "LOADING_KEY",
    "META",
    "NEW",
    "ORDER",
    "PAGE_UNDO",
    "REMOVED",
    "SLOTS",
    "SPAN_KEY",
    "TREE",
    "UPPER",
    "VERSIONS",
    "WHOLE",
    "Span",
    "VersionRecord",
    "key_in",
    "leaf_content",
    "page_table",
    "read_span",
    "read_version",
    "record_at",
    "record_before",
    "value_in",
    "version_key",
]

META: Final = "state.meta"
VERSIONS: Final = "state.versions"
TREE: Final = "state.tree"
UPPER: Final = "state.upper"
ORDER: Final = "state.order"
LEAF_UNDO: Final = "state.leaf.undo"
PAGE_UNDO: Final = "state.page.undo"
SPAN_KEY: Final = b"span"
LOADING_KEY: Final = b"loading"

NEW, WHOLE, SLOTS, REMOVED = b"\x00", b"\x01", b"\x02", b"\x03"


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
    """What one version is: its root, what kind of slot the root is, and how many keys it has."""

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


def page_table(key: bytes) -> str:
    """The table that holds the page of this key."""
    return UPPER if len(key) == UPPER_KEY_BYTES else TREE


def leaf_content(leaf: bytes, key: bytes, value: bytes) -> bytes:
    """What a leaf record holds behind its version."""
    return leaf + bytes((len(key),)) + key + value


def key_in(record: bytes) -> bytes:
    """The key in a live leaf record."""
    return record[41 : 41 + record[40]]


def value_in(record: bytes) -> bytes:
    """The value in a live leaf record."""
    return record[41 + record[40] :]


def record_before(record: bytes, entry: bytes) -> bytes | None:
    """The record that `entry` says was there before `record`; None when there was none."""
    how = entry[:1]
    if how == NEW:
        return None
    if how == SLOTS:
        page = bytearray(record)
        restore_slots(page, entry[1:])
        refresh(page, range(PAGE_SLOTS))
        return bytes(page)
    return entry[1:]


def record_at(snapshot: Snapshot, undo: str, key: bytes, record: bytes | None, version: bytes) -> bytes | None:
    """The live record of `key` at `version`, given the current one; None when it was absent.

    A page walked back through many versions is hashed once, at the end.
    """
    page: bytearray | None = None
    while record is not None and record[:8] > version:
        entry = snapshot.get(undo, record[:8] + key)
        assert entry is not None, "an undo entry is missing"
        how = entry[:1]
        if how == SLOTS:
            if page is None:
                page = bytearray(record)
            restore_slots(page, entry[1:])
            record = entry[1:9]  # the version is all that the walk needs
        else:
            page = None
            record = None if how == NEW else entry[1:]
    if page is not None:
        refresh(page, range(PAGE_SLOTS))
        return bytes(page)
    return None if record is None or len(record) == 8 else record
