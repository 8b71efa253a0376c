"""From a message's bytes to readings: the one public entry of payload resolution.

A pure function of the bytes, the stream's declaration and the times the message came with, so it gives the same
readings years later. What concerns one value or time is a flag on its reading; only a message that has no readable
form is refused. docs/spec/payloads.md is the normative text.

PayloadError codes: payload.content_type, .content_type_missing, .charset, .no_mapping, .too_large, .utf8, .too_deep,
.json, .json_duplicate, .cbor, .cbor_key, .cbor_duplicate, .senml, .senml_type, .senml_name, .senml_value,
.senml_version, .senml_extension, .senml_label, .mapping_records, .mapping_empty, .definition
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from althing.protocol import jsontext, senml, senml_units
from althing.protocol.contenttype import parse_content_type
from althing.protocol.errors import PayloadError
from althing.protocol.limits import MESSAGE_BYTES_MAX
from althing.protocol.mapping import MappedValue, mapped_values
from althing.protocol.reading import (
    BAD_TIME,
    FUTURE,
    KIND_MISMATCH,
    NO_CLOCK,
    UNIT_MISMATCH,
    UNKNOWN_UNIT,
    Flag,
    Kind,
    Reading,
    Resolved,
    Thresholds,
    Value,
    flag_names,
    timing_flags,
)
from althing.protocol.schema import Quantity, StreamSchema

__all__ = [
    "RAW_TYPES",
    "Flag",
    "Kind",
    "Quantity",
    "Reading",
    "Resolved",
    "StreamSchema",
    "Thresholds",
    "Value",
    "flag_names",
    "resolve",
    "timing_flags",
]

_SENML_JSON: Final = ("application/senml+json", "application/sensml+json")
_SENML_CBOR: Final = ("application/senml+cbor", "application/sensml+cbor")
RAW_TYPES: Final = ("application/octet-stream", "text/plain", "text/csv")


def resolve(
    content_type: str,
    body: bytes,
    definition: StreamSchema,
    arrival_ns: int,
    *,
    message_ns: int | None = None,
    previous_max_ns: int | None = None,
) -> Resolved:
    """The readings of one message, or PayloadError `payload.*` when it has no readable form.

    `content_type` "" takes the stream's. `message_ns` is the device's signed time of sending, if it gave one: then
    relative times count from it, else from arrival. `previous_max_ns` (a `Resolved.latest_ns`) decides `out_of_order`.
    """
    # 1. The content type: the message's, else the stream's declaration, never sniffed.
    declared = content_type or definition.content_type
    if not declared:
        raise PayloadError(
            "payload.content_type_missing",
            "neither the message nor its stream names a content type",
            hint="declare the stream's content type, or send one (MQTT 5 property, HTTP header, COSE header 3)",
        )
    kind = parse_content_type(declared)
    if len(body) > MESSAGE_BYTES_MAX:
        raise PayloadError("payload.too_large", f"{len(body)} bytes are more than the {MESSAGE_BYTES_MAX} of a message")
    # 2. Raw bytes are anchored whole and have no readings.
    if kind.media in RAW_TYPES:
        return Resolved((), 0, None)
    # 3. SenML, or plain JSON through the stream's mapping.
    moment = senml.Moment(arrival_ns, message_ns, previous_max_ns, kind.backfill)
    if kind.media in _SENML_JSON:
        readings = senml.resolve_pack(senml.records_of_json(body), definition, moment)
    elif kind.media in _SENML_CBOR:
        readings = senml.resolve_pack(senml.records_of_cbor(body), definition, moment)
    elif kind.media == "application/json":
        readings = list(_mapped(body, definition, moment))
    else:
        raise PayloadError(
            "payload.content_type",
            f"the content type {kind.media!r} is not resolved here",
            hint="use SenML, application/json with a mapping, or application/octet-stream for bytes kept as they are",
        )
    # 4. What the caller carries on.
    flags, latest_ns = 0, None
    for reading in readings:
        own = reading.flags
        flags |= own
        time_ns = reading.device_time_ns
        if time_ns is not None and not own & FUTURE and (latest_ns is None or time_ns > latest_ns):
            latest_ns = time_ns
    return Resolved(tuple(readings), flags, latest_ns)


def _mapped(body: bytes, definition: StreamSchema, moment: senml.Moment) -> Iterator[Reading]:
    mapping = definition.mapping
    if mapping is None:
        raise PayloadError(
            "payload.no_mapping",
            "the stream has no mapping for application/json",
            hint="add a mapping to the stream, send SenML, or application/octet-stream for bytes kept as they are",
        )
    for found in mapped_values(jsontext.parse(body), mapping):
        yield _reading(found, definition, moment)


def _reading(found: MappedValue, definition: StreamSchema, moment: senml.Moment) -> Reading:
    field, flags = found.field, found.flags
    quantity = definition.by_name[field.quantity]
    if field.kind is not quantity.kind:
        flags |= KIND_MISMATCH
    if field.unit and field.unit != quantity.unit:
        flags |= (UNIT_MISMATCH if quantity.unit else 0) | (0 if field.unit in senml_units.KNOWN else UNKNOWN_UNIT)
    # Unlike SenML, plain JSON has no "now": without a time of its own a record has the message's, or none.
    time_ns = found.time_ns
    if found.time_bad:
        flags |= BAD_TIME
    elif time_ns is None:
        time_ns = moment.message_ns
        flags |= NO_CLOCK if time_ns is None else 0
    flags |= timing_flags(
        time_ns,
        moment.arrival_ns,
        moment.previous_max_ns,
        definition.thresholds,
        backfill=definition.backfill or moment.backfill,
    )
    return Reading(found.index, field.quantity, field.kind, found.value, field.unit or quantity.unit, time_ns, flags)
