"""Leaves and batches: what an anchor commits to (docs/spec/batches.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Final

from althing.protocol.limits import LEAF_BYTES_MAX, MESSAGE_BYTES_MAX, SALT_BYTES
from althing.protocol.merkle import Tree, leaf_hash
from althing.protocol.messages.streams import AnchorEntry
from althing.protocol.record import CONTENT_TYPE, UINT, Form, Record, blob, integer, of, text

__all__ = ["Batch", "Leaf", "Origin", "build_batch", "parse_leaf"]


class Origin(IntEnum):
    """Who vouches for the body: the device's own signature inside it, or only the gateway that anchored it."""

    DEVICE = 0
    GATEWAY = 1


ORIGIN: Final = Form(int, lambda item: Origin(integer(0, 1).unpack(item)))


@dataclass(frozen=True, slots=True)
class Leaf(Record):
    """One accepted message in its batch. `body` is the device's bytes unchanged (or COSE_Encrypt0 of them).

    The random salt keeps neighbours' small values from being guessed out of a proof. `arrival` is the gateway's clock in
    nanoseconds since 1970. `content_type` is what the transport or the stream's declaration said of `body`.
    """

    version: int = of(integer(1, 1))
    salt: bytes = of(blob(SALT_BYTES, SALT_BYTES))
    stream: str = of(text(3, 127))
    sequence: int = of(UINT)
    arrival: int = of(UINT)
    content_type: str = of(CONTENT_TYPE)
    origin: Origin = of(ORIGIN)
    body: bytes = of(blob(0, MESSAGE_BYTES_MAX))


def parse_leaf(data: bytes) -> Leaf:
    """The leaf of its bytes, or EncodingError."""
    return Leaf.from_bytes(data, bytes_max=LEAF_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class Batch:
    """A frozen batch: its table and its tree. `leaves` are encoded leaves in the order of the table."""

    entries: tuple[AnchorEntry, ...]
    leaves: tuple[bytes, ...]
    tree: Tree

    @property
    def root(self) -> bytes:
        return self.tree.root


def build_batch(groups: Sequence[tuple[int, int, Sequence[bytes]]]) -> Batch:
    """A batch of (stream number, first sequence, encoded leaves) groups, in ascending order of stream number."""
    if any(a[0] >= b[0] for a, b in pairwise(groups)):
        raise AssertionError("groups are in ascending order of stream number")
    leaves = tuple(leaf for _, _, group in groups for leaf in group)
    entries = tuple(AnchorEntry(stream, first, len(group)) for stream, first, group in groups)
    return Batch(entries, leaves, Tree([leaf_hash(leaf) for leaf in leaves]))
