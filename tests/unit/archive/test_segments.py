"""What is written is read back exactly, once, and by anyone who opens the folder."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.archive import ArchiveError, ArchiveReader, ReadingsQuery, SegmentWriter, batch_locator, parse_locator
from althing.archive.names import SegmentName
from althing.archive.readings import join_value
from althing.archive.segment import split_value
from althing.protocol.batch import Origin
from althing.protocol.decimals import from_pair
from althing.protocol.errors import EncodingError
from althing.protocol.merkle import leaf_hash, verify_inclusion
from althing.protocol.reading import Kind, Reading
from althing.protocol.signatures import PrivateKey, Suite

from .conftest import CONTENT_TYPE_COSE, GENESIS, SECOND, T0, Chain, Message, senml, signed

Reader = Callable[[], ArchiveReader]

numbers = st.builds(from_pair, st.integers(-(10**64) + 1, 10**64 - 1), st.integers(-400, 400)).filter(
    lambda value: isinstance(value, Decimal)
)
values = st.one_of(
    numbers.map(lambda value: (Kind.NUMBER, value)),
    st.integers(-(2**65), 2**65).map(lambda value: (Kind.NUMBER, Decimal(value))),
    st.text(max_size=20).map(lambda value: (Kind.TEXT, value)),
    st.booleans().map(lambda value: (Kind.BOOL, value)),
    st.binary(max_size=20).map(lambda value: (Kind.BYTES, value)),
    st.sampled_from(Kind).map(lambda kind: (kind, None)),
)


@given(values)
def test_every_value_survives_its_columns_digit_by_digit(pair: tuple[Kind, object]) -> None:
    kind, value = pair
    back = join_value(int(kind), *split_value(Reading(0, "q", kind, value, "", None, 0)))  # type: ignore[arg-type]
    assert type(back) is type(value)
    assert str(back) == str(value)


def test_a_message_comes_back_with_its_path_to_the_root(
    writer: SegmentWriter, chain: Chain, make_reader: Reader
) -> None:
    for at in range(5):
        arrival = T0 + at * SECOND
        writer.write(
            chain.anchor({stream: [Message(senml(f"{at}.5", "0"), arrival)] * (stream + 1) for stream in range(4)})
        )
    reader = make_reader()
    for stream in range(4):
        for sequence in range(chain.next_sequences[stream]):
            message = reader.message(stream, sequence)
            assert (message.leaf.stream, message.leaf.sequence) == (f"dev{stream}/main", sequence)
            path = reader.batch_path(message)
            assert path.root == chain.roots[message.number]
            verify_inclusion(path.root, path.size, path.index, leaf_hash(message.leaf_bytes), path.path)
            assert message.resolve(GENESIS).records[0].value == Decimal(f"{message.number}.5")


def test_device_signed_messages_are_read_through_their_envelope(
    writer: SegmentWriter, chain: Chain, make_reader: Reader
) -> None:
    key = PrivateKey(Suite.ED25519, bytes(32))
    body = signed(key, "dev1/main", 7, senml("21.50", "0"), time_ns=T0 - SECOND)
    writer.write(chain.anchor({1: [Message(body, T0, CONTENT_TYPE_COSE, Origin.DEVICE)]}))
    (row,) = make_reader().readings(ReadingsQuery(1, chain.head(1))).readings
    assert (row.text, row.device_time_ns, row.origin) == ("21.50", T0 - SECOND, Origin.DEVICE)


def test_messages_without_a_readable_form_are_kept_and_have_no_readings(
    writer: SegmentWriter, chain: Chain, make_reader: Reader
) -> None:
    writer.write(chain.anchor({1: [Message(b"{not json", T0), Message(b"\x00", T0, "application/octet-stream")]}))
    reader = make_reader()
    assert reader.message(1, 0).leaf.body == b"{not json"
    assert reader.readings(ReadingsQuery(1, chain.head(1))).readings == ()


def test_writing_again_changes_nothing(writer: SegmentWriter, chain: Chain, folder: Path) -> None:
    batch = chain.anchor({1: [Message(senml("1", "0"), T0)]})
    name = writer.write(batch)
    files = sorted(folder.rglob("*.parquet"))
    assert writer.write(batch) == name
    assert SegmentWriter(writer.store, GENESIS).write(batch) == name
    assert sorted(folder.rglob("*.parquet")) == files
    assert writer.next_number(chain.gateway) == 1


def test_another_batch_under_a_stored_number_is_refused(writer: SegmentWriter, chain: Chain) -> None:
    writer.write(chain.anchor({1: [Message(senml("1", "0"), T0)]}))
    with pytest.raises(ArchiveError) as caught:
        writer.write(Chain().anchor({1: [Message(senml("2", "0"), T0)]}))
    assert caught.value.code == "archive.batch_conflict"


def test_leaves_that_do_not_have_the_root_are_refused(writer: SegmentWriter, chain: Chain, folder: Path) -> None:
    batch = chain.anchor({1: [Message(senml("1", "0"), T0)]})
    other = Chain().anchor({1: [Message(senml("2", "0"), T0)]})
    with pytest.raises(ArchiveError) as caught:
        writer.write(type(batch)(batch.gateway, 0, batch.root, 1, T0, batch.parts, other.leaves))
    assert caught.value.code == "archive.root_differs"
    assert not list(folder.rglob("*.parquet"))


def test_the_order_of_device_times_is_carried_over_batches_and_restarts(
    writer: SegmentWriter, chain: Chain, make_reader: Reader
) -> None:
    for at in (100, 50, 200):
        writer = SegmentWriter(writer.store, GENESIS)
        writer.write(chain.anchor({1: [Message(senml("1", str(T0 // SECOND + at)), T0 + 300 * SECOND)]}))
    rows = make_reader().readings(ReadingsQuery(1, chain.head(1))).readings
    assert [(row.sequence, bool(row.flags & 1 << 11)) for row in rows] == [(1, True), (0, False), (2, False)]


def test_anyone_can_read_the_file_with_plain_sql(writer: SegmentWriter, chain: Chain, folder: Path) -> None:
    writer.write(chain.anchor({1: [Message(senml("21.50", "0"), T0)]}))
    (file,) = folder.rglob("*.parquet")
    sql = "SELECT stream_number, quantity, coefficient, exponent, unit FROM read_parquet(?) WHERE part = 1"
    assert duckdb.connect().execute(sql, [str(file)]).fetchall() == [(1, "t", 2150, -2, "Cel")]


def test_names_and_locators_parse_to_themselves() -> None:
    name = SegmentName(b"g" * 20, 3, 17, b"h" * 32)
    assert SegmentName.parse(str(name)) == name
    assert SegmentName.parse(str(name).replace("0003-", "0018-")) is None
    assert name.within(SegmentName(b"g" * 20, 0, 17, bytes(32)))
    assert not name.within(SegmentName(b"G" * 20, 0, 17, bytes(32)))
    assert parse_locator(batch_locator(b"g" * 20, b"r" * 32)) == (b"g" * 20, b"r" * 32)
    for wrong in ("", "althing:batch/", "althing:batch/x/" + "0" * 64, batch_locator(b"g" * 20, b"r" * 32) + "0"):
        with pytest.raises(EncodingError):
            parse_locator(wrong)
