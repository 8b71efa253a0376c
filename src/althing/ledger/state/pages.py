"""One page: sixteen subtrees side by side and the four levels of the tree above them.

    record = version[8] ‖ kind[16] ‖ node[30][32];   kind: leaves below a slot (0 to 6), or PAGE;
             nodes 2 to 31 in heap order: 2i and 2i+1 are the children of i, the slots are 16 to 31
    key    = the prefix of the path, zero-padded to whole bytes ‖ depth

Siblings lie together, so a node's preimage is one slice. Records are changed in place, as bytearrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from althing.ledger.state.nodes import EMPTY

__all__ = [
    "PAGE",
    "PAGE_RECORD_BYTES",
    "SLOTS",
    "SLOT_AT",
    "STRIDE",
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
SLOTS: Final = 16
_KIND_AT: Final = 8
_NODES_AT: Final = 8 + SLOTS - 64  # node i lies at 32 i + _NODES_AT
SLOT_AT: Final = 32 * SLOTS + _NODES_AT  # slot s lies at 32 s + SLOT_AT
PAGE_RECORD_BYTES: Final = 8 + SLOTS + 30 * 32


def page_key(prefix: int, depth: int) -> bytes:
    """Prefix first, so that a page lies beside its leaves in the table."""
    size = (depth + 7) >> 3
    return (prefix << (size * 8 - depth)).to_bytes(size, "big") + bytes((depth,))


def refresh(record: bytearray, dirty: Iterable[int]) -> bytes:
    """Hash upward from the changed slots (ascending); gives the page's root.

    A node with one leaf below is that leaf, one with none is empty: both are copies of what is below.
    """
    nodes: Iterable[int] = [slot + SLOTS for slot in dirty]
    first_kind = _KIND_AT - SLOTS
    span = 2
    while True:
        above = []
        last = 0
        for node in nodes:
            parent = node >> 1
            if parent == last:
                continue
            last = parent
            at = 64 * parent + _NODES_AT
            first = parent * span + first_kind
            if sum(record[first : first + span]) > 1:
                value = sha256(b"\x01" + record[at : at + 64]).digest()
            else:
                left = record[at : at + 32]
                value = bytes(left if left != EMPTY else record[at + 32 : at + 64])
            if parent == 1:
                return value
            own = 32 * parent + _NODES_AT
            record[own : own + 32] = value
            above.append(parent)
        nodes = above
        span *= 2


def refresh_one(record: bytearray, slot: int) -> bytes:
    """`refresh` for one slot, the common case in a large tree; falls back to it where a lone leaf must be lifted."""
    pair = _KIND_AT + (slot & 14)
    if record[pair] + record[pair + 1] < 2:
        return refresh(record, (slot,))
    node = (slot + SLOTS) >> 1
    at = 64 * node + _NODES_AT
    value = sha256(b"\x01" + record[at : at + 64]).digest()
    own = 32 * node + _NODES_AT
    record[own : own + 32] = value
    at = 64 * (node >> 1) + _NODES_AT
    value = sha256(b"\x01" + record[at : at + 64]).digest()
    own = 32 * (node >> 1) + _NODES_AT
    record[own : own + 32] = value
    at = 64 * (node >> 2) + _NODES_AT
    value = sha256(b"\x01" + record[at : at + 64]).digest()
    own = 32 * (node >> 2) + _NODES_AT
    record[own : own + 32] = value
    return sha256(b"\x01" + record[64 + _NODES_AT : 128 + _NODES_AT]).digest()


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
