"""The spool: what is accepted or refused becomes durable here, in groups, before anybody is answered.

Sequences are given here, contiguous per stream. Everything runs on the event loop's thread but the writing itself. A
group whose write fails is taken back whole: its messages get Busy, its sequences and counters are free again, and
nothing is taken until the writer has found room again, which it looks for by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from althing.gateway.ingest.port import Accepted, Busy, Outcome, Refused
from althing.gateway.spool.index import DedupIndex, digest_of
from althing.gateway.spool.lock import SpoolLock
from althing.gateway.spool.records import MessageRecord, RefusalRecord, pack_message, pack_refusal, unpack
from althing.gateway.spool.recovery import Recovered, Step, recover
from althing.gateway.spool.segment import HEADER_BYTES, Position, frame, read_records, segment_path
from althing.gateway.spool.state import Checkpoint, FrozenBatch, PipelineState, save_checkpoint, save_state
from althing.gateway.spool.writer import NO_ROOM, LogWriter, Written
from althing.service.faultpoints import hit

__all__ = ["Pending", "Spool", "SpoolConfig"]

Done = Callable[[Outcome], None]

_log = structlog.get_logger("althing.gateway.spool")

_GROUP_RECORDS_MAX: Final = 4096  # bounds what one damaged group can lose, and a batch's smallest step
_GROUP_BYTES_MAX: Final = 4 * 1024 * 1024
_STEP_MESSAGES: Final = 2048  # how finely the log between two batches is remembered
_STEP_BYTES: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SpoolConfig:
    """Bounds of the spool. Sizes in bytes."""

    bytes_max: int = 4 * 1024**3  # log on the disk; beyond it listeners are told Busy
    segment_bytes: int = 32 * 1024**2  # what one file holds; freed as a whole
    queue_bytes_max: int = 32 * 1024**2  # records that wait for their fsync
    counter_window: int = 256  # accepted counters of a device that are known one by one
    keys_max: int = 200_000  # idempotency keys that are remembered: 100 bytes each
    refusals_kept: int = 1_000  # newest refusals at hand for /v1/refusals
    retry_s: int = 2  # after a failed write, how often to look for room


class Pending(NamedTuple):
    """What waits to be anchored: messages, all records, bytes, and the arrival of the oldest (0: none)."""

    messages: int
    records: int
    bytes: int
    oldest_ns: int


class _Undo(NamedTuple):
    stream: str
    device: str
    counter: int | None
    key: bytes


@dataclass(slots=True)
class _Group:
    frames: list[bytes] = field(default_factory=list)
    answers: list[tuple[Done, Outcome]] = field(default_factory=list)
    undo: list[_Undo] = field(default_factory=list)
    bytes: int = 0
    messages: int = 0
    first_arrival_ns: int = 0
    closed: bool = False
    durable: list[Callable[[Position | None], None]] = field(default_factory=list)


class Spool:
    """Open it on the event loop's thread; `close` waits for what is under way."""

    def __init__(self, folder: Path, genesis_hash: bytes, config: SpoolConfig | None = None) -> None:
        self.config = config or SpoolConfig()
        self.folder = folder
        self._loop = asyncio.get_running_loop()
        self._lock = SpoolLock(folder)
        try:
            found = recover(folder, genesis_hash, self.config.counter_window, self.config.keys_max)
        except BaseException:
            self._lock.release()
            raise
        self._take_over(found)
        self._writer = LogWriter(
            folder,
            genesis_hash,
            found.next_segment,
            found.next_group,
            self.config.segment_bytes,
            self._loop,
            self._written,
            self._probed,
        )
        self._groups: deque[_Group] = deque()
        self._writing: _Group | None = None
        self._scheduled = False
        self._queued_bytes = 0
        self._probe: asyncio.TimerHandle | None = None
        self._closed = False
        self.failure = ""  # why nothing can be written right now, for health and the log
        self.on_durable: Callable[[], None] = lambda: None
        self.accepted_total = 0
        self.refused_total = 0
        self.groups_total = 0

    def _take_over(self, found: Recovered) -> None:
        self.state: PipelineState = found.state
        self.index: DedupIndex = found.index
        self.sequences: dict[str, int] = found.sequences
        self.waiting: dict[str, int] = found.waiting
        self.refusals: deque[RefusalRecord] = deque(found.refusals, maxlen=self.config.refusals_kept)
        self.cut_bytes = found.cut_bytes
        self._first_segment = found.first_segment
        self._end = found.end
        self._group_number = found.next_group
        self._checkpointed = found.checkpointed
        self._steps: deque[Step] = deque()
        self._sealed = found.state.frozen.end if found.state.frozen else found.state.confirmed
        self._pending_messages = self._pending_records = self._pending_bytes = 0
        for step in found.steps:
            self._add_step(step)

    # --- appending

    @property
    def room(self) -> bool:
        """False while a message would be answered Busy."""
        if self.failure:
            return False
        return self._queued_bytes < self.config.queue_bytes_max and self._pending_bytes < self.config.bytes_max

    @property
    def fill(self) -> float:
        """How full spool or queue are, 0 to 1."""
        return max(self._pending_bytes / self.config.bytes_max, self._queued_bytes / self.config.queue_bytes_max)

    def adopt(self, stream: str, next_sequence: int) -> None:
        """Take the ledger's word for a stream's next sequence, unless messages of ours wait or we know a later one."""
        if stream not in self.waiting:
            self.sequences[stream] = max(self.sequences.get(stream, 0), next_sequence)

    def restart_sequence(self, stream: str, first: int) -> None:
        """Follow the ledger even backwards: what waits of the stream has the sequences from `first` on."""
        self.sequences[stream] = first + self.waiting.get(stream, 0)

    def append_again(self, message: MessageRecord) -> None:
        """Accept a held message anew. Its counter or key stays used."""
        self.append_message(
            message.stream,
            message.stream.encode(),
            message.number,
            message.device,
            message.arrival_ns,
            message.content_type.encode(),
            message.attested,
            message.body,
            None,
            b"",
            lambda _: None,
        )

    def append_message(
        self,
        stream: str,
        stream_bytes: bytes,
        number: int,
        device: str,
        arrival_ns: int,
        content_type: bytes,
        attested: bool,
        body: bytes,
        counter: int | None,
        key: bytes,
        done: Done,
    ) -> None:
        """Give the next sequence and have the message made durable. The caller has looked for room and duplicates."""
        sequence = self.sequences[stream]
        self.sequences[stream] = sequence + 1
        if counter is not None:
            self.index.add_counter(device, counter, stream, sequence, digest_of(body))
        elif key:
            self.index.add_key(stream, key, sequence, digest_of(body))
        record = pack_message(stream_bytes, number, sequence, arrival_ns, content_type, attested, body, counter, key)
        group = self._append(record, arrival_ns)
        group.messages += 1
        group.undo.append(_Undo(stream, device, counter, key))
        group.answers.append((done, Accepted(sequence)))
        self.waiting[stream] = self.waiting.get(stream, 0) + 1

    def append_refusal(self, record: RefusalRecord, done: Done) -> None:
        """Have a refusal made durable, then answer it."""
        group = self._append(pack_refusal(record), record.arrival_ns)
        group.answers.append((done, Refused(record.code, record.reason)))
        self.refusals.append(record)
        self.refused_total += 1

    def answer_after(self, done: Done, outcome: Outcome) -> None:
        """Answer when everything appended so far is durable: a duplicate may be of a message still under way."""
        group = self._groups[-1] if self._groups else self._writing
        if group is None:
            done(outcome)
        else:
            group.answers.append((done, outcome))

    def _append(self, record: bytes, arrival_ns: int) -> _Group:
        groups = self._groups
        group = groups[-1] if groups else None
        if group is None or group.closed or len(group.frames) >= _GROUP_RECORDS_MAX or group.bytes >= _GROUP_BYTES_MAX:
            group = _Group(first_arrival_ns=arrival_ns)
            groups.append(group)
        framed = frame(record)
        group.frames.append(framed)
        group.bytes += len(framed)
        self._queued_bytes += len(framed)
        if not self._scheduled and self._writing is None:
            self._scheduled = True
            # At the end of this turn of the loop: what one turn reads becomes one group.
            self._loop.call_soon(self._flush)
        return group

    def _flush(self) -> None:
        self._scheduled = False
        if self._writing is None and self._groups:
            group = self._writing = self._groups.popleft()
            self._writer.submit(b"".join(group.frames), len(group.frames))

    def _written(self, result: Written) -> None:
        group, self._writing = self._writing, None
        assert group is not None
        if result.end is None:
            self._take_back(group, result)
            return
        self._recovered()
        self._queued_bytes -= group.bytes
        self._end = result.end
        self._group_number += 1
        self.groups_total += 1
        self.accepted_total += group.messages
        self._add_step(Step(result.end, group.messages, len(group.frames), group.bytes, group.first_arrival_ns))
        if self._groups:
            self._flush()
        for done, outcome in group.answers:
            done(outcome)
        for durable in group.durable:
            durable(result.end)
        self.on_durable()

    def _take_back(self, failed: _Group, result: Written) -> None:
        """Nothing of this group or of those behind it is durable: free sequences, counters and keys, newest first."""
        groups = [failed, *self._groups]
        self._groups.clear()
        self._queued_bytes = 0
        self._fail(result)
        for group in reversed(groups):
            for stream, device, counter, key in reversed(group.undo):
                self.sequences[stream] -= 1
                self._less_waiting(stream, 1)
                if counter is not None:
                    self.index.remove_counter(device, counter)
                elif key:
                    self.index.remove_key(stream, key)
        busy = Busy(self.config.retry_s)
        for group in groups:
            for done, _ in group.answers:
                done(busy)
            for durable in group.durable:
                durable(None)
        self.on_durable()

    def _fail(self, result: Written) -> None:
        full = result.error is not None and result.error.errno in NO_ROOM
        failure = "spool.full" if full else "spool.failed"
        if failure != self.failure:
            _log.error("spool takes nothing", code=failure, reason=str(result.error), restart=result.broken)
        self.failure = failure
        if self._probe is None and not result.broken and not self._closed:
            self._probe = self._loop.call_later(self.config.retry_s, self._writer.probe)
        # After another failure than want of room only a restart tells what is on the disk: no probe.

    def _probed(self, result: Written) -> None:
        self._probe = None
        if result.end is None:
            self._fail(result)
        else:
            self._recovered()

    def _recovered(self) -> None:
        if self.failure:
            _log.warning("spool takes messages again", after=self.failure)
            self.failure = ""
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None

    def _add_step(self, step: Step) -> None:
        self._pending_messages += step.messages
        self._pending_records += step.records
        self._pending_bytes += step.bytes
        last = self._steps[-1] if self._steps else None
        if (
            last is None
            or last.end <= self._sealed  # a batch ends here
            or last.messages + step.messages > _STEP_MESSAGES
            or last.bytes + step.bytes > _STEP_BYTES
        ):
            self._steps.append(step)
            return
        first = last.first_arrival_ns if last.records else step.first_arrival_ns
        self._steps[-1] = Step(
            step.end, last.messages + step.messages, last.records + step.records, last.bytes + step.bytes, first
        )

    # --- batches

    @property
    def pending(self) -> Pending:
        oldest = self._steps[0].first_arrival_ns if self._steps else 0
        return Pending(self._pending_messages, self._pending_records, self._pending_bytes, oldest)

    @property
    def idle(self) -> bool:
        """True when nothing waits for its fsync."""
        return self._writing is None and not self._groups

    def stretch(self, messages_max: int, bytes_max: int) -> Position:
        """The end of the next batch's range: as many steps as fit the bounds, at least one."""
        messages = size = 0
        end = self.state.confirmed
        for step in self._steps:
            if messages and (messages + step.messages > messages_max or size + step.bytes > bytes_max):
                break
            messages += step.messages
            size += step.bytes
            end = step.end
        self._sealed = end
        return end

    def read(self, start: Position, end: Position) -> Iterator[MessageRecord | RefusalRecord]:
        """The records of a durable range, in the order of their arrival. May run in another thread."""
        for number in range(start.segment, end.segment + 1):
            path = segment_path(self.folder, number)
            if not path.exists():
                continue  # numbers are skipped when opening a segment failed
            first = start.offset if number == start.segment else 0
            stop = end.offset if number == end.segment else None
            for record in read_records(path, first or HEADER_BYTES, stop):
                found = unpack(record)
                if found is not None:
                    yield found

    def freeze(self, frozen: FrozenBatch | None) -> None:
        """Make a frozen batch durable, or an unfrozen one forgotten. Blocks for two fsyncs: run it in a thread."""
        state = self.state
        self.state = PipelineState(state.genesis_hash, state.confirmed, state.next_number, frozen)
        save_state(self.folder, self.state)

    async def release(self, end: Position, next_number: int, streams: dict[str, int]) -> None:
        """Everything before `end` is anchored and proved: note it, and let whole segments go.

        `streams` says how many messages of each stream that were; the sequence of a stream without any waiting is the
        ledger's to say again.
        """
        state = PipelineState(self.state.genesis_hash, end, next_number)
        await asyncio.to_thread(save_state, self.folder, state)
        self.state = state
        while self._steps and self._steps[0].end <= end:
            step = self._steps.popleft()
            self._pending_messages -= step.messages
            self._pending_records -= step.records
            self._pending_bytes -= step.bytes
        for stream, count in streams.items():
            self._less_waiting(stream, count)
        if end.segment > self._first_segment:
            await self._free_segments(end)

    async def _free_segments(self, end: Position) -> None:
        if self._checkpointed.segment < end.segment or self._checkpointed.offset == 0:
            await self.checkpoint()
        keep = min(end.segment, self._checkpointed.segment)
        for number in range(self._first_segment, keep):
            hit("spool.free")
            segment_path(self.folder, number).unlink(missing_ok=True)
        self._first_segment = max(self._first_segment, keep)

    async def checkpoint(self) -> bool:
        """Write down sequences, counters and keys as of now. False when a failed write came in between."""
        index, sequences = self.index.dump(), dict(self.sequences)
        reached = await self.barrier()
        if reached is None:
            return False
        position, group = reached
        await asyncio.to_thread(save_checkpoint, self.folder, Checkpoint(position, group, sequences, index))
        self._checkpointed = position
        return True

    async def barrier(self) -> tuple[Position, int] | None:
        """Wait until what was appended before is durable: the end of the log there and the number of the next group,
        or None when it was taken back."""
        group = self._groups[-1] if self._groups else self._writing
        if group is None:
            return self._end, self._group_number
        group.closed = True
        reached: asyncio.Future[tuple[Position, int] | None] = self._loop.create_future()

        def durable(position: Position | None) -> None:
            if not reached.done():
                reached.set_result(None if position is None else (position, self._group_number))

        group.durable.append(durable)
        return await reached

    def _less_waiting(self, stream: str, count: int) -> None:
        left = self.waiting.get(stream, 0) - count
        if left > 0:
            self.waiting[stream] = left
        else:
            self.waiting.pop(stream, None)

    async def close(self) -> None:
        """Wait for the fsync of everything accepted, then let the files go. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await self.barrier()
        if self._probe is not None:
            self._probe.cancel()
        await asyncio.to_thread(self._writer.close)
        self._lock.release()
