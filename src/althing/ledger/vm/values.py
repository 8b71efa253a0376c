"""Values of contracts: int, bool, str, bytes, None, list and tuple are Python's own; Decimal, Dict and Struct are ours.

Whatever walks containers counts its depth and pays by size before it looks.
"""

from __future__ import annotations

from typing import Any, Final

from althing.ledger.vm.decimal import Decimal
from althing.ledger.vm.errors import Halt, Raised
from althing.ledger.vm.ir import TYPES, Parameter, TypeForm
from althing.ledger.vm.limits import DEPTH_MAX, ITEMS_HELD_MAX, TEXT_MAX
from althing.ledger.vm.meter import SLOT_BYTES, Meter

__all__ = [
    "ASSERTION_ERROR",
    "INDEX_ERROR",
    "KEY_ERROR",
    "ZERO_DIVISION",
    "Dict",
    "RecordType",
    "Struct",
    "Value",
    "compared",
    "copied",
    "describe",
    "equal",
    "key",
    "key_of",
    "kind_name",
    "made",
    "room",
    "text",
    "truth",
    "type_error",
    "value_error",
]

Value = Any  # int | bool | str | bytes | None | Decimal | list[Value] | tuple[Value, ...] | Dict | Struct

ASSERTION_ERROR: Final = 1
VALUE_ERROR: Final = 2
TYPE_ERROR: Final = 3
KEY_ERROR: Final = 4
INDEX_ERROR: Final = 5
ZERO_DIVISION: Final = 6
_RAW_BITS: Final = 60  # Python's hash of an int is the int below 2^61 − 1, so smaller ones never collide by design


class RecordType:
    """A record's name and fields, of one contract."""

    __slots__ = ("fields", "index", "name", "number")

    def __init__(self, number: int, name: str, fields: tuple[Parameter, ...]) -> None:
        self.number = number
        self.name = name
        self.fields = fields
        self.index = {item.name: place for place, item in enumerate(fields)}


class Struct:
    """A record's value."""

    __slots__ = ("type", "values")

    def __init__(self, type_: RecordType, values: list[Value]) -> None:
        self.type = type_
        self.values = values


class _Key:
    """A dict's key whose hash an attacker could choose: large integers and tuples. Compared and hashed by its bytes."""

    __slots__ = ("data", "value")

    def __init__(self, value: Value, data: bytes) -> None:
        self.value = value
        self.data = data

    def __hash__(self) -> int:
        return hash(self.data)  # determinism: where a key lies in a table shows nowhere; order is insertion's

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.data == other.data


class Dict:
    """In order of insertion, as Python's. `items` is by `key(…)`."""

    __slots__ = ("items",)

    def __init__(self, items: dict[Any, Value] | None = None) -> None:
        self.items: dict[Any, Value] = {} if items is None else items


def type_error(message: str) -> Raised:
    return Raised(TYPE_ERROR, message)


def value_error(message: str) -> Raised:
    return Raised(VALUE_ERROR, message)


def kind_name(value: Value) -> str:
    if isinstance(value, Struct):
        return value.type.name
    return {"NoneType": "None", "Dict": "dict"}.get(type(value).__name__, type(value).__name__)


def key(value: Value, meter: Meter) -> Any:
    """What stands for a value as a dict's key."""
    kind = type(value)
    if kind is str or kind is bytes:
        meter.work(len(value))
        return value
    if kind is bool:
        return value
    if kind is int:
        return value if value.bit_length() <= _RAW_BITS else _Key(value, _key_bytes(value, meter, 0))
    if kind is tuple:
        return _Key(value, _key_bytes(value, meter, 0))
    raise type_error(f"a {kind_name(value)} cannot be a key")


def key_of(token: Any) -> Value:
    """The value that a token of `key` stands for."""
    return token.value if type(token) is _Key else token


def _key_bytes(value: Value, meter: Meter, depth: int) -> bytes:
    """Equal keys have equal bytes: True is 1, as in Python."""
    kind = type(value)
    if kind is int or kind is bool:
        data = int(value).to_bytes((value.bit_length() + 8) // 8, "big", signed=True)
        meter.work(32)
        return b"i" + len(data).to_bytes(4, "big") + data
    if kind is str or kind is bytes:
        data = bytes(value.encode() if kind is str else value)
        meter.work(4 * len(data))
        return (b"s" if kind is str else b"b") + len(data).to_bytes(4, "big") + data
    if kind is tuple:
        if depth >= DEPTH_MAX:
            raise Halt("depth")
        meter.work(SLOT_BYTES * len(value))
        parts = [_key_bytes(item, meter, depth + 1) for item in value]
        return b"t" + len(parts).to_bytes(4, "big") + b"".join(parts)
    raise type_error(f"a {kind_name(value)} cannot be part of a key")


def truth(value: Value) -> bool:
    """Python's truth; a Decimal is true unless zero, a record always."""
    if type(value) is Dict:
        return bool(value.items)
    if type(value) is Decimal:
        return value.units != 0
    return bool(value) if type(value) is not Struct else True


def equal(left: Value, right: Value, meter: Meter, depth: int = 0) -> bool:
    """Python's ==. Values of different kinds differ; numbers compare by their worth."""
    kind, other = type(left), type(right)
    if kind is other:
        if kind is int or kind is bool or left is None:
            return bool(left == right)
        if kind is str or kind is bytes:
            meter.work(min(len(left), len(right)))
            return bool(left == right)
        if kind is Decimal:
            return bool(left.units == right.units)
        if depth >= DEPTH_MAX:
            raise Halt("depth")
        if kind is Struct:
            if left.type is not right.type:
                return False
            left, right = left.values, right.values
        elif kind is Dict:
            return _equal_dicts(left, right, meter, depth)
        if len(left) != len(right):
            return False
        meter.work(SLOT_BYTES * len(left))
        return all(equal(a, b, meter, depth + 1) for a, b in zip(left, right, strict=True))
    if kind in _NUMBERS and other in _NUMBERS:
        return _number(left) == _number(right)
    return False


def _equal_dicts(left: Dict, right: Dict, meter: Meter, depth: int) -> bool:
    if len(left.items) != len(right.items):
        return False
    meter.work(2 * SLOT_BYTES * len(left.items))
    return all(
        token in right.items and equal(value, right.items[token], meter, depth + 1)
        for token, value in left.items.items()
    )


_NUMBERS: Final = (int, bool, Decimal)


def _number(value: int | bool | Decimal) -> int:
    return value.units if isinstance(value, Decimal) else value * 10**18


def compared(left: Value, right: Value, meter: Meter, depth: int = 0) -> int:
    """-1, 0 or 1 for an order of numbers, of texts, of bytes, of lists and of tuples; else a TypeError."""
    kind, other = type(left), type(right)
    if kind in _NUMBERS and other in _NUMBERS:
        if kind is Decimal or other is Decimal:
            left, right = _number(left), _number(right)
        return int(left > right) - int(left < right)
    if kind is other and (kind is str or kind is bytes):
        meter.work(min(len(left), len(right)))
        return int(left > right) - int(left < right)
    if kind is other and (kind is list or kind is tuple):
        if depth >= DEPTH_MAX:
            raise Halt("depth")
        for a, b in zip(left, right, strict=False):
            meter.work(SLOT_BYTES)
            if not equal(a, b, meter, depth + 1):
                return compared(a, b, meter, depth + 1)
        return (len(left) > len(right)) - (len(left) < len(right))
    raise type_error(f"{kind_name(left)} and {kind_name(right)} have no order")


def room(kind: type, size: int, meter: Meter) -> None:
    """A text, bytes, list or tuple of that size is about to be made: within its bound, and paid for."""
    if kind is str:
        if size > TEXT_MAX:
            raise value_error(f"a str has at most {TEXT_MAX} characters")
        meter.allocate(4 * size + SLOT_BYTES)
    elif kind is bytes:
        if size > TEXT_MAX:
            raise value_error(f"a bytes has at most {TEXT_MAX} bytes")
        meter.allocate(size + SLOT_BYTES)
    else:
        if size > ITEMS_HELD_MAX:
            raise value_error(f"a {kind.__name__.lower()} has at most {ITEMS_HELD_MAX} items")
        meter.allocate(SLOT_BYTES * (size + 1))


def made(value: Value, meter: Meter) -> Value:
    """The value, after `room` for it: only where what it was made of bounds it already."""
    room(type(value), len(value), meter)
    return value


def copied(value: Value, meter: Meter, depth: int = 0) -> Value:
    """A copy that shares nothing; records become tuples, which is how they cross from contract to contract."""
    kind = type(value)
    if kind in (int, bool, str, bytes, Decimal) or value is None:
        return value
    if depth >= DEPTH_MAX:
        raise Halt("depth")
    if kind is Dict:
        meter.allocate(2 * SLOT_BYTES * (len(value.items) + 1))
        return Dict({token: copied(item, meter, depth + 1) for token, item in value.items.items()})
    items = value.values if kind is Struct else value
    meter.allocate(SLOT_BYTES * (len(items) + 1))
    found = [copied(item, meter, depth + 1) for item in items]
    return found if kind is list else tuple(found)


def text(value: Value, meter: Meter) -> str:
    """str(value): of containers as Python writes them, with texts in single quotes only where Python would choose them."""
    return str(made(_text(value, meter, 0), meter))


def _text(value: Value, meter: Meter, depth: int) -> str:
    kind = type(value)
    if kind is str:
        return str(value) if depth == 0 else _quoted(value, meter)
    if kind is int or kind is bool or value is None or kind is Decimal:
        meter.work(SLOT_BYTES)
        return str(value)
    if kind is bytes:
        meter.allocate(4 * len(value) + SLOT_BYTES)
        return "b" + _escaped_bytes(value)
    if depth >= DEPTH_MAX:
        raise Halt("depth")
    if kind is Dict:
        meter.work(2 * SLOT_BYTES * len(value.items))
        parts = [
            f"{_text(key_of(token), meter, depth + 1)}: {_text(item, meter, depth + 1)}"
            for token, item in value.items.items()
        ]
        return _joined("{", parts, "}", meter)
    if kind is Struct:
        meter.work(SLOT_BYTES * len(value.values))
        parts = [
            f"{field.name}={_text(item, meter, depth + 1)}"
            for field, item in zip(value.type.fields, value.values, strict=True)
        ]
        return _joined(value.type.name + "(", parts, ")", meter)
    meter.work(SLOT_BYTES * len(value))
    parts = [_text(item, meter, depth + 1) for item in value]
    if kind is tuple:
        return _joined("(", parts, ",)" if len(parts) == 1 else ")", meter)
    return _joined("[", parts, "]", meter)


def _joined(head: str, parts: list[str], tail: str, meter: Meter) -> str:
    size = sum(len(part) + 2 for part in parts)
    if size > TEXT_MAX:
        raise value_error(f"a str has at most {TEXT_MAX} characters")
    meter.allocate(4 * size + SLOT_BYTES)
    return head + ", ".join(parts) + tail


def _quoted(value: str, meter: Meter) -> str:
    """Backslash, the quote and control characters are escaped; all else stands as it is (no table of Unicode decides)."""
    meter.allocate(16 * len(value) + SLOT_BYTES)
    quote = '"' if "'" in value and '"' not in value else "'"
    simple = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", quote: "\\" + quote}
    return (
        quote + "".join(simple.get(c) or (f"\\x{ord(c):02x}" if c < " " or c == "\x7f" else c) for c in value) + quote
    )


def _escaped_bytes(value: bytes) -> str:
    quote = '"' if b"'" in value and b'"' not in value else "'"
    simple = {92: "\\\\", 10: "\\n", 13: "\\r", 9: "\\t", ord(quote): "\\" + quote}
    return quote + "".join(simple.get(b) or (chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in value) + quote


def describe(form: TypeForm, records: tuple[RecordType, ...]) -> str:
    """A type as the source writes it."""
    if isinstance(form, int):
        return TYPES[form]
    name = TYPES[form[0]]
    if name == "record":
        return str(records[form[1]].name)
    inner = ", ".join(describe(argument, records) for argument in form[1:])
    return f"{inner} | None" if name == "Optional" else f"{name}[{inner}]"
