"""The API's JSON forms: times as RFC 3339, bytes as hexadecimal, addresses as text, records by their field names."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final

from althing.protocol.address import ADDRESS_BYTES, format_address
from althing.protocol.decimals import NS_MAX
from althing.protocol.schema import StreamSchema
from althing.protocol.signatures import Suite

__all__ = ["enum_name", "plain", "schema_json", "suite_name", "time_of_ns", "time_of_s"]

_NS: Final = 1_000_000_000
_SUITES: Final = {Suite.ED25519: "Ed25519", Suite.ES256: "ES256"}


def time_of_ns(ns: int) -> str:
    """RFC 3339 in UTC with as many digits of the second as there are.

    A ledger time beyond 64-bit nanoseconds (the year 2262), such as a key's end that somebody set to never, is shown as
    their last instant: every reader of this API can read that.
    """
    seconds, nanos = divmod(max(-NS_MAX, min(ns, NS_MAX)), _NS)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{nanos:09d}".rstrip("0") if nanos else "") + "Z"


def time_of_s(seconds: int) -> str:
    return time_of_ns(seconds * _NS)


def enum_name(member: IntEnum) -> str:
    return member.name.lower()


def suite_name(suite: Suite) -> str:
    return _SUITES[suite]


def plain(value: Any) -> Any:
    """A record or a part of one as JSON has it. 20 bytes are an address in all our records."""
    if isinstance(value, bytes):
        return format_address(value) if len(value) == ADDRESS_BYTES else value.hex()
    if isinstance(value, Suite):
        return suite_name(value)
    if isinstance(value, IntEnum):
        return enum_name(value)
    if isinstance(value, StreamSchema):
        return schema_json(value)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value) if field.init}
    return value


def schema_json(schema: StreamSchema) -> dict[str, Any]:
    """A stream's schema for people and programs; the exact one is in the definition's bytes."""
    limits = schema.thresholds
    return {
        "quantities": [
            {"name": q.name, "unit": q.unit, "kind": enum_name(q.kind), "label": q.label} for q in schema.quantities
        ],
        "content_type": schema.content_type,
        "mapping": None if schema.mapping is None else plain(schema.mapping),
        "thresholds": {"future_s": limits.future_s, "late_s": limits.late_s, "backfill_s": limits.backfill_s},
        "backfill": schema.backfill,
    }
