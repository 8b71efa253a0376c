"""Segments of anchored batches in an object store, and queries over them; used by gateway and node.

writer = SegmentWriter(open_objects("home/archive"), genesis_hash)
writer.write(Sealed(...))                                   # durable when it returns
reader = ArchiveReader(open_objects("home/archive", read_only=True))
page = reader.readings(ReadingsQuery(stream=7, as_of=AsOf(height, next_sequence)))
"""

from althing.archive.errors import ArchiveError, QueryError, SegmentUnavailable
from althing.archive.names import SegmentName, batch_locator, parse_locator
from althing.archive.objects import ObjectStore, open_objects
from althing.archive.query import (
    AsOf,
    Axis,
    ReadingRow,
    ReadingsPage,
    ReadingsQuery,
    SeriesPoint,
    SeriesQuery,
    parse_axis,
)
from althing.archive.reader import AnchorRows, ArchivedMessage, ArchiveReader, BatchPath
from althing.archive.sealed import Sealed, StreamPart, resolve_leaf
from althing.archive.writer import SegmentWriter

__all__ = [
    "AnchorRows",
    "ArchiveError",
    "ArchiveReader",
    "ArchivedMessage",
    "AsOf",
    "Axis",
    "BatchPath",
    "ObjectStore",
    "QueryError",
    "ReadingRow",
    "ReadingsPage",
    "ReadingsQuery",
    "Sealed",
    "SegmentName",
    "SegmentUnavailable",
    "SegmentWriter",
    "SeriesPoint",
    "SeriesQuery",
    "StreamPart",
    "batch_locator",
    "open_objects",
    "parse_axis",
    "parse_locator",
    "resolve_leaf",
]
