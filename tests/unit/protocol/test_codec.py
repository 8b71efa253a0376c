"""Deterministic CBOR: what `encode` makes is RFC 8949 §4.2.1, and `decode` takes exactly that."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from althing.protocol.codec import decode, encode
from althing.protocol.errors import EncodingError
from althing.protocol.limits import CBOR_BYTES_MAX, CBOR_DEPTH_MAX

INTEGERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**63, 2**64 - 1, -1, -24, -25, -(2**63)]),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
KEYS = st.one_of(INTEGERS, TEXTS, st.binary(max_size=40))
LEAVES = st.one_of(INTEGERS, TEXTS, st.binary(max_size=300), st.booleans(), st.none())
ITEMS = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(KEYS, inner, max_size=6))


def head(major: int, value: int) -> bytes:
    """RFC 8949 §3, shortest form."""
    if value < 24:
        return bytes((major << 5 | value,))
    size = next(n for n in (0, 1, 2, 3) if value < 1 << 8 * (1 << n))
    return bytes((major << 5 | 24 + size,)) + value.to_bytes(1 << size, "big")


def reference(item: Any) -> bytes:
    """The encoding written down from the RFC, without a library."""
    if item is None or isinstance(item, bool):
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[item]
    if isinstance(item, int):
        return head(0, item) if item >= 0 else head(1, -1 - item)
    if isinstance(item, bytes):
        return head(2, len(item)) + item
    if isinstance(item, str):
        return head(3, len(item.encode())) + item.encode()
    if isinstance(item, list):
        return head(4, len(item)) + b"".join(map(reference, item))
    pairs = sorted((reference(key), reference(value)) for key, value in item.items())
    return head(5, len(item)) + b"".join(key + value for key, value in pairs)


def same(a: Any, b: Any) -> bool:
    """Equal with types: True is not 1, and a map's order does not count."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(value, b[key]) for key, value in a.items())
    return bool(a == b)


@given(ITEMS)
def test_encoding_is_the_rfcs_and_decodes_to_the_same(item: Any) -> None:
    data = encode(item)
    assert data == reference(item)
    assert same(decode(data), item)


@given(st.dictionaries(KEYS, INTEGERS, min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_a_maps_order_does_not_show(item: dict[Any, int], shuffled: random.Random) -> None:
    pairs = list(item.items())
    shuffled.shuffle(pairs)
    assert encode(dict(pairs)) == encode(item)


NOT_DETERMINISTIC = {
    "long head of an integer": "1800",
    "long head of 23": "1817",
    "two bytes for one": "190017",
    "four bytes for one": "1a00000017",
    "eight bytes for one": "1b0000000000000017",
    "long negative": "3800",
    "long length of bytes": "580141",
    "long length of text": "780141",
    "long length of an array": "980101",
    "long length of a map": "b8010101",
    "keys out of order": "a2020101 01".replace(" ", ""),
    "keys out of order by length first": "a261620161 6101".replace(" ", ""),
    "a key twice": "a201010102",
    "trailing byte": "0100",
    "trailing item": "8001",
    "indefinite bytes": "5f4101ff",
    "indefinite text": "7f6161ff",
    "indefinite array": "9f01ff",
    "indefinite map": "bf0101ff",
    "half float": "f93c00",
    "single float": "fa3f800000",
    "double float": "fb3ff0000000000000",
    "not a number": "f97e00",
    "undefined": "f7",
    "simple value": "e0",
    "simple value of two bytes": "f8ff",
    "break alone": "ff",
    "tag 0": "c060",
    "tag of a time": "c11a514b67b0",
    "positive bignum": "c249010000000000000000",
    "negative bignum": "c349010000000000000000",
    "negative beyond 64 bits": "3bffffffffffffffff",
    "decimal fraction": "c48221196ab3",
    "unknown tag": "d9ffff00",
    "self-described": "d9d9f700",
    "value sharing": "82d81c00d81d00",
    "string reference": "d9010082 4161d81900".replace(" ", ""),
    "array as key": "a1810101",
    "map as key": "a1a0 01".replace(" ", ""),
    "boolean as key": "a1f501",
    "null as key": "a1f601",
    "float as key": "a1f93c0001",
    "text that is not UTF-8": "61ff",
    "overlong UTF-8": "62c080",
    "surrogate": "63eda080",
    "beyond Unicode": "64f4908080",
    "reserved additional information": "1c",
    "nothing": "",
    "cut integer": "18",
    "cut bytes": "42aa",
    "cut array": "8201",
    "cut map": "a101",
    "array of all memory": "9b00000000ffffffff",
    "bytes of all memory": "5b7fffffffffffffff",
    "bytes beyond memory": "5bffffffffffffffff",
    "map of all memory": "bbffffffffffffffff",
}


@pytest.mark.parametrize("encoded", NOT_DETERMINISTIC.values(), ids=NOT_DETERMINISTIC.keys())
def test_other_encodings_are_refused(encoded: str) -> None:
    with pytest.raises(EncodingError, match=r"\[cbor\."):
        decode(bytes.fromhex(encoded))


@pytest.mark.parametrize("encoded", NOT_DETERMINISTIC.values(), ids=NOT_DETERMINISTIC.keys())
def test_other_encodings_are_refused_inside(encoded: str) -> None:
    """As the first of two members: what ends early must not take its neighbour along."""
    with pytest.raises(EncodingError):
        decode(b"\x82" + bytes.fromhex(encoded) + b"\x00" * (1 if encoded else 0))


@pytest.mark.parametrize("depth", [1, 2, CBOR_DEPTH_MAX])
def test_depth_counts_arrays_and_maps(depth: int) -> None:
    for wrap in (lambda item: [item], lambda item: {1: item}):
        item: Any = 7
        for _ in range(depth):
            item = wrap(item)
        data = encode(item)
        assert same(decode(data, depth_max=depth), item)
        with pytest.raises(EncodingError):
            decode(data, depth_max=depth - 1)


def test_deep_nesting_does_not_exhaust_the_stack() -> None:
    for data in (b"\x81" * 100_000 + b"\x00", b"\xa1\x01" * 100_000 + b"\x00", b"\xc6" * 100_000 + b"\x00"):
        with pytest.raises(EncodingError):
            decode(data)


def test_size_is_bounded_before_anything_is_decoded() -> None:
    assert decode(encode(bytes(100)), bytes_max=102) == bytes(100)
    with pytest.raises(EncodingError, match=r"cbor\.too_large"):
        decode(encode(bytes(100)), bytes_max=101)
    with pytest.raises(EncodingError, match=r"cbor\.too_large"):
        decode(bytes(CBOR_BYTES_MAX + 1))


@pytest.mark.parametrize("item", [1.5, {1.5: 1}, {(1,): 1}, {True: 1}, object(), 2**64, -(2**63) - 1, {1, 2}])
def test_encoding_what_has_no_form_is_a_bug(item: Any) -> None:
    with pytest.raises(AssertionError):
        encode(item)


def judge(data: bytes) -> None:
    """Either refused by EncodingError, or the very encoding of what came out."""
    try:
        item = decode(data)
    except EncodingError:
        return
    assert reference(item) == data


@given(st.binary(max_size=60))
@example(bytes.fromhex("d90100824101d81900"))
def test_any_bytes_are_refused_or_canonical(data: bytes) -> None:
    judge(data)


@given(ITEMS, st.data())
def test_damaged_encodings_are_refused_or_canonical(item: Any, data: st.DataObject) -> None:
    encoded = bytearray(encode(item))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(encoded) - 1))
        encoded[at] = data.draw(st.integers(0, 255))
    judge(bytes(encoded[: data.draw(st.integers(0, len(encoded)))]) + data.draw(st.binary(max_size=2)))
    judge(bytes(encoded))


def test_every_short_input() -> None:
    """All inputs of one and two bytes, and all heads with a following byte or none."""
    for first in range(256):
        judge(bytes((first,)))
        for second in range(256):
            judge(bytes((first, second)))


def test_accepted_inputs_are_ordered_alike() -> None:
    keys = [encode(key) for key in (0, 23, 24, -1, b"", b"a", "", "a", "aa")]
    assert all(a < b for a, b in pairwise(keys))
    item = decode(encode(dict.fromkeys(map(decode, reversed(keys)), None)))
    assert [encode(key) for key in item] == keys
