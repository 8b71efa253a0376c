"""Does a segment say what its leaves say? Everything in it is recomputed from leaf bytes and compared.

`verify_segment` trusts nothing but, where given, the chain's anchor rows and schemas. Findings name row and column.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from althing.archive.catalogue import Catalogue, read_footer
from althing.archive.errors import ArchiveError
from althing.archive.names import SegmentName
from althing.archive.objects import ObjectMissing, ObjectStore
from althing.archive.runs import StreamRun
from althing.archive.sealed import Sealed, StreamPart
from althing.archive.segment import batch_rows, joined
from althing.archive.table import LEAF, LEAF_COLUMNS, READING, READING_COLUMNS, SCHEMA, Footer
from althing.protocol.batch import parse_leaf
from althing.protocol.codec import decode
from althing.protocol.errors import EncodingError, PayloadError
from althing.protocol.limits import BATCH_LEAVES_MAX
from althing.protocol.merkle import leaf_hash, root_of
from althing.protocol.messages.streams import AnchorRow
from althing.protocol.schema import StreamSchema

__all__ = ["AnchoredBatch", "Anchors", "Finding", "Verified", "verify_archive", "verify_segment"]

FINDINGS_MAX: Final = 100  # of one segment; a damaged one would list every row
LEAF_BYTES_TOTAL_MAX: Final = 1 << 30  # of one batch in memory: a million small ones, or 4,000 of the largest


class Anchors(Protocol):
    """The chain's word on a gateway's anchors and on definitions."""

    def anchored(self, gateway: bytes, number: int) -> AnchoredBatch | None:
        """What the chain anchored under this number, or None if it has no such anchor."""
        ...

    def schema(self, stream: int, version: int) -> StreamSchema | None:
        """The schema of a stream at a version, or None if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class AnchoredBatch:
    """An anchor as the chain executed it: its row of each stream, in the table's order, with the stream's number."""

    root: bytes
    rows: tuple[tuple[int, AnchorRow], ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not hold: a stable code, where (batch, stream, sequence, row, column), and what."""

    code: str
    where: str
    message: str


@dataclass(slots=True)
class Verified:
    """The outcome for one segment. `roots` are the recomputed batch roots by number; `anchored`: compared with a chain."""

    name: str
    batches: int = 0
    leaves: int = 0
    readings: int = 0
    anchored: bool = False
    roots: dict[int, bytes] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.findings


class _Enough(Exception):  # noqa: N818 (ends a check early, not an error)
    pass


def verify_segment(
    path: Path,
    genesis_hash: bytes,
    *,
    name: SegmentName | None = None,
    anchors: Anchors | None = None,
    carried: dict[int, tuple[int, int | None]] | None = None,
) -> Verified:
    """Check a segment's file.

    1. The file's SHA-256 is the name's.  2. The footer reads.  3. Per batch: leaves, table and root; against the chain
    root, height, time, table and schemas where `anchors` is given.  4. Every leaf and reading row, column by column, is
    what the leaves resolve to.  5. The footer's counts and runs are those of the rows.
    `carried` (stream → next sequence, greatest time) joins segments checked in order, so that the first message of one
    is checked against the last of the one before; without it a segment's own first value is taken as given.
    """
    result = Verified(str(name or path.name))
    try:
        _Check(path, genesis_hash, name, anchors, {} if carried is None else carried, result).run()
    except _Enough:
        pass
    except ObjectMissing:
        result.findings.append(Finding("archive.truncated", result.name, "the file is not there"))
    except ArchiveError as exc:
        result.findings.append(Finding(exc.code, exc.where or result.name, exc.message))
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as exc:
        # Whatever Arrow cannot read is damage: its exceptions for bad bytes are of all these kinds.
        code = (
            "archive.truncated"
            if "end of" in str(exc).lower() or "truncated" in str(exc).lower()
            else "archive.damaged"
        )
        result.findings.append(Finding(code, result.name, f"cannot be read: {exc}"))
    return result


@dataclass(slots=True)
class _Check:
    path: Path
    genesis_hash: bytes
    name: SegmentName | None
    anchors: Anchors | None
    carried: dict[int, tuple[int, int | None]]
    result: Verified
    runs: list[StreamRun] = field(default_factory=list)

    def run(self) -> None:
        # 1
        if self.name is not None:
            with open(self.path, "rb") as file:
                if hashlib.file_digest(file, "sha256").digest() != self.name.sha256:
                    self.find("archive.hash_differs", self.result.name, "the bytes are not those of the name")
        # 2
        footer = read_footer(self.path)
        if self.name is not None and (footer.gateway, footer.first, footer.last) != (
            self.name.gateway,
            self.name.first,
            self.name.last,
        ):
            self.find("archive.name_differs", self.result.name, "the footer names other batches than the file's name")
        with pq.ParquetFile(self.path) as file:
            if footer.leaf_groups > file.metadata.num_row_groups:
                raise ArchiveError("archive.format", "the footer counts more row groups than there are")
            readings = _Readings(self._reading_table(file, footer.leaf_groups))
            # 3 and 4
            expected_number = footer.first
            for number, rows in self.batches(file, footer.leaf_groups):
                if number != expected_number:
                    self.find("archive.row_missing", f"batch {expected_number}", f"batch {number} stands in its place")
                expected_number = number + 1
                self.batch(footer, number, rows, readings)
            if expected_number != footer.last + 1:
                self.find("archive.row_missing", f"batch {expected_number}", "the batches end too early")
            for key in readings.left():
                self.find(
                    "archive.row_extra", f"stream {key[0]} sequence {key[1]}", "a reading of a message that is not here"
                )
        # 5
        self.footer(footer)

    def batches(self, file: pq.ParquetFile, groups: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Leaf rows batch by batch, in the order they stand in."""
        rows: list[dict[str, Any]] = []
        size = 0
        for at in range(groups):
            table = file.read_row_group(at).cast(SCHEMA)
            table.validate(full=True)
            self.kind(table, LEAF, f"row group {at}")
            for row in table.select(LEAF_COLUMNS).to_pylist():
                number = row["anchor_number"]
                if type(number) is not int:
                    raise ArchiveError("archive.column_differs", "is missing in a row", where="column anchor_number")
                if rows and number != rows[0]["anchor_number"]:
                    yield rows[0]["anchor_number"], rows
                    rows, size = [], 0
                rows.append(row)
                size += len(row["leaf"] or b"")
                if size > LEAF_BYTES_TOTAL_MAX or len(rows) > BATCH_LEAVES_MAX:
                    raise ArchiveError("archive.format", "a batch is larger than any", where=f"batch {number}")
        if rows:
            yield rows[0]["anchor_number"], rows

    def _reading_table(self, file: pq.ParquetFile, first_group: int) -> pa.Table:
        groups = file.metadata.num_row_groups
        if groups == first_group:
            return SCHEMA.empty_table()
        table = file.read_row_groups(list(range(first_group, groups))).cast(SCHEMA)
        table.validate(full=True)
        self.kind(table, READING, "readings")
        return table.select(READING_COLUMNS)

    def batch(self, footer: Footer, number: int, rows: list[dict[str, Any]], readings: _Readings) -> None:
        result = self.result
        result.batches += 1
        result.leaves += len(rows)
        where = f"batch {number}"
        leaves = tuple(row["leaf"] for row in rows)
        if any(type(leaf) is not bytes for leaf in leaves):
            self.find("archive.column_differs", f"{where} column leaf", "a leaf is missing")
            return
        root = root_of([leaf_hash(leaf) for leaf in leaves])
        result.roots[number] = root
        anchored = self.anchored(footer.gateway, number, root, where)
        stated = rows[0]["batch_root"]
        if stated != root:
            self.find(
                "archive.root_differs", where, f"the leaves have the root {root.hex()}, the rows say {_show(stated)}"
            )
        sealed = self.sealed(footer.gateway, number, root, rows, leaves, anchored, where)
        if sealed is None:
            return
        # What the rows must be, from the leaves alone.
        previous = {part.stream: self.previous(part, rows, sealed) for part in sealed.parts}
        made = batch_rows(sealed, self.genesis_hash, previous)
        for run in made.runs:
            self.runs.append(run)
            self.carried[run.stream] = (run.end, run.latest_ns)
        for at, row in enumerate(rows):
            self.compare(row, {name: made.leaf[name][at] for name in LEAF_COLUMNS}, f"{where} leaf {at}")
        self.readings(sealed, made.reading, readings, where)

    def anchored(self, gateway: bytes, number: int, root: bytes, where: str) -> AnchoredBatch | None:
        if self.anchors is None:
            return None
        self.result.anchored = True
        anchored = self.anchors.anchored(gateway, number)
        if anchored is None:
            self.find("archive.anchor_differs", where, "the chain has no anchor of this number")
        elif anchored.root != root:
            self.find(
                "archive.root_differs", where, f"the leaves have the root {root.hex()}, the chain {anchored.root.hex()}"
            )
        return anchored

    def sealed(
        self,
        gateway: bytes,
        number: int,
        root: bytes,
        rows: list[dict[str, Any]],
        leaves: tuple[bytes, ...],
        anchored: AnchoredBatch | None,
        where: str,
    ) -> Sealed | None:
        """The batch as its leaves, and what only the chain can say (stream numbers, versions, block), give it."""
        parts: list[StreamPart] = []
        height, time_ns = rows[0]["height"], rows[0]["block_time_ns"]
        for at, data in enumerate(leaves):
            try:
                leaf = parse_leaf(data)
            except EncodingError as exc:
                self.find("archive.leaf", f"{where} leaf {at}", exc.message)
                return None
            last = parts[-1] if parts else None
            if last is not None and last.path == leaf.stream:
                if leaf.sequence != last.first + last.count:
                    self.find("archive.leaf", f"{where} leaf {at}", f"sequence {leaf.sequence} does not follow")
                    return None
                parts[-1] = StreamPart(
                    last.stream, last.path, last.first, last.count + 1, last.schema_version, last.schema
                )
                continue
            row = rows[at]
            schema = self.schema(row, f"{where} leaf {at}")
            numbers = (row["stream_number"], row["schema_version"], height, time_ns)
            if schema is None or any(type(value) is not int or value < 0 for value in numbers):
                self.find("archive.column_differs", f"{where} leaf {at}", "a number is missing or negative")
                return None
            parts.append(StreamPart(row["stream_number"], leaf.stream, leaf.sequence, 1, row["schema_version"], schema))
        if any(a.stream >= b.stream for a, b in pairwise(parts)):
            self.find("archive.column_differs", f"{where} column stream_number", "not in ascending order")
            return None
        if anchored is not None:
            self.table(parts, anchored, height, time_ns, where)
        return Sealed(gateway, number, root, height, time_ns, tuple(parts), leaves)

    def table(
        self, parts: Sequence[StreamPart], anchored: AnchoredBatch, height: int, time_ns: int, where: str
    ) -> None:
        """Against the chain: stream numbers, sequences, schema versions, height and time."""
        ours = [(part.stream, part.first, part.count, height, time_ns, part.schema_version) for part in parts]
        theirs = [
            (stream, row.first, row.count, row.height, row.time, row.schema_version) for stream, row in anchored.rows
        ]
        for own, chain in zip(ours, theirs, strict=False):
            if own != chain:
                self.find(
                    "archive.anchor_differs",
                    where,
                    f"(stream, first, count, height, time, schema version) is {own}, on the chain {chain}",
                )
        if len(ours) != len(theirs):
            self.find("archive.anchor_differs", where, f"{len(ours)} streams, on the chain {len(theirs)}")

    def schema(self, row: Mapping[str, Any], where: str) -> StreamSchema | None:
        try:
            schema = StreamSchema.from_cbor_obj(decode(row["schema"] or b""))
        except (EncodingError, PayloadError) as exc:
            self.find("archive.column_differs", f"{where} column schema", exc.message)
            return None
        if self.anchors is not None:
            true = self.anchors.schema(row["stream_number"], row["schema_version"])
            if true is None or true.to_cbor_obj() != schema.to_cbor_obj():
                self.find("archive.schema_differs", where, "the schema is not the one on the chain at this version")
                return true
        return schema

    def previous(self, part: StreamPart, rows: Sequence[Mapping[str, Any]], sealed: Sealed) -> int | None:
        known = self.carried.get(part.stream)
        if known is not None and known[0] == part.first:
            return known[1]
        offset = sum(other.count for other in sealed.parts if other.stream < part.stream)
        given = rows[offset]["previous_max_ns"]
        return given if type(given) is int else None

    def readings(self, sealed: Sealed, made: Mapping[str, list[Any]], readings: _Readings, where: str) -> None:
        count = len(made["record"])
        expected: dict[tuple[int, int], list[int]] = {}
        for at in range(count):
            expected.setdefault((made["stream_number"][at], made["sequence"][at]), []).append(at)
        for part in sealed.parts:
            for sequence in range(part.first, part.first + part.count):
                rows = readings.take((part.stream, sequence))
                self.result.readings += len(rows)
                place = f"stream {part.stream} sequence {sequence}"
                wanted = {
                    (made["record"][at], made["quantity"][at]): at for at in expected.get((part.stream, sequence), ())
                }
                for row in rows:
                    address = (row["record"], row["quantity"])
                    at = wanted.pop(address, -1)
                    named = f"{place} record {address[0]} quantity {address[1]} (row {row['row']})"
                    if at < 0:
                        self.find(
                            "archive.row_extra", named, "the message has no such reading, or it stands here twice"
                        )
                    else:
                        self.compare(row, {name: made[name][at] for name in READING_COLUMNS}, named)
                for record, quantity in wanted:
                    self.find(
                        "archive.row_missing", f"{place} record {record} quantity {quantity}", "the reading is not here"
                    )

    def compare(self, row: Mapping[str, Any], expected: Mapping[str, Any], where: str) -> None:
        for name, value in expected.items():
            if row[name] != value:
                message = f"is {_show(row[name])}, the leaf gives {_show(value)}"
                self.find("archive.column_differs", f"{where} column {name}", message)

    def kind(self, table: pa.Table, part: int, where: str) -> None:
        """All rows are of this part, and the columns of the other part are null."""
        own = LEAF_COLUMNS if part == LEAF else READING_COLUMNS
        if table.column("part").to_pylist() != [part] * table.num_rows:
            self.find("archive.column_differs", f"{where} column part", f"is not {part} in every row")
        for name in SCHEMA.names:
            if name != "part" and name not in own and table.column(name).null_count != table.num_rows:
                self.find("archive.column_differs", f"{where} column {name}", "is not null in every row")

    def footer(self, footer: Footer) -> None:
        result = self.result
        counts = (result.batches, result.leaves, result.readings)
        if (footer.batches, footer.leaves, footer.readings) != counts:
            self.find("archive.summary_differs", result.name, f"the footer's counts are not those of the rows {counts}")
        if footer.runs != joined(self.runs):
            self.find("archive.summary_differs", result.name, "the footer's runs are not those of the rows")

    def find(self, code: str, where: str, message: str) -> None:
        self.result.findings.append(Finding(code, where, message))
        if len(self.result.findings) >= FINDINGS_MAX:
            raise _Enough


class _Readings:
    """Reading rows by (stream, sequence): batches come in batch order, rows by stream, so all of them are kept.

    One segment's readings are bounded by the compaction's `readings_max`; as Arrow columns that is some hundred MB.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._spans: dict[tuple[int, int], list[tuple[int, int]]] = {}
        streams = table.column("stream_number").to_pylist()
        sequences = table.column("sequence").to_pylist()
        start = 0
        for at in range(1, len(streams) + 1):
            if at == len(streams) or streams[at] != streams[start] or sequences[at] != sequences[start]:
                self._spans.setdefault((streams[start], sequences[start]), []).append((start, at))
                start = at

    def take(self, key: tuple[int, int]) -> list[dict[str, Any]]:
        """The rows of a message, each with its number in the file's reading rows; they are then used up."""
        rows = []
        for start, end in self._spans.pop(key, ()):
            for at, row in enumerate(self._table.slice(start, end - start).to_pylist()):
                row["row"] = start + at
                rows.append(row)
        return rows

    def left(self) -> list[tuple[int, int]]:
        """Messages whose readings nobody took."""
        return list(self._spans)[:FINDINGS_MAX]


def _show(value: Any) -> str:
    shown = value.hex() if type(value) is bytes else repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "…"


def verify_archive(store: ObjectStore, genesis_hash: bytes, *, anchors: Anchors | None = None) -> Iterator[Verified]:
    """Every segment that counts, in order, each joined to the one before; then those that cannot be read."""
    catalogue = Catalogue(store)
    carried: dict[int, tuple[int, int | None]] = {}
    for segment in catalogue.segments():
        try:
            path = store.local_path(str(segment.name))
        except ObjectMissing:
            continue  # compacted away meanwhile; the one that took its place was or will be checked
        yield verify_segment(path, genesis_hash, name=segment.name, anchors=anchors, carried=carried)
    for name, error in catalogue.damaged().items():
        yield Verified(str(name), findings=[Finding(error.code, str(name), error.message)])
