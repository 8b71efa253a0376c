"""Merging small segments into larger ones. The chain is not touched: it commits to leaves, locators name batches.

1. Sweep: delete segments that lie within a readable wider one (left by a crash or by step 4 of an earlier run).
2. Plan: neighbouring segments of one size class, at least `fan_in` of them, or a full target's worth.
3. Merge: leaf rows in batch order, reading rows by stream and sequence; store the new segment durably. From here on it
   counts, because the old ones lie within it: this is the switch.
4. Delete the old ones. Readers that had them open ask again.
A crash between any two steps leaves every batch readable exactly once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from althing.archive.catalogue import Segment
from althing.archive.errors import ArchiveError
from althing.archive.names import SEGMENTS, SegmentName
from althing.archive.objects import ObjectMissing
from althing.archive.segment import joined, leaf_groups
from althing.archive.sql import Database
from althing.archive.table import (
    LEAF_BYTES_PER_GROUP,
    LEAVES_PER_GROUP,
    READING_COLUMNS,
    READINGS_PER_GROUP,
    SCHEMA,
    Footer,
    writer,
)
from althing.archive.writer import SegmentWriter

__all__ = ["Compacted", "Policy", "compact", "plan", "sweep"]

_MERGE_MEMORY_BYTES: Final = 512 << 20


@dataclass(frozen=True, slots=True)
class Policy:
    """When segments are merged. Each byte is rewritten about log(target / smallest) / log(fan_in) times."""

    fan_in: int = 16
    segment_bytes_target: int = 128 << 20  # a file of this size is read, hashed or fetched in about a second
    readings_max: int = 8_000_000  # bounds the sort of one merge
    inputs_max: int = 4096

    def size_class(self, size: int) -> int:
        """Segments within a factor of `fan_in` are alike; 64 KiB and less are the smallest class."""
        classes = 0
        size >>= 16
        while size:
            size //= self.fan_in
            classes += 1
        return classes


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction did: segments merged away, made, and bytes before and after."""

    removed: int
    made: int
    bytes_before: int
    bytes_after: int


def compact(archive: SegmentWriter, policy: Policy | None = None, *, everything: bool = False) -> Compacted:
    """Sweep and merge until nothing is left to do. `everything` merges all neighbours up to the target.

    UnavailableError `archive.full` and other store errors pass through; the archive stays whole.
    """
    policy = policy or Policy()
    removed = made = before = after = 0
    removed += sweep(archive)
    while True:
        groups = plan(archive.catalogue.segments(), policy, everything=everything)
        if not groups:
            return Compacted(removed, made, before, after)
        for group in groups:
            segment = _merge(archive, group)
            made += 1
            before += sum(old.size for old in group)
            after += segment.size
            with archive.lock:
                archive.catalogue.add(segment)
            for old in group:
                archive.store.delete(str(old.name))
                removed += 1


def sweep(archive: SegmentWriter) -> int:
    """Delete segments whose batches lie within a wider one that reads; returns how many."""
    with archive.lock:
        archive.catalogue.refresh()
        visible = archive.catalogue.segments()
    count = 0
    for info in archive.store.list(SEGMENTS):
        name = SegmentName.parse(info.name)
        if name is None or any(segment.name == name for segment in visible):
            continue
        covering = [segment for segment in visible if name.within(segment.name)]
        if covering:
            archive.catalogue.path(covering[0])  # its hash is checked before anything is given up for it
            archive.store.delete(info.name)
            count += 1
    return count


def plan(segments: Sequence[Segment], policy: Policy, *, everything: bool = False) -> list[list[Segment]]:
    """Groups to merge now: neighbours (no batch number between them) of one size class, each below the target."""
    groups: list[list[Segment]] = []
    run: list[Segment] = []
    for segment in segments:
        if segment.size >= policy.segment_bytes_target // 2:
            _close(groups, run, policy, everything)
            run = []
            continue
        if run and not _joins(run, segment, policy, everything):
            _close(groups, run, policy, everything)
            run = []
        run.append(segment)
    _close(groups, run, policy, everything)
    return groups


def _joins(run: list[Segment], segment: Segment, policy: Policy, everything: bool) -> bool:
    last = run[-1]
    if segment.name.gateway != last.name.gateway or segment.name.first != last.name.last + 1:
        return False
    if len(run) >= policy.inputs_max or sum(one.size for one in run) + segment.size > policy.segment_bytes_target:
        return False
    if sum(one.footer.readings for one in run) + segment.footer.readings > policy.readings_max:
        return False
    # A smaller one never joins larger ones before it: it waits for its own kind, else every write rewrites the last.
    return everything or policy.size_class(segment.size) == policy.size_class(last.size)


def _close(groups: list[list[Segment]], run: list[Segment], policy: Policy, everything: bool) -> None:
    if len(run) >= (2 if everything else policy.fan_in):
        groups.append(run)


def _merge(archive: SegmentWriter, group: Sequence[Segment]) -> Segment:
    first, last = group[0].name, group[-1].name
    paths = [_path(archive, segment) for segment in group]
    scratch = archive.store.scratch() / f"{os.getpid()}-{first.gateway.hex()[:8]}-{first.first}-{last.last}.merge"
    try:
        footer = _write(scratch, group, paths)
        with open(scratch, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        size = scratch.stat().st_size
        name = SegmentName(first.gateway, first.first, last.last, digest)
        archive.store.put_file(str(name), scratch)
    finally:
        scratch.unlink(missing_ok=True)
    return Segment(name, size, footer)


def _path(archive: SegmentWriter, segment: Segment) -> Path:
    try:
        return archive.catalogue.path(segment)
    except ObjectMissing as exc:
        raise ArchiveError("archive.damaged", "the segment is gone", where=str(segment.name)) from exc


def _write(target: Path, group: Sequence[Segment], paths: Sequence[Path]) -> Footer:
    runs = joined(run for segment in group for run in segment.footer.runs)
    groups = 0
    with writer(target) as out:
        for table in _leaf_tables(group, paths):
            out.write_table(table, row_group_size=table.num_rows)
            groups += 1
        for table in _reading_tables(paths):
            out.write_table(table, row_group_size=table.num_rows)
        footer = Footer(
            group[0].name.gateway,
            group[0].name.first,
            group[-1].name.last,
            sum(segment.footer.batches for segment in group),
            sum(segment.footer.leaves for segment in group),
            sum(segment.footer.readings for segment in group),
            groups,
            runs,
        )
        out.add_key_value_metadata(footer.metadata())
    return footer


def _leaf_tables(group: Sequence[Segment], paths: Sequence[Path]) -> Iterator[pa.Table]:
    """Leaf rows of all inputs in batch order, small row groups joined into full ones."""
    held: list[pa.Table] = []
    count = size = 0
    for segment, path in zip(group, paths, strict=True):
        with pq.ParquetFile(path) as file:
            for at in range(segment.footer.leaf_groups):
                table = file.read_row_group(at).cast(SCHEMA)
                held.append(table)
                count += table.num_rows
                size += table.nbytes
                if count >= LEAVES_PER_GROUP or size >= LEAF_BYTES_PER_GROUP:
                    cut = leaf_groups(pa.concat_tables(held))
                    yield from cut[:-1]
                    held = [cut[-1]]
                    count, size = cut[-1].num_rows, 0
    if held:
        yield from leaf_groups(pa.concat_tables(held))


def _reading_tables(paths: Sequence[Path]) -> Iterator[pa.Table]:
    """Reading rows of all inputs by (stream, sequence, record, quantity), in full row groups."""
    columns = ", ".join(["part", *READING_COLUMNS])
    statement = (
        f"SELECT {columns} FROM read_parquet($files) WHERE part = 1 "  # noqa: S608 (constants)
        "ORDER BY stream_number, sequence, record, quantity"
    )
    database = Database(threads=1, memory_bytes_max=_MERGE_MEMORY_BYTES)
    try:
        for batch in database.stream(statement, paths, READINGS_PER_GROUP):
            yield _complete(pa.Table.from_batches([batch]))
    finally:
        database.close()


def _complete(table: pa.Table) -> pa.Table:
    arrays: list[Any] = []
    for field in SCHEMA:
        if field.name in table.column_names:
            arrays.append(table.column(field.name).cast(field.type))
        else:
            arrays.append(pa.nulls(table.num_rows, type=field.type))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
