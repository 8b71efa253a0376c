"""The reader of devices' CBOR: agrees with cbor2 on what both read, keeps float widths, and survives any bytes."""

from __future__ import annotations

import contextlib
import struct
from decimal import Context, Decimal
from typing import Any

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from althing.protocol.cborvalues import OPAQUE, read
from althing.protocol.decimals import BadNumber
from althing.protocol.errors import PayloadError

CONTEXT = Context(prec=80)
scalars = st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=30) | st.text(max_size=30)
keys = st.integers(-(2**64), 2**64 - 1) | st.text(max_size=5)
items = st.recursive(scalars, lambda x: st.lists(x, max_size=5) | st.dictionaries(keys, x, max_size=5), max_leaves=20)


@given(items)
def test_it_reads_what_cbor2_writes(item: Any) -> None:
    assert read(cbor2.dumps(item)) == item


@given(items, st.data())
def test_a_cut_item_is_refused_with_a_code(item: Any, data: st.DataObject) -> None:
    encoded = cbor2.dumps(item)
    cut = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    with pytest.raises(PayloadError) as caught:
        read(cut)
    assert caught.value.code == "payload.cbor"


@given(st.binary(max_size=200))
@example(b"\x9f" * 200)
@example(b"\x9b" + b"\xff" * 8)
@example(b"\x5b" + b"\xff" * 8)
@example(b"\xd9\xd9\xf7" * 60)
@example(b"\xbf\xff\x00")
@example(b"\xa1\x00\xff")
@example(b"\x82\xff\x00")
@example(b"\xc1\xff")
@example(b"\xbf\x00\xff")
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(PayloadError):
        read(body)


def test_the_width_of_a_float_decides_its_digits() -> None:
    number = 0.1
    assert read(b"\xfb" + struct.pack(">d", number)) == Decimal("0.1")
    assert read(b"\xfa" + struct.pack(">f", number)) == Decimal("0.1")
    assert read(b"\xf9" + struct.pack(">e", number)) == Decimal("0.1")
    (widened,) = struct.unpack(">f", struct.pack(">f", number))
    assert read(b"\xfb" + struct.pack(">d", widened)) == Decimal("0.10000000149011612")


def test_other_tags_and_simple_values_are_opaque() -> None:
    assert read(bytes.fromhex("c074323031332d30332d32315432303a30343a30305a")) is OPAQUE
    assert read(bytes.fromhex("f0")) is OPAQUE
    assert read(bytes.fromhex("f8ff")) is OPAQUE
    assert read(bytes.fromhex("c4820102")) == Decimal("2e1")
    assert read(bytes.fromhex("c48101")) is OPAQUE
    assert read(bytes.fromhex("c482f501")) is OPAQUE


@pytest.mark.parametrize("tag", ["c2", "c3"])
def test_bignums_are_integers_of_at_most_64_digits(tag: str) -> None:
    largest, sign = 10**64 - 1, 1 if tag == "c2" else -1
    stored = largest if sign == 1 else largest - 1  # tag 3 means -1 - n
    for extra, expected in ((0, sign * largest), (1, BadNumber.OUT_OF_RANGE)):
        octets = (stored + extra).to_bytes(27, "big")
        assert read(bytes.fromhex(tag) + b"\x58\x1b" + octets) == expected
        fraction = read(b"\xc4\x82\x20" + bytes.fromhex(tag) + b"\x58\x1b" + octets)
        assert fraction == (BadNumber.OUT_OF_RANGE if extra else Decimal(sign * largest).scaleb(-1, CONTEXT))
