"""The Merkle root CometBFT uses everywhere: RFC 6962 §2.1 over SHA-256; the root of nothing is SHA-256 of nothing."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

__all__ = ["root"]


def root(leaves: Iterable[bytes]) -> bytes:
    """MTH of RFC 6962: leaf = H(0x00 || leaf), node = H(0x01 || left || right), split at the largest power of two.

    Pairing level by level and carrying an odd last node up gives the same tree as the recursive definition.
    """
    level = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
    if not level:
        return sha256(b"").digest()
    while len(level) > 1:
        paired = [sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0]
