"""Leaves made in bulk are the protocol's leaves, and a range of the log always gives the same batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from althing.gateway.leaves import build, encode_leaf
from althing.gateway.spool.records import MessageRecord, RefusalRecord, pack_message, pack_refusal, unpack
from althing.protocol.batch import Leaf, Origin
from althing.protocol.merkle import leaf_hash, verify_inclusion

names = st.from_regex(r"[a-z0-9]{1,8}/[a-z0-9]{1,60}", fullmatch=True)
records = st.builds(
    MessageRecord,
    stream=names,
    number=st.integers(0, 2**62),
    sequence=st.integers(0, 2**62),
    arrival_ns=st.integers(0, 2**62),
    content_type=st.sampled_from(["text/plain", "application/senml+json", "a/" + "b" * 100]),
    attested=st.booleans(),
    body=st.one_of(st.binary(max_size=300), st.just(b"x" * 70_000)),
    counter=st.none() | st.integers(0, 2**64 - 1),
    key=st.binary(max_size=255),
)


@given(records, st.binary(min_size=16, max_size=16))
def test_leaf_is_the_protocols_leaf(record: MessageRecord, salt: bytes) -> None:
    origin = Origin.GATEWAY if record.attested else Origin.DEVICE
    leaf = Leaf(1, salt, record.stream, record.sequence, record.arrival_ns, record.content_type, origin, record.body)
    assert encode_leaf(salt, record) == leaf.to_bytes()


@given(records)
def test_records_survive_packing(record: MessageRecord) -> None:
    packed = pack_message(
        record.stream.encode(),
        record.number,
        record.sequence,
        record.arrival_ns,
        record.content_type.encode(),
        record.attested,
        record.body,
        record.counter,
        record.key,
    )
    assert unpack(packed) == record


@given(st.text(max_size=300), st.text(max_size=2000))
def test_refusals_of_any_text_fit(name: str, reason: str) -> None:
    record = RefusalRecord(5, name, name, "mqtt", "payload.json", reason, bytes(32), 7)
    again = unpack(pack_refusal(record))
    assert isinstance(again, RefusalRecord)
    assert (again.code, again.body_bytes) == ("payload.json", 7)
    assert len(name.encode()) > 255 or again.device == name


def _message(number: int, sequence: int) -> MessageRecord:
    return MessageRecord(f"d/{number}", number, sequence, 1, "text/plain", True, b"%d" % sequence, None, b"")


def test_batch_is_ordered_and_repeatable() -> None:
    refusal = RefusalRecord(5, "d", "s", "mqtt", "payload.json", "no", bytes(32), 7)
    log = [_message(7, 3), _message(2, 0), refusal, _message(7, 4), _message(5, 9), _message(2, 1)]
    first, again, other = build(log, b"s" * 32), build(log, b"s" * 32), build(log, b"t" * 32)
    assert first.batch is not None
    assert again.batch is not None
    assert other.batch is not None
    assert first.batch.root == again.batch.root != other.batch.root
    assert [(e.stream, e.first, e.count) for e in first.batch.entries] == [(2, 0, 2), (5, 9, 1), (7, 3, 2)]
    assert [(m.number, m.sequence) for m in first.messages] == [(2, 0), (2, 1), (5, 9), (7, 3), (7, 4)]
    assert first.refusals == (refusal,)
    salts = {Leaf.from_bytes(leaf).salt for leaf in first.batch.leaves}
    assert len(salts) == 5
    for index, leaf in enumerate(first.batch.leaves):
        verify_inclusion(first.batch.root, 5, index, leaf_hash(leaf), first.batch.tree.path(index))


def test_excluded_streams_are_kept_apart() -> None:
    log = [_message(7, 3), _message(2, 0), _message(7, 4)]
    built = build(log, b"s" * 32, (7,))
    assert [m.number for m in built.messages] == [2]
    assert [m.sequence for m in built.excluded] == [3, 4]
    assert build(log, b"s" * 32, (2, 7)).batch is None
