"""The tree as stored: leaves in the order of their paths, and pages that each hold four levels of it.

A page has sixteen slots. A slot with few leaves below holds only their number and their subtree's root: the leaves are
found in the leaf records, which lie beside the page in the same table. A fuller slot is a page itself. How leaves are
grouped never shows in the root, which depends on the leaves alone (docs/spec/state.md §2).

    leaf key  = path[32] ‖ 0xff            page key = the prefix of the path, zero-padded to whole bytes ‖ depth
    page      = kind[16] ‖ node[30][32];   kind: leaves below a slot (0 to 6), or PAGE;
                                           nodes 2 to 31 in heap order: 2i and 2i+1 below i, the slots are 16 to 31

The parent says what a slot is. Work per commit: the records on the touched keys' paths, once each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, Protocol

from althing.ledger.state.nodes import EMPTY, split_siblings, subtree_root

__all__ = [
    "PAGE",
    "SLOT_LEAVES_MAX",
    "Change",
    "Records",
    "TreeUpdate",
    "encode_slots",
    "find",
    "leaf_key",
    "neighbour",
    "page_key",
    "restore_slots",
]

PAGE: Final = 255
SLOT_LEAVES_MAX: Final = 6
_MERGE_LEAVES_MAX: Final = 3  # half of it: a page that shrank must not grow again at once
_STRIDE: Final = 4
_SLOTS: Final = 16
_SLOT_BYTES_AT: Final = _SLOTS + 14 * 32  # where the slots' hashes begin, behind kinds and inner nodes
_PAGE_BYTES: Final = _SLOTS + 30 * 32
_BISECT_ABOVE: Final = 24

Change = tuple[bytes, bytes | None, bool]
"""path, its leaf's new hash (None: removed), and whether the path had a leaf before."""


class Records(Protocol):
    """The stored tree at one version."""

    def page(self, key: bytes) -> bytes | None:
        """Content of a page record."""
        ...

    def leaves(self, start: bytes, stop: bytes | None) -> tuple[list[int], list[bytes]]:
        """Paths and hashes of the leaves whose record key is in this range, in order."""
        ...


def leaf_key(path: bytes) -> bytes:
    """Never a page key: pages have depths below 255."""
    return path + b"\xff"


def page_key(prefix: int, depth: int) -> bytes:
    """Prefix first, so that a page lies beside its leaves."""
    size = (depth + 7) >> 3
    return (prefix << (size * 8 - depth)).to_bytes(size, "big") + bytes((depth,))


def _leaves_below(records: Records, prefix: int, depth: int) -> tuple[list[int], list[bytes]]:
    shift = 256 - depth
    stop = (prefix + 1) << shift
    return records.leaves((prefix << shift).to_bytes(32, "big"), None if stop >> 256 else stop.to_bytes(32, "big"))


def _refresh(kinds: bytes | bytearray, nodes: bytearray, dirty: Iterable[int]) -> bytes:
    """Hash upward from the changed slots (heap numbers, ascending); gives the page's root.

    A node with one leaf below is that leaf, one with none is empty: both are copies of what is below.
    """
    span = 2
    while True:
        above = []
        last = 0
        for node in dirty:
            parent = node >> 1
            if parent == last:
                continue
            last = parent
            at = 64 * parent - 64  # node i lies at 32 (i - 2)
            first = parent * span - _SLOTS
            if sum(kinds[first : first + span]) > 1:
                value = sha256(b"\x01" + nodes[at : at + 64]).digest()
            else:
                left = nodes[at : at + 32]
                value = bytes(left if left != EMPTY else nodes[at + 32 : at + 64])
            if parent == 1:
                return value
            own = 32 * parent - 64
            nodes[own : own + 32] = value
            above.append(parent)
        dirty = above
        span *= 2


class TreeUpdate:
    """One batch of changed leaves applied to the tree.

    `pages` are the page records to write (None: remove); `before` the bodies they replace; `touched` the slots that
    changed in a page that was there before and stays.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._ints: list[int] = []
        self._changes: Sequence[Change] = ()
        self.pages: dict[bytes, bytes | None] = {}
        self.before: dict[bytes, bytes] = {}
        self.touched: dict[bytes, list[int]] = {}

    def apply(self, kind: int, changes: Sequence[Change]) -> tuple[bytes, int]:
        """`changes` sorted by path, each path once. Gives the new root and its kind."""
        self._changes = changes
        self._ints = [int.from_bytes(change[0], "big") for change in changes]
        return self._slot(kind, 0, 0, 0, len(changes))

    def _slot(self, kind: int, prefix: int, depth: int, low: int, high: int) -> tuple[bytes, int]:
        """Root and kind of the subtree at (prefix, depth) after the changes low..high, all below it."""
        if kind == PAGE:
            return self._page(prefix, depth, low, high)
        changes = self._changes
        if high - low == 1:
            _, leaf, present = changes[low]
            if kind == present:  # the only leaf here, before or after
                return (EMPTY, 0) if leaf is None else (leaf, 1)
        known = 0
        for index in range(low, high):
            known += changes[index][2]
        if known == kind:
            paths = [self._ints[index] for index in range(low, high) if changes[index][1] is not None]
            leaves = [leaf for _, leaf, _ in changes[low:high] if leaf is not None]
        else:
            paths, leaves = self._merged(prefix, depth, low, high)
        if len(paths) > SLOT_LEAVES_MAX:
            return self._grow(paths, leaves, prefix, depth)
        return subtree_root(paths, leaves, depth), len(paths)

    def _merged(self, prefix: int, depth: int, low: int, high: int) -> tuple[list[int], list[bytes]]:
        """The stored leaves below (prefix, depth) with the changes low..high applied."""
        paths, leaves = _leaves_below(self._records, prefix, depth)
        for index in range(low, high):
            path, leaf = self._ints[index], self._changes[index][1]
            at = bisect_left(paths, path)
            found = at < len(paths) and paths[at] == path
            if leaf is None:
                if found:
                    del paths[at], leaves[at]
            elif found:
                leaves[at] = leaf
            else:
                paths.insert(at, path)
                leaves.insert(at, leaf)
        return paths, leaves

    def _grow(self, paths: list[int], leaves: list[bytes], prefix: int, depth: int) -> tuple[bytes, int]:
        """Write the pages of a subtree that had none."""
        if len(paths) <= SLOT_LEAVES_MAX:
            return subtree_root(paths, leaves, depth), len(paths)
        shift = 256 - _STRIDE - depth
        kinds = bytearray(_SLOTS)
        nodes = bytearray(30 * 32)
        low = 0
        for slot in range(_SLOTS):
            child = prefix << _STRIDE | slot
            high = bisect_left(paths, (child + 1) << shift, low)
            if high > low:
                at = (slot + 14) * 32
                nodes[at : at + 32], kinds[slot] = self._grow(paths[low:high], leaves[low:high], child, depth + _STRIDE)
            low = high
        root = _refresh(kinds, nodes, range(16, 32))
        self.pages[page_key(prefix, depth)] = bytes(kinds + nodes)
        return root, PAGE

    def _page(self, prefix: int, depth: int, low: int, high: int) -> tuple[bytes, int]:
        key = page_key(prefix, depth)
        body = _required(self._records, key)
        kinds = bytearray(body[:_SLOTS])
        nodes = bytearray(body[_SLOTS:])
        shift = 256 - _STRIDE - depth
        ints = self._ints
        dirty = []
        first = low
        while first < high:
            child = ints[first] >> shift
            if high - first > _BISECT_ABOVE:
                end = bisect_left(ints, (child + 1) << shift, first, high)
            else:
                end = first + 1
                while end < high and ints[end] >> shift == child:
                    end += 1
            slot = child & 15
            at = (slot + 14) * 32
            nodes[at : at + 32], kinds[slot] = self._slot(kinds[slot], child, depth + _STRIDE, first, end)
            dirty.append(slot + _SLOTS)
            first = end
        self.before[key] = body
        if sum(kinds) <= _MERGE_LEAVES_MAX:
            self.pages[key] = None
            paths, leaves = self._merged(prefix, depth, low, high)
            return subtree_root(paths, leaves, depth), len(paths)
        root = _refresh(kinds, nodes, dirty)
        self.pages[key] = bytes(kinds + nodes)
        self.touched[key] = [node - _SLOTS for node in dirty]
        return root, PAGE


def encode_slots(body: bytes, slots: Sequence[int]) -> bytes:
    """What a page held in these slots: (slot ‖ kind ‖ hash)*; enough to restore it, inner nodes follow."""
    parts = []
    for slot in slots:
        at = _SLOT_BYTES_AT + slot * 32
        parts.append(bytes((slot, body[slot])) + body[at : at + 32])
    return b"".join(parts)


def restore_slots(body: bytes, encoded: bytes) -> bytes:
    """The page as it was before the change that `encode_slots` recorded."""
    kinds = bytearray(body[:_SLOTS])
    nodes = bytearray(body[_SLOTS:])
    dirty = []
    for at in range(0, len(encoded), 34):
        slot = encoded[at]
        kinds[slot] = encoded[at + 1]
        nodes[(slot + 14) * 32 : (slot + 15) * 32] = encoded[at + 2 : at + 34]
        dirty.append(slot + _SLOTS)
    _refresh(kinds, nodes, dirty)
    return bytes(kinds + nodes)


def _required(records: Records, key: bytes) -> bytes:
    body = records.page(key)
    assert body is not None, f"tree page {key.hex()} is missing"
    assert len(body) == _PAGE_BYTES, f"tree page {key.hex()} is damaged"
    return body


def find(records: Records, kind: int, path: bytes) -> tuple[list[bytes], bytes | None]:
    """Siblings on the way of `path`, top down, and the path of the leaf it ends at (None: an empty place)."""
    target = int.from_bytes(path, "big")
    siblings: list[bytes] = []
    depth = 0
    while kind == PAGE:
        body = _required(records, page_key(target >> (256 - depth), depth))
        kinds = body[:_SLOTS]
        slot = target >> (256 - _STRIDE - depth) & 15
        node, span = 1, _SLOTS
        while span > 1:
            first = node * span - _SLOTS
            if sum(kinds[first : first + span]) < 2:  # empty, or a leaf lifted to here
                break
            span >>= 1
            node = node << 1 | (slot & span != 0)
            at = _SLOTS + ((node ^ 1) - 2) * 32
            siblings.append(body[at : at + 32])
            depth += 1
        if span > 1:
            kind = sum(kinds[first : first + span])
            break
        kind = kinds[slot]
    if kind == 0:
        return siblings, None
    paths, leaves = _leaves_below(records, target >> (256 - depth), depth)
    below, index = split_siblings(paths, leaves, depth, target)
    return siblings + below, None if index < 0 else paths[index].to_bytes(32, "big")


def neighbour(records: Records, kind: int, path: bytes, *, right: bool) -> bytes | None:
    """The path of the nearest leaf before (or behind) `path` in the whole tree, None at its edge."""
    return _beside(records, kind, 0, 0, int.from_bytes(path, "big"), right)


def _beside(records: Records, kind: int, prefix: int, depth: int, target: int, right: bool) -> bytes | None:
    """Within the subtree at (prefix, depth), of which `target` need not be a part."""
    if kind == 0:
        return None
    if kind != PAGE:
        paths = _leaves_below(records, prefix, depth)[0]
        fit = [path for path in paths if path > target] if right else [path for path in paths if path < target]
        return None if not fit else (fit[0] if right else fit[-1]).to_bytes(32, "big")
    body = _required(records, page_key(prefix, depth))
    shift = 256 - _STRIDE - depth
    for slot in range(_SLOTS) if right else range(_SLOTS - 1, -1, -1):
        child = prefix << _STRIDE | slot
        # a child wholly on the wrong side of the target holds nothing
        if (right and (child + 1) << shift <= target) or (not right and child << shift > target):
            continue
        found = _beside(records, body[slot], child, depth + _STRIDE, target, right)
        if found is not None:
            return found
    return None
