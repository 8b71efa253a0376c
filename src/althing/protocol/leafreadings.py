"""From a leaf to its readings, and a reading's value as exact text: what archive, API and verifying clients must agree on."""

from __future__ import annotations

import base64
from decimal import Decimal

from althing.protocol.batch import Leaf, Origin
from althing.protocol.decimals import text as decimal_text
from althing.protocol.message import parse_message
from althing.protocol.reading import Resolved, Value
from althing.protocol.readings import resolve
from althing.protocol.schema import StreamSchema

__all__ = ["resolve_leaf", "value_text"]


def resolve_leaf(leaf: Leaf, schema: StreamSchema, genesis_hash: bytes, previous_max_ns: int | None) -> Resolved:
    """The readings of a leaf, a pure function of its bytes, the schema in force, and the stream's times before it.

    Device origin: the body is a COSE_Sign1 whose headers give content type and time. Gateway origin: the leaf gives the
    content type. A body without a readable form raises ProtocolError (`payload.*`, `cose.*`, `message.*`).
    """
    if leaf.origin is Origin.DEVICE:
        message = parse_message(leaf.body, genesis_hash)
        return resolve(
            message.content_type or leaf.content_type,
            message.payload,
            schema,
            leaf.arrival,
            message_ns=message.time_ns,
            previous_max_ns=previous_max_ns,
        )
    return resolve(leaf.content_type, leaf.body, schema, leaf.arrival, previous_max_ns=previous_max_ns)


def value_text(value: Value) -> str | None:
    """A JSON number, the text itself, `true`/`false`, base64url without padding of bytes; None for a missing value."""
    if type(value) is Decimal:
        return decimal_text(value)
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
    return None if value is None else str(value)
