"""An anchored batch on its way into the archive, and the readings of its leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.protocol.batch import Leaf, Origin
from althing.protocol.errors import ProtocolError
from althing.protocol.message import parse_message
from althing.protocol.reading import Resolved
from althing.protocol.readings import resolve
from althing.protocol.schema import StreamSchema

__all__ = ["Sealed", "StreamPart", "readings_or_none", "resolve_leaf"]


@dataclass(frozen=True, slots=True)
class StreamPart:
    """One row of an anchor's table with what decoding needs: the schema in force at the anchor."""

    stream: int
    path: str
    first: int
    count: int
    schema_version: int
    schema: StreamSchema


@dataclass(frozen=True, slots=True)
class Sealed:
    """A batch that is in a block: `parts` in ascending order of stream number, encoded leaves in the table's order.

    `height` and `time_ns` are the block's. A gateway writes it as soon as it has the receipt, before it frees its spool.
    """

    gateway: bytes
    number: int
    root: bytes
    height: int
    time_ns: int
    parts: tuple[StreamPart, ...]
    leaves: tuple[bytes, ...]


def resolve_leaf(leaf: Leaf, schema: StreamSchema, genesis_hash: bytes, previous_max_ns: int | None) -> Resolved:
    """The readings of a leaf, a pure function of its bytes, the schema in force, and the stream's times before it.

    Device origin: the body is a COSE_Sign1 whose headers give content type and time. Gateway origin: the leaf gives the
    content type. A body without a readable form raises ProtocolError (`payload.*`, `cose.*`, `message.*`).
    """
    if leaf.origin is Origin.DEVICE:
        message = parse_message(leaf.body, genesis_hash)
        return resolve(
            message.content_type,
            message.payload,
            schema,
            leaf.arrival,
            message_ns=message.time_ns,
            previous_max_ns=previous_max_ns,
        )
    return resolve(leaf.content_type, leaf.body, schema, leaf.arrival, previous_max_ns=previous_max_ns)


def readings_or_none(leaf: Leaf, schema: StreamSchema, genesis_hash: bytes, previous_max_ns: int | None) -> Resolved:
    """`resolve_leaf`, where a message without a readable form has no readings: it is anchored and kept all the same."""
    try:
        return resolve_leaf(leaf, schema, genesis_hash, previous_max_ns)
    except ProtocolError:
        return _NOTHING


_NOTHING: Final = Resolved((), 0, None)
