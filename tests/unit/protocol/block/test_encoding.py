"""Every encoding is the only one of its value; anything else is refused, and nothing but ProtocolError is raised."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.protocol.block import (
    ZERO_BLOCK_ID,
    Block,
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    ConsensusParams,
    Header,
    Timestamp,
    TxResult,
    Validator,
    ValidatorSet,
    data_hash,
    evidence_hash,
    median_time,
    part_set,
    results_hash,
)
from althing.protocol.block.wire import WireReader, int_field, message_field, uvarint
from althing.protocol.errors import ProtocolError

hashes = st.binary(min_size=32, max_size=32)
int64 = st.integers(-(1 << 63), (1 << 63) - 1)
times = st.builds(Timestamp, st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999))
block_ids = st.builds(BlockId, hashes, st.integers(1, 1601), hashes)
signatures = st.one_of(
    st.just(CommitSig.absent()),
    st.builds(
        CommitSig,
        st.sampled_from([BlockIdFlag.COMMIT, BlockIdFlag.NIL]),
        st.binary(min_size=20, max_size=20),
        times,
        st.binary(min_size=64, max_size=64),
    ),
)
commits = st.builds(
    Commit,
    st.integers(1, (1 << 63) - 1),
    st.integers(0, (1 << 31) - 1),
    block_ids,
    st.lists(signatures, min_size=1, max_size=4).map(tuple),
)
headers = st.builds(
    Header,
    app_version=st.integers(0, (1 << 64) - 1),
    chain_id=st.text(min_size=1, max_size=12),
    height=st.integers(1, (1 << 63) - 1),
    time=times,
    last_block_id=st.one_of(st.just(ZERO_BLOCK_ID), block_ids),
    last_commit_hash=hashes,
    data_hash=hashes,
    validators_hash=hashes,
    next_validators_hash=hashes,
    consensus_hash=hashes,
    app_hash=st.binary(max_size=32),
    last_results_hash=hashes,
    evidence_hash=hashes,
    proposer_address=st.binary(min_size=20, max_size=20),
)


def make_block(header: Header, txs: list[bytes], last_commit: Commit) -> Block:
    fields = {name: getattr(header, name) for name in Header.__slots__}
    fields.update(data_hash=data_hash(txs), evidence_hash=evidence_hash(()), last_commit_hash=last_commit.hash())
    return Block(Header(**fields), tuple(txs), (), last_commit)


blocks = st.builds(make_block, headers, st.lists(st.binary(max_size=80), max_size=5), commits)
values = st.one_of(times, block_ids, signatures, commits, headers, blocks)


@given(values)
def test_decode_inverts_encode(value: Any) -> None:
    assert type(value).decode(value.encode()) == value


@given(values, st.data())
def test_one_encoding_per_value(value: Any, data: st.DataObject) -> None:
    """Changed bytes are refused, or are the encoding of another value."""
    encoded = bytearray(value.encode())
    how = data.draw(st.sampled_from(["flip", "cut", "append", "insert"]))
    at = data.draw(st.integers(0, max(len(encoded) - 1, 0)))
    if how == "cut":
        del encoded[at:]
    elif how == "append":
        encoded += data.draw(st.binary(min_size=1, max_size=12))
    elif how == "insert":
        encoded[at:at] = data.draw(st.binary(min_size=1, max_size=4))
    elif encoded:
        encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        other = type(value).decode(bytes(encoded))
    except ProtocolError:
        return
    assert other.encode() == bytes(encoded)


@given(st.binary(max_size=200), st.sampled_from([Timestamp, BlockId, CommitSig, Commit, Header, Block, ValidatorSet]))
def test_noise_raises_nothing_else(noise: bytes, kind: Any) -> None:
    try:
        value = kind.decode(noise)
    except ProtocolError:
        return
    assert value.encode() == noise


@given(int64)
def test_integers_keep_their_sign(value: int) -> None:
    reader = WireReader(int_field(3, value), "test", bytes_max=20)
    assert reader.take_int(3) == value
    reader.end()


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x00",  # default written out
        b"\x08\x81\x00",  # longer than needed
        b"\x08" + b"\xff" * 9 + b"\x02",  # beyond 64 bits
        b"\x08" + b"\xff" * 10 + b"\x01",
        b"\x08",  # truncated
        b"\x10\x01\x08\x01",  # out of order
        b"\x08\x01\x08\x01",  # twice
        b"\x08\x01\x18\x01",  # unknown field
        b"\x0d\x01\x00\x00\x00",  # another wire type
    ],
)
def test_other_ways_to_write_a_timestamp_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError) as error:
        Timestamp.decode(data)
    assert error.value.code == "block.encoding"


def test_lengths_are_bounded_before_anything_is_read() -> None:
    with pytest.raises(ProtocolError):
        Header.decode(b"\x0a" + uvarint(1 << 40))
    with pytest.raises(ProtocolError) as error:
        Header.decode(bytes(5000))
    assert error.value.code == "block.too_large"
    crowd = b"".join(message_field(4, b"\x08\x01") for _ in range(10_001))
    with pytest.raises(ProtocolError):
        Commit.decode(int_field(1, 1) + message_field(3, BlockId(b"h" * 32, 1, b"p" * 32).encode()) + crowd)


@given(times)
def test_times_count_in_nanoseconds(time: Timestamp) -> None:
    assert Timestamp.from_ns(time.ns) == time


@given(st.lists(times, min_size=2, max_size=2))
def test_times_are_ordered(pair: list[Timestamp]) -> None:
    assert (pair[0] < pair[1]) == (pair[0].ns < pair[1].ns)


def test_a_block_whose_header_lies_is_refused() -> None:
    commit = Commit(1, 0, BlockId(b"h" * 32, 1, b"p" * 32), (CommitSig.absent(),))
    good = make_block(_header(), [b"tx"], commit)
    good.check()
    for bad, code in (
        (Block(good.header, (b"other",), (), commit), "block.data_hash"),
        (Block(good.header, good.txs, (), Commit.empty()), "block.last_commit_hash"),
        (Block(good.header, good.txs, (message_field(1, b"e"),), commit), "block.evidence_hash"),
    ):
        with pytest.raises(ProtocolError) as error:
            bad.check()
        assert error.value.code == code
        with pytest.raises(ProtocolError):
            Block.decode(bad.encode())


def _header() -> Header:
    h = b"h" * 32
    return Header(0, "c", 1, Timestamp(0, 0), ZERO_BLOCK_ID, h, h, h, h, h, h, h, h, b"a" * 20)


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"height": 1 << 63},
        {"chain_id": ""},
        {"chain_id": "x" * 51},
        {"app_hash": b"x" * 257},
        {"data_hash": b"x"},
        {"validators_hash": b""},
        {"proposer_address": b""},
        {"block_version": 10},
        {"app_version": -1},
    ],
)
def test_headers_outside_the_rules_cannot_be_made(change: dict[str, Any]) -> None:
    fields = {name: getattr(_header(), name) for name in Header.__slots__} | change
    with pytest.raises(ProtocolError):
        Header(**fields)


@pytest.mark.parametrize("change", [{"app_hash": b"x" * 33}, {"data_hash": b""}, {"evidence_hash": b""}])
def test_headers_of_other_chains_are_read_where_they_are_expected(change: dict[str, Any]) -> None:
    """CometBFT lets hashes be left out and app hashes have any length; no chain of ours does."""
    header = Header(**({name: getattr(_header(), name) for name in Header.__slots__} | change))
    assert Header.decode(header.encode(), complete=False) == header
    with pytest.raises(ProtocolError):
        Header.decode(header.encode())


@given(st.binary(max_size=200_000 // 50).map(lambda seed: seed * 50))
def test_parts_are_64_kib(data: bytes) -> None:
    total, _ = part_set(data)
    assert total == -(-len(data) // 65536)


def validator(number: int, power: int) -> Validator:
    return Validator(number.to_bytes(32, "big"), power)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=8, unique_by=lambda v: v[0]))
def test_sets_do_not_depend_on_the_order_given(members: list[tuple[int, int]]) -> None:
    validators = [validator(*member) for member in members]
    assert ValidatorSet.of(validators) == ValidatorSet.of(reversed(validators))
    assert ValidatorSet.decode(ValidatorSet.of(validators).encode()) == ValidatorSet.of(validators)


def test_sets_outside_the_rules_cannot_be_made() -> None:
    a, b = validator(1, 5), validator(2, 6)
    ValidatorSet((b, a))
    for members in ((a, b), (), (a, a), (validator(1, 2), validator(1, 1)), (validator(3, ((1 << 63) - 1) // 8), a)):
        with pytest.raises(ProtocolError):
            ValidatorSet(members)
    for bad in ((b"short", 1), (b"k" * 32, 0), (b"k" * 32, 1 << 62)):
        with pytest.raises(ProtocolError):
            Validator(*bad)


def test_validator_updates() -> None:
    a, b = validator(1, 5), validator(2, 6)
    both = ValidatorSet.of([a, b])
    assert both.updated([validator(1, 9)]) == ValidatorSet.of([validator(1, 9), b])
    assert both.updated([validator(3, 1)], [b.public_key]) == ValidatorSet.of([a, validator(3, 1)])
    for changes, removals in (
        ([a, a], []),  # the same twice
        ([a], [a.public_key]),
        ([], [validator(7, 1).public_key]),  # unknown
        ([], [a.public_key, b.public_key]),  # nobody left
    ):
        with pytest.raises(ProtocolError):
            both.updated(changes, removals)


def test_median_time_is_weighted() -> None:
    members = ValidatorSet.of([validator(1, 1), validator(2, 1), validator(3, 7)])
    times_by_power = {1: 10, 7: 20}
    entries = tuple(
        CommitSig(BlockIdFlag.COMMIT, v.address, Timestamp(times_by_power[v.power], 0), b"s" * 64)
        for v in members.validators
    )
    block_id = BlockId(b"h" * 32, 1, b"p" * 32)
    assert median_time(Commit(1, 0, block_id, entries), members) == Timestamp(20, 0)
    with pytest.raises(ProtocolError):
        median_time(Commit(1, 0, block_id, entries), ValidatorSet.of([validator(9, 1)]))
    with pytest.raises(ProtocolError):
        median_time(Commit(1, 0, block_id, (CommitSig.absent(),)), members)


def test_results_hash_covers_order_and_every_field() -> None:
    result = TxResult(1, b"d", 2, 3)
    changed = [TxResult(0, b"d", 2, 3), TxResult(1, b"", 2, 3), TxResult(1, b"d", 0, 3), TxResult(1, b"d", 2, 0)]
    assert len({results_hash([r]) for r in [result, *changed]}) == 5
    assert results_hash([result, changed[0]]) != results_hash([changed[0], result])


@pytest.mark.parametrize(
    "change",
    [
        {"block_bytes_max": 0},
        {"block_bytes_max": 104_857_601},
        {"block_gas_max": -2},
        {"evidence_bytes_max": 22_020_097},
        {"key_types": ()},
        {"key_types": ("sm2",)},
        {"authority": "x" * 257},
    ],
)
def test_parameters_outside_the_rules_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        ConsensusParams(**change)
