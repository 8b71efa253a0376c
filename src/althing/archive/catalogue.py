"""Which segments count, from a listing: nothing else has to be kept, so nothing else can be lost or disagree.

A segment whose batches all lie within another readable one has been replaced. Footers are read once per process; the
SHA-256 in a segment's name is checked before the first query reads it, so no query works on damaged bytes.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from althing.archive.errors import ArchiveError, SegmentUnavailable
from althing.archive.names import SEGMENTS, SegmentName
from althing.archive.objects import ObjectMissing, ObjectStore
from althing.archive.runs import StreamRun
from althing.archive.table import FOOTER_BYTES_MAX, Footer, parse_footer

__all__ = ["Catalogue", "Held", "Segment", "read_footer"]

SEGMENT_BYTES_MAX: Final = 8 << 30


@dataclass(frozen=True, slots=True)
class Segment:
    """A readable segment."""

    name: SegmentName
    size: int
    footer: Footer


@dataclass(frozen=True, slots=True)
class Held:
    """A stream's run and the segment that holds it."""

    segment: Segment
    run: StreamRun


class Catalogue:
    """A view of the stored segments. Safe to use from several threads; `refresh` takes in what changed."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._footers: dict[SegmentName, Segment] = {}
        self._damaged: dict[SegmentName, ArchiveError] = {}
        self._sound: dict[SegmentName, tuple[int, int, int]] = {}
        self._visible: tuple[Segment, ...] = ()
        self._listed = False

    def refresh(self) -> None:
        """List the store again; footers of new segments are read, those of vanished ones forgotten."""
        with self._lock:
            names = {}
            for info in self._store.list(SEGMENTS):
                name = SegmentName.parse(info.name)
                if name is not None:
                    names[name] = info.size
            for known in [name for name in self._footers if name not in names]:
                del self._footers[known]
                self._sound.pop(known, None)
            self._damaged = {name: error for name, error in self._damaged.items() if name in names}
            readable: list[Segment] = []
            # Widest first: what a readable wider segment replaces is not even opened.
            for name in sorted(names, key=lambda name: (name.gateway, name.first, -name.last, name.sha256)):
                if readable and name.within(readable[-1].name):
                    continue
                segment = self._load(name, names[name])
                if segment is not None:
                    readable.append(segment)
            self._publish(readable)
            self._listed = True

    def add(self, segment: Segment) -> None:
        """Take in a segment that this process has just stored."""
        with self._lock:
            self._footers[segment.name] = segment
            kept = [other for other in self._visible if not other.name.within(segment.name)]
            self._publish([*kept, segment])

    def segments(self) -> tuple[Segment, ...]:
        """All that count, by gateway and first number."""
        if not self._listed:
            self.refresh()
        return self._visible

    def damaged(self) -> dict[SegmentName, ArchiveError]:
        """Segments whose footer could not be read, or whose bytes are not those of their name."""
        return dict(self._damaged)

    def held(self, stream: int) -> list[Held]:
        """Where a stream's sequences are, in ascending order; of overlapping runs the first is enough."""
        found = [Held(segment, run) for segment in self.segments() for run in segment.footer.runs.of(stream)]
        return sorted(found, key=lambda held: (held.run.first, -held.run.end))

    def missing(self, stream: int, end: int) -> list[tuple[int, int]]:
        """The sequences of 0 … end - 1 that no segment holds, as half-open ranges."""
        gaps, at = [], 0
        for held in self.held(stream):
            if at >= end:
                break
            if held.run.first > at:
                gaps.append((at, min(held.run.first, end)))
            at = max(at, held.run.end)
        if at < end:
            gaps.append((at, end))
        return gaps

    def path(self, segment: Segment) -> Path:
        """A local file of the segment whose SHA-256 has been checked, or SegmentUnavailable, or ObjectMissing."""
        name = segment.name
        path = self._store.local_path(str(name))
        try:
            stat = path.stat()
            mark = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if self._sound.get(name) == mark:
                return path
            with open(path, "rb") as file:
                found = hashlib.file_digest(file, "sha256").digest()
        except FileNotFoundError as exc:
            raise ObjectMissing(str(name)) from exc
        except OSError as exc:
            raise SegmentUnavailable(f"{name} cannot be read: {exc.strerror or exc}") from exc
        if found != name.sha256:
            with self._lock:
                self._damaged[name] = ArchiveError(
                    "archive.hash_differs", "the bytes are not those of the name", where=str(name)
                )
            raise SegmentUnavailable(
                f"the segment {name} is damaged",
                hint="restore it from a copy; `althing segment verify` lists what is damaged",
            )
        self._sound[name] = mark
        return path

    def _publish(self, readable: Iterable[Segment]) -> None:
        self._visible = tuple(sorted(readable, key=lambda segment: segment.name))

    def _load(self, name: SegmentName, size: int) -> Segment | None:
        known = self._footers.get(name)
        if known is not None or name in self._damaged:
            return known
        try:
            footer = read_footer(self._store.local_path(str(name)))
            if (footer.gateway, footer.first, footer.last) != (name.gateway, name.first, name.last):
                raise ArchiveError("archive.name_differs", "the footer names other batches than the file's name")
        except ObjectMissing:
            return None
        except ArchiveError as exc:
            self._damaged[name] = ArchiveError(exc.code, exc.message, hint=exc.hint, where=str(name))
            return None
        segment = Segment(name, size, footer)
        self._footers[name] = segment
        return segment


def read_footer(path: Path) -> Footer:
    """The footer of a segment's file, or ArchiveError `archive.truncated` / `archive.format`, or ObjectMissing."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            if size > 12:
                file.seek(size - 8)
                tail = file.read(8)
            else:
                tail = b""
            if tail[4:] != b"PAR1":
                raise ArchiveError("archive.truncated", "the file ends before its footer")
            if int.from_bytes(tail[:4], "little") > min(FOOTER_BYTES_MAX, size):
                raise ArchiveError("archive.format", "the footer is longer than a segment's")
        metadata = pq.read_metadata(path)
    except FileNotFoundError as exc:
        raise ObjectMissing(str(path)) from exc
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise ArchiveError("archive.format", f"not a Parquet file: {exc}") from exc
    return parse_footer(metadata)
