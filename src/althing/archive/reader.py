"""Reading the archive: from any process, while the gateway writes, or on a stopped home. Never writes."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from althing.archive.catalogue import Catalogue, Held, Segment
from althing.archive.errors import ArchiveError, QueryError, SegmentUnavailable
from althing.archive.objects import ObjectMissing, ObjectStore
from althing.archive.query import (
    LIMIT_MAX,
    POINTS_MAX,
    AsOf,
    Axis,
    Position,
    ReadingsPage,
    ReadingsQuery,
    SeriesPoint,
    SeriesQuery,
    check_range,
    read_cursor,
    write_cursor,
)
from althing.archive.readings import read_page, read_series
from althing.archive.sealed import resolve_leaf
from althing.archive.sql import Database
from althing.protocol.batch import Leaf, parse_leaf
from althing.protocol.codec import decode
from althing.protocol.errors import EncodingError, PayloadError
from althing.protocol.merkle import Tree, leaf_hash
from althing.protocol.messages.streams import AnchorRow
from althing.protocol.reading import Resolved
from althing.protocol.schema import StreamSchema

__all__ = ["AnchorRows", "ArchiveReader", "ArchivedMessage", "BatchPath"]

WAIT_S: Final = 2.0  # a segment is stored some milliseconds after its anchor's block; a reader waits this long for it
_POLL_S: Final = 0.02
_ATTEMPTS: Final = 4  # a compaction may replace files between listing and opening them, hardly four times in a row
_CACHED_LEAVES_MAX: Final = 1 << 18  # of all cached trees together: about 40 MB
_MESSAGES_PAGE: Final = 256
_T = TypeVar("_T")


class AnchorRows(Protocol):
    """What the chain says of a stream's anchors; the node answers from its logs."""

    def rows(self, stream: int, first: int, end: int) -> Sequence[AnchorRow]:
        """The anchor rows that cover sequences first … end - 1, in ascending order."""
        ...


@dataclass(frozen=True, slots=True)
class ArchivedMessage:
    """A leaf and what it needs to be proved and decoded."""

    stream: int
    sequence: int
    leaf_bytes: bytes
    leaf: Leaf
    leaf_index: int
    batch_root: bytes
    gateway: bytes
    number: int
    height: int
    time_ns: int
    schema_version: int
    schema: StreamSchema
    previous_max_ns: int | None

    def resolve(self, genesis_hash: bytes) -> Resolved:
        """Its readings, or ProtocolError when the body has no readable form."""
        return resolve_leaf(self.leaf, self.schema, genesis_hash, self.previous_max_ns)


@dataclass(frozen=True, slots=True)
class BatchPath:
    """A leaf's way to its batch's root: RFC 9162 §2.1.3.1, siblings bottom-up."""

    root: bytes
    size: int
    index: int
    path: tuple[bytes, ...]


_MESSAGE: Final = (
    "SELECT sequence, leaf, leaf_index, batch_root, anchor_number, height, block_time_ns, schema_version, schema, "
    "previous_max_ns FROM read_parquet($files) WHERE part = 0 AND stream_number = $stream AND sequence >= $first "
    "AND sequence < $end ORDER BY sequence"
)
_LEAVES: Final = "SELECT leaf FROM read_parquet($files) WHERE part = 0 AND anchor_number = $number ORDER BY leaf_index"


class ArchiveReader:
    """Messages, batch paths, readings and charts. Thread-safe; every call blocks, so async callers use a thread."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        anchors: AnchorRows | None = None,
        wait_s: float = WAIT_S,
        sleep: Callable[[float], None] = time.sleep,
        threads: int = 2,
        memory_bytes_max: int = 512 << 20,
    ) -> None:
        self.catalogue = Catalogue(store)
        self._anchors = anchors
        self._wait_s = wait_s
        self._sleep = sleep
        self._database = Database(threads=threads, memory_bytes_max=memory_bytes_max)
        self._trees: OrderedDict[tuple[bytes, int], Tree] = OrderedDict()
        self._trees_lock = threading.Lock()

    def close(self) -> None:
        """Give back DuckDB's memory."""
        self._database.close()

    # --- messages ---------------------------------------------------------------------------------------------------

    def message(self, stream: int, sequence: int) -> ArchivedMessage:
        """One message; the caller has seen on the chain that it is anchored. SegmentUnavailable if it cannot be read."""
        return next(iter(self.messages(stream, sequence, sequence + 1)))

    def messages(self, stream: int, first: int, end: int) -> Iterator[ArchivedMessage]:
        """Messages first … end - 1 of a stream in order, a few hundred at a time; SegmentUnavailable at a gap."""
        at = first
        while at < end:
            upto = min(end, at + _MESSAGES_PAGE)
            found = self._again(lambda at=at, upto=upto: self._read_messages(stream, at, upto))  # type: ignore[misc]
            yield from found
            at += len(found)

    def batch_path(self, message: ArchivedMessage) -> BatchPath:
        """The message's path in its batch. All leaves of the batch are hashed once and kept for the next question."""
        key = (message.gateway, message.number)
        with self._trees_lock:
            tree = self._trees.get(key)
            if tree is not None:
                self._trees.move_to_end(key)
        if tree is None:
            tree = Tree([leaf_hash(leaf) for leaf in self.batch_leaves(message.gateway, message.number)])
            with self._trees_lock:
                self._trees[key] = tree
                while len(self._trees) > 1 and sum(kept.size for kept in self._trees.values()) > _CACHED_LEAVES_MAX:
                    self._trees.popitem(last=False)
        if tree.root != message.batch_root or message.leaf_index >= tree.size:
            raise ArchiveError("archive.root_differs", f"the leaves of batch {message.number} do not have its root")
        return BatchPath(tree.root, tree.size, message.leaf_index, tuple(tree.path(message.leaf_index)))

    def batch_leaves(self, gateway: bytes, number: int) -> list[bytes]:
        """All leaves of a batch in the order of its tree."""
        return self._again(lambda: self._read_leaves(gateway, number))

    # --- readings ---------------------------------------------------------------------------------------------------

    def readings(self, query: ReadingsQuery) -> ReadingsPage:
        """One page. QueryError `archive.query`, `.cursor`; SegmentUnavailable when data in question is missing here."""
        if not 1 <= query.limit <= LIMIT_MAX:
            raise QueryError("archive.query", f"a page has 1 to {LIMIT_MAX} readings")
        check_range(query.start_ns, query.end_ns)
        as_of, after = query.as_of, None
        if query.cursor is not None:
            as_of, after = read_cursor(query, query.cursor)
        asked = replace(query, limit=query.limit + 1)

        def attempt() -> ReadingsPage:
            held = self._held(query.stream, as_of, query.axis, query.start_ns, query.end_ns)
            rows = read_page(self._database, self.catalogue, held, asked, as_of.next_sequence, after)
            more = len(rows) > query.limit
            rows = rows[: query.limit]
            cursor = None
            if more:
                last = rows[-1]
                at = Position(last.place_ns(query.axis), last.sequence, last.index, last.quantity)
                cursor = write_cursor(query, as_of, at)
            return ReadingsPage(tuple(rows), cursor, as_of)

        return self._again(attempt)

    def series(self, query: SeriesQuery) -> list[SeriesPoint]:
        """Buckets for a chart; the errors of `readings`."""
        if not 1 <= query.points <= POINTS_MAX:
            raise QueryError("archive.query", f"a chart has 1 to {POINTS_MAX} points")
        check_range(query.start_ns, query.end_ns)

        def attempt() -> list[SeriesPoint]:
            held = self._held(query.stream, query.as_of, query.axis, query.start_ns, query.end_ns)
            return read_series(self._database, self.catalogue, held, query)

        return self._again(attempt)

    # --- finding ----------------------------------------------------------------------------------------------------

    def _again(self, attempt: Callable[[], _T]) -> _T:
        """Run, and once more after a refresh for each file that a compaction took away meanwhile."""
        for _ in range(_ATTEMPTS):
            try:
                return attempt()
            except ObjectMissing:
                self.catalogue.refresh()
        raise SegmentUnavailable("segments vanish while they are read")

    def _held(self, stream: int, as_of: AsOf, axis: Axis, start_ns: int | None, end_ns: int | None) -> list[Held]:
        """The stream's runs; SegmentUnavailable if one that may hold readings in question is missing."""
        missing = self._missing(stream, as_of.next_sequence)
        if (
            missing
            and axis is Axis.BLOCK
            and self._anchors is not None
            and (start_ns is not None or end_ns is not None)
        ):
            # The chain knows the block times of what is missing; outside the range it is not in question.
            missing = [
                (row.first, row.first + row.count)
                for first, end in missing
                for row in self._anchors.rows(stream, first, end)
                if (start_ns is None or row.time >= start_ns) and (end_ns is None or row.time < end_ns)
            ]
        if missing:
            raise self._unavailable(stream, missing)
        return [held for held in self.catalogue.held(stream) if held.run.first < as_of.next_sequence]

    def _missing(self, stream: int, end: int) -> list[tuple[int, int]]:
        missing = self.catalogue.missing(stream, end)
        waited = 0.0
        while missing:
            self.catalogue.refresh()
            missing = self.catalogue.missing(stream, end)
            if not missing or waited >= self._wait_s:
                break
            self._sleep(_POLL_S)
            waited += _POLL_S
        return missing

    def _unavailable(self, stream: int, missing: Sequence[tuple[int, int]]) -> SegmentUnavailable:
        ranges = ", ".join(f"{first}–{end - 1}" for first, end in missing[:3]) + (" …" if len(missing) > 3 else "")
        damaged = self.catalogue.damaged()
        hint = ""
        if damaged:
            hint = f"{len(damaged)} damaged segments (the first: {next(iter(damaged))}); restore them from a copy"
        return SegmentUnavailable(
            f"sequences {ranges} of stream {stream} are anchored, but not in this archive", hint=hint
        )

    def _holding(self, stream: int, sequence: int) -> Segment:
        for _ in range(2):
            for held in self.catalogue.held(stream):
                if held.run.first <= sequence < held.run.end:
                    return held.segment
            missing = self._missing(stream, sequence + 1)
            if any(first <= sequence < end for first, end in missing):
                break
        raise self._unavailable(stream, [(sequence, sequence + 1)])

    def _read_messages(self, stream: int, first: int, end: int) -> list[ArchivedMessage]:
        segment = self._holding(stream, first)
        values = {"stream": stream, "first": first, "end": end}
        with self._database.run(_MESSAGE, [self.catalogue.path(segment)], values) as cursor:
            rows = cursor.fetchall()
        messages = []
        for at, row in enumerate(rows):
            if row[0] != first + at:
                break
            messages.append(_message(stream, segment, row))
        if not messages:
            raise ArchiveError("archive.row_missing", f"sequence {first} of stream {stream} is not in {segment.name}")
        return messages

    def _read_leaves(self, gateway: bytes, number: int) -> list[bytes]:
        for _ in range(2):
            for segment in self.catalogue.segments():
                if segment.name.gateway == gateway and segment.name.first <= number <= segment.name.last:
                    with self._database.run(_LEAVES, [self.catalogue.path(segment)], {"number": number}) as cursor:
                        leaves = [row[0] for row in cursor.fetchall()]
                    if not leaves:
                        raise ArchiveError("archive.row_missing", f"batch {number} is not in {segment.name}")
                    return leaves
            self.catalogue.refresh()
        raise SegmentUnavailable(f"batch {number} of gateway {gateway.hex()} is not in this archive")


def _message(stream: int, segment: Segment, row: Sequence[Any]) -> ArchivedMessage:
    sequence, data, index, root, number, height, time_ns, version, schema, previous_max_ns = row
    try:
        leaf = parse_leaf(data)
        definition = StreamSchema.from_cbor_obj(decode(schema))
    except (EncodingError, PayloadError) as exc:
        raise ArchiveError("archive.leaf", f"sequence {sequence} of stream {stream}: {exc.message}") from exc
    return ArchivedMessage(
        stream,
        sequence,
        data,
        leaf,
        index,
        root,
        segment.name.gateway,
        number,
        height,
        time_ns,
        version,
        definition,
        previous_max_ns,
    )
