"""The tree as stored: buckets of a few leaves, and above them pages of eight subtrees (three levels of the tree).

A bucket holds up to 16 leaves as rows path ‖ leaf hash, sorted. A fuller one becomes a page with eight children. How
leaves are grouped never shows in the root: that depends on the leaves alone (docs/spec/state.md §2).

    record key   = the prefix of the path, zero-padded to whole bytes ‖ depth in bits (one byte)
    bucket       = n × (path[32] ‖ leaf hash[32])
    page         = kind[8] ‖ subtree hash[8][32];   kind: leaves of a child bucket (0: nothing), or PAGE

The parent says what a child is. Work per commit: the records on the touched keys' paths, once each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

from althing.ledger.state.nodes import EMPTY, split_siblings, subtree_root

__all__ = ["BUCKET_LEAVES_MAX", "PAGE", "Load", "TreeUpdate", "find", "neighbour", "record_key"]

PAGE: Final = 255
BUCKET_LEAVES_MAX: Final = 16
_MERGE_LEAVES_MAX: Final = 8  # half a bucket: a page that shrank must not split again at once
_STRIDE: Final = 3
_ROW: Final = 64
_BISECT_ABOVE: Final = 24

Load = Callable[[bytes], bytes | None]


def record_key(prefix: int, depth: int) -> bytes:
    """Prefix first, so that a page, its children and its neighbours lie together in the table."""
    size = (depth + 7) >> 3
    return (prefix << (size * 8 - depth)).to_bytes(size, "big") + bytes((depth,))


def _rows(bucket: bytes) -> tuple[list[int], list[bytes]]:
    paths = [int.from_bytes(bucket[at : at + 32], "big") for at in range(0, len(bucket), _ROW)]
    leaves = [bucket[at + 32 : at + _ROW] for at in range(0, len(bucket), _ROW)]
    return paths, leaves


def _page_root(kinds: Sequence[int], hashes: bytes | bytearray) -> bytes:
    """Root of a page's eight children; a lone leaf is lifted, a lone inner node is not."""
    if 0 in kinds:
        return _sparse_root(kinds, hashes, 0, 8)
    one = b"\x01"
    h01 = sha256(one + hashes[0:64]).digest()
    h23 = sha256(one + hashes[64:128]).digest()
    h45 = sha256(one + hashes[128:192]).digest()
    h67 = sha256(one + hashes[192:256]).digest()
    h03 = sha256(one + h01 + h23).digest()
    h47 = sha256(one + h45 + h67).digest()
    return sha256(one + h03 + h47).digest()


def _sparse_root(kinds: Sequence[int], hashes: bytes | bytearray, low: int, high: int) -> bytes:
    """Root of the children low..high (a power of two of them), some of them empty."""
    nodes = [bytes(hashes[at * 32 : at * 32 + 32]) for at in range(low, high)]
    below = list(kinds[low:high])
    while len(nodes) > 1:
        next_nodes = []
        next_below = []
        for at in range(0, len(nodes), 2):
            left, right = below[at], below[at + 1]
            total = left + right
            if total < 2:  # nothing, or one leaf
                next_nodes.append(nodes[at] if left else nodes[at + 1])
            else:
                next_nodes.append(sha256(b"\x01" + nodes[at] + nodes[at + 1]).digest())
            next_below.append(total)
        nodes, below = next_nodes, next_below
    return nodes[0]


class TreeUpdate:
    """One batch of changed leaves applied to the tree; `changed` holds the records to write (None: remove)."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._ints: list[int] = []
        self._paths: list[bytes] = []
        self._leaves: list[bytes | None] = []
        self.changed: dict[bytes, bytes | None] = {}

    def apply(self, kind: int, changes: Sequence[tuple[bytes, bytes | None]]) -> tuple[bytes, int]:
        """`changes`: (path, leaf hash or None), sorted by path, each path once. Gives the new root and its kind."""
        self._paths = [path for path, _ in changes]
        self._leaves = [leaf for _, leaf in changes]
        self._ints = [int.from_bytes(path, "big") for path in self._paths]
        return self._node(kind, 0, 0, 0, len(changes))

    def _node(self, kind: int, prefix: int, depth: int, low: int, high: int) -> tuple[bytes, int]:
        if kind == PAGE:
            return self._page(prefix, depth, low, high)
        return self._bucket(kind, prefix, depth, low, high)

    def _bucket(self, kind: int, prefix: int, depth: int, low: int, high: int) -> tuple[bytes, int]:
        key = record_key(prefix, depth)
        body = self._require(key) if kind else b""
        if high - low == 1:
            path, leaf = self._paths[low], self._leaves[low]
            at = body.find(path)
            while at > 0 and at % _ROW:
                at = body.find(path, at + 1)
            if at >= 0 and leaf is not None:  # the common case: a value changed
                body = body[: at + 32] + leaf + body[at + _ROW :]
            elif at >= 0:
                body = body[:at] + body[at + _ROW :]
            elif leaf is not None:
                at = 0
                while at < len(body) and body[at : at + 32] < path:
                    at += _ROW
                body = body[:at] + path + leaf + body[at:]
        else:
            rows = {body[at : at + 32]: body[at + 32 : at + _ROW] for at in range(0, len(body), _ROW)}
            for index in range(low, high):
                leaf = self._leaves[index]
                if leaf is None:
                    rows.pop(self._paths[index], None)
                else:
                    rows[self._paths[index]] = leaf
            body = b"".join([path + rows[path] for path in sorted(rows)])
        if len(body) > BUCKET_LEAVES_MAX * _ROW:
            return self._grow(*_rows(body), prefix, depth)
        if not body:
            if kind:
                self.changed[key] = None
            return EMPTY, 0
        self.changed[key] = body
        return subtree_root(*_rows(body), depth), len(body) // _ROW

    def _grow(self, paths: list[int], leaves: list[bytes], prefix: int, depth: int) -> tuple[bytes, int]:
        """Write a subtree that was not there, from its leaves."""
        key = record_key(prefix, depth)
        if len(paths) <= BUCKET_LEAVES_MAX:
            if not paths:
                return EMPTY, 0
            rows = zip(paths, leaves, strict=True)
            self.changed[key] = b"".join([path.to_bytes(32, "big") + leaf for path, leaf in rows])
            return subtree_root(paths, leaves, depth), len(paths)
        shift = 256 - _STRIDE - depth
        kinds = bytearray(8)
        hashes = bytearray(256)
        low = 0
        for slot in range(8):
            child = prefix << _STRIDE | slot
            high = bisect_left(paths, (child + 1) << shift, low)
            child_hash, kinds[slot] = self._grow(paths[low:high], leaves[low:high], child, depth + _STRIDE)
            hashes[slot * 32 : slot * 32 + 32] = child_hash
            low = high
        self.changed[key] = bytes(kinds + hashes)
        return _page_root(kinds, hashes), PAGE

    def _page(self, prefix: int, depth: int, low: int, high: int) -> tuple[bytes, int]:
        key = record_key(prefix, depth)
        body = self._require(key)
        kinds = bytearray(body[:8])
        hashes = bytearray(body[8:])
        shift = 256 - _STRIDE - depth
        ints = self._ints
        while low < high:
            child = ints[low] >> shift
            if high - low > _BISECT_ABOVE:
                end = bisect_left(ints, (child + 1) << shift, low, high)
            else:
                end = low + 1
                while end < high and ints[end] >> shift == child:
                    end += 1
            slot = child & 7
            child_hash, kinds[slot] = self._node(kinds[slot], child, depth + _STRIDE, low, end)
            hashes[slot * 32 : slot * 32 + 32] = child_hash
            low = end
        if sum(kinds) <= _MERGE_LEAVES_MAX:
            return self._shrink(key, kinds, prefix, depth)
        self.changed[key] = bytes(kinds + hashes)
        return _page_root(kinds, hashes), PAGE

    def _shrink(self, key: bytes, kinds: bytearray, prefix: int, depth: int) -> tuple[bytes, int]:
        """A page with few leaves left becomes the bucket of all of them."""
        parts = []
        for slot in range(8):
            child = record_key(prefix << _STRIDE | slot, depth + _STRIDE)
            if kinds[slot]:
                parts.append(self.changed.get(child) or self._require(child))
                self.changed[child] = None
        body = b"".join(parts)
        self.changed[key] = body or None
        return subtree_root(*_rows(body), depth), len(body) // _ROW

    def _require(self, key: bytes) -> bytes:
        return _required(self._load, key)


def _required(load: Load, key: bytes) -> bytes:
    body = load(key)
    assert body is not None, f"tree record {key.hex()} is missing"
    return body


def find(load: Load, kind: int, path: bytes) -> tuple[list[bytes], bytes | None]:
    """Siblings on the way of `path`, top down, and the path of the leaf it ends at (None: an empty place)."""
    target = int.from_bytes(path, "big")
    siblings: list[bytes] = []
    depth = 0
    while True:
        key = record_key(target >> (256 - depth), depth)
        if kind != PAGE:
            paths, leaves = _rows(_required(load, key)) if kind else ([], [])
            below, index = split_siblings(paths, leaves, depth, target)
            end = None if index < 0 else paths[index].to_bytes(32, "big")
            return siblings + below, end
        body = _required(load, key)
        kinds, hashes = body[:8], body[8:]
        slot = target >> (256 - _STRIDE - depth) & 7
        low, high = 0, 8
        while high - low > 1 and sum(kinds[low:high]) > 1:
            middle = (low + high) >> 1
            if slot < middle:
                siblings.append(_sparse_root(kinds, hashes, middle, high))
                high = middle
            else:
                siblings.append(_sparse_root(kinds, hashes, low, middle))
                low = middle
        if high - low > 1:  # at most one leaf here, lifted above its bucket
            if sum(kinds[low:high]) == 0:
                return siblings, None
            lone = (target >> (256 - depth)) << _STRIDE | kinds.index(1, low)
            return siblings, _required(load, record_key(lone, depth + _STRIDE))[:32]
        kind = kinds[slot]
        depth += _STRIDE


def neighbour(load: Load, kind: int, path: bytes, *, right: bool) -> bytes | None:
    """The path of the nearest leaf before (or behind) `path` in the whole tree, None at its edge."""
    return _beside(load, kind, 0, 0, int.from_bytes(path, "big"), right)


def _beside(load: Load, kind: int, prefix: int, depth: int, target: int, right: bool) -> bytes | None:
    """Within the subtree at (prefix, depth), of which `target` need not be a part."""
    if kind == 0:
        return None
    body = _required(load, record_key(prefix, depth))
    if kind != PAGE:
        paths = _rows(body)[0]
        fit = [path for path in paths if path > target] if right else [path for path in paths if path < target]
        return None if not fit else (fit[0] if right else fit[-1]).to_bytes(32, "big")
    shift = 256 - _STRIDE - depth
    for slot in range(8) if right else range(7, -1, -1):
        child = prefix << _STRIDE | slot
        # a child wholly on the wrong side of the target holds nothing
        if (right and (child + 1) << shift <= target) or (not right and child << shift > target):
            continue
        found = _beside(load, body[slot], child, depth + _STRIDE, target, right)
        if found is not None:
            return found
    return None
