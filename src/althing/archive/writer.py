"""Writing anchored batches. When `write` has returned, the batch is durable and every reader of the store can find it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq

from althing.archive.catalogue import Catalogue, Segment
from althing.archive.errors import ArchiveError
from althing.archive.names import SegmentName
from althing.archive.objects import ObjectStore
from althing.archive.sealed import Sealed
from althing.archive.segment import build_segment

__all__ = ["SegmentWriter"]


class SegmentWriter:
    """The one writer of a gateway's segments. Not a lock: the gateway's home has one."""

    def __init__(self, store: ObjectStore, genesis_hash: bytes) -> None:
        self.store = store
        self.genesis_hash = genesis_hash
        self.catalogue = Catalogue(store)
        self.catalogue.refresh()
        self.lock = threading.Lock()  # a write and a compaction never overlap
        self._latest: dict[int, tuple[int, int | None]] = {}
        # Arrow's own allocators keep what each thread has freed, and never give it back in a process that writes for months.
        pa.set_memory_pool(pa.system_memory_pool())

    def write(self, batch: Sealed) -> SegmentName:
        """Store an anchored batch; the same batch again is a success that changes nothing.

        ArchiveError `archive.root_differs`, `.leaf`: not the batch that its table and root say. `.batch_conflict`: another
        root is stored under this number. UnavailableError `archive.full`, `.store_unavailable`: nothing stored, try again.
        """
        with self.lock:
            return self._held_already(batch) or self._store([batch])

    def write_all(self, batches: Sequence[Sealed]) -> None:
        """Store neighbouring batches of one gateway as one segment: a gateway that catches up, an import, a benchmark."""
        with self.lock:
            new = [batch for batch in batches if self._held_already(batch) is None]
            if any(a.gateway != b.gateway or a.number + 1 != b.number for a, b in pairwise(new)):
                raise AssertionError("batches of one segment are neighbours")
            if new:
                self._store(new)

    def _held_already(self, batch: Sealed) -> SegmentName | None:
        stored = self._stored(batch.gateway, batch.number)
        if stored is None:
            return None
        if self._root(stored, batch.number) != batch.root:
            raise ArchiveError(
                "archive.batch_conflict",
                f"another batch is stored as number {batch.number} of this gateway",
                hint="this archive belongs to another chain or run",
            )
        return stored.name

    def _store(self, batches: Sequence[Sealed]) -> SegmentName:
        previous: dict[int, int | None] = {}
        for batch in batches:
            for part in batch.parts:
                if part.stream not in previous:
                    previous[part.stream] = self._previous(part.stream, part.first)
        name, data, footer = build_segment(batches, self.genesis_hash, previous)
        self.store.put(str(name), data)
        self.catalogue.add(Segment(name, len(data), footer))
        for batch in batches:
            for part in batch.parts:
                self._latest[part.stream] = (part.first + part.count, previous[part.stream])
        return name

    def next_number(self, gateway: bytes) -> int:
        """The number after the gateway's last stored batch; 0 when there is none."""
        return max((s.name.last + 1 for s in self.catalogue.segments() if s.name.gateway == gateway), default=0)

    def _stored(self, gateway: bytes, number: int) -> Segment | None:
        for segment in self.catalogue.segments():
            if segment.name.gateway == gateway and segment.name.first <= number <= segment.name.last:
                return segment
        return None

    def _previous(self, stream: int, first: int) -> int | None:
        # Unknown (None) when the sequence before is not in this archive: the stream's times then count from here on.
        known = self._latest.get(stream)
        if known is not None and known[0] == first:
            return known[1]
        ends = [run for s in self.catalogue.segments() for run in s.footer.runs.of(stream) if run.end == first]
        return ends[0].latest_ns if ends else None

    def _root(self, segment: Segment, number: int) -> bytes | None:
        try:
            table = pq.read_table(
                self.catalogue.path(segment),
                columns=["batch_root"],
                filters=[("part", "=", 0), ("anchor_number", "=", number)],
            )
        except (pa.ArrowException, OSError) as exc:
            raise ArchiveError("archive.damaged", f"cannot be read: {exc}", where=str(segment.name)) from exc
        roots = table.column("batch_root")
        return bytes(roots[0].as_py()) if len(roots) else None
