"""A COSE Receipt of inclusion (RFC 9942 §5.2): one issuer's word that a leaf stands in a batch's tree.

It is an export for tools of that family. It is not the proof file: one key vouches for a root, no validator does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from althing.protocol.address import key_id
from althing.protocol.codec import encode
from althing.protocol.cose import TAG_SIGN1
from althing.protocol.merkle import verify_inclusion
from althing.protocol.signatures import PrivateKey

__all__ = ["receipt_of_inclusion"]

ALG: Final = 1
KID: Final = 4
VDS: Final = 395  # verifiable data structure, protected
RFC9162_SHA256: Final = 1
VDP: Final = 396  # its proofs, unprotected
INCLUSION: Final = -1


def receipt_of_inclusion(
    key: PrivateKey, root: bytes, size: int, index: int, leaf_hash: bytes, path: Sequence[bytes]
) -> bytes:
    """The receipt, signed by `key`; MerkleError when the path does not lead to the root, which nobody should sign.

    The root is the detached payload: a reader computes it from the leaf and the path, so nothing is said twice.
    """
    verify_inclusion(root, size, index, leaf_hash, path)
    protected = encode({ALG: int(key.suite), KID: key_id(key.suite, key.public), VDS: RFC9162_SHA256})
    proof = encode([size, index, list(path)])
    signature = key.sign(encode(["Signature1", protected, b"", root]))
    return TAG_SIGN1 + encode([protected, {VDP: {INCLUSION: [proof]}}, None, signature])
