"""From records of the spool to the leaves of a batch: the same bytes as `Leaf.to_bytes`, made in bulk.

Salts come from the batch's 32-byte seed through SHAKE256, so a frozen batch is a range of the log and a seed, not a
second copy of its messages; who sees some salts learns nothing of the others (docs/adr/0022-frozen-batches.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import shake_256
from typing import Final

from althing.gateway.spool.records import MessageRecord, RefusalRecord
from althing.protocol.batch import Batch, Origin, build_batch
from althing.protocol.limits import SALT_BYTES

__all__ = ["BuiltBatch", "build", "encode_leaf"]

_ARRAY_OF_8: Final = b"\x88\x01\x50"  # array(8), version 1, byte string of 16
_ORIGINS: Final = (bytes((int(Origin.DEVICE),)), bytes((int(Origin.GATEWAY),)))


@dataclass(frozen=True, slots=True)
class BuiltBatch:
    """A batch with what its leaves were made from; `batch` is None when no message of the range is to be anchored.

    `messages` stand in the order of the leaves; `offsets` says where those of a stream's number begin.
    """

    batch: Batch | None
    messages: tuple[MessageRecord, ...]
    offsets: dict[int, int]
    refusals: tuple[RefusalRecord, ...]
    excluded: tuple[MessageRecord, ...]


def build(records: Iterable[MessageRecord | RefusalRecord], seed: bytes, excluded: Collection[int] = ()) -> BuiltBatch:
    """The batch of a range of the log without the streams `excluded`. A pure function: the same again after a crash."""
    groups: dict[int, list[MessageRecord]] = {}
    refusals: list[RefusalRecord] = []
    kept_back: list[MessageRecord] = []
    for record in records:
        if isinstance(record, RefusalRecord):
            refusals.append(record)
        elif record.number in excluded:
            kept_back.append(record)
        else:
            groups.setdefault(record.number, []).append(record)
    count = sum(len(group) for group in groups.values())
    if not count:
        return BuiltBatch(None, (), {}, tuple(refusals), tuple(kept_back))
    salts = shake_256(b"althing/salts/v1" + seed).digest(SALT_BYTES * count)
    table: list[tuple[int, int, Sequence[bytes]]] = []
    messages: list[MessageRecord] = []
    offsets: dict[int, int] = {}
    for number in sorted(groups):
        group = groups[number]
        first = group[0].sequence
        at = offsets[number] = len(messages)
        leaves = []
        for index, record in enumerate(group, at):
            assert record.sequence == first + index - at, "sequences of a stream are contiguous within a batch"
            leaves.append(encode_leaf(salts[index * SALT_BYTES : (index + 1) * SALT_BYTES], record))
        messages += group
        table.append((number, first, leaves))
    return BuiltBatch(build_batch(table), tuple(messages), offsets, tuple(refusals), tuple(kept_back))


def encode_leaf(salt: bytes, record: MessageRecord) -> bytes:
    """Deterministic CBOR of the record's Leaf, written out because a batch has thousands."""
    stream = record.stream.encode()
    content_type = record.content_type.encode()
    body = record.body
    return b"".join(
        (
            _ARRAY_OF_8,
            salt,
            _head(0x60, len(stream)),
            stream,
            _head(0x00, record.sequence),
            _head(0x00, record.arrival_ns),
            _head(0x60, len(content_type)),
            content_type,
            _ORIGINS[record.attested],
            _head(0x40, len(body)),
            body,
        )
    )


def _head(major: int, value: int) -> bytes:
    """The head of a CBOR item in its shortest form (RFC 8949 §4.2.1)."""
    if value < 24:
        return _SMALL[major | value]
    if value < 0x100:
        return bytes((major | 24, value))
    if value < 0x10000:
        return bytes((major | 25, value >> 8, value & 0xFF))
    if value < 0x100000000:
        return bytes((major | 26,)) + value.to_bytes(4, "big")
    return bytes((major | 27,)) + value.to_bytes(8, "big")


_SMALL: Final = tuple(bytes((value,)) for value in range(256))
