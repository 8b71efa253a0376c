"""SenML packs (RFC 8428, versions by RFC 9100) to readings.

`resolve_pack` numbers its steps as docs/spec/payloads.md §5 does. A record with only a name, unit, value and time, the
common shape, takes a short way through the same rules; `plain=False` sends every record the long way (tests compare).
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from althing.protocol import cborvalues, jsontext, senml_units
from althing.protocol.decimals import NS_MAX, BadNumber, add, add_exact, exact_ns, floor_ns, to_ns
from althing.protocol.errors import PayloadError
from althing.protocol.reading import (
    BAD_TIME,
    BAD_VALUE,
    KIND_MISMATCH,
    MISSING,
    NO_CLOCK,
    NS,
    OUT_OF_RANGE,
    UNIT_MISMATCH,
    UNKNOWN_QUANTITY,
    UNKNOWN_UNIT,
    Kind,
    Reading,
    Value,
    timing_flags,
)
from althing.protocol.schema import StreamSchema

__all__ = ["NAME_CHARS_MAX", "Moment", "records_of_cbor", "records_of_json", "resolve_pack"]

NAME_CHARS_MAX: Final = 256  # an LwM2M path behind a URN; names repeat in every row of a table
UNIT_CHARS_MAX: Final = 32

_LABELS: Final = {
    -6: "bs", -5: "bv", -4: "bu", -3: "bt", -2: "bn", -1: "bver",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
_DATA_VALUE: Final = 8
_TEXT_LABELS: Final = frozenset(_LABELS.values())
_BASE: Final = frozenset(("bn", "bt", "bu", "bv", "bs", "bver"))
_REGULAR: Final = _TEXT_LABELS - _BASE
_VALUES: Final = ("v", "vs", "vb", "vd")
_PLAIN: Final = frozenset(("n", "u", "v", "t"))
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*")
_ABSOLUTE_S: Final = 2**28  # RFC 8428 §4.5.3: from here on a time counts from the epoch, below from "now"
_ABSOLUTE_NS: Final = _ABSOLUTE_S * NS
_VERSION: Final = 10
_VERSIONS_SECONDARY_UNITS: Final = 26  # RFC 9100 §4: feature 4, secondary units, on top of version 10


@dataclass(frozen=True, slots=True)
class Moment:
    """The times a message came with: `message_ns` is the device's own signed time of sending, if it gave one."""

    arrival_ns: int
    message_ns: int | None = None
    previous_max_ns: int | None = None
    backfill: bool = False


def records_of_json(body: bytes) -> list[Any]:
    """The records of a JSON pack (RFC 8428 §5), labels as names."""
    return _pack(jsontext.parse(body))


def records_of_cbor(body: bytes) -> list[Any]:
    """The records of a CBOR pack (RFC 8428 §6), integer labels replaced by names; unknown integers are ignored."""
    records = _pack(cborvalues.read(body))
    for index, record in enumerate(records):
        if type(record) is not dict:
            raise _error("payload.senml", index, "a record is a map")
        named: dict[str, Any] = {}
        for key, value in record.items():
            if type(key) is int:
                if key == _DATA_VALUE and type(value) is str:
                    value = cborvalues.OPAQUE  # octets are a byte string here, not base64 (RFC 8428 §6)
                if key in _LABELS:
                    named[_LABELS[key]] = value
            elif key in _TEXT_LABELS:
                raise _error("payload.senml_label", index, f"CBOR uses the integers of RFC 8428 Table 4, not {key!r}")
            else:
                named[key] = value
        records[index] = named
    return records


def resolve_pack(records: list[Any], schema: StreamSchema, moment: Moment, *, plain: bool = True) -> list[Reading]:
    """All readings of a pack in record order (RFC 8428 §4.6, without its sorting: the index is part of the address)."""
    resolver = _Resolver(schema, moment)
    readings: list[Reading] = []
    append = readings.append
    limits = schema.thresholds
    arrival_ns, previous_ns = moment.arrival_ns, moment.previous_max_ns
    quiet_after = arrival_ns - min(limits.late_s, limits.backfill_s) * NS
    quiet_until = arrival_ns + limits.future_s * NS
    if previous_ns is not None and previous_ns > quiet_after:
        quiet_after = previous_ns
    if resolver.declared_backfill:
        quiet_until = quiet_after - 1  # every time has a flag
    known, number, new = resolver.known, Kind.NUMBER, tuple.__new__
    short = False
    for index, record in enumerate(records):
        if type(record) is not dict:
            raise _error("payload.senml", index, "a record is an object")
        # The long way: base fields, other kinds of value, sums, extensions.
        if not (short and record.keys() <= _PLAIN):
            resolver.read(index, record, readings)
            # A base value, sum or time that is not a plain number of nanoseconds keeps the rest on the long way.
            short = plain and resolver.is_plain()
            continue
        # The short way: name, unit, number, time.
        value = record.get("v")
        if type(value) is not Decimal:
            if type(value) is not int:
                resolver.read(index, record, readings)
                continue
            value = Decimal(value)
        name, unit = record.get("n", ""), record.get("u")
        hit = known.get((name, unit)) if type(name) is str and (unit is None or type(unit) is str) else None
        quantity, unit, flags, kind = hit or resolver.lookup(index, name, unit)
        if kind is not number and kind is not None:
            flags |= KIND_MISMATCH
        time = record.get("t", 0)
        if type(time) is int:
            ns = resolver.base_ns + time * NS
        elif type(time) is Decimal and (exact := exact_ns(time)) is not None:
            ns = resolver.base_ns + exact
        else:
            resolver.read(index, record, readings)
            continue
        if ns < _ABSOLUTE_NS:
            ns += resolver.now_ns
            flags |= resolver.now_flags
        if not quiet_after <= ns <= quiet_until:
            if not -NS_MAX <= ns <= NS_MAX:
                resolver.read(index, record, readings)
                continue
            flags |= timing_flags(ns, arrival_ns, previous_ns, limits, backfill=resolver.declared_backfill)
        append(new(Reading, (index, quantity, number, value, unit, ns, flags, None, None)))
    return readings


class _Resolver:
    """The base fields in force while a pack is read from its first record to its last (RFC 8428 §4.1)."""

    def __init__(self, schema: StreamSchema, moment: Moment) -> None:
        self._schema = schema
        self._moment = moment
        self.declared_backfill = schema.backfill or moment.backfill
        self.now_ns = moment.arrival_ns if moment.message_ns is None else moment.message_ns
        self.now_flags = NO_CLOCK if moment.message_ns is None else 0
        self.base_ns = 0
        self.known: dict[tuple[Any, Any], tuple[str, str, int, Kind | None]] = {}
        self._base_name, self._base_unit = "", ""
        self._base_time: Decimal | BadNumber = _ZERO
        self._base_value: Decimal | BadNumber | None = None
        self._base_sum: Decimal | BadNumber | None = None
        self._version: int | None = None
        self._time_is_plain = True

    def is_plain(self) -> bool:
        """No base value or sum in force, and a base time of whole nanoseconds."""
        return self._base_value is None and self._base_sum is None and self._time_is_plain

    def read(self, index: int, record: dict[str, Any], readings: list[Reading]) -> None:
        """Any record: applies its base fields, and appends its reading if it has one."""
        # 1. Fields that are not understood (§4.4).
        keys = record.keys()
        if not keys <= _TEXT_LABELS:
            for label in keys:
                if label not in _TEXT_LABELS and label.endswith("_"):
                    raise _error("payload.senml_extension", index, f"the field {label!r} must be understood and is not")
        # 2. Base fields, which hold from this record on (§4.1).
        if not keys.isdisjoint(_BASE):
            self._set_base(index, record)
        # 3. Every record has one version, and it is understood (§4.4).
        if self._version is None:
            self._version = _VERSION
        # 4. A record of base fields alone has no reading (as in the example of §5.1.7).
        if not keys.isdisjoint(_REGULAR):
            readings.append(self._reading(index, record))

    def _reading(self, index: int, record: dict[str, Any]) -> Reading:
        moment = self._moment
        # 5. Name and unit, and the quantity they belong to (§4.5.1, §4.5.2).
        name, unit = record.get("n", ""), record.get("u")
        quantity, unit, flags, declared = self.lookup(index, name, unit)
        # 6. Value and sum (§4.5.4).
        value, kind, value_flags = self._value(index, record)
        total, sum_flags = self._sum(index, record, has_value=kind is not None)
        flags |= value_flags | sum_flags
        if kind is None:
            kind = Kind.NUMBER if declared is None else declared
        elif kind is not declared and declared is not None:
            flags |= KIND_MISMATCH
        # 7. Time (§4.5.3).
        time_ns, time_flags = self._time(record)
        flags |= time_flags | timing_flags(
            time_ns, moment.arrival_ns, moment.previous_max_ns, self._schema.thresholds, backfill=self.declared_backfill
        )
        update_ns = None
        if "ut" in record:
            update = _number(record["ut"])
            update_ns = to_ns(update) if type(update) is Decimal else None
            if update_ns is None:
                flags |= BAD_TIME
        return Reading(index, quantity, kind, value, unit, time_ns, flags, total, update_ns)

    def lookup(self, index: int, name: Any, unit: Any) -> tuple[str, str, int, Kind | None]:
        """(quantity, unit, flags, declared kind) of a record's name and unit; remembered until a base field changes."""
        if type(name) is not str:
            raise _error("payload.senml_type", index, "the name is a text")
        if unit is not None and (type(unit) is not str or len(unit) > UNIT_CHARS_MAX):
            raise _error("payload.senml_type", index, f"the unit is a text of at most {UNIT_CHARS_MAX} characters")
        full = self._base_name + name
        if len(full) > NAME_CHARS_MAX or _NAME.fullmatch(full) is None:
            raise _error(
                "payload.senml_name", index, f"the name {full[:NAME_CHARS_MAX]!r} is not a SenML name (RFC 8428 §4.5.1)"
            )
        sent = self._base_unit if unit is None else unit
        found = _quantity(self._schema, full, sent)
        if found is None:
            flags = UNKNOWN_QUANTITY | (UNKNOWN_UNIT if sent and sent not in senml_units.KNOWN else 0)
            entry: tuple[str, str, int, Kind | None] = ("?" + full, sent, flags, None)
        else:
            flags = 0
            if sent and sent != found.unit:
                flags = (UNIT_MISMATCH if found.unit else 0) | (0 if sent in senml_units.KNOWN else UNKNOWN_UNIT)
            entry = (found.name, sent or found.unit, flags, found.kind)
        self.known[name, unit] = entry
        return entry

    def _set_base(self, index: int, record: dict[str, Any]) -> None:
        self.known.clear()
        if "bver" in record:
            version = record["bver"]
            if type(version) is Decimal and version == version.to_integral_value():
                version = int(version)
            if type(version) is not int or not (0 < version <= _VERSION or version == _VERSIONS_SECONDARY_UNITS):
                raise _error("payload.senml_version", index, f"the version {version!r} is not understood")
            if self._version is not None and self._version != version:
                raise _error("payload.senml_version", index, "the records of a pack have different versions")
            self._version = version
        if "bn" in record:
            self._base_name = _base_text(index, record["bn"], "bn")
        if "bu" in record:
            self._base_unit = _base_text(index, record["bu"], "bu")
        if "bt" in record:
            time = _number(record["bt"])
            self._base_time = BadNumber.NOT_FINITE if time is None else time
            exact = exact_ns(time) if type(time) is Decimal else None
            self._time_is_plain = exact is not None
            self.base_ns = exact or 0
        for label in ("bv", "bs"):
            if label in record:
                base = _number(record[label])
                if base is None:
                    raise _error("payload.senml_type", index, f"{label!r} is a number")
                if label == "bv":
                    self._base_value = base
                else:
                    self._base_sum = base

    def _value(self, index: int, record: dict[str, Any]) -> tuple[Value, Kind | None, int]:
        present = [label for label in _VALUES if label in record]
        if len(present) > 1:
            raise _error("payload.senml_value", index, f"the fields {' and '.join(present)} exclude each other")
        if not present:
            if self._base_value is not None and "s" not in record:
                return _sum_of(self._base_value, None, Kind.NUMBER)
            return None, None, 0
        label = present[0]
        raw = record[label]
        if raw is None:
            return None, None, MISSING
        if label == "v":
            number = _number(raw)
            if number is None:
                return None, Kind.NUMBER, BAD_VALUE
            return _sum_of(number, self._base_value, Kind.NUMBER)
        if label == "vs":
            return (raw, Kind.TEXT, 0) if type(raw) is str else (None, Kind.TEXT, BAD_VALUE)
        if label == "vb":
            return (raw, Kind.BOOL, 0) if type(raw) is bool else (None, Kind.BOOL, BAD_VALUE)
        octets = raw if type(raw) is bytes else _octets(raw)
        return octets, Kind.BYTES, 0 if octets is not None else BAD_VALUE

    def _sum(self, index: int, record: dict[str, Any], *, has_value: bool) -> tuple[Decimal | None, int]:
        if "s" in record:
            number = _number(record["s"]) if record["s"] is not None else BadNumber.NOT_FINITE
            if number is None:
                number = BadNumber.NOT_FINITE
            total, _, flags = _sum_of(number, self._base_sum, Kind.NUMBER)
        elif self._base_sum is not None:
            total, _, flags = _sum_of(self._base_sum, None, Kind.NUMBER)
        elif not has_value and not any(label in record for label in _VALUES):
            raise _error("payload.senml_value", index, "a record needs a value or a sum (RFC 8428 §4.2)")
        else:
            return None, 0
        return (total if isinstance(total, Decimal) else None), flags

    def _time(self, record: dict[str, Any]) -> tuple[int | None, int]:
        time = _number(record["t"]) if "t" in record else _ZERO
        base = self._base_time
        if type(time) is not Decimal or type(base) is not Decimal:
            return None, BAD_TIME
        seconds = add_exact(base, time)
        ns = floor_ns(seconds)
        flags = 0
        if seconds < _ABSOLUTE_S:
            ns, flags = ns + self.now_ns, self.now_flags
        return (ns, flags) if -NS_MAX <= ns <= NS_MAX else (None, BAD_TIME)


_ZERO: Final = Decimal(0)


def _pack(document: Any) -> list[Any]:
    if type(document) is not list or not document:
        raise PayloadError(
            "payload.senml",
            "a SenML pack is an array of at least one record (RFC 8428 §4)",
            hint='[{"n":"t","v":21.5}]',
        )
    return document


def _quantity(schema: StreamSchema, full: str, unit: str) -> Any:
    """The declared quantity of a resolved name: the longest label that is the name or its end after ':' or '/'."""
    by_label = schema.by_label
    alike = by_label.get(full)
    at = 0
    while alike is None and at < len(full):
        at += 1
        if full[at - 1] in ":/":
            alike = by_label.get(full[at:])
    if alike is None:
        return None
    # Several quantities may share a name and differ in unit, as humidity and position do in RFC 8428 §5.1.3.
    return next((quantity for quantity in alike if quantity.unit == unit), alike[0])


def _number(raw: Any) -> Decimal | BadNumber | None:
    """A field's number, or None if it is none."""
    if type(raw) is Decimal or type(raw) is BadNumber:
        return raw
    return Decimal(raw) if type(raw) is int else None


def _sum_of(
    number: Decimal | BadNumber, base: Decimal | BadNumber | None, kind: Kind
) -> tuple[Decimal | None, Kind, int]:
    if base is not None:
        if type(number) is Decimal and type(base) is Decimal:
            number = add(number, base)
        elif type(base) is BadNumber:
            number = base
    if number is BadNumber.OUT_OF_RANGE:
        return None, kind, OUT_OF_RANGE
    return (number, kind, 0) if type(number) is Decimal else (None, kind, BAD_VALUE)


def _octets(raw: Any) -> bytes | None:
    """Base64 with the URL-safe alphabet and no padding (RFC 8428 §5), in its one canonical form."""
    if type(raw) is not str or _BASE64URL.fullmatch(raw) is None or len(raw) % 4 == 1:
        return None
    standard = raw.replace("-", "+").replace("_", "/")
    octets = binascii.a2b_base64(standard + "=" * (-len(raw) % 4))
    canonical = binascii.b2a_base64(octets, newline=False).decode("ascii").rstrip("=")
    return octets if canonical == standard else None


def _base_text(index: int, raw: Any, label: str) -> str:
    if type(raw) is not str:
        raise _error("payload.senml_type", index, f"{label!r} is a text")
    return raw


def _error(code: str, index: int, what: str) -> PayloadError:
    return PayloadError(code, f"SenML record {index + 1}: {what}")
