"""Bundles: many transactions as one item of the engine, made and signed by a registered node (docs/spec/transactions.md).

The engine's cost per item is then paid once a bundle. A bundle's id plays no part in replay: inner ids do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from althing.protocol.address import ADDRESS_BYTES, key_id
from althing.protocol.codec import decode, encode
from althing.protocol.cose import Signature, parse_sign1, sign1
from althing.protocol.errors import EncodingError
from althing.protocol.hashing import DOMAIN_BUNDLE
from althing.protocol.limits import BUNDLE_TXS_MAX, CBOR_BYTES_MAX
from althing.protocol.signatures import PrivateKey

__all__ = ["Bundle", "make_bundle", "parse_bundle"]

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Bundle:
    """A node's address, the transactions' bytes in order, and the node's signature, not verified yet."""

    node: bytes
    transactions: tuple[bytes, ...]
    signature: Signature


def make_bundle(key: PrivateKey, node: bytes, transactions: Sequence[bytes], genesis_hash: bytes) -> bytes:
    """A tagged COSE_Sign1 over [1, node, [transaction, …]]."""
    payload = encode([_VERSION, node, list(transactions)])
    return sign1(key, key_id(key.suite, key.public), payload, DOMAIN_BUNDLE + genesis_hash)


def parse_bundle(data: bytes, genesis_hash: bytes) -> Bundle:
    """Take a bundle apart, or EncodingError / CoseError."""
    envelope = parse_sign1(data, DOMAIN_BUNDLE + genesis_hash, bytes_max=CBOR_BYTES_MAX)
    match decode(envelope.payload, depth_max=2):
        case [int() as version, bytes() as node, list() as txs] if (
            type(version) is int
            and version == _VERSION
            and len(node) == ADDRESS_BYTES
            and 1 <= len(txs) <= BUNDLE_TXS_MAX
        ):
            if any(type(tx) is not bytes for tx in txs):
                raise EncodingError("bundle.form", "a bundle's transactions are byte strings")
            return Bundle(node, tuple(txs), envelope.signatures[0])
    raise EncodingError("bundle.form", f"a bundle is [1, node, 1 to {BUNDLE_TXS_MAX} transactions]")
