"""The short way through a COSE_Sign1 gives what the general one gives, whatever the bytes."""

from __future__ import annotations

import re
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from althing.protocol import cose
from althing.protocol.address import is_name
from althing.protocol.cose import TAG_SIGN1, parse_sign1, sign1
from althing.protocol.errors import AlthingError
from althing.protocol.signatures import PrivateKey, Suite

KEY = PrivateKey(Suite.ED25519, bytes(range(32)))
KID = b"kid kid "
AAD = b"domain and chain"
MAX = 70_000


def judged(data: bytes, bytes_max: int = MAX, *, further: bool = False) -> object:
    try:
        return parse_sign1(data, AAD, bytes_max=bytes_max, further=further)
    except AlthingError as error:
        return error.code


def generally(data: bytes, bytes_max: int = MAX, *, further: bool = False) -> object:
    with patch.object(cose, "_short_sign1", lambda *_: None):
        return judged(data, bytes_max, further=further)


PAYLOADS = st.one_of(
    st.binary(max_size=300), st.sampled_from([23, 24, 255, 256, 65_535, 65_536, 65_537]).map(lambda size: bytes(size))
)


@given(PAYLOADS, st.sampled_from([None, {3: 1}, {2: [1]}]), st.booleans())
def test_whole_envelopes(payload: bytes, headers: dict[int, object] | None, further: bool) -> None:
    data = sign1(KEY, KID, payload, AAD, headers)
    assert judged(data, further=further) == generally(data, further=further)
    for bytes_max in (len(data) - 2, len(data) - 1, len(data)):
        assert judged(data, bytes_max) == generally(data, bytes_max)


def test_the_short_way_is_taken() -> None:
    for size in (0, 23, 24, 255, 256, 65_535, 65_536):
        data = sign1(KEY, KID, bytes(size), AAD)
        assert cose._short_sign1(data, AAD, False) is not None


@given(PAYLOADS, st.data())
def test_damaged_envelopes(payload: bytes, data: st.DataObject) -> None:
    whole = bytearray(sign1(KEY, KID, payload, AAD))
    # Heads and headers lie at both ends.
    places = [at for at in range(len(whole)) if at < 24 or at >= len(whole) - 68]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(places))
        whole[at] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from([0x40, 0x58, 0x59, 0x5A, 0x5B, 0xA0])))
    cut = data.draw(st.integers(0, 3))
    damaged = bytes(whole[: len(whole) - cut]) + data.draw(st.binary(max_size=2))
    assert judged(damaged) == generally(damaged)


@given(st.binary(max_size=200))
def test_any_bytes(tail: bytes) -> None:
    for head in (b"", TAG_SIGN1, TAG_SIGN1 + b"\x84", TAG_SIGN1 + b"\x84\x4d\xa2\x01\x27\x04\x48" + KID + b"\xa0"):
        assert judged(head + tail) == generally(head + tail)


def test_longer_heads_are_refused() -> None:
    """A payload of 8 bytes under each longer head: one meaning has one encoding."""
    data = sign1(KEY, KID, bytes(8), AAD)
    assert data.count(b"\xa0\x48") == 1
    for head in (b"\x58\x08", b"\x59\x00\x08", b"\x5a\x00\x00\x00\x08", b"\x5b" + bytes(7) + b"\x08"):
        assert judged(data.replace(b"\xa0\x48", b"\xa0" + head)) == "cbor.not_deterministic"


@given(st.one_of(st.text(max_size=70), st.text("az09._-AZ ", max_size=70)))
def test_names(text: str) -> None:
    expected = re.fullmatch(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?", text, re.ASCII) is not None and len(text) <= 63
    assert is_name(text) == expected
