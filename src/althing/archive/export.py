"""A stream's readings for a stranger: a table, the leaves they come from, proofs, and a manifest that ties them.

    manifest.json            what it is, which sequences and batches it covers, and the SHA-256 of every other file
    readings.csv|.parquet    one row per reading, with its address, in order of (sequence, record, quantity)
    messages.ndjson          one line per message: leaf, place in the batch, path to the batch root
    proofs/<sequence>.cbor   proof files, one per batch that the caller gave one for

Every row is resolved from its leaf here, not copied from a column. docs/spec/segments.md §8.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from althing.archive.errors import QueryError
from althing.archive.query import Axis, ReadingRow, check_range
from althing.archive.reader import ArchivedMessage, ArchiveReader
from althing.archive.sealed import readings_or_none
from althing.archive.segment import schema_bytes
from althing.protocol.reading import flag_names

__all__ = [
    "COLUMNS",
    "FORMAT",
    "CsvRows",
    "ExportRequest",
    "Exported",
    "ParquetRows",
    "export_stream",
    "message_line",
    "row_texts",
    "rows_of",
    "time_text",
]

FORMAT: Final = 1
COLUMNS: Final = (
    "stream", "sequence", "record", "quantity", "kind", "value", "unit", "device_time", "arrival_time", "block_time",
    "flags", "origin", "sum", "schema_version",
)  # fmt: skip
_INTEGERS: Final = frozenset(("sequence", "record", "schema_version"))
PARQUET_SCHEMA: Final = pa.schema(
    [pa.field(name, pa.int64() if name in _INTEGERS else pa.string()) for name in COLUMNS]
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS_PER_GROUP: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Which readings: sequences first … end - 1 of a stream, and of these the ones in [start, end) on an axis.

    All messages of the sequences are in the export, so that it can be checked that no reading was left out.
    """

    chain_id: str
    genesis_hash: bytes
    stream: int
    path: str
    first: int
    end: int
    axis: Axis = Axis.DEVICE
    start_ns: int | None = None
    end_ns: int | None = None
    quantity: str | None = None
    format: str = "csv"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written; `manifest_sha256` is what a certificate or a mail would name."""

    rows: int
    messages: int
    proofs: int
    manifest_sha256: bytes


def export_stream(
    reader: ArchiveReader, request: ExportRequest, folder: Path, *, proof: Callable[[int], bytes] | None = None
) -> Exported:
    """Write an export into an empty folder; the manifest comes last, so an export without one is unfinished.

    `proof(sequence)` gives a proof file for the last message of each batch. QueryError `archive.query`; errors of `reader`.
    """
    if request.format not in ("csv", "parquet"):
        raise QueryError("archive.query", f"{request.format!r} is not a format", hint="csv or parquet")
    if not 0 <= request.first < request.end:
        raise QueryError("archive.query", "the range of sequences is empty")
    check_range(request.start_ns, request.end_ns)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise QueryError("archive.query", f"{folder} is not empty", hint="name a new folder")
    table = f"readings.{request.format}"
    rows = messages = 0
    batches: dict[tuple[bytes, int], dict[str, Any]] = {}
    schemas: dict[int, str] = {}
    latest: int | None = None
    with (
        open(folder / "messages.ndjson", "wb") as lines,
        CsvRows(folder / table) if request.format == "csv" else ParquetRows(folder / table) as out,
    ):
        for message in reader.messages(request.stream, request.first, request.end):
            path = reader.batch_path(message)
            if not messages:
                latest = message.previous_max_ns
            lines.write(message_line(message, path.size, path.path))
            schemas[message.schema_version] = schema_bytes(message.schema).hex()
            batch = batches.setdefault((message.gateway, message.number), _batch(message, path.size))
            batch["end"] = message.sequence + 1
            selected, latest = rows_of(message, request, latest)
            for row in selected:
                out.add(row_texts(request.path, row))
                rows += 1
            messages += 1
    files = ["messages.ndjson", table]
    if proof is not None:
        (folder / "proofs").mkdir()
        for batch in batches.values():
            name = f"proofs/{batch['end'] - 1}.cbor"
            (folder / name).write_bytes(proof(batch["end"] - 1))
            batch["proof"] = name
            files.append(name)
    manifest = {
        "format": FORMAT,
        "chain_id": request.chain_id,
        "genesis_hash": request.genesis_hash.hex(),
        "stream": request.path,
        "stream_number": request.stream,
        "sequences": [request.first, request.end],
        "time": request.axis.name.lower(),
        "from_ns": request.start_ns,
        "to_ns": request.end_ns,
        "quantity": request.quantity,
        "rows": rows,
        "schemas": {str(version): text for version, text in sorted(schemas.items())},
        "batches": list(batches.values()),
        "files": [_file(folder, name) for name in files],
    }
    data = json.dumps(manifest, indent=1, ensure_ascii=True).encode("ascii") + b"\n"
    with open(folder / "manifest.json", "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    proofs = sum(1 for batch in batches.values() if "proof" in batch)
    return Exported(rows, messages, proofs, hashlib.sha256(data).digest())


def rows_of(
    message: ArchivedMessage, request: ExportRequest, previous_max_ns: int | None
) -> tuple[list[ReadingRow], int | None]:
    """The message's readings that the request selects, resolved from its leaf; and the greatest time to carry on."""
    resolved = readings_or_none(message.leaf, message.schema, request.genesis_hash, previous_max_ns)
    rows = [
        ReadingRow(
            message.stream, message.sequence, one.index, one.quantity, one.kind, one.value, one.unit, one.device_time_ns,
            message.leaf.arrival, message.time_ns, message.height, one.flags, int(message.leaf.origin),
            message.schema_version, one.sum, one.update_ns,
        )
        for one in resolved.records
    ]  # fmt: skip
    if resolved.latest_ns is not None and (previous_max_ns is None or resolved.latest_ns > previous_max_ns):
        previous_max_ns = resolved.latest_ns
    selected = [row for row in rows if _selected(row, request)]
    return sorted(selected, key=lambda row: (row.index, row.quantity)), previous_max_ns


def _selected(row: ReadingRow, request: ExportRequest) -> bool:
    place = row.place_ns(request.axis)
    if request.start_ns is not None and place < request.start_ns:
        return False
    if request.end_ns is not None and place >= request.end_ns:
        return False
    return request.quantity is None or row.quantity == request.quantity


def row_texts(path: str, row: ReadingRow) -> tuple[str, ...]:
    """A row of `COLUMNS` as texts; nothing is rounded. A missing value is an empty text, and its flag says so."""
    return (
        path,
        str(row.sequence),
        str(row.index),
        row.quantity,
        row.kind.name.lower(),
        row.text or "",
        row.unit,
        "" if row.device_time_ns is None else time_text(row.device_time_ns),
        time_text(row.arrival_ns),
        time_text(row.block_time_ns),
        " ".join(flag_names(row.flags)),
        ("device", "gateway")[row.origin],
        "" if row.sum is None else str(row.sum).replace("E", "e"),
        str(row.schema_version),
    )


def time_text(time_ns: int) -> str:
    """RFC 3339 in UTC with nine fractional digits, in integer arithmetic."""
    seconds, fraction = divmod(time_ns, 10**9)
    return f"{(_EPOCH + timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S')}.{fraction:09d}Z"


def message_line(message: ArchivedMessage, size: int, path: Iterable[bytes]) -> bytes:
    """A line of messages.ndjson."""
    item = {
        "sequence": message.sequence,
        "leaf": base64.b64encode(message.leaf_bytes).decode("ascii"),
        "batch_root": message.batch_root.hex(),
        "batch_size": size,
        "leaf_index": message.leaf_index,
        "path": [node.hex() for node in path],
        "height": message.height,
        "block_time_ns": message.time_ns,
        "schema_version": message.schema_version,
        "previous_max_ns": message.previous_max_ns,
    }
    return json.dumps(item, separators=(",", ":")).encode("ascii") + b"\n"


class CsvRows(AbstractContextManager["CsvRows"]):
    """RFC 4180 with a header line, UTF-8."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115 (closed by __exit__)
        self._rows = csv.writer(self._file)
        self._rows.writerow(COLUMNS)

    def add(self, texts: tuple[str, ...]) -> None:
        self._rows.writerow(texts)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class ParquetRows(AbstractContextManager["ParquetRows"]):
    """The same columns; sequence, record and schema version as integers, everything else as exact text."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, PARQUET_SCHEMA, compression="zstd")
        self._held: list[tuple[str, ...]] = []

    def add(self, texts: tuple[str, ...]) -> None:
        self._held.append(texts)
        if len(self._held) == _ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        columns = [
            [int(text) for text in column] if name in _INTEGERS else list(column)
            for name, column in zip(COLUMNS, zip(*self._held, strict=True), strict=True)
        ]
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, PARQUET_SCHEMA, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=PARQUET_SCHEMA))
        self._held = []

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held and kind is None:
            self._flush()
        self._writer.close()


def _batch(message: ArchivedMessage, size: int) -> dict[str, Any]:
    return {
        "gateway": message.gateway.hex(),
        "number": message.number,
        "root": message.batch_root.hex(),
        "size": size,
        "height": message.height,
        "block_time_ns": message.time_ns,
        "first": message.sequence,
        "end": message.sequence + 1,
    }


def _file(folder: Path, name: str) -> dict[str, Any]:
    with open(folder / name, "rb") as file:
        return {
            "name": name,
            "bytes": (folder / name).stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }
