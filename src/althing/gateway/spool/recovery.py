"""What a spool finds when it opens: the log read again after its last checkpoint.

1. The state file names the chain; another chain's spool is refused.
2. Segments are there without a hole, and none ends before what is known to have been durable.
3. A damaged end was never acknowledged and is cut; damage before it is SpoolCorruptError.
4. Records after the checkpoint bring sequences, counters and keys up to date; those after `confirmed` wait for a batch.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from althing.gateway.errors import SpoolCorruptError, SpoolError
from althing.gateway.spool.index import DedupIndex, digest_of
from althing.gateway.spool.records import MessageRecord, RefusalRecord, unpack
from althing.gateway.spool.segment import HEADER_BYTES, Group, Position, SegmentScan, fsync_folder, segment_path
from althing.gateway.spool.state import PipelineState, load_checkpoint, load_state, save_state

__all__ = ["Recovered", "Step", "recover", "segments_of"]

_REFUSALS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of the durable log that is not anchored yet."""

    end: Position
    messages: int
    records: int
    bytes: int
    first_arrival_ns: int


@dataclass(slots=True)
class Recovered:
    """The spool as it stands on the disk."""

    state: PipelineState
    index: DedupIndex
    end: Position
    checkpointed: Position
    first_segment: int = 1
    next_segment: int = 1
    next_group: int = 0
    cut_bytes: int = 0
    sequences: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    refusals: deque[RefusalRecord] = field(default_factory=lambda: deque(maxlen=_REFUSALS_KEPT))
    steps: list[Step] = field(default_factory=list)


def segments_of(folder: Path) -> list[int]:
    """Numbers of the segment files, ascending."""
    return sorted(int(path.stem[4:]) for path in folder.glob("log-*.seg") if path.stem[4:].isdecimal())


def recover(folder: Path, genesis_hash: bytes, window: int, keys_max: int) -> Recovered:
    """Read the spool, cut what was never acknowledged, or SpoolError."""
    try:
        return _recover(folder, genesis_hash, window, keys_max)
    except OSError as error:
        raise SpoolError(
            "spool.unwritable",
            f"the spool {folder} cannot be used: {error.strerror or error}",
            hint="look at the disk, and at the owner and mode of the folder",
        ) from error


def _recover(folder: Path, genesis_hash: bytes, window: int, keys_max: int) -> Recovered:
    # 1
    state = load_state(folder)
    if state is None:
        state = PipelineState(genesis_hash, Position(0, 0), 0)
        save_state(folder, state)
    if state.genesis_hash != genesis_hash:
        raise SpoolError(
            "spool.foreign_chain",
            f"the spool {folder} belongs to the chain {state.genesis_hash.hex()[:16]}…",
            hint="give this gateway the home of its chain, or an empty one",
        )
    found = Recovered(state, DedupIndex(window, keys_max), state.confirmed, Position(0, 0))
    checkpoint = load_checkpoint(folder)
    if checkpoint is not None:
        found.checkpointed = checkpoint.position
        found.sequences = checkpoint.sequences
        found.next_group = checkpoint.group
        found.index.load(checkpoint.index)
    # 2
    numbers = _drop_unused(folder, segments_of(folder))
    if numbers:
        found.first_segment, found.next_segment = numbers[0], numbers[-1] + 1
        missing = sorted(set(range(numbers[0], numbers[-1])) - set(numbers))
        if missing:
            raise SpoolCorruptError(segment_path(folder, missing[0]), 0, "the file is missing")
    else:
        found.first_segment = found.next_segment = max(state.confirmed.segment, found.checkpointed.segment) + 1
    # 3, 4
    expected: int | None = None
    for number in numbers:
        scan = _open(segment_path(folder, number), genesis_hash, number)
        if expected is not None and scan.header.first_group != expected:
            raise SpoolCorruptError(scan.path, 0, "groups are missing before this file")
        expected = scan.header.first_group
        for group in scan.groups(closed=number != numbers[-1]):
            if group.number != expected:
                raise SpoolCorruptError(scan.path, group.start, "a group of records is missing")
            expected += 1
            _take(found, number, group)
        found.end = Position(number, scan.end)
        if number == numbers[-1] and scan.end < len(scan.data):
            found.cut_bytes = len(scan.data) - scan.end if scan.torn is not None else 0
            _cut(scan.path, scan.end)
    if expected is not None:
        found.next_group = expected
    durable = max(state.confirmed, found.checkpointed, state.frozen.end if state.frozen else state.confirmed)
    if (numbers and found.end < durable) or (not numbers and durable.segment):
        path = segment_path(folder, durable.segment)
        raise SpoolCorruptError(path, found.end.offset, f"durable records up to byte {durable.offset} are missing")
    return found


def _open(path: Path, genesis_hash: bytes, number: int) -> SegmentScan:
    scan = SegmentScan(path)
    if scan.header.genesis_hash != genesis_hash:
        raise SpoolError("spool.foreign_chain", f"{path} belongs to another chain", hint="take the file out")
    if scan.header.number != number:
        raise SpoolCorruptError(path, 0, "the file was renamed")
    return scan


def _take(found: Recovered, segment: int, group: Group) -> None:
    start, end = Position(segment, group.start), Position(segment, group.end)
    fresh = start >= found.checkpointed
    waits = end > found.state.confirmed
    if not fresh and not waits:
        return
    messages, first = 0, 0
    for data in group.records:
        record = unpack(data)
        if record is None:
            continue
        first = first or record.arrival_ns
        if isinstance(record, RefusalRecord):
            found.refusals.append(record)
            continue
        messages += 1
        if waits:
            found.waiting[record.stream] = found.waiting.get(record.stream, 0) + 1
        if fresh:
            _remember(found, record)
    if waits:
        found.steps.append(Step(end, messages, len(group.records), group.end - group.start, first))


def _remember(found: Recovered, record: MessageRecord) -> None:
    found.sequences[record.stream] = record.sequence + 1
    if record.counter is not None:
        device = record.device
        if found.index.find_counter(device, record.counter) is None:
            digest = digest_of(record.body)
            found.index.add_counter(device, record.counter, record.stream, record.sequence, digest)
    elif record.key:
        found.index.add_key(record.stream, record.key, record.sequence, digest_of(record.body))


def _drop_unused(folder: Path, numbers: list[int]) -> list[int]:
    """Take away a last segment whose creation was cut short: nothing was ever in it."""
    if not numbers:
        return numbers
    path = segment_path(folder, numbers[-1])
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
        empty = not head.strip(b"\0") and not any(chunk.strip(b"\0") for chunk in iter(lambda: file.read(1 << 20), b""))
    if not empty:
        return numbers
    path.unlink()
    fsync_folder(folder)
    return numbers[:-1]


def _cut(path: Path, end: int) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(fd, end)
        os.fsync(fd)
    finally:
        os.close(fd)
