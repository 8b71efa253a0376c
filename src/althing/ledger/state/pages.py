"""One page: sixteen subtrees side by side and the four levels of the tree above them.

    record = version[8] ‖ kind[16] ‖ node[30][32];   kind: leaves below a slot (0 to 6), or PAGE;
             nodes 2 to 31 in heap order: 2i and 2i+1 are the children of i, the slots are 16 to 31
    key    = 2 bytes: 2^depth + prefix of the path, for the upper pages (depth up to 12), so that they lie densely;
             prefix, zero-padded to whole bytes ‖ depth, for those below, which lie among their leaves

Siblings lie together, so a node's preimage is one slice. Records are changed in place, as bytearrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from althing.ledger.state.nodes import EMPTY

__all__ = [
    "KINDS",
    "PAGE",
    "PAGE_RECORD_BYTES",
    "SLOTS",
    "SLOT_AT",
    "STRIDE",
    "UPPER_DEPTH_MAX",
    "UPPER_KEY_BYTES",
    "encode_slot",
    "new_page",
    "page_key",
    "refresh",
    "refresh_one",
    "restore_slots",
    "sibling_of",
]

PAGE: Final = 255
STRIDE: Final = 4
UPPER_DEPTH_MAX: Final = 12
UPPER_KEY_BYTES: Final = 2
SLOTS: Final = 16
_KIND_AT: Final = 8
_NODES_AT: Final = 8 + SLOTS - 64  # node i lies at 32 i + _NODES_AT
SLOT_AT: Final = 32 * SLOTS + _NODES_AT  # slot s lies at 32 s + SLOT_AT
PAGE_RECORD_BYTES: Final = 8 + SLOTS + 30 * 32
KINDS: Final = slice(_KIND_AT, _KIND_AT + SLOTS)
# Slices by number of the node, made once: a page of a million keys is hashed in ten microseconds, and this is two.
_NODE: Final = tuple(slice(32 * node + _NODES_AT, 32 * node + _NODES_AT + 32) for node in range(2 * SLOTS))
_PAIR: Final = tuple(slice(64 * node + _NODES_AT, 64 * node + _NODES_AT + 64) for node in range(SLOTS))
_KINDS_BELOW: Final = tuple(
    slice(node * span - SLOTS + _KIND_AT, (node + 1) * span - SLOTS + _KIND_AT)
    for node in range(SLOTS)
    for span in (SLOTS >> max(0, node.bit_length() - 1),)
)


def page_key(prefix: int, depth: int) -> bytes:
    """Two bytes for upper pages, at least three for others."""
    if depth <= UPPER_DEPTH_MAX:
        return (1 << depth | prefix).to_bytes(UPPER_KEY_BYTES, "big")
    size = (depth + 7) >> 3
    return (prefix << (size * 8 - depth)).to_bytes(size, "big") + bytes((depth,))


def refresh(record: bytearray, dirty: Iterable[int]) -> bytes:
    """Hash upward from the changed slots (ascending); gives the page's root.

    A node with one leaf below is that leaf, one with none is empty: both are copies of what is below. Neither occurs
    where every slot has leaves, the common case.
    """
    full = 0 not in record[KINDS]
    nodes: Iterable[int] = [slot + SLOTS for slot in dirty]
    while True:
        above = []
        last = 0
        for node in nodes:
            parent = node >> 1
            if parent == last:
                continue
            last = parent
            if full or sum(record[_KINDS_BELOW[parent]]) > 1:
                value = sha256(b"\x01" + record[_PAIR[parent]]).digest()
            else:
                left = record[_NODE[2 * parent]]
                value = bytes(left if left != EMPTY else record[_NODE[2 * parent + 1]])
            if parent == 1:
                return value
            record[_NODE[parent]] = value
            above.append(parent)
        nodes = above


def refresh_one(record: bytearray, slot: int) -> bytes:
    """`refresh` for one slot, the common case in a large tree; falls back to it where a lone leaf must be lifted."""
    pair = _KIND_AT + (slot & 14)
    if record[pair] + record[pair + 1] < 2:
        return refresh(record, (slot,))
    node = (slot + SLOTS) >> 1
    record[_NODE[node]] = sha256(b"\x01" + record[_PAIR[node]]).digest()
    node >>= 1
    record[_NODE[node]] = sha256(b"\x01" + record[_PAIR[node]]).digest()
    node >>= 1
    record[_NODE[node]] = sha256(b"\x01" + record[_PAIR[node]]).digest()
    return sha256(b"\x01" + record[_PAIR[1]]).digest()


def new_page(version: bytes, prefix: int, depth: int, slots: Sequence[tuple[bytes, int]]) -> tuple[bytes, bytes, bytes]:
    """Key, record and root of a page over sixteen slots, each given by its root and kind."""
    page = bytearray(PAGE_RECORD_BYTES)
    page[:_KIND_AT] = version
    page[_KIND_AT : _KIND_AT + SLOTS] = bytes([kind for _, kind in slots])
    page[SLOT_AT:] = b"".join([root for root, _ in slots])
    root = refresh(page, range(SLOTS))
    return page_key(prefix, depth), bytes(page), root


def sibling_of(record: bytes, node: int) -> bytes:
    """The hash beside heap node `node`."""
    at = 32 * (node ^ 1) + _NODES_AT
    return record[at : at + 32]


def encode_slot(record: bytes, slot: int) -> bytes:
    """slot ‖ kind ‖ hash: what an undo entry keeps of a changed slot; the inner nodes follow from the slots."""
    at = 32 * slot + SLOT_AT
    return bytes((slot, record[_KIND_AT + slot])) + record[at : at + 32]


def restore_slots(page: bytearray, before: bytes) -> None:
    """Put back what an undo entry kept: version ‖ encoded slots. The inner nodes are wrong until `refresh`."""
    page[:8] = before[:8]
    for at in range(8, len(before), 34):
        slot = before[at]
        page[_KIND_AT + slot] = before[at + 1]
        page[32 * slot + SLOT_AT : 32 * slot + SLOT_AT + 32] = before[at + 2 : at + 34]
