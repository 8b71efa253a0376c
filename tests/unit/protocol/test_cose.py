"""COSE_Sign1 and COSE_Sign: RFC 9052 by hand on one side, this profile on the other, and nothing malleable between."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from althing.protocol.address import key_id
from althing.protocol.codec import Item, decode, encode
from althing.protocol.cose import Envelope, parse_sign, parse_sign1, sign, sign1
from althing.protocol.errors import CoseError, EncodingError, ProtocolError
from althing.protocol.limits import TX_SIGNATURES_MAX
from althing.protocol.signatures import PrivateKey, Suite, verify
from althing.testing.harness import seeded_key

AAD = b"domain and chain"
PAYLOAD = b"the payload"
ED, EC = seeded_key("ed"), seeded_key("ec", Suite.ES256)
KEYS = {key_id(key.suite, key.public): key for key in (ED, EC)}
BOUND = 4096


def kid(key: PrivateKey) -> bytes:
    return key_id(key.suite, key.public)


def one(key: PrivateKey) -> bytes:
    return sign1(key, kid(key), PAYLOAD, AAD)


def both() -> bytes:
    return sign([(ED, kid(ED)), (EC, kid(EC))], PAYLOAD, AAD)


def accepted(data: bytes, aad: bytes = AAD) -> Envelope | None:
    """The envelope if it parses and every signature verifies under the key its kid names."""
    try:
        envelope = parse_sign(data, aad, bytes_max=BOUND)
    except ProtocolError:
        return None
    for signature in envelope.signatures:
        key = KEYS.get(signature.kid)
        if key is None or key.suite != signature.suite:
            return None
        if not verify(key.suite, key.public, signature.signed, signature.value):
            return None
    return envelope


@pytest.mark.parametrize("make", [lambda: one(ED), lambda: one(EC), both], ids=["ed25519", "es256", "both"])
def test_the_size_is_that_of_the_whole_envelope(make: Callable[[], bytes]) -> None:
    data = make()
    assert parse_sign(data, AAD, bytes_max=len(data)).payload == PAYLOAD
    for less in (1, 2, 3):
        with pytest.raises(EncodingError) as error:
            parse_sign(data, AAD, bytes_max=len(data) - less)
        assert error.value.code == "cbor.too_large"


@pytest.mark.parametrize("key", [ED, EC], ids=["ed25519", "es256"])
def test_sign1_as_the_rfc_writes_it(key: PrivateKey) -> None:
    """RFC 9052 §4.2, §4.4, put together here byte by byte."""
    protected = encode({1: int(key.suite), 4: kid(key)})
    structure = b"\x84\x6aSignature1" + encode(protected) + encode(AAD) + encode(PAYLOAD)
    by_hand = b"\xd2\x84" + encode(protected) + b"\xa0" + encode(PAYLOAD) + encode(key.sign(structure))
    assert one(key) == by_hand
    envelope = accepted(by_hand)
    assert envelope is not None
    assert envelope.payload == PAYLOAD
    assert envelope.signatures[0].signed == structure


def test_sign_as_the_rfc_writes_it() -> None:
    """RFC 9052 §4.1: the body has no protected headers, each signature its own."""
    entries = []
    for key in sorted((ED, EC), key=kid):
        protected = encode({1: int(key.suite), 4: kid(key)})
        structure = encode(["Signature", b"", protected, AAD, PAYLOAD])
        entries.append([protected, {}, key.sign(structure)])
    assert both() == b"\xd8\x62" + encode([b"", {}, PAYLOAD, entries])
    envelope = accepted(both())
    assert envelope is not None
    assert [s.kid for s in envelope.signatures] == sorted(KEYS)


@pytest.mark.parametrize("data", [one(ED), one(EC), both()], ids=["ed25519", "es256", "both"])
def test_no_flip_of_a_bit_is_accepted(data: bytes) -> None:
    for at in range(len(data)):
        for bit in range(8):
            changed = data[:at] + bytes((data[at] ^ 1 << bit,)) + data[at + 1 :]
            assert accepted(changed) is None, (at, bit)


@pytest.mark.parametrize("data", [one(ED), one(EC), both()], ids=["ed25519", "es256", "both"])
def test_no_other_length_is_accepted(data: bytes) -> None:
    for end in range(len(data)):
        assert accepted(data[:end]) is None
    assert accepted(data + b"\x00") is None
    assert accepted(data[1:]) is None


def test_the_other_s_of_es256_is_refused() -> None:
    """Anybody can turn s into n - s: only one of the two may count."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    data = one(EC)
    s = int.from_bytes(data[-32:], "big")
    assert accepted(data[:-32] + (order - s).to_bytes(32, "big")) is None
    assert accepted(data[:-32] + (order + s).to_bytes(33, "big")[-32:]) is None


def test_the_other_s_of_ed25519_is_refused() -> None:
    """S + L verifies under the bare equation (RFC 8032 §5.1.7 refuses it)."""
    order = 2**252 + 27742317777372353535851937790883648493
    data = one(ED)
    s = int.from_bytes(data[-32:], "little") + order
    assert accepted(data[:-32] + s.to_bytes(32, "little")) is None


@pytest.mark.parametrize("r", [0, 1, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1])
@pytest.mark.parametrize("key", [ED, EC], ids=["ed25519", "es256"])
def test_degenerate_signatures_do_not_verify(key: PrivateKey, r: int, s: int) -> None:
    order = "big" if key is EC else "little"
    value = r.to_bytes(32, "big") + s.to_bytes(32, order)  # type: ignore[arg-type]
    assert not verify(key.suite, key.public, b"message", value)


def test_the_external_aad_counts() -> None:
    assert accepted(one(ED), AAD + b"!") is None
    assert accepted(both(), b"") is None


def raw(parts: list[Item], tag: bytes = b"\xd2") -> bytes:
    return tag + encode(parts)


PROTECTED = encode({1: -8, 4: kid(ED)})
VALUE = bytes(64)
REFUSED = {
    "cose.tag": [one(ED)[1:], b"\xd1" + one(ED)[1:], b"", b"\xd8\x61" + both()[2:]],
    "cose.unprotected": [
        raw([PROTECTED, {4: kid(ED)}, PAYLOAD, VALUE]),
        raw([b"", {1: 1}, PAYLOAD, [[PROTECTED, {}, VALUE]] * 2], b"\xd8\x62"),
        raw([b"", {}, PAYLOAD, [[PROTECTED, {1: -8}, VALUE]] * 2], b"\xd8\x62"),
    ],
    "cose.form": [
        raw([PROTECTED, {}, None, VALUE]),  # a detached payload
        raw([PROTECTED, {}, PAYLOAD]),
        raw([PROTECTED, {}, PAYLOAD, VALUE, b""]),
        raw([PROTECTED, [], PAYLOAD, VALUE]),
        raw(["", {}, PAYLOAD, VALUE]),
        b"\xd2" + encode({1: 2}),
        raw([PROTECTED, {}, PAYLOAD, [[PROTECTED, {}, VALUE]] * 2], b"\xd8\x62"),  # protected headers of the body
        raw([b"", {}, PAYLOAD, [[PROTECTED, {}]] * 2], b"\xd8\x62"),
    ],
    "cose.signatures": [
        raw([b"", {}, PAYLOAD, []], b"\xd8\x62"),
        raw([b"", {}, PAYLOAD, [[PROTECTED, {}, VALUE]]], b"\xd8\x62"),  # one signer is a COSE_Sign1
        raw([b"", {}, PAYLOAD, [[PROTECTED, {}, b""]] * (TX_SIGNATURES_MAX + 1)], b"\xd8\x62"),
    ],
    "cose.order": [raw([b"", {}, PAYLOAD, [[PROTECTED, {}, VALUE]] * 2], b"\xd8\x62")],
    "cose.headers": [
        raw([encode([1]), {}, PAYLOAD, VALUE]),
        raw([encode({1: -8, 2: [99], 4: kid(ED), 99: 1}), {}, PAYLOAD, VALUE]),  # crit that nobody understands
        raw([encode({1: -8, 3: "text/plain", 4: kid(ED)}), {}, PAYLOAD, VALUE]),
    ],
    "cose.algorithm": [
        raw([encode({4: kid(ED)}), {}, PAYLOAD, VALUE]),
        raw([encode({1: -35, 4: kid(ED)}), {}, PAYLOAD, VALUE]),
        raw([encode({1: "EdDSA", 4: kid(ED)}), {}, PAYLOAD, VALUE]),
        raw([encode({1: True, 4: kid(ED)}), {}, PAYLOAD, VALUE]),
    ],
    "cose.kid": [
        raw([encode({1: -8}), {}, PAYLOAD, VALUE]),
        raw([encode({1: -8, 4: b"short"}), {}, PAYLOAD, VALUE]),
        raw([encode({1: -8, 4: "8 chars."}), {}, PAYLOAD, VALUE]),
    ],
    "cose.signature": [
        raw([PROTECTED, {}, PAYLOAD, bytes(63)]),
        raw([PROTECTED, {}, PAYLOAD, bytes(65)]),
    ],
}


@pytest.mark.parametrize(("code", "data"), [(code, data) for code, many in REFUSED.items() for data in many])
def test_other_envelopes_are_refused(code: str, data: bytes) -> None:
    with pytest.raises(CoseError) as caught:
        parse_sign(data, AAD, bytes_max=BOUND)
    assert caught.value.code == code


def test_signatures_stand_in_one_order() -> None:
    parts = decode(both()[2:])
    parts[3].reverse()
    with pytest.raises(CoseError, match=r"cose\.order"):
        parse_sign(b"\xd8\x62" + encode(parts), AAD, bytes_max=BOUND)


def test_size_is_bounded() -> None:
    with pytest.raises(ProtocolError, match=r"cbor\.too_large"):
        parse_sign1(one(ED), AAD, bytes_max=len(one(ED)) - 2)


@settings(max_examples=300)
@given(st.binary(max_size=120), st.sampled_from([b"", b"\xd2", b"\xd2\x84", b"\xd8\x62", b"\xd8\x62\x84"]))
def test_any_bytes_are_refused_with_a_code(data: bytes, start: bytes) -> None:
    assert accepted(start + data) is None
