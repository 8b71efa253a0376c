"""Taking bodies of many messages apart: every byte belongs to one message, damage stays where it is."""

from __future__ import annotations

import cbor2
from hypothesis import given
from hypothesis import strategies as st

from althing.gateway.ingest.items import Item, split_cbor_sequence, split_lines
from althing.protocol.message import CONTENT_TYPE_COSE, sign_message
from althing.protocol.signatures import PrivateKey, Suite

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=30),
    lambda child: st.lists(child, max_size=4) | st.dictionaries(st.text(max_size=5), child, max_size=4),
    max_leaves=12,
)


@given(st.lists(plain | st.binary(max_size=300), max_size=8))
def test_sequences_split_where_their_items_end(values: list[object]) -> None:
    encoded = [cbor2.dumps(value) for value in values]
    items, rest = split_cbor_sequence(b"".join(encoded))
    assert rest == b""
    expected = [
        Item(value) if isinstance(value, bytes) else Item(own, "application/senml+cbor")
        for value, own in zip(values, encoded, strict=True)
    ]
    assert items == expected


@given(st.binary(max_size=200))
def test_any_bytes_end_somewhere(data: bytes) -> None:
    items, rest = split_cbor_sequence(data)
    assert len(rest) + sum(len(item.body) for item in items) <= len(data)
    assert data.endswith(rest)


def test_signed_messages_are_recognised() -> None:
    message = sign_message(PrivateKey(Suite.ED25519, b"\1" * 32), bytes(32), "test", "d/a", 1, b"x")
    items, rest = split_cbor_sequence(message + b"\x81\xa1\x00\x61x" + b"\x5f\x41")
    assert items == [Item(message, CONTENT_TYPE_COSE), Item(b"\x81\xa1\x00\x61x", "application/senml+cbor")]
    assert rest == b"\x5f\x41"


def test_a_huge_count_costs_nothing() -> None:
    assert split_cbor_sequence(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x00") == ([], b"\x9b" + b"\xff" * 8 + b"\x00")
    deep = b"\x81" * 100_000
    assert split_cbor_sequence(deep) == ([], deep)


def test_lines() -> None:
    assert split_lines(b'{"a":1}\r\n\n  \n[2]') == [Item(b'{"a":1}'), Item(b"[2]")]
