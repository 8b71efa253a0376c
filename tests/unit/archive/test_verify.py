"""Whatever is changed in a segment is found, named, and never crashes the check."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from althing.archive import SegmentWriter, open_objects
from althing.archive.compaction import compact
from althing.archive.names import SegmentName
from althing.archive.segment import schema_bytes
from althing.archive.table import LEAF_COLUMNS, READING_COLUMNS, SCHEMA
from althing.archive.table import writer as parquet_writer
from althing.archive.verify import AnchoredBatch, verify_archive, verify_segment
from althing.protocol.batch import Leaf
from althing.protocol.schema import StreamSchema

from .conftest import GENESIS, SECOND, T0, Chain, Message, pack
from .conftest import SCHEMA as STREAM_SCHEMA

S0 = T0 // SECOND


class ChainAnchors:
    """The chain's answers, from the made-up chain."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain

    def anchored(self, gateway: bytes, number: int) -> AnchoredBatch | None:
        if gateway != self.chain.gateway or number >= len(self.chain.roots):
            return None
        root = self.chain.roots[number]
        rows = [(stream, row) for stream, rows in sorted(self.chain.anchor_rows.items()) for row in rows]
        return AnchoredBatch(root, tuple(pair for pair in rows if pair[1].batch_root == root))

    def schema(self, stream: int, version: int) -> StreamSchema | None:
        return STREAM_SCHEMA if version == 0 else None


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Chain]:
    """One segment of three batches over two streams, with values of every kind."""
    folder = tmp_path_factory.mktemp("sample")
    chain = Chain()
    writer = SegmentWriter(open_objects(str(folder)), GENESIS)
    kinds = (
        b'[{"n":"x","vs":"on","t":1700000000},{"n":"y","vb":true},{"n":"z","vd":"AQID"},'
        b'{"n":"t","v":1.50,"s":2.5,"ut":60},{"n":"t","v":12345678901234567890123}]'
    )
    for at in range(3):
        writer.write(chain.anchor({1: [Message(pack(["1", "2.50", "-3"], S0 + at), T0 + at), Message(kinds, T0 + at)],
                                   2: [Message(pack(["7"], S0 - at), T0)]}))  # fmt: skip
    compact(writer, everything=True)
    (path,) = folder.rglob("*.parquet")
    return path, chain


def rewrite(path: Path, target: Path, change: Any) -> Path:
    """The segment with its rows changed by `change(part, rows)` and everything else as it was."""
    file = pq.ParquetFile(path)
    metadata = {key.decode(): value.decode() for key, value in file.metadata.metadata.items()}
    groups = file.metadata.num_row_groups
    with parquet_writer(target) as out:
        for at in range(groups):
            part = 1 if at == groups - 1 else 0
            rows = change(part, file.read_row_group(at).cast(SCHEMA).to_pylist())
            out.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
        out.add_key_value_metadata(metadata)
    return target


def codes(path: Path, chain: Chain | None) -> set[str]:
    return {finding.code for finding in found(path, chain)}


def found(path: Path, chain: Chain | None) -> list[Any]:
    return verify_segment(path, GENESIS, anchors=None if chain is None else ChainAnchors(chain)).findings


def other(value: Any) -> Any:
    if value is None:
        return 1
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    return bytes([value[0] ^ 1]) + value[1:]


def test_an_untouched_segment_holds(sample: tuple[Path, Chain]) -> None:
    path, chain = sample
    name = SegmentName.parse("/".join(path.parts[-3:]))
    assert name is not None
    result = verify_segment(path, GENESIS, name=name, anchors=ChainAnchors(chain))
    assert result.findings == []
    assert (result.batches, result.leaves, result.readings, result.anchored) == (3, 9, 27, True)
    assert list(result.roots.values()) == chain.roots


@pytest.mark.parametrize("column", READING_COLUMNS)
def test_a_doctored_reading_column_is_named(sample: tuple[Path, Chain], tmp_path: Path, column: str) -> None:
    path, chain = sample

    def change(part: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if part == 1:
            value = rows[3][column]
            rows[3][column] = other(value) if value is not None or SCHEMA.field(column).type != pa.string() else "1"
            if SCHEMA.field(column).type == pa.binary() and value is None:
                rows[3][column] = b"x"
        return rows

    findings = found(rewrite(path, tmp_path / "s.parquet", change), chain)
    assert findings
    assert {finding.code for finding in findings} <= {
        "archive.column_differs",
        "archive.row_extra",
        "archive.row_missing",
    }
    address = column in ("stream_number", "sequence", "record", "quantity")
    assert address or (findings[0].code, findings[0].where.split()[-1]) == ("archive.column_differs", column)
    assert address or "row 3" in findings[0].where


@pytest.mark.parametrize("column", [column for column in LEAF_COLUMNS if column != "schema"])
def test_a_doctored_leaf_column_is_found(sample: tuple[Path, Chain], tmp_path: Path, column: str) -> None:
    path, chain = sample

    def change(part: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if part == 0:
            rows[4][column] = other(rows[4][column])
        return rows

    findings = found(rewrite(path, tmp_path / "s.parquet", change), chain)
    assert findings
    assert all(finding.code.startswith("archive.") for finding in findings)


def test_a_changed_leaf_changes_the_root(sample: tuple[Path, Chain], tmp_path: Path) -> None:
    path, chain = sample

    def change(part: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if part == 0:
            leaf = Leaf.from_bytes(rows[0]["leaf"])
            body = leaf.body.replace(b"2.50", b"2.51")
            rows[0]["leaf"] = replace(leaf, body=body).to_bytes()
        return rows

    target = rewrite(path, tmp_path / "s.parquet", change)
    assert codes(target, chain) >= {"archive.root_differs", "archive.column_differs"}
    assert codes(target, None) >= {"archive.root_differs", "archive.column_differs"}


def test_missing_and_extra_rows_are_found(sample: tuple[Path, Chain], tmp_path: Path) -> None:
    path, chain = sample
    drop = rewrite(path, tmp_path / "drop.parquet", lambda part, rows: rows[:-1] if part else rows)
    assert codes(drop, chain) == {"archive.row_missing", "archive.summary_differs"}
    double = rewrite(path, tmp_path / "double.parquet", lambda part, rows: [*rows, rows[-1]] if part else rows)
    assert codes(double, chain) == {"archive.row_extra", "archive.summary_differs"}
    foreign = rewrite(
        path, tmp_path / "foreign.parquet", lambda part, rows: [*rows, rows[-1] | {"sequence": 99}] if part else rows
    )
    assert codes(foreign, chain) == {"archive.row_extra"}
    leaf = rewrite(path, tmp_path / "leaf.parquet", lambda part, rows: rows if part else rows[:-1])
    assert {"archive.root_differs", "archive.row_extra"} <= codes(leaf, chain)


def test_another_schema_than_the_chains_is_found(sample: tuple[Path, Chain], tmp_path: Path) -> None:
    path, chain = sample
    forged = schema_bytes(StreamSchema(backfill=True))

    def change(part: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return rows if part else [row | {"schema": forged} for row in rows]

    assert "archive.schema_differs" in codes(rewrite(path, tmp_path / "s.parquet", change), chain)


def test_a_block_time_that_is_not_the_chains_is_found(sample: tuple[Path, Chain], tmp_path: Path) -> None:
    path, chain = sample
    target = rewrite(path, tmp_path / "s.parquet", lambda part, rows: [row | {"block_time_ns": T0} for row in rows])
    assert "archive.anchor_differs" in codes(target, chain)


def test_a_truncated_file_is_named_as_such(sample: tuple[Path, Chain], tmp_path: Path) -> None:
    path, _ = sample
    data = path.read_bytes()
    for size in (0, 3, 12, len(data) // 2, len(data) - 1):
        target = tmp_path / f"{size}.parquet"
        target.write_bytes(data[:size])
        assert codes(target, None) == {"archive.truncated"}
    assert codes(tmp_path / "none.parquet", None) == {"archive.truncated"}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_flipped_or_lost_bytes_crash_the_check(
    sample: tuple[Path, Chain], tmp_path: Path, data: st.DataObject
) -> None:
    path, chain = sample
    content = bytearray(path.read_bytes())
    # The footer is where a parser takes sizes from; half of the changes go there.
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    for _ in range(data.draw(st.integers(1, 4), "changes")):
        low = data.draw(st.sampled_from([0, footer]), "from")
        content[data.draw(st.integers(low, len(content) - 1), "at")] ^= data.draw(st.integers(1, 255), "bits")
    cut = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))), "length")
    target = tmp_path / "fuzzed.parquet"
    assume(content[:cut] != path.read_bytes())
    target.write_bytes(content[:cut])
    name = SegmentName.parse("/".join(path.parts[-3:]))
    result = verify_segment(target, GENESIS, name=name, anchors=ChainAnchors(chain))
    assert not result.ok
    assert all(finding.code.startswith("archive.") for finding in result.findings)


def test_segments_are_joined_over_the_whole_archive(tmp_path: Path) -> None:
    chain = Chain()
    writer = SegmentWriter(open_objects(str(tmp_path)), GENESIS)
    for at in (5, 1, 9):
        writer.write(chain.anchor({1: [Message(pack(["1"], S0 + at), T0)]}))
    store = open_objects(str(tmp_path), read_only=True)
    assert [result.ok for result in verify_archive(store, GENESIS, anchors=ChainAnchors(chain))] == [True] * 3

    def change(part: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if part == 0:
            return [row | {"previous_max_ns": None} for row in rows]
        return [row | {"flags": 0} for row in rows]

    # The second segment, rewritten as if no earlier time were known: alone it holds, after the first it does not.
    second = sorted(tmp_path.rglob("*.parquet"))[1]
    rewrite(second, tmp_path / "new", change).rename(second)
    results = list(verify_archive(store, GENESIS, anchors=ChainAnchors(chain)))
    assert "archive.column_differs" in {finding.code for finding in results[1].findings}
