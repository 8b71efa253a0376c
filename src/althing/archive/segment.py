"""From anchored batches to the bytes of a segment: rows of leaves, rows of readings, and the footer."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa

from althing.archive.errors import ArchiveError
from althing.archive.names import SegmentName
from althing.archive.runs import Runs, StreamRun, join_runs
from althing.archive.sealed import Sealed, readings_or_none
from althing.archive.table import (
    LEAF,
    LEAF_BYTES_PER_GROUP,
    LEAVES_PER_GROUP,
    READING,
    READINGS_PER_GROUP,
    Footer,
    rows,
    writer,
)
from althing.protocol.batch import Leaf, parse_leaf
from althing.protocol.codec import encode
from althing.protocol.decimals import text as decimal_text
from althing.protocol.decimals import to_pair
from althing.protocol.merkle import leaf_hash, root_of
from althing.protocol.reading import Reading
from althing.protocol.schema import StreamSchema

__all__ = ["Rows", "batch_rows", "build_segment", "joined", "leaf_groups", "schema_bytes", "split_value"]

_INT64_END: Final = 2**63


@lru_cache(maxsize=4096)
def schema_bytes(schema: StreamSchema) -> bytes:
    """The schema as it stands on the chain, in deterministic CBOR."""
    return encode(schema.to_cbor_obj())


def split_value(reading: Reading) -> tuple[int | None, int | None, str | None, bytes | None]:
    """A value's columns: coefficient, exponent, text, data.

    A number is coefficient × 10^exponent; one whose coefficient is beyond 64 bits is its exact text. A boolean is
    coefficient 0 or 1 without an exponent. A missing value is null everywhere.
    """
    value = reading.value
    if value is None:
        return None, None, None, None
    if type(value) is Decimal:
        coefficient, exponent = _pair(value)
        if -_INT64_END <= coefficient < _INT64_END:
            return coefficient, exponent, None, None
        return None, None, decimal_text(value), None
    if type(value) is bool:
        return int(value), None, None, None
    if type(value) is str:
        return None, None, value, None
    assert type(value) is bytes
    return None, None, None, value


def _pair(value: Decimal) -> tuple[int, int]:
    # Plain digits are the common case and four times faster through their text.
    written = str(value)
    if "E" in written:
        return to_pair(value)
    whole, _, fraction = written.partition(".")
    return int(whole + fraction), -len(fraction)


@dataclass(slots=True)
class _Run:
    stream: int
    first: int
    end: int
    readings: int = 0
    untimed: int = 0
    place_min: int | None = None
    place_max: int | None = None
    arrivals: list[int] = field(default_factory=list)
    latest_ns: int | None = None


_LEAF_NAMES: Final[tuple[str, ...]] = (
    "stream_number", "sequence", "height", "block_time_ns", "schema_version", "stream", "anchor_number", "batch_root",
    "leaf_index", "schema", "previous_max_ns", "leaf",
)  # fmt: skip
_READING_NAMES: Final[tuple[str, ...]] = (
    "stream_number", "sequence", "height", "block_time_ns", "schema_version", "record", "quantity", "kind", "coefficient",
    "exponent", "text", "data", "unit", "device_time_ns", "arrival_ns", "flags", "origin", "sum", "update_ns",
)  # fmt: skip


@dataclass(slots=True)
class Rows:
    """Columns of one batch, as they grow."""

    leaf: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _LEAF_NAMES})
    reading: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _READING_NAMES})
    runs: list[StreamRun] = field(default_factory=list)


def batch_rows(batch: Sealed, genesis_hash: bytes, previous: dict[int, int | None], out: Rows | None = None) -> Rows:
    """All rows of a batch. `previous` holds each stream's greatest device time before it, and is brought up to date.

    1. Table, leaves and root belong together, else ArchiveError `archive.root_differs` or `archive.leaf`.
    2. Each leaf is a row; each of its readings is a row.
    """
    # 1
    if sum(part.count for part in batch.parts) != len(batch.leaves) or not batch.leaves:
        raise ArchiveError("archive.leaf", "the table does not cover the leaves")
    if any(a.stream >= b.stream for a, b in zip(batch.parts, batch.parts[1:], strict=False)):
        raise ArchiveError("archive.leaf", "the table is not in ascending order of stream number")
    if root_of([leaf_hash(leaf) for leaf in batch.leaves]) != batch.root:
        raise ArchiveError("archive.root_differs", "the leaves do not have the batch's root")
    # 2
    out = Rows() if out is None else out
    index = 0
    for part in batch.parts:
        schema = schema_bytes(part.schema)
        run = _Run(part.stream, part.first, part.first + part.count)
        latest = previous.get(part.stream)
        for sequence in range(part.first, part.first + part.count):
            data = batch.leaves[index]
            leaf = parse_leaf(data)
            if leaf.stream != part.path or leaf.sequence != sequence:
                raise ArchiveError(
                    "archive.leaf",
                    f"leaf {index} is {leaf.stream} {leaf.sequence}, the table says {part.path} {sequence}",
                )
            _leaf_row(out.leaf, batch, part.stream, part.path, part.schema_version, schema, leaf, data, index, latest)
            resolved = readings_or_none(leaf, part.schema, genesis_hash, latest)
            if resolved.records:
                _reading_rows(out.reading, batch, part.stream, part.schema_version, leaf, resolved.records, run)
            if resolved.latest_ns is not None and (latest is None or resolved.latest_ns > latest):
                latest = resolved.latest_ns
            run.arrivals.append(leaf.arrival)
            index += 1
        previous[part.stream] = latest
        out.runs.append(
            StreamRun(
                run.stream,
                run.first,
                run.end,
                run.readings,
                run.untimed,
                run.place_min,
                run.place_max,
                min(run.arrivals),
                max(run.arrivals),
                batch.time_ns,
                batch.time_ns,
                latest,
            )
        )
    return out


def _leaf_row(
    out: dict[str, list[Any]],
    batch: Sealed,
    stream: int,
    path: str,
    version: int,
    schema: bytes,
    leaf: Leaf,
    data: bytes,
    index: int,
    previous_max_ns: int | None,
) -> None:
    row = (
        stream, leaf.sequence, batch.height, batch.time_ns, version, path, batch.number, batch.root,
        index, schema, previous_max_ns, data,
    )  # fmt: skip
    for name, value in zip(_LEAF_NAMES, row, strict=True):
        out[name].append(value)


def _reading_rows(
    out: dict[str, list[Any]],
    batch: Sealed,
    stream: int,
    version: int,
    leaf: Leaf,
    readings: Sequence[Reading],
    run: _Run,
) -> None:
    count = len(readings)
    # 1. What all readings of a message share.
    out["stream_number"] += [stream] * count
    out["sequence"] += [leaf.sequence] * count
    out["height"] += [batch.height] * count
    out["block_time_ns"] += [batch.time_ns] * count
    out["schema_version"] += [version] * count
    out["arrival_ns"] += [leaf.arrival] * count
    out["origin"] += [int(leaf.origin)] * count
    # 2. Their own columns.
    values = [split_value(reading) for reading in readings]
    times = [reading.device_time_ns for reading in readings]
    out["record"] += [reading.index for reading in readings]
    out["quantity"] += [reading.quantity for reading in readings]
    out["kind"] += [int(reading.kind) for reading in readings]
    out["coefficient"] += [value[0] for value in values]
    out["exponent"] += [value[1] for value in values]
    out["text"] += [value[2] for value in values]
    out["data"] += [value[3] for value in values]
    out["unit"] += [reading.unit for reading in readings]
    out["device_time_ns"] += times
    out["flags"] += [reading.flags for reading in readings]
    out["sum"] += [None if reading.sum is None else decimal_text(reading.sum) for reading in readings]
    out["update_ns"] += [reading.update_ns for reading in readings]
    # 3. The run's span.
    places = [leaf.arrival if time is None else time for time in times]
    low, high = min(places), max(places)
    run.readings += count
    run.untimed += times.count(None)
    run.place_min = low if run.place_min is None or low < run.place_min else run.place_min
    run.place_max = high if run.place_max is None or high > run.place_max else run.place_max


def leaf_groups(table: pa.Table) -> list[pa.Table]:
    """Leaf rows cut into row groups of bounded rows and bytes."""
    sizes = [len(leaf) for leaf in table.column("leaf").to_pylist()]
    groups, start, size = [], 0, 0
    for at, one in enumerate(sizes):
        if at > start and (at - start == LEAVES_PER_GROUP or size + one > LEAF_BYTES_PER_GROUP):
            groups.append(table.slice(start, at - start))
            start, size = at, 0
        size += one
    groups.append(table.slice(start))
    return groups


def build_segment(
    batches: Sequence[Sealed], genesis_hash: bytes, previous: dict[int, int | None]
) -> tuple[SegmentName, bytes, Footer]:
    """The segment of neighbouring batches of one gateway: its name, its bytes, and its footer."""
    made = Rows()
    for batch in batches:
        batch_rows(batch, genesis_hash, previous, made)
    leaves = rows(LEAF, made.leaf, len(made.leaf["leaf"]))
    readings = rows(READING, made.reading, len(made.reading["record"]))
    if len(batches) > 1:
        readings = readings.sort_by(
            [(name, "ascending") for name in ("stream_number", "sequence", "record", "quantity")]
        )
    groups = leaf_groups(leaves)
    first, last = batches[0], batches[-1]
    footer = Footer(
        first.gateway,
        first.number,
        last.number,
        len(batches),
        leaves.num_rows,
        readings.num_rows,
        len(groups),
        joined(made.runs),
    )
    sink = io.BytesIO()
    with writer(sink) as out:
        for group in groups:
            out.write_table(group, row_group_size=group.num_rows)
        if readings.num_rows:
            out.write_table(readings, row_group_size=READINGS_PER_GROUP)
        out.add_key_value_metadata(footer.metadata())
    data = sink.getvalue()
    return SegmentName(first.gateway, first.number, last.number, hashlib.sha256(data).digest()), data, footer


def joined(runs: Iterable[StreamRun]) -> Runs:
    """Runs of neighbouring batches or segments, given in their order, as one segment has them."""
    by_stream: dict[int, list[StreamRun]] = {}
    for run in runs:
        by_stream.setdefault(run.stream, []).append(run)
    return Runs(run for of_stream in by_stream.values() for run in join_runs(of_stream))
