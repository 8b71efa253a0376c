"""Messages and records of `streams`: definitions, the writing gateway, anchors and the logs of their rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from althing.protocol.limits import ANCHOR_ROWS_MAX, BATCH_LEAVES_MAX, LOCATOR_CHARS_MAX, LOCATORS_MAX
from althing.protocol.record import ADDRESS, HASH, NAME, UINT, Form, Record, array, integer, of, record, text
from althing.protocol.schema import StreamSchema

__all__ = [
    "MESSAGES",
    "Anchor",
    "AnchorEntry",
    "AnchorRow",
    "DefineStream",
    "GatewayHead",
    "HandOver",
    "StreamDefinition",
    "StreamHead",
    "UpdateStream",
]

SCHEMA: Final = Form(lambda schema: schema.to_cbor_obj(), StreamSchema.from_cbor_obj)
COUNT: Final = integer(1, BATCH_LEAVES_MAX)
PATH: Final = text(3, 127)


@dataclass(frozen=True, slots=True)
class StreamDefinition(Record):
    """What a stream is. Each change of schema makes the next `schema_version`; older ones stay readable."""

    version: int = of(integer(1, 1))
    id: int = of(UINT)
    device: str = of(NAME)
    device_address: bytes = of(ADDRESS)
    name: str = of(NAME)
    organisation: bytes = of(ADDRESS)
    gateway: bytes = of(ADDRESS)
    schema_version: int = of(UINT)
    schema: StreamSchema = of(SCHEMA)
    defined_at: int = of(UINT)

    @property
    def path(self) -> str:
        return f"{self.device}/{self.name}"


@dataclass(frozen=True, slots=True)
class StreamHead(Record):
    """Where a stream stands: next sequence, RFC 9162 log over its anchor rows, and SHA-256 of its definition's bytes."""

    next_sequence: int = of(UINT)
    log_size: int = of(UINT)
    log_root: bytes = of(HASH)
    definition_hash: bytes = of(HASH)


@dataclass(frozen=True, slots=True)
class AnchorRow(Record):
    """One stream's part of one anchored batch; the leaf of the stream's log.

    Sequences first … first + count - 1 stand at leaf indices offset … offset + count - 1 of the batch's tree.
    `time` is the block's time in nanoseconds.
    """

    version: int = of(integer(1, 1))
    batch_root: bytes = of(HASH)
    batch_size: int = of(COUNT)
    offset: int = of(integer(0, BATCH_LEAVES_MAX - 1))
    first: int = of(UINT)
    count: int = of(COUNT)
    height: int = of(UINT)
    time: int = of(UINT)
    gateway: bytes = of(ADDRESS)
    schema_version: int = of(UINT)


@dataclass(frozen=True, slots=True)
class GatewayHead(Record):
    """A gateway's anchors so far: the number of the next one, root and height of the last (32 zero bytes before it)."""

    next_number: int = of(UINT)
    last_root: bytes = of(HASH)
    last_height: int = of(UINT)


@dataclass(frozen=True, slots=True)
class AnchorEntry(Record):
    """Table row of an anchor: the stream's number, its first sequence in the batch, and how many."""

    stream: int = of(UINT)
    first: int = of(UINT)
    count: int = of(COUNT)


@dataclass(frozen=True, slots=True)
class DefineStream(Record):
    """Define stream `<device>/<name>` written by `gateway`; signed by the device's organisation. Numbers are given in order."""

    TYPE: ClassVar[str] = "streams.define"
    device: str = of(NAME)
    name: str = of(NAME)
    gateway: bytes = of(ADDRESS)
    schema: StreamSchema = of(SCHEMA)


@dataclass(frozen=True, slots=True)
class UpdateStream(Record):
    """Replace a stream's schema (quantities, mapping, thresholds) for sequences anchored from now on."""

    TYPE: ClassVar[str] = "streams.update"
    stream: str = of(PATH)
    schema: StreamSchema = of(SCHEMA)


@dataclass(frozen=True, slots=True)
class HandOver(Record):
    """Give a stream to another gateway, naming the last anchored sequence plus one; by the writing gateway or the owner."""

    TYPE: ClassVar[str] = "streams.hand_over"
    stream: str = of(PATH)
    gateway: bytes = of(ADDRESS)
    next_sequence: int = of(UINT)


@dataclass(frozen=True, slots=True)
class Anchor(Record):
    """A gateway commits a frozen batch. `number` counts its anchors from 0; the same number and root again is success."""

    TYPE: ClassVar[str] = "streams.anchor"
    gateway: bytes = of(ADDRESS)
    number: int = of(UINT)
    root: bytes = of(HASH)
    size: int = of(COUNT)
    entries: tuple[AnchorEntry, ...] = of(array(record(AnchorEntry), ANCHOR_ROWS_MAX, 1))
    locators: tuple[str, ...] = of(array(text(1, LOCATOR_CHARS_MAX), LOCATORS_MAX))


MESSAGES: Final = (DefineStream, UpdateStream, HandOver, Anchor)
