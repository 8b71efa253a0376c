"""Addresses (bech32m, BIP-350), DIDs, names and key ids."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.protocol import address as module
from althing.protocol.address import (
    address_of_key,
    address_of_name,
    did,
    format_address,
    is_chain_id,
    is_name,
    key_id,
    parse_address,
    parse_did,
    stream_path,
)
from althing.protocol.errors import EncodingError
from althing.protocol.signatures import Suite

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
# BIP-350, "Test vectors for Bech32m": valid strings, and such whose checksum is wrong or of the older Bech32.
VALID = [
    "A1LQFN3A",
    "a1lqfn3a",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
    "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
    "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
    "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    "?1v759aa",
]
INVALID = ["M1VUXWEZ", "a12uel5l", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"]


def checksum(hrp: str, data: str) -> int:
    """The module's polynomial over any human-readable part, as BIP-350 defines it."""
    expanded = [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]
    return module._polymod([*expanded, *(CHARSET.index(c) for c in data)])


@pytest.mark.parametrize("text", VALID)
def test_the_polynomial_is_that_of_bip_350(text: str) -> None:
    hrp, _, data = text.lower().rpartition("1")
    assert checksum(hrp, data) == 0x2BC830A3


@pytest.mark.parametrize("text", INVALID)
def test_the_polynomial_refuses_what_bip_350_refuses(text: str) -> None:
    hrp, _, data = text.lower().rpartition("1")
    assert checksum(hrp, data) != 0x2BC830A3


@given(st.binary(min_size=20, max_size=20))
def test_text_form_round_trip(address: bytes) -> None:
    text = format_address(address)
    assert len(text) == 41
    assert text.startswith("al1")
    assert parse_address(text) == address
    assert checksum("al", text[3:]) == 0x2BC830A3
    bits = "".join(f"{CHARSET.index(c):05b}" for c in text[3:-6])
    assert bytes(int(bits[i : i + 8], 2) for i in range(0, 160, 8)) == address


@given(st.binary(min_size=20, max_size=20), st.data())
def test_up_to_four_typing_errors_are_found(address: bytes, data: st.DataObject) -> None:
    """BIP-350: any error of at most four characters is detected."""
    text = list(format_address(address))
    places = data.draw(st.lists(st.integers(3, 40), min_size=1, max_size=4, unique=True))
    for place in places:
        text[place] = data.draw(st.sampled_from([c for c in CHARSET if c != text[place]]))
    with pytest.raises(EncodingError, match=r"address\.checksum"):
        parse_address("".join(text))


@pytest.mark.parametrize(
    "change", [str.upper, lambda t: t[:-1], lambda t: t + "q", lambda t: "bc" + t[2:], lambda t: ""]
)
def test_other_forms_are_refused(change: object) -> None:
    with pytest.raises(EncodingError, match=r"address\.form"):
        parse_address(change(format_address(bytes(20))))  # type: ignore[operator]


@pytest.mark.parametrize("char", ["b", "i", "o", "1", "Q", "é", " ", "\x00"])
def test_characters_outside_the_set_are_refused(char: str) -> None:
    text = format_address(bytes(20))
    with pytest.raises(EncodingError, match=r"address\.checksum"):
        parse_address(text[:10] + char + text[11:])


def test_addresses_and_key_ids_are_domain_separated_hashes() -> None:
    """docs/spec: SHA-256(domain ‖ deterministic CBOR), cut to 20 and 8 bytes."""
    public = bytes(range(32))
    item = bytes.fromhex("82275820") + public  # [-8, public]
    assert address_of_key(Suite.ED25519, public) == hashlib.sha256(b"althing/address/v1" + item).digest()[:20]
    assert key_id(Suite.ED25519, public) == hashlib.sha256(b"althing/key/v1" + item).digest()[:8]
    named = bytes.fromhex("8354") + bytes(20) + b"\x66device\x61a"
    assert address_of_name(bytes(20), "device", "a") == hashlib.sha256(b"althing/address/v1" + named).digest()[:20]
    assert address_of_key(Suite.ES256, public) != address_of_key(Suite.ED25519, public)


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?", fullmatch=True), st.binary(min_size=20, max_size=20))
def test_did_round_trip(chain: str, address: bytes) -> None:
    text = did(chain, address)
    assert text == f"did:althing:{chain}:{format_address(address)}"
    assert parse_did(text) == (chain, address)


@pytest.mark.parametrize(
    "text",
    ["", "did:althing:c", "did:other:c:al1", "DID:althing:c:al1", "did:althing::al1", "did:althing:C:al1"]
    + [f"did:althing:c:{format_address(bytes(20))}{tail}" for tail in ("#key", ":", "/x", "?y")],
)
def test_other_dids_are_refused(text: str) -> None:
    with pytest.raises(EncodingError):
        parse_did(text)


@given(st.text(max_size=70))
def test_names_are_ascii_and_bounded(text: str) -> None:
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789")
    expected = 1 <= len(text) <= 63 and {*text} <= allowed | {*"._-"} and text[0] in allowed and text[-1] in allowed
    assert is_name(text) == expected
    expected = 1 <= len(text) <= 50 and {*text} <= allowed | {"-"} and text[0] in allowed and text[-1] in allowed
    assert is_chain_id(text) == expected


def test_stream_paths() -> None:
    assert stream_path("dev.1/temp_2") == ("dev.1", "temp_2")
    for text in ("dev", "dev/", "/s", "a/b/c", "A/b", "a/b\n", "", b"a/b", None, "a" * 64 + "/b"):
        with pytest.raises(EncodingError, match=r"stream\.path"):
            stream_path(text)
