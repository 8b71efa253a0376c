"""Repair of a damaged log: every message that can still be read is kept, every one that cannot is named.

The damaged bytes are kept in a file beside. In their place, of exactly their length, comes a group that reads: what could be
saved, and for each lost message a placeholder of the gateway under its sequence, so that the stream stays contiguous and
the loss itself is anchored. A gap shows between two messages of a stream. What was last in its stream is missed by nobody
but its sender; where the log has nothing of a stream before the damage, the anchor is refused and its messages are held.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from althing.gateway.errors import SpoolCorruptError
from althing.gateway.spool.lock import SpoolLock
from althing.gateway.spool.records import KIND_PADDING, MessageRecord, pack_message, unpack
from althing.gateway.spool.recovery import segments_of
from althing.gateway.spool.segment import (
    GROUP_BYTES,
    SegmentScan,
    frame,
    fsync_folder,
    group_head,
    segment_path,
    write_all,
    write_atomically,
)
from althing.gateway.spool.state import load_checkpoint

__all__ = ["LOST_TYPE", "Lost", "RepairReport", "repair_spool"]

LOST_TYPE: Final = "text/plain"
_LOST_BODY: Final = b"lost"


@dataclass(frozen=True, slots=True)
class Lost:
    """Messages of a stream that could not be read: placeholders stand under their sequences."""

    stream: str
    first: int
    count: int


@dataclass(slots=True)
class RepairReport:
    """What was found and done."""

    regions: int = 0
    damaged_bytes: int = 0
    kept_records: int = 0  # within the damaged regions
    lost: list[Lost] = field(default_factory=list)


@dataclass(slots=True)
class _Region:
    path: Path
    start: int
    end: int
    salt: bytes
    first_group: int
    following_group: int = -1
    records: list[bytes] = field(default_factory=list)


def repair_spool(folder: Path) -> RepairReport:
    """Repair the log in place; a log without damage is left as it is. The gateway must be stopped."""
    lock = SpoolLock(folder)
    try:
        return _repair(folder)
    finally:
        lock.release()


def _repair(folder: Path) -> RepairReport:
    report = RepairReport()
    checkpoint = load_checkpoint(folder)
    expected: dict[str, int] = dict(checkpoint.sequences) if checkpoint is not None else {}
    seen: dict[str, int] = {}  # how many regions there were when a stream was last seen
    regions: list[_Region] = []
    for region, data in _walk(folder, regions):
        record = unpack(data)
        if isinstance(record, MessageRecord):
            stream = record.stream
            following = expected.get(stream, record.sequence)
            if record.sequence > following and len(regions) > seen.get(stream, 0):
                placeholders = [_placeholder(record, sequence) for sequence in range(following, record.sequence)]
                regions[-1].records += placeholders
                report.lost.append(Lost(stream, following, len(placeholders)))
            expected[stream] = max(following, record.sequence + 1)
            seen[stream] = len(regions) - (1 if region is not None else 0)
        if region is not None:
            region.records.append(data)
            report.kept_records += 1
    for region in regions:
        _rewrite(region)
        report.regions += 1
        report.damaged_bytes += region.end - region.start
    return report


def _walk(folder: Path, regions: list[_Region]) -> Iterator[tuple[_Region | None, bytes]]:
    """All records in order, with the damaged region they were saved from; regions are added as they are met."""
    numbers = segments_of(folder)
    number = -1
    unfinished: _Region | None = None
    for segment in numbers:
        scan = SegmentScan(segment_path(folder, segment))
        if unfinished is not None:
            unfinished.following_group = scan.header.first_group
            unfinished = None
        number = scan.header.first_group
        for group in scan.groups(closed=segment != numbers[-1], repair=True):
            region = None
            if group.damaged:
                region = unfinished = _Region(scan.path, group.start, group.end, scan.header.salt, number)
                regions.append(region)
            else:
                if unfinished is not None:
                    unfinished.following_group = group.number
                    unfinished = None
                number = group.number + 1
            for record in group.records:
                yield region, record


def _placeholder(after: MessageRecord, sequence: int) -> bytes:
    """The gateway's word that a message was here: attested, with the arrival time of the next one that is known."""
    stream = after.stream.encode()
    return pack_message(stream, after.number, sequence, after.arrival_ns, LOST_TYPE.encode(), True, _LOST_BODY)


def _rewrite(region: _Region) -> None:
    size = region.end - region.start
    groups = max(1, region.following_group - region.first_group)
    frames = b"".join(frame(record) for record in region.records)
    count = len(region.records)
    free = size - groups * GROUP_BYTES - len(frames)
    if free < 0 or 0 < free < 9:
        raise SpoolCorruptError(
            region.path, region.start, "what can be said of the damaged part has no room in its place"
        )
    if free:
        frames += frame(bytes((KIND_PADDING,)) + bytes(free - 9))
        count += 1
    # Groups whose records were lost whole leave an empty one: their numbers follow one another.
    empty = [group_head(region.salt, region.first_group + index, 0, 0) for index in range(groups - 1)]
    last = group_head(region.salt, region.first_group + groups - 1, len(frames), count)
    replacement = b"".join((*empty, last, frames))
    assert len(replacement) == size
    fd = os.open(region.path, os.O_RDWR | os.O_CLOEXEC)
    try:
        aside = region.path.with_name(f"{region.path.stem}-{region.start}.damaged")
        write_atomically(aside, os.pread(fd, size, region.start))
        os.lseek(fd, region.start, os.SEEK_SET)
        write_all(fd, replacement)
        os.fsync(fd)
    finally:
        os.close(fd)
    fsync_folder(region.path.parent)
