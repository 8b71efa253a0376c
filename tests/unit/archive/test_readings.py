"""Pages: exact, ordered, half-open, stable while data arrives, and never empty for want of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from althing.archive import (
    ArchiveReader,
    AsOf,
    Axis,
    QueryError,
    ReadingRow,
    ReadingsQuery,
    SegmentUnavailable,
    SegmentWriter,
    SeriesQuery,
    open_objects,
)
from althing.archive.compaction import compact
from althing.archive.table import SCHEMA
from althing.archive.table import writer as parquet_writer
from althing.protocol.errors import StateError, UnavailableError
from althing.protocol.mapping import Field, Mapping
from althing.protocol.schema import Quantity, StreamSchema

from .conftest import GENESIS, SECOND, T0, Chain, Message, pack, senml

Reader = Callable[[], ArchiveReader]
S0 = T0 // SECOND


def all_pages(
    reader: ArchiveReader, query: ReadingsQuery, between: Callable[[], None] = lambda: None
) -> list[ReadingRow]:
    rows: list[ReadingRow] = []
    cursor = None
    while True:
        page = reader.readings(replace(query, cursor=cursor))
        rows += page.readings
        cursor = page.next
        if cursor is None:
            return rows
        between()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_pages_are_the_sorted_readings_of_the_pinned_head(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    writer = SegmentWriter(open_objects(str(folder)), GENESIS)
    chain = Chain()
    expected = []
    for _ in range(data.draw(st.integers(1, 8), "batches")):
        times = data.draw(st.lists(st.integers(0, 20), min_size=1, max_size=6), "times")
        for at, time in enumerate(times):
            expected.append((T0 + time * SECOND, chain.next_sequences.get(1, 0) + at))
        writer.write(chain.anchor({1: [Message(senml("1", str(S0 + time)), T0 + 30 * SECOND) for time in times]}))
    if data.draw(st.booleans(), "compacted"):
        compact(writer, everything=True)
    start, end = data.draw(st.integers(0, 20), "start"), data.draw(st.integers(0, 21), "end")
    descending = data.draw(st.booleans(), "descending")
    query = ReadingsQuery(
        1,
        chain.head(1),
        Axis.DEVICE,
        T0 + start * SECOND,
        T0 + end * SECOND,
        "t",
        descending,
        data.draw(st.integers(1, 5)),
    )

    def more() -> None:
        writer.write(chain.anchor({1: [Message(senml("9", str(S0 + start)), T0)]}))

    reader = ArchiveReader(open_objects(str(folder), read_only=True), wait_s=0)
    found = [(row.device_time_ns, row.sequence) for row in all_pages(reader, query, more)]
    kept = sorted(place for place in expected if T0 + start * SECOND <= place[0] < T0 + end * SECOND)
    assert found == (kept[::-1] if descending else kept)


def test_each_axis_has_its_own_order_and_range(writer: SegmentWriter, chain: Chain, make_reader: Reader) -> None:
    # Device times fall, arrivals rise, blocks rise by two messages each.
    for batch in range(3):
        ats = (2 * batch, 2 * batch + 1)
        writer.write(chain.anchor({1: [Message(senml(str(at), str(S0 - at)), T0 + at * SECOND) for at in ats]}))
    reader, head = make_reader(), chain.head(1)

    def ask(axis: Axis, start: int | None, end: int | None) -> list[int]:
        return [row.sequence for row in reader.readings(ReadingsQuery(1, head, axis, start, end)).readings]

    assert ask(Axis.DEVICE, None, None) == [5, 4, 3, 2, 1, 0]
    assert ask(Axis.DEVICE, T0 - 2 * SECOND, T0) == [2, 1]
    assert ask(Axis.ARRIVAL, T0 + SECOND, T0 + 3 * SECOND) == [1, 2]
    assert ask(Axis.BLOCK, T0 + 11 * SECOND, T0 + 12 * SECOND) == [2, 3]
    assert ask(Axis.BLOCK, T0 + 12 * SECOND, T0 + 11 * SECOND) == []


def test_a_reading_without_device_time_stands_at_its_arrival(
    writer: SegmentWriter, chain: Chain, make_reader: Reader
) -> None:
    mapping = Mapping((Field("/t", "t"),))
    chain.schemas[1] = (0, StreamSchema((Quantity("t"),), mapping=mapping))
    writer.write(
        chain.anchor(
            {
                1: [
                    Message(b'{"t": 1.50}', T0, "application/json"),
                    Message(senml("2", str(S0 - 5), unit=""), T0 + SECOND),
                ]
            }
        )
    )
    reader = make_reader()
    rows = reader.readings(ReadingsQuery(1, chain.head(1))).readings
    assert [(row.sequence, row.device_time_ns, row.text) for row in rows] == [
        (1, T0 - 5 * SECOND, "2"),
        (0, None, "1.50"),
    ]
    ranged = ReadingsQuery(1, chain.head(1), start_ns=T0, end_ns=T0 + 1)
    assert [row.sequence for row in reader.readings(ranged).readings] == [0]


def test_several_quantities_of_one_record_page_without_loss(
    writer: SegmentWriter, chain: Chain, make_reader: Reader
) -> None:
    mapping = Mapping((Field("/b", "b"), Field("/a", "a"), Field("/c", "c")))
    chain.schemas[1] = (0, StreamSchema((Quantity("a"), Quantity("b"), Quantity("c")), mapping=mapping))
    writer.write(chain.anchor({1: [Message(b'{"a": 1, "b": 2, "c": 3}', T0, "application/json")] * 2}))
    rows = all_pages(make_reader(), ReadingsQuery(1, chain.head(1), limit=1))
    assert [(row.sequence, row.quantity) for row in rows] == [(s, q) for s in (0, 1) for q in ("a", "b", "c")]


def test_missing_data_is_an_error_never_an_empty_list(
    writer: SegmentWriter, chain: Chain, make_reader: Reader, folder: Path
) -> None:
    for at in range(3):
        writer.write(chain.anchor({1: [Message(senml("1", str(S0 + at)), T0 + at * SECOND)]}))
    first = sorted(folder.rglob("*.parquet"))[0]
    kept = first.read_bytes()
    first.unlink()
    reader = make_reader()
    for call in (
        lambda: reader.readings(ReadingsQuery(1, chain.head(1))),
        lambda: reader.series(SeriesQuery(1, chain.head(1), "t")),
        lambda: reader.message(1, 0),
        lambda: reader.readings(ReadingsQuery(9, AsOf(1, 1))),
    ):
        with pytest.raises(SegmentUnavailable) as caught:
            call()
        assert caught.value.code == "archive.segment_unavailable"
    # By block time the chain can tell that the missing anchor is outside the range; then the answer is whole.
    ranged = ReadingsQuery(1, chain.head(1), Axis.BLOCK, start_ns=T0 + 11 * SECOND)
    assert [row.sequence for row in reader.readings(ranged).readings] == [1, 2]
    with pytest.raises(SegmentUnavailable):
        reader.readings(ReadingsQuery(1, chain.head(1), Axis.BLOCK, start_ns=T0 + 10 * SECOND))
    first.write_bytes(kept)
    assert len(reader.readings(ReadingsQuery(1, chain.head(1))).readings) == 3


def test_a_damaged_segment_is_never_queried(
    writer: SegmentWriter, chain: Chain, make_reader: Reader, folder: Path
) -> None:
    writer.write(chain.anchor({1: [Message(senml("1", str(S0)), T0)]}))
    (file,) = folder.rglob("*.parquet")
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)
    with pytest.raises(SegmentUnavailable):
        make_reader().readings(ReadingsQuery(1, chain.head(1)))


def test_a_stream_without_messages_has_an_empty_page(make_reader: Reader) -> None:
    assert make_reader().readings(ReadingsQuery(1, AsOf(5, 0))).readings == ()


def test_wrong_questions_are_refused(writer: SegmentWriter, chain: Chain, make_reader: Reader) -> None:
    writer.write(chain.anchor({1: [Message(pack(["1", "2", "3"], S0), T0)]}))
    reader, head = make_reader(), chain.head(1)
    cursor = reader.readings(ReadingsQuery(1, head, limit=1)).next
    assert cursor is not None
    for query, code in (
        (ReadingsQuery(1, head, limit=0), "archive.query"),
        (ReadingsQuery(1, head, limit=10**6), "archive.query"),
        (ReadingsQuery(1, head, start_ns=2**64), "archive.query"),
        (ReadingsQuery(1, head, cursor="?"), "archive.cursor"),
        (ReadingsQuery(1, head, cursor="A" * 5000), "archive.cursor"),
        (ReadingsQuery(1, head, cursor=cursor[:-4]), "archive.cursor"),
        (ReadingsQuery(1, head, descending=True, cursor=cursor), "archive.cursor"),
        (ReadingsQuery(1, AsOf(0, 0), cursor=cursor), "archive.cursor"),
    ):
        with pytest.raises(QueryError) as caught:
            reader.readings(query)
        assert caught.value.code == code


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cursor=st.text(max_size=80))
def test_no_cursor_crashes(cursor: str, make_reader: Reader) -> None:
    with pytest.raises(QueryError):
        make_reader().readings(ReadingsQuery(1, AsOf(5, 0), cursor=cursor))


def test_series_has_extremes_and_last_of_each_bucket(writer: SegmentWriter, chain: Chain, make_reader: Reader) -> None:
    values = ["1", "-5.25", "3", "0.1", "1e300", "12345678901234567890.5"]
    writer.write(chain.anchor({1: [Message(pack(values, S0), T0)]}))
    reader = make_reader()
    query = SeriesQuery(1, chain.head(1), "t", start_ns=T0, end_ns=T0 + 6 * SECOND, points=2)
    one, two = reader.series(query)
    assert (one.minimum, one.maximum, one.last, one.count, one.index) == (-5.25, 3.0, 3.0, 3, 2)
    assert (two.minimum, two.maximum, two.last) == (0.1, 1e300, 12345678901234567890.5)
    assert two.time_ns == T0 + 5 * SECOND
    assert reader.series(SeriesQuery(1, chain.head(1), "none")) == []


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(st.integers(-(10**20), 10**20), st.integers(-40, 40)), min_size=1, max_size=20))
def test_floats_of_a_chart_are_the_nearest_ones(
    pairs: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    chain = Chain()
    values = [f"{coefficient}e{exponent}" for coefficient, exponent in pairs]
    writer = SegmentWriter(open_objects(str(folder)), GENESIS)
    writer.write(chain.anchor({1: [Message(pack(values, S0), T0)]}))
    reader = ArchiveReader(open_objects(str(folder), read_only=True), wait_s=0)
    points = reader.series(SeriesQuery(1, chain.head(1), "t", start_ns=T0, end_ns=T0 + 20 * SECOND, points=20))
    assert [point.last for point in points] == [float(value) for value in values]


def test_a_forged_segment_under_a_matching_name_is_an_error_not_a_crash(
    writer: SegmentWriter, chain: Chain, make_reader: Reader, folder: Path
) -> None:
    writer.write(chain.anchor({1: [Message(pack(["1"], S0), T0)]}))
    (path,) = folder.rglob("*.parquet")
    whole = pq.ParquetFile(path)
    metadata = {key.decode(): value.decode() for key, value in whole.metadata.metadata.items()}
    leaves, (row,) = whole.read_row_group(0).cast(SCHEMA), whole.read_row_group(1).cast(SCHEMA).to_pylist()
    for forged in (
        {"exponent": 30000}, {"kind": 77}, {"quantity": None}, {"arrival_ns": None, "device_time_ns": None},
        {"coefficient": None, "text": "NaN"}, {"sum": "x"}, {"flags": None},
    ):  # fmt: skip
        with parquet_writer(folder / "forged") as out:
            out.write_table(leaves)
            out.write_table(pa.Table.from_pylist([row | forged], schema=SCHEMA))
            out.add_key_value_metadata(metadata)
        for old in folder.rglob("*.parquet"):
            old.unlink()
        digest = hashlib.sha256((folder / "forged").read_bytes()).hexdigest()
        (folder / "forged").rename(path.parent / f"{path.name[:34]}{digest}.parquet")
        reader = make_reader()
        with pytest.raises((StateError, UnavailableError)) as caught:
            reader.readings(ReadingsQuery(1, chain.head(1)))
        assert caught.value.code in ("archive.column_differs", "archive.segment_unavailable")
