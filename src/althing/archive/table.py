"""The Parquet form of a segment (docs/spec/segments.md §3): one file, two kinds of row, told apart by `part`.

Leaf rows (part 0) stand in the order of the batches' trees, so leaves and roots recompute. Reading rows (part 1) stand
by stream and sequence, so a query of one stream reads few row groups. A column of the other kind is null and costs
nothing. What a reading shares with its leaf (batch root, leaf index, schema) is found by (stream, sequence).
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from althing.archive.errors import ArchiveError
from althing.archive.runs import Runs
from althing.protocol.codec import decode, encode
from althing.protocol.errors import EncodingError

__all__ = [
    "FOOTER_BYTES_MAX",
    "LEAF",
    "LEAF_BYTES_PER_GROUP",
    "LEAF_COLUMNS",
    "LEAVES_PER_GROUP",
    "READING",
    "READINGS_PER_GROUP",
    "READING_COLUMNS",
    "SCHEMA",
    "Footer",
    "parse_footer",
    "rows",
    "writer",
]

FORMAT: Final = 1
LEAF: Final = 0
READING: Final = 1

READINGS_PER_GROUP: Final = 1 << 17  # DuckDB's own size: one row group is one unit of pruning and of parallel work
LEAVES_PER_GROUP: Final = 1 << 13  # a lookup of one message reads one group
LEAF_BYTES_PER_GROUP: Final = 8 << 20
FOOTER_BYTES_MAX: Final = 64 << 20

# name, type, in leaf rows, in reading rows, encoding ("" is a dictionary), with statistics
_COLUMNS: Final = (
    ("part", pa.int8(), True, True, "PLAIN", True),
    ("stream_number", pa.int64(), True, True, "DELTA_BINARY_PACKED", True),
    ("sequence", pa.int64(), True, True, "DELTA_BINARY_PACKED", True),
    ("height", pa.int64(), True, True, "DELTA_BINARY_PACKED", False),
    ("block_time_ns", pa.int64(), True, True, "DELTA_BINARY_PACKED", True),
    ("schema_version", pa.int32(), True, True, "", False),
    # leaf rows
    ("stream", pa.string(), True, False, "", False),
    ("anchor_number", pa.int64(), True, False, "DELTA_BINARY_PACKED", True),
    ("batch_root", pa.binary(32), True, False, "", False),
    ("leaf_index", pa.int32(), True, False, "DELTA_BINARY_PACKED", False),
    ("schema", pa.binary(), True, False, "", False),
    ("previous_max_ns", pa.int64(), True, False, "DELTA_BINARY_PACKED", False),
    ("leaf", pa.binary(), True, False, "DELTA_LENGTH_BYTE_ARRAY", False),
    # reading rows
    ("record", pa.int32(), False, True, "DELTA_BINARY_PACKED", False),
    ("quantity", pa.string(), False, True, "", False),
    ("kind", pa.int8(), False, True, "", False),
    ("coefficient", pa.int64(), False, True, "DELTA_BINARY_PACKED", False),
    ("exponent", pa.int16(), False, True, "", False),
    ("text", pa.string(), False, True, "", False),
    ("data", pa.binary(), False, True, "", False),
    ("unit", pa.string(), False, True, "", False),
    ("device_time_ns", pa.int64(), False, True, "DELTA_BINARY_PACKED", True),
    ("arrival_ns", pa.int64(), False, True, "DELTA_BINARY_PACKED", True),
    ("flags", pa.int32(), False, True, "", False),
    ("origin", pa.int8(), False, True, "", False),
    ("sum", pa.string(), False, True, "", False),
    ("update_ns", pa.int64(), False, True, "", False),
)
SCHEMA: Final = pa.schema([pa.field(name, kind) for name, kind, *_ in _COLUMNS])
LEAF_COLUMNS: Final = tuple(name for name, _, leaf, _, _, _ in _COLUMNS if leaf and name != "part")
READING_COLUMNS: Final = tuple(name for name, _, _, reading, _, _ in _COLUMNS if reading and name != "part")

_ABOUT: Final = b"althing.segment"
_RUNS: Final = b"althing.streams"


@dataclass(frozen=True, slots=True)
class Footer:
    """What a segment says of itself in its footer; derived, and checked by `verify_segment`."""

    gateway: bytes
    first: int
    last: int
    batches: int
    leaves: int
    readings: int
    leaf_groups: int
    runs: Runs

    def metadata(self) -> dict[str, str]:
        """The two key-value entries of the Parquet footer: counts as JSON, runs as base64 of zlib of CBOR columns."""
        about = {
            "format": FORMAT,
            "gateway": self.gateway.hex(),
            "first": self.first,
            "last": self.last,
            "batches": self.batches,
            "leaves": self.leaves,
            "readings": self.readings,
            "leaf_groups": self.leaf_groups,
        }
        packed = base64.b64encode(zlib.compress(encode(self.runs.to_columns()), 6)).decode("ascii")
        return {_ABOUT.decode(): json.dumps(about, separators=(",", ":")), _RUNS.decode(): packed}


def parse_footer(metadata: pq.FileMetaData) -> Footer:
    """The footer's claims, or ArchiveError `archive.format`."""
    values = metadata.metadata or {}
    try:
        if metadata.schema.to_arrow_schema().names != SCHEMA.names:
            raise ValueError("the columns are not those of a segment")
        about = json.loads(values[_ABOUT])
        if type(about) is not dict or about.get("format") != FORMAT:
            raise ValueError("not a format known here")
        counts = [about[name] for name in ("first", "last", "batches", "leaves", "readings", "leaf_groups")]
        if any(type(count) is not int or not 0 <= count < 2**62 for count in counts):
            raise ValueError("a count is not a whole number")
        gateway = bytes.fromhex(about["gateway"])
        runs = _parse_runs(values[_RUNS])
    except (
        KeyError,
        ValueError,
        TypeError,
        OverflowError,
        zlib.error,
        RecursionError,
        pa.ArrowException,
        EncodingError,
    ) as exc:
        raise ArchiveError("archive.format", f"not a segment: {exc}") from exc
    first, last, batches, leaves, readings, leaf_groups = counts
    return Footer(gateway, first, last, batches, leaves, readings, leaf_groups, runs)


def _parse_runs(packed: bytes) -> Runs:
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64.b64decode(packed, validate=True), FOOTER_BYTES_MAX)
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("the runs do not unpack")
    return Runs.from_columns(decode(data, bytes_max=FOOTER_BYTES_MAX))


def writer(target: Any) -> pq.ParquetWriter:
    """A Parquet writer for segments; `target` is a path or a file object."""
    return pq.ParquetWriter(
        target,
        SCHEMA,
        compression="zstd",
        compression_level=3,
        use_dictionary=[name for name, _, _, _, encoding, _ in _COLUMNS if not encoding],
        column_encoding={name: encoding for name, _, _, _, encoding, _ in _COLUMNS if encoding},
        write_statistics=[name for name, _, _, _, _, statistics in _COLUMNS if statistics],
        data_page_version="2.0",
        store_schema=False,
        version="2.6",
    )


def rows(part: int, columns: Mapping[str, Sequence[Any]], count: int) -> pa.Table:
    """A table of the segment's schema; columns not given are null."""
    arrays = []
    for field in SCHEMA:
        if field.name == "part":
            arrays.append(pa.array([part] * count, type=field.type))
        elif field.name in columns:
            arrays.append(pa.array(columns[field.name], type=field.type))
        else:
            arrays.append(pa.nulls(count, type=field.type))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
