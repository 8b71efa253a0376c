"""Signature suites and the one acceptance rule of each (docs/spec/signatures.md); every node decides by it.

Ed25519: RFC 8032 §5.1.7 without cofactor, and as libsodium 1.0.20 does it: S below the group order, public key
canonical and not of small order, R not of small order. Libraries differ on exactly these points (ZIP-215 accepts them),
and a mixed rule would fork a chain. ES256: FIPS 186-5 over P-256 with SHA-256, r‖s of 32 bytes each, s at most n/2,
public keys as 33-byte compressed SEC 1 points.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from althing.protocol.errors import CoseError

__all__ = ["P256_ORDER", "PrivateKey", "Suite", "check_public_key", "verify"]


class Suite(IntEnum):
    """COSE algorithm numbers (RFC 9053 §2.1, §2.2); a key belongs to one suite for ever."""

    ED25519 = -8
    ES256 = -7


P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P256_HALF_ORDER: Final = P256_ORDER // 2
_ES256: Final = ec.ECDSA(hashes.SHA256())
_ES256_DETERMINISTIC: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_ED25519_P: Final = 2**255 - 19
_ED25519_D: Final = -121665 * pow(121666, -1, _ED25519_P) % _ED25519_P
# The eight points of small order, y coordinate with the sign bit cleared (RFC 7748 §7, "Taming the many EdDSAs" table 6).
_SMALL_ORDER_Y: Final = frozenset(
    bytes.fromhex(point)
    for point in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)


def verify(suite: Suite, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """True when the suite's acceptance rule holds. Releases the interpreter lock while it computes. Never raises on input."""
    if len(signature) != 64:
        return False
    if suite == Suite.ED25519:
        if len(public_key) != 32:
            return False
        try:
            crypto_sign_open(signature + message, public_key)
        except (BadSignatureError, ValueError):
            return False
        return True
    key = _p256_key(public_key)
    s = int.from_bytes(signature[32:], "big")
    if key is None or s > _P256_HALF_ORDER:
        return False
    der = utils.encode_dss_signature(int.from_bytes(signature[:32], "big"), s)
    try:
        key.verify(der, message, _ES256)
    except InvalidSignature:
        return False
    return True


def check_public_key(suite: Suite, public_key: bytes) -> None:
    """Refuse a key no signature of which could ever be accepted, so that none gets registered (CoseError `key.*`)."""
    if suite == Suite.ED25519:
        if len(public_key) != 32:
            raise CoseError("key.length", "an Ed25519 public key has 32 bytes")
        encoded = public_key[:31] + bytes((public_key[31] & 0x7F,))
        y = int.from_bytes(encoded, "little")
        if encoded in _SMALL_ORDER_Y or y >= _ED25519_P or not _on_edwards25519(y):
            raise CoseError("key.weak", "the Ed25519 public key is of small order, not canonical or on no point")
    elif _p256_key(public_key) is None:
        raise CoseError("key.point", "a P-256 public key is a 33-byte compressed point on the curve (SEC 1 §2.3.3)")


def _on_edwards25519(y: int) -> bool:
    # RFC 8032 §5.1.3: x² = (y² - 1) / (d y² + 1), which has a root when numerator times denominator has one.
    square = y * y % _ED25519_P
    return pow((square - 1) * (_ED25519_D * square + 1), (_ED25519_P - 1) // 2, _ED25519_P) <= 1


@lru_cache(maxsize=65536)
def _p256_key(public_key: bytes) -> ec.EllipticCurvePublicKey | None:
    if len(public_key) != 33 or public_key[0] not in (2, 3):
        return None
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    except ValueError:
        return None


class PrivateKey:
    """A signing key in memory, made from a 32-byte seed (Ed25519) or secret scalar (P-256). Signing is deterministic."""

    __slots__ = ("_ec", "_ed", "public", "seed", "suite")

    def __init__(self, suite: Suite, seed: bytes) -> None:
        if len(seed) != 32:
            raise CoseError("key.length", "a private key has 32 bytes")
        self.suite = suite
        self.seed = seed
        if suite == Suite.ED25519:
            self.public, self._ed = crypto_sign_seed_keypair(seed)
            self._ec = None
        else:
            scalar = int.from_bytes(seed, "big")
            if not 0 < scalar < P256_ORDER:
                raise CoseError("key.scalar", "a P-256 secret is between 1 and the group order")
            self._ed = b""
            self._ec = ec.derive_private_key(scalar, ec.SECP256R1())
            self.public = _compressed(self._ec.public_key())

    def __repr__(self) -> str:
        return f"PrivateKey({self.suite.name}, public={self.public.hex()})"

    def sign(self, message: bytes) -> bytes:
        """64 bytes: R‖S (RFC 8032) or r‖s with low s (RFC 9053 §2.1, RFC 6979)."""
        if self._ec is None:
            return crypto_sign(message, self._ed)[:64]
        r, s = utils.decode_dss_signature(self._ec.sign(message, _ES256_DETERMINISTIC))
        if s > _P256_HALF_ORDER:
            s = P256_ORDER - s
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _compressed(key: ec.EllipticCurvePublicKey) -> bytes:
    numbers = key.public_numbers()
    return bytes((2 + (numbers.y & 1),)) + numbers.x.to_bytes(32, "big")
