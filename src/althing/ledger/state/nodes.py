"""Hashes of the state tree: the leaf, the inner node, and the root of a few sorted leaves (docs/spec/state.md §2).

`subtree_root` is the hot function of a commit. It sees only integers and bytes, so a compiled form could replace it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

__all__ = ["EMPTY", "PATH_BITS", "leaf_hash", "path_of", "split_siblings", "subtree_root"]

EMPTY: Final = bytes(32)
PATH_BITS: Final = 256
_INNER_EMPTY_LEFT: Final = b"\x01" + EMPTY


def path_of(key: bytes) -> bytes:
    """Where a key lives: the 256 bits of its SHA-256, most significant first."""
    return sha256(key).digest()


def leaf_hash(path: bytes, value: bytes) -> bytes:
    """SHA-256(0x00 ‖ path ‖ SHA-256(value))."""
    return sha256(b"\x00" + path + sha256(value).digest()).digest()


def _lift(node: bytes, depth: int, target: int, path: int) -> bytes:
    """An inner node at `depth` seen from `target` above it, through inner nodes whose other child is empty."""
    while depth > target:
        depth -= 1
        if path >> (255 - depth) & 1:
            node = sha256(_INNER_EMPTY_LEFT + node).digest()
        else:
            node = sha256(b"\x01" + node + EMPTY).digest()
    return node


def subtree_root(paths: Sequence[int], leaves: Sequence[bytes], depth: int) -> bytes:
    """Root, at `depth`, of the subtree holding exactly these leaves, sorted by path and sharing its prefix.

    One leaf is its own root wherever it stands. Otherwise neighbours are joined where their paths part, deepest
    first, as in building a Cartesian tree over the lengths of common prefixes.
    """
    count = len(paths)
    if count == 1:
        return leaves[0]
    if count == 0:
        return EMPTY
    if count == 2:
        meet = 256 - (paths[0] ^ paths[1]).bit_length()
        node = sha256(b"\x01" + leaves[0] + leaves[1]).digest()
        return node if meet == depth else _lift(node, meet, depth, paths[0])
    nodes = [leaves[0]]
    depths = [0]  # of each pending node; 0 for a leaf, which needs no lifting
    owners = [paths[0]]  # any path below each pending node
    joins: list[int] = []  # depth at which pending nodes i and i+1 meet; strictly increasing
    for index in range(1, count + 1):
        if index < count:
            path = paths[index]
            meet = 256 - (path ^ paths[index - 1]).bit_length()
        else:
            path = meet = -1
        while joins and joins[-1] > meet:
            at = joins.pop()
            right = nodes.pop()
            right_depth = depths.pop()
            right_owner = owners.pop()
            left = nodes[-1]
            below = at + 1
            if right_depth > below:
                right = _lift(right, right_depth, below, right_owner)
            if depths[-1] > below:
                left = _lift(left, depths[-1], below, owners[-1])
            nodes[-1] = sha256(b"\x01" + left + right).digest()
            depths[-1] = at
        if index < count:
            joins.append(meet)
            nodes.append(leaves[index])
            depths.append(0)
            owners.append(path)
    return _lift(nodes[0], depths[0], depth, owners[0])


def split_siblings(paths: Sequence[int], leaves: Sequence[bytes], depth: int, path: int) -> tuple[list[bytes], int]:
    """Siblings met on `path` below `depth`, top down, and the index of the leaf where it ends (-1: an empty place)."""
    siblings: list[bytes] = []
    low, high = 0, len(paths)
    while high - low > 1:
        bit = 1 << (255 - depth)
        middle = low
        while middle < high and not paths[middle] & bit:
            middle += 1
        depth += 1
        if path & bit:
            siblings.append(subtree_root(paths[low:middle], leaves[low:middle], depth))
            low = middle
        else:
            siblings.append(subtree_root(paths[middle:high], leaves[middle:high], depth))
            high = middle
    return siblings, low if high > low else -1
