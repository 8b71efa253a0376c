"""The tree as stored: leaves in the order of their paths, and pages that each hold four levels of it.

A slot of a page with few leaves below holds only their number and their subtree's root: the leaves are found in the
leaf records, which lie beside the page in the same table (leaf key = path[32] ‖ 0xff). A fuller slot is a page itself.
How leaves are grouped never shows in the root, which depends on the leaves alone (docs/spec/state.md §2).

The parent says what a slot is. Work per commit: the records on the touched keys' paths, once each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, Protocol

from althing.ledger.state.history import REMOVED
from althing.ledger.state.history import SLOTS as CHANGED
from althing.ledger.state.nodes import EMPTY, split_siblings, subtree_root
from althing.ledger.state.pages import (
    KINDS,
    PAGE,
    PAGE_RECORD_BYTES,
    SLOT_AT,
    SLOTS,
    STRIDE,
    UPPER_DEPTH_MAX,
    encode_slot,
    new_page,
    page_key,
    refresh,
    refresh_one,
    sibling_of,
)

__all__ = ["SLOT_LEAVES_MAX", "Change", "Records", "TreeUpdate", "find", "grow", "leaf_key", "neighbour", "path_range"]

SLOT_LEAVES_MAX: Final = 6
_MERGE_LEAVES_MAX: Final = 3  # half of it: a page that shrank must not grow again at once
_BISECT_ABOVE: Final = 24

Change = tuple[bytes, bytes | None, bool]
"""path, its leaf's new hash (None: removed), and whether the path had a leaf before."""


class Records(Protocol):
    """The stored tree at one version."""

    def page(self, key: bytes) -> bytes | None:
        """A live page record, version and all."""
        ...

    def leaves(self, start: bytes, stop: bytes | None) -> tuple[list[int], list[bytes]]:
        """Paths and hashes of the leaves whose record key is in this range, in order."""
        ...


def leaf_key(path: bytes) -> bytes:
    """Never a page key: pages have depths below 255."""
    return path + b"\xff"


def path_range(prefix: int, depth: int) -> tuple[bytes, bytes | None]:
    """Which record keys lie below (prefix, depth), in as few bytes as tell it."""
    size = (depth + 7) >> 3
    shift = size * 8 - depth
    stop = (prefix + 1) << shift
    return (prefix << shift).to_bytes(size, "big"), None if stop >> size * 8 else stop.to_bytes(size, "big")


def _leaves_below(records: Records, prefix: int, depth: int) -> tuple[list[int], list[bytes]]:
    return records.leaves(*path_range(prefix, depth))


def grow(
    pages: dict[bytes, bytes | None], version: bytes, paths: list[int], leaves: list[bytes], prefix: int, depth: int
) -> tuple[bytes, int]:
    """Root and kind of a subtree that has no pages yet and exactly these leaves; adds its pages to `pages`."""
    if len(paths) <= SLOT_LEAVES_MAX:
        return subtree_root(paths, leaves, depth), len(paths)
    shift = 256 - STRIDE - depth
    slots = []
    low = 0
    for slot in range(SLOTS):
        child = prefix << STRIDE | slot
        high = bisect_left(paths, (child + 1) << shift, low)
        slots.append(grow(pages, version, paths[low:high], leaves[low:high], child, depth + STRIDE))
        low = high
    key, page, root = new_page(version, prefix, depth, slots)
    pages[key] = page
    return root, PAGE


class TreeUpdate:
    """One batch of changed leaves applied to the tree.

    `pages` and `upper` are the records to write, a version alone where a page is removed, and `undo` the entries for
    what they replace (history.py), under version ‖ page key. `grown` are pages where there were none. Replaced
    records are not held: a thousand pages are a megabyte, and the next one is read into memory still in the cache.
    """

    def __init__(self, records: Records, version: bytes) -> None:
        self._records = records
        self._version = version
        self._ints: list[int] = []
        self._changes: Sequence[Change] = ()
        self.pages: dict[bytes, bytes | None] = {}
        self.upper: dict[bytes, bytes | None] = {}
        self.undo: dict[bytes, bytes | None] = {}
        self.grown: dict[bytes, bytes | None] = {}

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
            if kind:
                return self._slot_one(kind, prefix, depth, low)
        known = 0
        for index in range(low, high):
            known += changes[index][2]
        if known == kind:
            paths = [self._ints[index] for index in range(low, high) if changes[index][1] is not None]
            leaves = [leaf for _, leaf, _ in changes[low:high] if leaf is not None]
        else:
            paths, leaves = self._merged(prefix, depth, low, high)
        if len(paths) > SLOT_LEAVES_MAX:
            return grow(self.grown, self._version, paths, leaves, prefix, depth)
        return subtree_root(paths, leaves, depth), len(paths)

    def _slot_one(self, kind: int, prefix: int, depth: int, index: int) -> tuple[bytes, int]:
        """`_slot` for one change beside stored leaves, what nearly every second key of a large tree comes to."""
        path, (_, leaf, present) = self._ints[index], self._changes[index]
        paths, leaves = _leaves_below(self._records, prefix, depth)
        assert len(paths) == kind, "a slot's leaves are not those it counts"
        at = bisect_left(paths, path)
        if not present:
            assert leaf is not None
            paths.insert(at, path)
            leaves.insert(at, leaf)
            if len(paths) > SLOT_LEAVES_MAX:
                return grow(self.grown, self._version, paths, leaves, prefix, depth)
        elif leaf is None:
            del paths[at], leaves[at]
        else:
            leaves[at] = leaf
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

    def _page(self, prefix: int, depth: int, low: int, high: int) -> tuple[bytes, int]:
        key = page_key(prefix, depth)
        record = _required(self._records, key)
        version = self._version
        table = self.upper if depth <= UPPER_DEPTH_MAX else self.pages
        page = bytearray(record)
        page[:8] = version
        shift = 256 - STRIDE - depth
        ints = self._ints
        dirty = []
        sizes_differ = False
        first = low
        while first < high:
            child = ints[first] >> shift
            if high - first == 1:
                end = high
            elif high - first > _BISECT_ABOVE:
                end = bisect_left(ints, (child + 1) << shift, first, high)
            else:
                end = first + 1
                while end < high and ints[end] >> shift == child:
                    end += 1
            slot = child & 15
            at = 32 * slot + SLOT_AT
            kind = record[8 + slot]
            node, after = self._slot(kind, child, depth + STRIDE, first, end)
            page[at : at + 32] = node
            if after != kind:
                page[8 + slot] = after
                sizes_differ = True
            dirty.append(slot)
            first = end
        if sizes_differ and sum(page[KINDS]) <= _MERGE_LEAVES_MAX:
            table[key] = version
            self.undo[version + key] = REMOVED + record
            paths, leaves = self._merged(prefix, depth, low, high)
            return subtree_root(paths, leaves, depth), len(paths)
        if len(dirty) == 1:
            self.undo[version + key] = CHANGED + record[:8] + encode_slot(record, dirty[0])
            root = refresh_one(page, dirty[0])
        else:
            self.undo[version + key] = CHANGED + record[:8] + b"".join([encode_slot(record, slot) for slot in dirty])
            root = refresh(page, dirty)
        table[key] = bytes(page)
        return root, PAGE


def _required(records: Records, key: bytes) -> bytes:
    record = records.page(key)
    assert record is not None, f"tree page {key.hex()} is missing"
    assert len(record) == PAGE_RECORD_BYTES, f"tree page {key.hex()} is damaged"
    return record


def find(records: Records, kind: int, path: bytes) -> tuple[list[bytes], bytes | None]:
    """Siblings on the way of `path`, top down, and the path of the leaf it ends at (None: an empty place)."""
    target = int.from_bytes(path, "big")
    siblings: list[bytes] = []
    depth = 0
    while kind == PAGE:
        page = _required(records, page_key(target >> (256 - depth), depth))
        kinds = page[KINDS]
        slot = target >> (256 - STRIDE - depth) & 15
        node, first, span = 1, 0, SLOTS
        while span > 1 and (below_node := sum(kinds[first : first + span])) > 1:
            span >>= 1
            node = node << 1 | (slot & span != 0)
            first = node * span - SLOTS
            siblings.append(sibling_of(page, node))
            depth += 1
        # where the loop ends early, the place is empty or has one leaf, lifted to here
        kind = kinds[slot] if span == 1 else below_node
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
    page = _required(records, page_key(prefix, depth))
    shift = 256 - STRIDE - depth
    for slot in range(SLOTS) if right else range(SLOTS - 1, -1, -1):
        child = prefix << STRIDE | slot
        # a child wholly on the wrong side of the target holds nothing
        if (right and (child + 1) << shift <= target) or (not right and child << shift > target):
            continue
        found = _beside(records, page[8 + slot], child, depth + STRIDE, target, right)
        if found is not None:
            return found
    return None
