"""Plain JSON by a mapping that stands on the chain: JSON Pointer → quantity, unit, kind; time; missing tokens.

docs/spec/payloads.md §6 is the normative text, with the CBOR form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from althing.protocol.decimals import BadNumber, from_text
from althing.protocol.errors import PayloadError
from althing.protocol.reading import BAD_VALUE, MISSING, OUT_OF_RANGE, Kind, Value
from althing.protocol.timestamps import OFFSET_MINUTES_MAX, UNIX_FORMATS, compile_pattern, parse_time

__all__ = [
    "UNIT_CHARS_MAX",
    "Field",
    "MappedValue",
    "Mapping",
    "TimeField",
    "check_text",
    "mapped_values",
    "resolve_pointer",
]

FIELDS_MAX: Final = 256
POINTER_CHARS_MAX: Final = 256
POINTER_STEPS_MAX: Final = 16
TOKENS_MAX: Final = 16
TOKEN_CHARS_MAX: Final = 32
UNIT_CHARS_MAX: Final = 32
_FORMAT_VERSION: Final = 1
_QUANTITY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
# Fixed ranges: what counts as printable differs between Unicode tables, and so between Python versions.
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*")
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a record. `unit` is the unit the message uses, "" for the quantity's own."""

    pointer: str
    quantity: str
    unit: str = ""
    kind: Kind = Kind.NUMBER

    def __post_init__(self) -> None:
        _check_pointer(self.pointer)
        _require(_QUANTITY.fullmatch(self.quantity) is not None, f"{self.quantity!r} is not a name of a quantity")
        check_text(self.unit, UNIT_CHARS_MAX, "unit")
        _require(self.kind is not Kind.BYTES, "JSON has no byte strings; map them as text")


@dataclass(frozen=True, slots=True)
class TimeField:
    """Where a record's time stands and how it is written. `from_root`: the pointer starts at the whole message."""

    pointer: str
    format: str = "rfc3339"
    offset_minutes: int = 0
    from_root: bool = False

    def __post_init__(self) -> None:
        _check_pointer(self.pointer)
        if self.format != "rfc3339" and self.format not in UNIX_FORMATS:
            compile_pattern(self.format)
        else:
            _require(self.offset_minutes == 0, f"{self.format} carries its own zone; the offset is 0")
        _require(abs(self.offset_minutes) <= OFFSET_MINUTES_MAX, "an offset is less than 24 hours")


@dataclass(frozen=True, slots=True)
class Mapping:
    """A stream's mapping. `records` points to the array of records, or to the one record ("": all).

    `missing` lists texts that stand for a missing value, and None for JSON null; they apply to values and times.
    """

    fields: tuple[Field, ...]
    time: TimeField | None = None
    records: str = ""
    missing: tuple[str | None, ...] = (None, "", "NA")

    def __post_init__(self) -> None:
        _require(0 < len(self.fields) <= FIELDS_MAX, f"a mapping has 1 to {FIELDS_MAX} fields")
        _check_pointer(self.records)
        quantities = [field.quantity for field in self.fields]
        _require(len(set(quantities)) == len(quantities), "a mapping names each quantity once")
        _require(len(self.missing) <= TOKENS_MAX, f"at most {TOKENS_MAX} missing tokens")
        _require(len(set(self.missing)) == len(self.missing), "a missing token is listed once")
        for token in self.missing:
            if token is not None:
                check_text(token, TOKEN_CHARS_MAX, "missing token")

    def to_cbor_obj(self) -> dict[int, Any]:
        """The form that stands on the chain (spec §6.4)."""
        return {
            0: _FORMAT_VERSION,
            1: self.records,
            2: [[field.pointer, field.quantity, field.unit, int(field.kind)] for field in self.fields],
            3: None
            if self.time is None
            else [self.time.pointer, self.time.format, self.time.offset_minutes, self.time.from_root],
            4: list(self.missing),
        }

    @classmethod
    def from_cbor_obj(cls, item: Any) -> Mapping:
        """The mapping of a decoded CBOR object; PayloadError `payload.definition` unless it is exactly of that form."""
        _require(type(item) is dict and list(item) == [0, 1, 2, 3, 4], "a mapping is a map of the keys 0 to 4")
        version, records, fields, time, missing = item.values()
        _require(type(version) is int and version == _FORMAT_VERSION, "an unknown version of the mapping's form")
        _require(type(records) is str, "the record pointer is a text")
        _require(type(fields) is list and type(missing) is list, "fields and missing tokens are arrays")
        _require(all(_types(field) == [str, str, str, int] for field in fields), "a field is [text, text, text, int]")
        _require(all(0 <= field[3] <= 2 for field in fields), "a mapped kind is 0, 1 or 2")
        _require(time is None or _types(time) == [str, str, int, bool], "a time is [text, text, int, bool]")
        _require(all(token is None or type(token) is str for token in missing), "a missing token is text or null")
        return cls(
            fields=tuple(Field(pointer, quantity, unit, Kind(kind)) for pointer, quantity, unit, kind in fields),
            time=None if time is None else TimeField(*time),
            records=records,
            missing=tuple(missing),
        )


@dataclass(frozen=True, slots=True)
class MappedValue:
    """A value found in a record, before the stream's declaration and thresholds are applied.

    `time` is the record's time, None if the mapping has none or it is missing; `time_bad` if it cannot be read.
    """

    index: int
    field: Field
    value: Value
    flags: int
    time_ns: int | None
    time_bad: bool


def mapped_values(document: Any, mapping: Mapping) -> Iterator[MappedValue]:
    """All values of a message in record order, then field order. A field absent from a record gives nothing.

    PayloadError `payload.mapping_records` when there is no record, `payload.mapping_empty` when no record has a field.
    """
    # 1. The records (RFC 6901 pointer to an array, or to one record).
    root = resolve_pointer(document, mapping.records, _ABSENT)
    if type(root) is list:
        records = root
    elif type(root) is dict:
        records = [root]
    else:
        raise PayloadError(
            "payload.mapping_records",
            f"the mapping's record pointer {mapping.records!r} finds neither an array nor an object",
            hint="compare the message with the stream's mapping; a changed message needs a new version of the schema",
        )
    # 2. Each record's time, then its fields.
    found = False
    for index, record in enumerate(records):
        time_ns, time_bad = _time(document, record, mapping)
        for field in mapping.fields:
            raw = resolve_pointer(record, field.pointer, _ABSENT)
            if raw is not _ABSENT:
                found = True
                value, flags = _value(raw, field.kind, mapping.missing)
                yield MappedValue(index, field, value, flags, time_ns, time_bad)
    if not found:
        raise PayloadError(
            "payload.mapping_empty",
            "no field of the mapping is in the message",
            hint="compare the message with the stream's mapping; a changed message needs a new version of the schema",
        )


def check_text(written: str, chars_max: int, what: str) -> None:
    """A text of a definition: bounded, without control characters and lone surrogates."""
    _require(
        len(written) <= chars_max and _TEXT.fullmatch(written) is not None,
        f"a {what} has up to {chars_max} characters and no control characters",
    )


def resolve_pointer(document: Any, pointer: str, absent: Any) -> Any:
    """The value at a JSON Pointer (RFC 6901 §4), or `absent`."""
    if not pointer:
        return document
    value = document
    for step in pointer[1:].split("/"):
        if type(value) is dict:
            name = step.replace("~1", "/").replace("~0", "~") if "~" in step else step
            if name not in value:
                return absent
            value = value[name]
        elif type(value) is list:
            # RFC 6901: no leading zeros, and "-" is the element after the last, which never exists.
            if not step.isascii() or not step.isdigit() or (step[0] == "0" and step != "0") or len(step) > 9:
                return absent
            if int(step) >= len(value):
                return absent
            value = value[int(step)]
        else:
            return absent
    return value


def _time(document: Any, record: Any, mapping: Mapping) -> tuple[int | None, bool]:
    field = mapping.time
    if field is None:
        return None, False
    raw = resolve_pointer(document if field.from_root else record, field.pointer, _ABSENT)
    if raw is _ABSENT or _is_missing(raw, mapping.missing):
        return None, False
    time_ns = parse_time(raw, field.format, field.offset_minutes)
    return time_ns, time_ns is None


def _is_missing(raw: Any, missing: tuple[str | None, ...]) -> bool:
    return (raw is None or type(raw) is str) and raw in missing


def _value(raw: Any, kind: Kind, missing: tuple[str | None, ...]) -> tuple[Value, int]:
    if _is_missing(raw, missing):
        return None, MISSING
    if kind is Kind.NUMBER:
        return _number(raw)
    if kind is Kind.TEXT:
        return (raw, 0) if type(raw) is str else (None, BAD_VALUE)
    if type(raw) is bool:
        return raw, 0
    if type(raw) is int and raw in (0, 1):
        return raw == 1, 0
    return None, BAD_VALUE


def _number(raw: Any) -> tuple[Value, int]:
    number = from_text(raw) if type(raw) is str else raw
    if type(number) is int:
        return Decimal(number), 0
    if type(number) is Decimal:
        return number, 0
    if number is BadNumber.OUT_OF_RANGE:
        return None, OUT_OF_RANGE
    return None, BAD_VALUE


def _types(item: Any) -> list[type]:
    return [type(part) for part in item] if type(item) is list else []


def _check_pointer(pointer: str) -> None:
    check_text(pointer, POINTER_CHARS_MAX, "pointer")
    _require(pointer == "" or pointer[0] == "/", f"the JSON Pointer {pointer!r} does not begin with '/'")
    _require(pointer.count("/") <= POINTER_STEPS_MAX, f"a pointer has at most {POINTER_STEPS_MAX} steps")
    _require(re.search(r"~(?![01])", pointer) is None, f"the JSON Pointer {pointer!r} has a '~' that escapes nothing")


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise PayloadError("payload.definition", otherwise)
