"""Payload vectors: a message and a schema give these readings, or this error; a schema has these bytes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from althing.protocol import codec
from althing.protocol.decimals import text
from althing.protocol.errors import PayloadError
from althing.protocol.mapping import Field, Mapping, TimeField
from althing.protocol.readings import Kind, Quantity, Reading, StreamSchema, Thresholds, flag_names, resolve

_KINDS = {"number": Kind.NUMBER, "text": Kind.TEXT, "bool": Kind.BOOL, "bytes": Kind.BYTES}
_WORDS = {kind: word for word, kind in _KINDS.items()}


def check(case: dict[str, Any]) -> None:
    if "body" in case or "body_hex" in case:
        _check_message(case)
    else:
        _check_definition(case)


def _check_message(case: dict[str, Any]) -> None:
    body = bytes.fromhex(case["body_hex"]) if "body_hex" in case else case["body"].encode("utf-8")
    times = {name: int(case[name]) for name in ("message_ns", "previous_max_ns") if name in case}
    schema = _schema(case.get("schema", {}))
    try:
        resolved = resolve(case["content_type"], body, schema, int(case["arrival_ns"]), **times)
    except PayloadError as error:
        _check_error(case, error)
        return
    assert "error" not in case, f"accepted: {resolved}"
    shown = [_shown(reading) for reading in resolved.records]
    for index, (ours, expected) in enumerate(zip(shown, case["readings"], strict=True)):
        assert ours == expected, f"reading {index}: {ours} is not {expected}"
    union = 0
    for reading in resolved.records:
        union |= reading.flags
    assert resolved.flags == union
    known = [
        r.device_time_ns
        for r in resolved.records
        if r.device_time_ns is not None and "future" not in flag_names(r.flags)
    ]
    assert resolved.latest_ns == max(known, default=None)


def _check_definition(case: dict[str, Any]) -> None:
    try:
        schema = _schema(case["schema"]) if "schema" in case else None
        if "schema_cbor" in case:
            raw = bytes.fromhex(case["schema_cbor"])
            decoded = StreamSchema.from_cbor_obj(codec.decode(raw))
            assert "error" not in case, f"accepted: {decoded}"
            assert decoded == schema
            assert codec.encode(decoded.to_cbor_obj()) == raw
        else:
            assert "error" not in case, f"accepted: {schema}"
            assert schema is not None
    except PayloadError as error:
        _check_error(case, error)


def _check_error(case: dict[str, Any], error: PayloadError) -> None:
    assert error.code == case.get("error"), error


def _schema(given: dict[str, Any]) -> StreamSchema:
    assert set(given) <= {"quantities", "content_type", "mapping", "thresholds", "backfill"}
    return StreamSchema(
        quantities=tuple(
            Quantity(name, unit, _KINDS[kind], label) for name, unit, kind, label in given.get("quantities", [])
        ),
        content_type=given.get("content_type", ""),
        mapping=_mapping(given["mapping"]) if "mapping" in given else None,
        thresholds=Thresholds(*given.get("thresholds", ())),
        backfill=given.get("backfill", False),
    )


def _mapping(given: dict[str, Any]) -> Mapping:
    assert set(given) <= {"fields", "time", "records", "missing"}
    optional: dict[str, Any] = {}
    if "time" in given:
        optional["time"] = TimeField(*given["time"])
    if "missing" in given:
        optional["missing"] = tuple(given["missing"])
    fields = tuple(Field(pointer, quantity, unit, _KINDS[kind]) for pointer, quantity, unit, kind in given["fields"])
    return Mapping(fields, records=given.get("records", ""), **optional)


def _shown(reading: Reading) -> dict[str, Any]:
    """A reading as the vectors write it: decimals and times as texts, bytes in hexadecimal, flags as words."""
    value = reading.value
    shown = {
        "index": reading.index,
        "quantity": reading.quantity,
        "kind": _WORDS[reading.kind],
        "value": text(value) if isinstance(value, Decimal) else value.hex() if isinstance(value, bytes) else value,
        "unit": reading.unit,
        "time_ns": None if reading.device_time_ns is None else str(reading.device_time_ns),
        "flags": list(flag_names(reading.flags)),
    }
    if reading.sum is not None:
        shown["sum"] = text(reading.sum)
    if reading.update_ns is not None:
        shown["update_ns"] = str(reading.update_ns)
    return shown
