"""Built-in functions and the methods of values, by the numbers of `surface`. Each takes the meter and pays first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from althing.ledger.vm.decimal import DECIMAL_ONE, Decimal
from althing.ledger.vm.errors import Raised
from althing.ledger.vm.limits import INT_MAX, INT_MIN, ITEMS_HELD_MAX
from althing.ledger.vm.meter import SLOT_BYTES, Meter
from althing.ledger.vm.operators import BINARY, UNARY, extended, get_item, missing, search, sequence, store
from althing.ledger.vm.surface import BUILTINS, METHODS
from althing.ledger.vm.values import (
    Dict,
    Value,
    compared,
    equal,
    key,
    key_of,
    kind_name,
    made,
    room,
    text,
    truth,
    type_error,
    value_error,
)

__all__ = ["FUNCTIONS", "METHOD_TABLE"]

_INTEGERS: Final = (int, bool)
_ADD: Final = 0x10
_FLOORDIV: Final = 0x14
_MOD: Final = 0x15
_NEG: Final = 0x1C
_BLANK: Final = " \t\n\r"  # the ASCII blanks that a contract can write; no table of Unicode decides
_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER: Final = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}

Builtin = Callable[[list[Value], Meter], Value]
Method = Callable[[Value, list[Value], Meter], Value]


# --- functions --------------------------------------------------------------------------------------------------


def _len(given: list[Value], meter: Meter) -> int:
    value = given[0]
    if type(value) is Dict:
        return len(value.items)
    if type(value) in (str, bytes, list, tuple):
        return len(value)
    raise type_error(f"a {kind_name(value)} has no length")


def _abs(given: list[Value], meter: Meter) -> Value:
    value = given[0]
    negative = value.units < 0 if type(value) is Decimal else type(value) in _INTEGERS and value < 0
    return UNARY[_NEG](value) if negative else UNARY[_NEG + 1](value)


def _extreme(given: list[Value], meter: Meter, sign: int) -> Value:
    items = sequence(given[0], meter) if len(given) == 1 else given
    if not items:
        raise value_error("the smallest or largest of nothing")
    best = items[0]
    for item in items[1:]:
        meter.charge(4)
        if compared(item, best, meter) * sign > 0:
            best = item
    if type(items) is bytes:
        return int(best)
    return best


def _min(given: list[Value], meter: Meter) -> Value:
    return _extreme(given, meter, -1)


def _max(given: list[Value], meter: Meter) -> Value:
    return _extreme(given, meter, 1)


def _sum(given: list[Value], meter: Meter) -> Value:
    total = given[1] if len(given) > 1 else 0
    if type(total) not in (int, bool, Decimal):
        raise type_error("sum adds numbers")
    for item in sequence(given[0], meter):
        meter.charge(4)
        total = BINARY[_ADD](total, item, meter)
    return total


class _Order:
    """Gives `sorted` the language's own order; every comparison is paid."""

    __slots__ = ("meter", "value")

    def __init__(self, value: Value, meter: Meter) -> None:
        self.value = value
        self.meter = meter

    def __lt__(self, other: _Order) -> bool:
        self.meter.charge(10)
        return compared(self.value, other.value, self.meter) < 0


def _sorted(given: list[Value], meter: Meter) -> list[Value]:
    items = sequence(given[0], meter)
    room(list, 2 * len(items), meter) if 2 * len(items) <= ITEMS_HELD_MAX else meter.allocate(
        2 * SLOT_BYTES * len(items)
    )
    reverse = len(given) > 1 and truth(given[1])
    return [order.value for order in sorted((_Order(item, meter) for item in items), reverse=reverse)]


def _reversed(given: list[Value], meter: Meter) -> list[Value]:
    return made(list(_bounded(given[0], meter))[::-1], meter)  # type: ignore[no-any-return]


def _bounded(value: Value, meter: Meter) -> Sequence[Value]:
    """A sequence whose items will be made into a container."""
    items = sequence(value, meter)
    if len(items) > ITEMS_HELD_MAX:
        raise value_error(f"a list has at most {ITEMS_HELD_MAX} items")
    return items


def _any(given: list[Value], meter: Meter) -> bool:
    items = sequence(given[0], meter)
    meter.charge(len(items))
    return any(truth(item) for item in items)


def _all(given: list[Value], meter: Meter) -> bool:
    items = sequence(given[0], meter)
    meter.charge(len(items))
    return all(truth(item) for item in items)


def _enumerate(given: list[Value], meter: Meter) -> list[Value]:
    items = _bounded(given[0], meter)
    start = given[1] if len(given) > 1 else 0
    if type(start) not in _INTEGERS:
        raise type_error("enumerate counts from an int")
    if start + len(items) > INT_MAX:
        raise Raised(7, "an integer has more than 256 bits")
    meter.allocate(4 * SLOT_BYTES * (len(items) + 1))
    return [(int(start) + place, item) for place, item in enumerate(items)]


def _zip(given: list[Value], meter: Meter) -> list[Value]:
    parts = [_bounded(item, meter) for item in given]
    size = min(len(part) for part in parts)
    meter.allocate((2 + len(parts)) * SLOT_BYTES * (size + 1))
    return list(zip(*parts, strict=False))


def _str(given: list[Value], meter: Meter) -> str:
    return text(given[0], meter)


def _int(given: list[Value], meter: Meter) -> int:
    value = given[0]
    if type(value) in _INTEGERS:
        return int(value)
    if type(value) is Decimal:
        return int(value.units // DECIMAL_ONE) if value.units >= 0 else -(-value.units // DECIMAL_ONE)
    if type(value) is str:
        digits = value[1:] if value[:1] in ("+", "-") else value
        if not (1 <= len(digits) <= 80 and digits.isascii() and digits.isdigit()):
            raise value_error("an int is written in decimal digits")
        number = int(value)
        if not INT_MIN <= number <= INT_MAX:
            raise Raised(7, "an integer has more than 256 bits")
        return number
    raise type_error(f"a {kind_name(value)} is no int")


def _bool(given: list[Value], meter: Meter) -> bool:
    return truth(given[0])


def _bytes(given: list[Value], meter: Meter) -> bytes:
    """Of a list of numbers below 256, or of a hexadecimal text."""
    value = given[0]
    if type(value) is bytes:
        return value
    if type(value) is str:
        room(bytes, len(value) // 2, meter)
        meter.work(4 * len(value))
        if len(value) % 2 or any(char not in "0123456789abcdefABCDEF" for char in value):
            raise value_error("bytes of a text are pairs of hexadecimal digits")
        return bytes.fromhex(value)
    if type(value) in (list, tuple):
        room(bytes, len(value), meter)
        meter.work(SLOT_BYTES * len(value))
        if any(type(item) not in _INTEGERS or not 0 <= item < 256 for item in value):
            raise value_error("bytes are numbers from 0 to 255")
        return bytes(value)
    raise type_error(f"a {kind_name(value)} is no bytes")


def _list(given: list[Value], meter: Meter) -> list[Value]:
    items = _bounded(given[0], meter) if given else ()
    room(list, len(items), meter)
    return list(items)


def _tuple(given: list[Value], meter: Meter) -> tuple[Value, ...]:
    items = _bounded(given[0], meter) if given else ()
    room(tuple, len(items), meter)
    return tuple(items)


def _dict(given: list[Value], meter: Meter) -> Dict:
    """A copy of a dict, or of pairs."""
    if not given:
        meter.allocate(SLOT_BYTES)
        return Dict()
    if type(given[0]) is Dict:
        meter.allocate(3 * SLOT_BYTES * (len(given[0].items) + 1))
        return Dict(dict(given[0].items))
    found = Dict()
    for pair in sequence(given[0], meter):
        meter.charge(6)
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise type_error("a dict is made of pairs")
        store(found, key(pair[0], meter), pair[1], meter)
    return found


def _divmod(given: list[Value], meter: Meter) -> Value:
    meter.allocate(3 * SLOT_BYTES)
    return (BINARY[_FLOORDIV](given[0], given[1], meter), BINARY[_MOD](given[0], given[1], meter))


def _round(given: list[Value], meter: Meter) -> Value:
    """round(Decimal) is an int, round(Decimal, places) a Decimal; half to even."""
    value = given[0]
    if type(value) is not Decimal:
        if type(value) in _INTEGERS and len(given) == 1:
            return int(value)
        raise type_error("round takes a Decimal")
    if len(given) == 1:
        return value.rounded(0).units // DECIMAL_ONE
    if type(given[1]) not in _INTEGERS:
        raise type_error("places are an int")
    return value.rounded(int(given[1]))


def _decimal(given: list[Value], meter: Meter) -> Decimal:
    value = given[0]
    if type(value) is Decimal:
        return value
    if type(value) in _INTEGERS or type(value) is str:
        return Decimal.of(value if type(value) is str else int(value))
    raise type_error(f"a {kind_name(value)} is no Decimal")


FUNCTIONS: Final[tuple[Builtin, ...]] = (
    *(_len, _abs, _min, _max, _sum, _sorted, _reversed, _any, _all, _enumerate, _zip, _str, _int, _bool),
    *(_bytes, _list, _tuple, _dict, _divmod, _round, _decimal),
)
"""By number; surface.BUILTINS names them."""
assert [function.__name__[1:] for function in FUNCTIONS] == [name.lower() for name, _, _ in BUILTINS], "one order"


# --- methods ----------------------------------------------------------------------------------------------------


def _text_argument(value: Value, what: str) -> str:
    if type(value) is not str:
        raise type_error(f"{what} takes a str, not a {kind_name(value)}")
    return value


def _upper(value: str, given: list[Value], meter: Meter) -> str:
    room(str, len(value), meter)
    return value.translate(_UPPER)


def _lower(value: str, given: list[Value], meter: Meter) -> str:
    room(str, len(value), meter)
    return value.translate(_LOWER)


def _strip(value: str, given: list[Value], meter: Meter) -> str:
    room(str, len(value), meter)
    return value.strip(_BLANK)


def _split(value: str, given: list[Value], meter: Meter) -> list[Value]:
    """At a text; without one, at runs of blanks."""
    if given:
        separator = _text_argument(given[0], "split")
        if not separator:
            raise value_error("an empty text separates nothing")
        search(value, separator, meter)
        parts = value.split(separator) if value.count(separator) < ITEMS_HELD_MAX else None
    else:
        parts = value.translate(_BLANKS_TO_SPACE).split(" ")
        parts = [part for part in parts if part]
    if parts is None or len(parts) > ITEMS_HELD_MAX:
        raise value_error(f"a list has at most {ITEMS_HELD_MAX} items")
    meter.allocate(4 * len(value) + 2 * SLOT_BYTES * (len(parts) + 1))
    return list(parts)


_BLANKS_TO_SPACE: Final = {ord(char): " " for char in _BLANK}


def _join(value: str, given: list[Value], meter: Meter) -> str:
    parts = sequence(given[0], meter)
    meter.work(SLOT_BYTES * len(parts))
    if any(type(part) is not str for part in parts):
        raise type_error("join takes texts")
    room(str, sum(len(part) for part in parts) + len(value) * max(0, len(parts) - 1), meter)
    return value.join(parts)


def _startswith(value: Value, given: list[Value], meter: Meter) -> bool:
    _same_kind(value, given[0], "startswith")
    meter.work(len(given[0]))
    return bool(value.startswith(given[0]))


def _endswith(value: Value, given: list[Value], meter: Meter) -> bool:
    _same_kind(value, given[0], "endswith")
    meter.work(len(given[0]))
    return bool(value.endswith(given[0]))


def _same_kind(value: Value, other: Value, what: str) -> None:
    if type(value) is not type(other):
        raise type_error(f"{what} of a {kind_name(value)} takes one, not a {kind_name(other)}")


def _find(value: Value, given: list[Value], meter: Meter) -> int:
    _same_kind(value, given[0], "find")
    search(value, given[0], meter)
    return int(value.find(given[0]))


def _replace(value: Value, given: list[Value], meter: Meter) -> Value:
    old, new = given
    _same_kind(value, old, "replace")
    _same_kind(value, new, "replace")
    if not old:
        raise value_error("an empty text is not replaced")
    search(value, old, meter)
    room(type(value), len(value) + value.count(old) * (len(new) - len(old)), meter)
    return value.replace(old, new)


def _isdigit(value: str, given: list[Value], meter: Meter) -> bool:
    meter.work(len(value))
    return value.isascii() and value.isdigit()


def _encode(value: str, given: list[Value], meter: Meter) -> bytes:
    meter.work(4 * len(value))
    return made(value.encode(), meter)  # type: ignore[no-any-return]


def _hex(value: bytes, given: list[Value], meter: Meter) -> str:
    room(str, 2 * len(value), meter)
    return value.hex()


def _decode(value: bytes, given: list[Value], meter: Meter) -> str:
    room(str, len(value), meter)
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise value_error("the bytes are not UTF-8") from None


def _append(value: list[Value], given: list[Value], meter: Meter) -> None:
    if len(value) >= ITEMS_HELD_MAX:
        raise value_error(f"a list has at most {ITEMS_HELD_MAX} items")
    meter.allocate(SLOT_BYTES)
    value.append(given[0])


def _extend(value: list[Value], given: list[Value], meter: Meter) -> None:
    extended(value, given[0], meter)


def _insert(value: list[Value], given: list[Value], meter: Meter) -> None:
    place = given[0]
    if type(place) not in _INTEGERS:
        raise type_error("a place is an int")
    if len(value) >= ITEMS_HELD_MAX:
        raise value_error(f"a list has at most {ITEMS_HELD_MAX} items")
    meter.allocate(SLOT_BYTES)
    meter.work(8 * len(value))
    value.insert(max(-ITEMS_HELD_MAX, min(int(place), ITEMS_HELD_MAX)), given[1])


def _pop(value: Value, given: list[Value], meter: Meter) -> Value:
    if type(value) is list:
        if len(given) > 1:
            raise type_error("pop of a list takes one place")
        place = given[0] if given else -1
        found = get_item(value, place, meter)
        meter.work(8 * len(value))
        del value[int(place)]
        return found
    if not given:
        raise type_error("pop of a dict takes a key")
    token = key(given[0], meter)
    if token in value.items:
        return value.items.pop(token)
    if len(given) == 2:
        return given[1]
    raise missing(given[0])


def _where(value: Sequence[Value], item: Value, meter: Meter) -> int:
    for place, other in enumerate(value):
        meter.work(SLOT_BYTES)
        if equal(item, other, meter):
            return place
    raise value_error("the item is not in the list")


def _remove(value: list[Value], given: list[Value], meter: Meter) -> None:
    del value[_where(value, given[0], meter)]
    meter.work(8 * len(value))


def _index(value: list[Value] | tuple[Value, ...], given: list[Value], meter: Meter) -> int:
    return _where(value, given[0], meter)


def _count(value: Value, given: list[Value], meter: Meter) -> int:
    if type(value) in (str, bytes):
        _same_kind(value, given[0], "count")
        search(value, given[0], meter)
        return int(value.count(given[0]))
    meter.work(SLOT_BYTES * len(value))
    return sum(1 for other in value if equal(given[0], other, meter))


def _reverse(value: list[Value], given: list[Value], meter: Meter) -> None:
    meter.work(8 * len(value))
    value.reverse()


def _sort(value: list[Value], given: list[Value], meter: Meter) -> None:
    value[:] = _sorted([value], meter)


def _copy(value: Value, given: list[Value], meter: Meter) -> Value:
    return _dict([value], meter) if type(value) is Dict else _list([value], meter)


def _clear(value: Value, given: list[Value], meter: Meter) -> None:
    (value.items if type(value) is Dict else value).clear()


def _get(value: Dict, given: list[Value], meter: Meter) -> Value:
    return value.items.get(key(given[0], meter), given[1] if len(given) > 1 else None)


def _keys(value: Dict, given: list[Value], meter: Meter) -> list[Value]:
    return list(sequence(value, meter))


def _values(value: Dict, given: list[Value], meter: Meter) -> list[Value]:
    meter.allocate(SLOT_BYTES * (len(value.items) + 1))
    return list(value.items.values())


def _items(value: Dict, given: list[Value], meter: Meter) -> list[Value]:
    meter.allocate(4 * SLOT_BYTES * (len(value.items) + 1))
    return [(key_of(token), item) for token, item in value.items.items()]


def _setdefault(value: Dict, given: list[Value], meter: Meter) -> Value:
    token = key(given[0], meter)
    if token not in value.items:
        store(value, token, given[1], meter)
    return value.items[token]


def _update(value: Dict, given: list[Value], meter: Meter) -> None:
    if type(given[0]) is not Dict:
        raise type_error("update takes a dict")
    for token, item in list(given[0].items.items()):
        meter.charge(4)
        store(value, token, item, meter)


_OF: Final[dict[str, tuple[tuple[type, ...], Method]]] = {
    **{"upper": ((str,), _upper), "lower": ((str,), _lower), "strip": ((str,), _strip), "split": ((str,), _split)},
    **{"join": ((str,), _join), "startswith": ((str, bytes), _startswith), "endswith": ((str, bytes), _endswith)},
    **{"find": ((str, bytes), _find), "replace": ((str, bytes), _replace), "isdigit": ((str,), _isdigit)},
    **{"encode": ((str,), _encode), "hex": ((bytes,), _hex), "decode": ((bytes,), _decode)},
    **{"append": ((list,), _append), "extend": ((list,), _extend), "insert": ((list,), _insert)},
    **{"pop": ((list, Dict), _pop), "remove": ((list,), _remove), "index": ((list, tuple), _index)},
    **{"count": ((list, tuple, str, bytes), _count), "reverse": ((list,), _reverse), "sort": ((list,), _sort)},
    **{"copy": ((list, Dict), _copy), "clear": ((list, Dict), _clear), "get": ((Dict,), _get)},
    **{"keys": ((Dict,), _keys), "values": ((Dict,), _values), "items": ((Dict,), _items)},
    **{"setdefault": ((Dict,), _setdefault), "update": ((Dict,), _update)},
}

METHOD_TABLE: Final[tuple[tuple[tuple[type, ...], Method], ...]] = tuple(_OF[name] for name, _, _ in METHODS)
"""By number: the kinds of value that have the method, and what it does."""
