"""Segment files of the spool: a header, then groups of records as they were fsynced together.

    header   magic, version, salt of this file, genesis hash, segment number, number of its first group, CRC-32
    group    magic, salt, group number, bytes of its records, count, CRC-32 of this head; then the records
    record   length, CRC-32, bytes

A group is written only after the one before it was fsynced. So a damaged group with a later one behind it was durable
once: that is corruption. A damaged last group was never acknowledged: it is cut. The salt, drawn per file, keeps a
message's body from posing as a group's head.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from althing.gateway.errors import SpoolCorruptError, SpoolError

__all__ = [
    "GROUP_BYTES",
    "HEADER_BYTES",
    "Group",
    "Position",
    "SegmentHeader",
    "SegmentScan",
    "frame",
    "fsync_folder",
    "group_head",
    "read_records",
    "segment_path",
    "write_all",
    "write_atomically",
]

_MAGIC: Final = b"althspl1"
_GROUP_MAGIC: Final = b"GRUP"
_HEADER: Final = struct.Struct("<8s8s32sQQI")
_GROUP: Final = struct.Struct("<4s8sQIII")
_FRAME: Final = struct.Struct("<II")
HEADER_BYTES: Final = _HEADER.size
GROUP_BYTES: Final = _GROUP.size


class Position(NamedTuple):
    """A place in the log: number of the segment, and byte at which a group begins. Positions compare in log order."""

    segment: int
    offset: int


def segment_path(folder: Path, number: int) -> Path:
    return folder / f"log-{number:012d}.seg"


def frame(record: bytes) -> bytes:
    """A record with its length and checksum."""
    return _FRAME.pack(len(record), crc32(record)) + record


def group_head(salt: bytes, number: int, size: int, count: int) -> bytes:
    """The head of a group whose frames take `size` bytes."""
    head = _GROUP.pack(_GROUP_MAGIC, salt, number, size, count, 0)[:-4]
    return head + struct.pack("<I", crc32(head))


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What a segment file says of itself."""

    salt: bytes
    genesis_hash: bytes
    number: int
    first_group: int

    def to_bytes(self) -> bytes:
        head = _HEADER.pack(_MAGIC, self.salt, self.genesis_hash, self.number, self.first_group, 0)[:-4]
        return head + struct.pack("<I", crc32(head))

    @classmethod
    def from_bytes(cls, path: Path, data: bytes) -> SegmentHeader:
        if len(data) < HEADER_BYTES:
            raise SpoolCorruptError(path, 0, "the header is incomplete")
        magic, salt, genesis, number, first, check = _HEADER.unpack_from(data)
        if magic[:7] != _MAGIC[:7]:
            raise SpoolCorruptError(path, 0, "this is not a segment of a spool")
        if magic != _MAGIC:
            raise SpoolError("spool.version", f"{path} is of another version", hint="upgrade the gateway")
        if crc32(data[: HEADER_BYTES - 4]) != check:
            raise SpoolCorruptError(path, 0, "the header does not match its checksum")
        return cls(salt, genesis, number, first)


class Group(NamedTuple):
    """One group as read: where it begins and ends, and its records. Damaged records are left out and counted."""

    number: int
    start: int
    end: int
    records: list[bytes]
    damaged: int


class SegmentScan:
    """Reads one segment file. `torn` is where a damaged last group begins, or None; known after `groups` ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path.read_bytes()
        self.header = SegmentHeader.from_bytes(path, self.data)
        self.torn: int | None = None
        self.end = HEADER_BYTES

    def groups(self, start: int = HEADER_BYTES, *, closed: bool = False, repair: bool = False) -> Iterator[Group]:
        """Groups from byte `start` on. Damage with a later group behind it (in this file, or because the file is
        `closed`: another one follows) is SpoolCorruptError; repair steps over it and keeps what its checksum holds."""
        at = start
        while True:
            group = self._read(at)
            if group is not None and not group.damaged:
                yield group
                at = self.end = group.end
                continue
            # 1. An allocated file ends in zeros, a closed one exactly after its last group.
            if group is None and not self.data[at:].strip(b"\0"):
                self.end = at
                return
            following = self._resync(at)
            # 2. What was not finished when the process died was never acknowledged.
            if following is None and not closed:
                self.end = self.torn = at
                return
            # 3. What others followed was.
            if not repair:
                raise SpoolCorruptError(self.path, at, "records that were durable cannot be read")
            yield self._salvage(at, len(self.data) if following is None else following)
            at = self.end = len(self.data) if following is None else following

    def _head(self, at: int) -> tuple[int, int, int] | None:
        if at + GROUP_BYTES > len(self.data):
            return None
        magic, salt, number, size, count, check = _GROUP.unpack_from(self.data, at)
        if magic != _GROUP_MAGIC or salt != self.header.salt:
            return None
        if crc32(self.data[at : at + GROUP_BYTES - 4]) != check:
            return None
        return number, size, count

    def _read(self, at: int) -> Group | None:
        head = self._head(at)
        if head is None:
            return None
        number, size, count = head
        start = at + GROUP_BYTES
        if start + size > len(self.data):
            return None
        records, damaged = _frames(self.data, start, start + size, count)
        return Group(number, at, start + size, records, damaged)

    def _resync(self, at: int) -> int | None:
        """Where the next readable head of a group begins after `at`."""
        mark = _GROUP_MAGIC + self.header.salt
        found = self.data.find(mark, at + 1)
        while found >= 0:
            if self._head(found) is not None:
                return found
            found = self.data.find(mark, found + 1)
        return None

    def _salvage(self, at: int, following: int) -> Group:
        records, _ = _frames(self.data, min(at + GROUP_BYTES, following), following, -1)
        return Group(-1, at, following, records, 1)


def read_records(path: Path, start: int, stop: int | None) -> list[bytes]:
    """The records of the groups from byte `start` to byte `stop` (None: to the end of a closed file), all durable."""
    with path.open("rb") as file:
        salt = SegmentHeader.from_bytes(path, file.read(HEADER_BYTES)).salt
        file.seek(start)
        data = file.read() if stop is None else file.read(stop - start)
    records: list[bytes] = []
    at = 0
    while at < len(data):
        if at + GROUP_BYTES > len(data):
            raise SpoolCorruptError(path, start + at, "the head of a group is incomplete")
        magic, own, _, size, count, check = _GROUP.unpack_from(data, at)
        body = at + GROUP_BYTES
        if magic != _GROUP_MAGIC or own != salt or crc32(data[at : body - 4]) != check or body + size > len(data):
            raise SpoolCorruptError(path, start + at, "the head of a group cannot be read")
        found, damaged = _frames(data, body, body + size, count)
        if damaged:
            raise SpoolCorruptError(path, start + at, "a record does not match its checksum")
        records += found
        at = body + size
    if stop is not None and at != stop - start:
        raise SpoolCorruptError(path, start + at, "the file is shorter than it was")
    return records


def _frames(data: bytes, at: int, end: int, count: int) -> tuple[list[bytes], int]:
    records: list[bytes] = []
    damaged = 0
    while at + 8 <= end:
        length, check = _FRAME.unpack_from(data, at)
        stop = at + 8 + length
        if not length or stop > end:
            damaged += 1
            break
        record = data[at + 8 : stop]
        if crc32(record) == check:
            records.append(record)
        else:
            damaged += 1
        at = stop
    if count >= 0 and not damaged and (len(records) != count or at != end):
        damaged = 1
    return records, damaged


def fsync_folder(folder: Path) -> None:
    """Make names in a folder durable: a new or renamed file is not safe before."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a small file so that after a crash it is the old or the new one, whole."""
    new = path.with_name(path.name + ".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    new.replace(path)
    fsync_folder(path.parent)


def write_all(fd: int, data: bytes) -> None:
    """Write all of it; os.write may take only a part."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
