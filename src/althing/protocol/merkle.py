"""RFC 9162 §2.1 Merkle trees over SHA-256: roots, inclusion and consistency proofs, and an append-only frontier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from althing.protocol.errors import MerkleError
from althing.protocol.limits import MERKLE_PATH_MAX

__all__ = [
    "EMPTY_ROOT",
    "Frontier",
    "Tree",
    "leaf_hash",
    "log_path",
    "node_hash",
    "root_of",
    "verify_consistency",
    "verify_inclusion",
]

EMPTY_ROOT: Final = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 ‖ data), RFC 9162 §2.1.1."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right), RFC 9162 §2.1.1."""
    return sha256(b"\x01" + left + right).digest()


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """Merkle Tree Hash of hashed leaves; of no leaves SHA-256 of nothing."""
    if not leaf_hashes:
        return EMPTY_ROOT
    return Tree(leaf_hashes).root


class Tree:
    """A whole tree in memory, level by level: all roots and paths of a batch without hashing anything twice."""

    __slots__ = ("_levels",)

    def __init__(self, leaf_hashes: Sequence[bytes]) -> None:
        if not leaf_hashes:
            raise AssertionError("a tree has at least one leaf")
        level = list(leaf_hashes)
        levels = [level]
        while len(level) > 1:
            pairs = len(level) >> 1
            above = [sha256(b"\x01" + level[2 * i] + level[2 * i + 1]).digest() for i in range(pairs)]
            # An odd last node moves up unchanged: this gives RFC 9162's split at the largest power of two.
            if len(level) & 1:
                above.append(level[-1])
            levels.append(above)
            level = above
        self._levels = levels

    @property
    def root(self) -> bytes:
        return self._levels[-1][0]

    @property
    def size(self) -> int:
        return len(self._levels[0])

    def path(self, index: int) -> list[bytes]:
        """PATH(index, D[size]) of RFC 9162 §2.1.3.1, siblings bottom-up."""
        if not 0 <= index < self.size:
            raise AssertionError("index outside the tree")
        path = []
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                path.append(level[sibling])
            index >>= 1
        return path


def verify_inclusion(root: bytes, size: int, index: int, leaf: bytes, path: Sequence[bytes]) -> None:
    """RFC 9162 §2.1.3.2: `leaf` (a leaf hash) stands at `index` of the tree of `size` leaves, else MerkleError."""
    if not 0 <= index < size:
        raise MerkleError("merkle.index", "the index is outside the tree")
    if len(path) > MERKLE_PATH_MAX:
        raise MerkleError("merkle.path", "the path is longer than any tree")
    fn, sn, value = index, size - 1, leaf
    for sibling in path:
        if len(sibling) != 32 or sn == 0:
            raise MerkleError("merkle.path", "the path is longer than the tree is high")
        if fn & 1 or fn == sn:
            value = node_hash(sibling, value)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            value = node_hash(value, sibling)
        fn >>= 1
        sn >>= 1
    if sn != 0 or value != root:
        raise MerkleError("merkle.root", "the path does not lead to the root")


def verify_consistency(old_root: bytes, old_size: int, new_root: bytes, new_size: int, path: Sequence[bytes]) -> None:
    """RFC 9162 §2.1.4.2: the tree of `new_size` begins with the tree of `old_size`, else MerkleError."""
    if not 0 <= old_size <= new_size or len(path) > 2 * MERKLE_PATH_MAX or any(len(node) != 32 for node in path):
        raise MerkleError("merkle.consistency", "sizes or path are out of range")
    if old_size == new_size or old_size == 0:
        expected = old_root == (EMPTY_ROOT if old_size == 0 else new_root) and not path
        expected = expected and (new_size > 0 or new_root == EMPTY_ROOT)
        if not expected:
            raise MerkleError("merkle.consistency", "equal or empty trees need equal roots and no path")
        return
    nodes = list(path) if old_size & (old_size - 1) else [old_root, *path]
    if not nodes:
        raise MerkleError("merkle.consistency", "the path is empty")
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if sn == 0:
            raise MerkleError("merkle.consistency", "the path is too long")
        if fn & 1 or fn == sn:
            old = node_hash(node, old)
            new = node_hash(node, new)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            new = node_hash(new, node)
        fn >>= 1
        sn >>= 1
    if sn != 0 or old != old_root or new != new_root:
        raise MerkleError("merkle.consistency", "the newer tree does not begin with the older one")


@dataclass(frozen=True, slots=True)
class Frontier:
    """The compact right edge of a log: size and the roots of its perfect subtrees, largest first. Enough to append."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> tuple[Frontier, list[tuple[int, int, bytes]]]:
        """Add a leaf hash; also the perfect nodes it completed as (level, index, hash), the leaf itself first."""
        peaks = list(self.peaks)
        made = [(0, self.size, leaf)]
        size, level, value = self.size, 0, leaf
        while size >> level & 1:
            value = node_hash(peaks.pop(), value)
            level += 1
            made.append((level, self.size >> level, value))
        peaks.append(value)
        return Frontier(self.size + 1, tuple(peaks)), made

    @property
    def root(self) -> bytes:
        """Merkle Tree Hash of all leaves so far."""
        if not self.peaks:
            return EMPTY_ROOT
        value = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            value = node_hash(peak, value)
        return value

    def to_bytes(self) -> bytes:
        """Size (8 bytes, big-endian) and peaks, for storage under a digest."""
        return self.size.to_bytes(8, "big") + b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, data: bytes) -> Frontier:
        size = int.from_bytes(data[:8], "big")
        peaks = tuple(data[i : i + 32] for i in range(8, len(data), 32))
        if len(data) != 8 + 32 * size.bit_count():
            raise MerkleError("merkle.frontier", "a stored frontier has the wrong length")
        return cls(size, peaks)


def log_path(index: int, size: int, fetch: Callable[[int, int], bytes]) -> list[bytes]:
    """PATH(index, D[size]) from stored perfect nodes: `fetch(level, index)` as `Frontier.append` made them."""

    def subtree(start: int, count: int) -> bytes:
        level = (count - 1).bit_length()
        if count == 1 << level and start % count == 0:
            return fetch(level, start >> level)
        split = 1 << (count - 1).bit_length() - 1
        return node_hash(subtree(start, split), subtree(start + split, count - split))

    if not 0 <= index < size:
        raise AssertionError("index outside the log")
    path: list[bytes] = []
    start, count = 0, size
    while count > 1:
        split = 1 << (count - 1).bit_length() - 1
        if index < start + split:
            path.append(subtree(start + split, count - split))
            count = split
        else:
            path.append(subtree(start, split))
            start += split
            count -= split
    path.reverse()
    return path
