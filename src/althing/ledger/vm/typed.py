"""Values where they meet a declared type: arguments, results, and what is stored.

The type says how bytes are read, so what is stored carries no types of its own: an int is a CBOR integer, or two's
complement in a byte string where it has more than 64 bits; a Decimal the same of its units; a dict an array of pairs.
"""

from __future__ import annotations

from typing import Any, Final

from althing.ledger.vm.decimal import Decimal
from althing.ledger.vm.errors import Raised
from althing.ledger.vm.ir import TYPES, TypeForm, integer_bytes
from althing.ledger.vm.limits import ITEMS_HELD_MAX, STORED_BYTES_MAX, TEXT_MAX
from althing.ledger.vm.meter import SLOT_BYTES, Meter
from althing.ledger.vm.values import (
    Dict,
    RecordType,
    Struct,
    Value,
    describe,
    key,
    key_of,
    kind_name,
    type_error,
    value_error,
)
from althing.protocol import codec
from althing.protocol.errors import EncodingError

__all__ = ["initial", "item_of", "loaded", "stored", "value_of"]

_ANY, _INT, _BOOL, _STR, _BYTES, _DECIMAL, _NONE, _OPTIONAL, _LIST, _DICT, _TUPLE, _RECORD = range(len(TYPES))
_INT64: Final = (-(2**63), 2**63)
_DEPTH_MAX: Final = (
    12  # of stored containers: beneath the codec's own bound, with a record's and a Map's level to spare
)
_SIMPLE: Final = {_BOOL: bool, _STR: str, _BYTES: bytes}


def item_of(value: Value, form: TypeForm, records: tuple[RecordType, ...], meter: Meter, depth: int = 0) -> codec.Item:
    """The value as a data item, when it is of the type; else a TypeError that names both."""
    number = form if isinstance(form, int) else form[0]
    kind = type(value)
    meter.charge(2)
    if number == _INT and (kind is int or kind is bool):
        return _integer(int(value))
    if number == _DECIMAL and (kind is Decimal or kind is int):
        return _integer(value.units if kind is Decimal else Decimal.of(value).units)
    if number in _SIMPLE and kind is _SIMPLE[number]:
        if kind is not bool:
            meter.work(4 * len(value))
        return value
    if number == _NONE and value is None:
        return None
    if depth >= _DEPTH_MAX:
        raise value_error(f"what is kept is nested at most {_DEPTH_MAX} deep")
    if number == _OPTIONAL:
        return None if value is None else item_of(value, form[1], records, meter, depth)
    if number == _LIST and kind is list:
        meter.work(SLOT_BYTES * len(value))
        return [item_of(item, form[1], records, meter, depth + 1) for item in value]
    if number == _TUPLE and kind is tuple and len(value) == len(form) - 1:
        return [item_of(item, part, records, meter, depth + 1) for item, part in zip(value, form[1:], strict=True)]
    if number == _DICT and kind is Dict:
        meter.work(2 * SLOT_BYTES * len(value.items))
        return [
            [
                item_of(key_of(token), form[1], records, meter, depth + 2),
                item_of(item, form[2], records, meter, depth + 2),
            ]
            for token, item in value.items.items()
        ]
    if number == _RECORD:
        return _record_item(value, records[form[1]], records, meter, depth)
    raise type_error(f"a {kind_name(value)} where {describe(form, records)} is declared")


def _record_item(
    value: Value, type_: RecordType, records: tuple[RecordType, ...], meter: Meter, depth: int
) -> codec.Item:
    """A record of that type; a tuple of as many values is one that came from another contract."""
    if type(value) is Struct and value.type is type_:
        values: Any = value.values
    elif type(value) is tuple and len(value) == len(type_.fields):
        values = value
    else:
        raise type_error(f"a {kind_name(value)} where {type_.name} is declared")
    return [
        item_of(item, field.type, records, meter, depth + 1) for item, field in zip(values, type_.fields, strict=True)
    ]


def _integer(value: int) -> codec.Item:
    return value if _INT64[0] <= value < _INT64[1] else integer_bytes(value)


def value_of(item: codec.Item, form: TypeForm, records: tuple[RecordType, ...], meter: Meter) -> Value:
    """The value of a data item of the type, or a ValueError: what comes from outside may be anything."""
    number = form if isinstance(form, int) else form[0]
    kind = type(item)
    meter.allocate(SLOT_BYTES)
    if number in (_INT, _DECIMAL):
        units = _read_integer(item)
        return units if number == _INT else Decimal(units)
    if number in _SIMPLE and kind is _SIMPLE[number]:
        if kind is not bool:
            if len(item) > TEXT_MAX:
                raise value_error(f"a {kind.__name__} has at most {TEXT_MAX} characters or bytes")
            meter.allocate(4 * len(item))
        return item
    if number == _NONE and item is None:
        return None
    if number == _OPTIONAL:
        return None if item is None else value_of(item, form[1], records, meter)
    if kind is list and len(item) <= ITEMS_HELD_MAX:
        if number == _LIST:
            return [value_of(part, form[1], records, meter) for part in item]
        if number == _TUPLE and len(item) == len(form) - 1:
            return tuple(value_of(part, inner, records, meter) for part, inner in zip(item, form[1:], strict=True))
        if number == _DICT:
            return _read_dict(item, form, records, meter)
        if number == _RECORD and len(item) == len(records[form[1]].fields):
            type_ = records[form[1]]
            parts = zip(item, type_.fields, strict=True)
            return Struct(type_, [value_of(part, field.type, records, meter) for part, field in parts])
    raise value_error(f"this is no {describe(form, records)}")


def _read_integer(item: codec.Item) -> int:
    if type(item) is int:
        if _INT64[0] <= item < _INT64[1]:
            return item
    elif type(item) is bytes and 1 <= len(item) <= 32:
        value = int.from_bytes(item, "big", signed=True)
        if not _INT64[0] <= value < _INT64[1] and integer_bytes(value) == item:
            return value
    raise value_error("this is no int in its shortest form")


def _read_dict(item: list[Any], form: TypeForm, records: tuple[RecordType, ...], meter: Meter) -> Dict:
    found = Dict()
    for pair in item:
        if type(pair) is not list or len(pair) != 2:
            raise value_error("a dict is an array of pairs")
        token = key(value_of(pair[0], form[1], records, meter), meter)
        if token in found.items:
            raise value_error("a key stands twice")
        found.items[token] = value_of(pair[1], form[2], records, meter)
    return found


def stored(value: Value, form: TypeForm, records: tuple[RecordType, ...], meter: Meter, bytes_max: int) -> bytes:
    """The bytes of a value of the type."""
    data = codec.encode(item_of(value, form, records, meter))
    if len(data) > bytes_max:
        raise value_error(f"what is kept in one place has at most {bytes_max} bytes")
    meter.work(4 * len(data))
    return data


def loaded(data: bytes, form: TypeForm, records: tuple[RecordType, ...], meter: Meter) -> Value:
    """The value of bytes that `stored` made; arguments from outside pass here too."""
    meter.work(4 * len(data))
    try:
        return value_of(codec.decode(data, bytes_max=STORED_BYTES_MAX), form, records, meter)
    except EncodingError:
        raise value_error("these are no bytes of a value") from None


def initial(form: TypeForm, name: str) -> Value:
    """What a state field holds before anything was written: its type's nothing, where it has one."""
    number = form if isinstance(form, int) else form[0]
    nothing: dict[int, Any] = {_INT: 0, _BOOL: False, _STR: "", _BYTES: b"", _NONE: None, _OPTIONAL: None}
    if number in nothing:
        return nothing[number]
    if number == _DECIMAL:
        return Decimal(0)
    if number == _LIST:
        return []
    if number == _DICT:
        return Dict()
    raise Raised(2, f"{name} has no value yet")
