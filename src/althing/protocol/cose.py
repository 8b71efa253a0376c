"""COSE_Sign1 and COSE_Sign (RFC 9052 §4) as one strict profile: one encoding for one meaning.

Tagged (18, 98), empty unprotected headers, attached payload, protected headers in deterministic CBOR with `alg` (1) and
`kid` (4) present. A signature covers RFC 9052 §4.4 Sig_structure with an external_aad that names domain and chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cbor2 import dumps

from althing.protocol.codec import Item, decode, encode
from althing.protocol.errors import CoseError, EncodingError
from althing.protocol.limits import KID_BYTES, TX_SIGNATURES_MAX
from althing.protocol.signatures import PrivateKey, Suite

__all__ = ["CONTENT_TYPE", "TAG_SIGN1", "Envelope", "Signature", "parse_sign", "parse_sign1", "sign", "sign1"]

ALG: Final = 1
CONTENT_TYPE: Final = 3
KID: Final = 4
TAG_SIGN1: Final = b"\xd2"
_SIGN1_HEAD: Final = TAG_SIGN1 + b"\x84"  # and an array of four
TAG_SIGN: Final = b"\xd8\x62"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature and what it covers: suite, key id, protected headers, the bytes signed, 64 signature bytes."""

    suite: Suite
    kid: bytes
    headers: dict[Item, Item]
    signed: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """Payload bytes and the signatures over them, not yet verified."""

    payload: bytes
    signatures: tuple[Signature, ...]


def sign1(key: PrivateKey, kid: bytes, payload: bytes, aad: bytes, headers: dict[Item, Item] | None = None) -> bytes:
    """A tagged COSE_Sign1 over `payload`; `headers` are further protected ones."""
    protected = encode({ALG: int(key.suite), KID: kid, **headers}) if headers else _protected(int(key.suite), kid)
    body = dumps(payload)
    # The payload's encoding stands in what is signed and in the envelope alike.
    value = key.sign(dumps(["Signature1", protected, aad, b""])[:-1] + body)
    return _SIGN1_HEAD + dumps(protected) + b"\xa0" + body + dumps(value)


@lru_cache(maxsize=4096)
def _protected(suite: int, kid: bytes) -> bytes:
    return encode({ALG: suite, KID: kid})


def sign(keys: list[tuple[PrivateKey, bytes]], payload: bytes, aad: bytes) -> bytes:
    """A tagged COSE_Sign over `payload` by several (key, kid), in ascending order of kid."""
    signatures = []
    for key, kid in sorted(keys, key=lambda pair: pair[1]):
        protected = encode({ALG: int(key.suite), KID: kid})
        value = key.sign(encode(["Signature", b"", protected, aad, payload]))
        signatures.append([protected, {}, value])
    return TAG_SIGN + encode([b"", {}, payload, signatures])


def parse_sign1(data: bytes, aad: bytes, *, bytes_max: int, further: bool = False) -> Envelope:
    """Take a COSE_Sign1 apart; CoseError `cose.*` or EncodingError `cbor.*` when it is not of this profile.

    Protected headers are `alg` and `kid` alone, unless the caller judges `further` ones.
    """
    _check_size(data, bytes_max)
    short = _short_sign1(data, aad, further)
    if short is not None:
        return short
    if data[:1] != TAG_SIGN1:
        raise CoseError("cose.tag", "expected a tagged COSE_Sign1 (first byte 0xd2)")
    parts = decode(data[1:], bytes_max=bytes_max, depth_max=2)
    match parts:
        case [bytes() as protected, dict() as unprotected, bytes() as payload, bytes() as value]:
            _refuse_unprotected(unprotected)
        case _:
            raise CoseError("cose.form", "a COSE_Sign1 is [protected, {}, payload, signature]")
    # Sig_structure holds no map, so the encoder's own order is the deterministic one.
    signed = dumps(["Signature1", protected, aad, payload])
    return Envelope(payload, (_signature(protected, value, signed, further=further),))


_TAIL: Final = 66  # the head of a 64-byte string, and the signature
_SIGNATURE_HEAD: Final = b"\x58\x40"
_SHORT: Final = 16


def _short_sign1(data: bytes, aad: bytes, further: bool) -> Envelope | None:
    """The envelope of transactions and bundles, whose every byte but the payload has its place; None for any other.

    Finding the parts by position takes a quarter of the time, and the signed bytes hold the payload's encoding as it is.
    """
    if len(data) < 5 + _TAIL or data[:2] != _SIGN1_HEAD or data[-_TAIL : 2 - _TAIL] != _SIGNATURE_HEAD:
        return None
    start = data[2] - 0x40 + 3  # behind the protected headers
    if not 3 <= start <= 3 + _SHORT or data[start : start + 1] != b"\xa0":
        return None
    body = data[start + 1 : -_TAIL]
    payload = _byte_string(body)
    if payload is None:
        return None
    suite, kid, headers, before = _known_short(data[3:start], aad)
    if not further and len(headers) != 2:
        return None
    return Envelope(payload, (Signature(suite, kid, headers, before + body, data[-64:]),))


def _byte_string(item: bytes) -> bytes | None:
    """The content when `item` is exactly one byte string with the shortest head (RFC 8949 §4.2.1)."""
    if not item:
        return None
    first = item[0]
    if first == 0x58:
        width, least = 2, 24
    elif first == 0x59:
        width, least = 3, 1 << 8
    elif first == 0x5A:
        width, least = 5, 1 << 16
    elif 0x40 <= first < 0x58:
        return item[1:] if len(item) == first - 0x3F else None
    else:
        return None
    length = int.from_bytes(item[1:width], "big")
    return item[width:] if length >= least and len(item) == width + length else None


def parse_sign(data: bytes, aad: bytes, *, bytes_max: int) -> Envelope:
    """Take a COSE_Sign1 or COSE_Sign apart (by its tag)."""
    if data[:2] != TAG_SIGN:
        return parse_sign1(data, aad, bytes_max=bytes_max)
    _check_size(data, bytes_max)
    parts = decode(data[2:], bytes_max=bytes_max, depth_max=4)
    match parts:
        case [b"", dict() as unprotected, bytes() as payload, list() as entries]:
            _refuse_unprotected(unprotected)
        case _:
            raise CoseError("cose.form", "a COSE_Sign is [h'', {}, payload, signatures]")
    if not 2 <= len(entries) <= TX_SIGNATURES_MAX:
        raise CoseError("cose.signatures", f"a COSE_Sign carries 2 to {TX_SIGNATURES_MAX} signatures")
    signatures = []
    last = b""
    for entry in entries:
        match entry:
            case [bytes() as protected, dict() as unprotected, bytes() as value]:
                _refuse_unprotected(unprotected)
            case _:
                raise CoseError("cose.form", "a COSE_Signature is [protected, {}, signature]")
        signed = dumps(["Signature", b"", protected, aad, payload])
        signature = _signature(protected, value, signed, further=False)
        if signature.kid <= last:
            raise CoseError("cose.order", "signatures stand in ascending order of key id, each once")
        last = signature.kid
        signatures.append(signature)
    return Envelope(payload, tuple(signatures))


def _check_size(data: bytes, bytes_max: int) -> None:
    """Of the whole envelope: its tag counts."""
    if len(data) > bytes_max:
        raise EncodingError("cbor.too_large", f"{len(data)} bytes are more than the {bytes_max} allowed here")


def _refuse_unprotected(headers: dict[Item, Item]) -> None:
    if headers:
        raise CoseError("cose.unprotected", "unprotected headers must be empty: nothing outside the signature counts")


_SUITES: Final = {int(suite): suite for suite in Suite}


def _signature(protected: bytes, value: bytes, signed: bytes, *, further: bool) -> Signature:
    # A transaction's headers are 13 bytes and the same for all signatures of a key; a device's hold its counter.
    suite, kid, headers = _known_headers(protected) if len(protected) <= _SHORT else _headers(protected)
    # RFC 9052 §3.1: what `crit` lists must be understood; here nothing else is.
    if not further and len(headers) != 2:
        raise CoseError("cose.headers", "a protected header besides alg and kid is not known here")
    if len(value) != 64:
        raise CoseError("cose.signature", "a signature has 64 bytes")
    return Signature(suite, kid, headers, signed, value)


def _headers(protected: bytes) -> tuple[Suite, bytes, dict[Item, Item]]:
    headers = decode(protected, bytes_max=1024, depth_max=2)
    if type(headers) is not dict:
        raise CoseError("cose.headers", "protected headers are a map")
    alg = headers.get(ALG)
    suite = _SUITES.get(alg) if type(alg) is int else None
    if suite is None:
        raise CoseError("cose.algorithm", "the algorithm is not EdDSA (-8) or ES256 (-7)")
    kid = headers.get(KID)
    if type(kid) is not bytes or len(kid) != KID_BYTES:
        raise CoseError("cose.kid", f"kid is a byte string of {KID_BYTES} bytes")
    return suite, kid, headers


_known_headers = lru_cache(maxsize=65_536)(_headers)


@lru_cache(maxsize=65_536)
def _known_short(protected: bytes, aad: bytes) -> tuple[Suite, bytes, dict[Item, Item], bytes]:
    """As `_headers`, and the Sig_structure up to the payload (RFC 9052 §4.4)."""
    return *_headers(protected), dumps(["Signature1", protected, aad, b""])[:-1]
