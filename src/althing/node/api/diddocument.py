"""DID documents (W3C DID Core 1.0 §5) of accounts, and how their keys are written there.

Every key is a Multikey (Controlled Identifiers 1.0 §2.2.2); P-256 keys are also a JsonWebKey, which more wallets read.
Keys that have ended stay listed with `expires` or `revoked`, so old signatures can still be attributed, but no
verification relationship names them. Registers of the account appear as services.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from althing.node.api.render import time_of_s
from althing.protocol.address import did, key_id
from althing.protocol.messages.identity import Account, AccountStatus, Key, KeyEntry
from althing.protocol.signatures import Suite

__all__ = ["base58", "did_document", "multikey"]

_CONTEXT: Final = (
    "https://www.w3.org/ns/did/v1",
    "https://w3id.org/security/multikey/v1",
    "https://w3id.org/security/jwk/v1",
)
_MULTICODEC: Final = {Suite.ED25519: b"\xed\x01", Suite.ES256: b"\x80\x24"}  # ed25519-pub, p256-pub as varints
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def did_document(
    chain_id: str, address: bytes, account: Account, attributes: Sequence[tuple[str, str]], time_s: int
) -> dict[str, Any]:
    """The document at ledger time `time_s`. A suspended or closed account has no usable keys."""
    subject = did(chain_id, address)
    methods: list[dict[str, Any]] = []
    usable: list[str] = []
    for entry in account.keys:
        own = _methods(subject, entry)
        methods.extend(own)
        if account.status == AccountStatus.ACTIVE and entry.active_at(time_s):
            usable.extend(method["id"] for method in own)
    document: dict[str, Any] = {"@context": list(_CONTEXT), "id": subject}
    if account.organisation != address:
        document["controller"] = did(chain_id, account.organisation)
    if methods:
        document["verificationMethod"] = methods
    if usable:
        document["authentication"] = usable
        document["assertionMethod"] = usable
    if attributes:
        document["service"] = [
            {"id": f"{subject}#{name}", "type": "AlthingRegister", "serviceEndpoint": _endpoint(value)}
            for name, value in attributes
        ]
    return document


def _methods(subject: str, entry: KeyEntry) -> list[dict[str, Any]]:
    kid = key_id(entry.key.suite, entry.key.public).hex()
    ends: dict[str, str] = {}
    if entry.valid_to is not None:
        ends["expires"] = time_of_s(entry.valid_to)
    if entry.revoked_at is not None:
        ends["revoked"] = time_of_s(entry.revoked_at)
    methods: list[dict[str, Any]] = [
        {
            "id": f"{subject}#{kid}",
            "type": "Multikey",
            "controller": subject,
            "publicKeyMultibase": multikey(entry.key),
            **ends,
        }
    ]
    if entry.key.suite == Suite.ES256:
        methods.append(
            {
                "id": f"{subject}#{kid}-jwk",
                "type": "JsonWebKey",
                "controller": subject,
                "publicKeyJwk": _jwk(entry.key.public),
                **ends,
            }
        )
    return methods


def multikey(key: Key) -> str:
    """Multibase base58btc of multicodec prefix and key bytes."""
    return "z" + base58(_MULTICODEC[key.suite] + key.public)


def base58(data: bytes) -> str:
    """Base58 with Bitcoin's alphabet."""
    number = int.from_bytes(data, "big")
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits


def _jwk(compressed: bytes) -> dict[str, str]:
    numbers = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), compressed).public_numbers()
    return {"kty": "EC", "crv": "P-256", "x": _b64(numbers.x), "y": _b64(numbers.y)}


def _b64(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode("ascii")


def _endpoint(value: str) -> str | dict[str, str]:
    """DID Core §5.4: an endpoint is a URI or a map; a register that is no URI is a map with its value."""
    return value if "://" in value else {"value": value}
