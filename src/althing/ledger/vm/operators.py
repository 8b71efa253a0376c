"""What operators do: the rules of docs/spec/contracts.md, in one place. Each takes the meter and pays before it works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from althing.ledger.vm.decimal import Decimal
from althing.ledger.vm.errors import Raised
from althing.ledger.vm.ir import Op
from althing.ledger.vm.limits import INT_BITS, INT_MAX, INT_MIN, ITEMS_HELD_MAX
from althing.ledger.vm.meter import SLOT_BYTES, Meter
from althing.ledger.vm.values import (
    INDEX_ERROR,
    KEY_ERROR,
    ZERO_DIVISION,
    Dict,
    Struct,
    Value,
    compared,
    equal,
    key,
    key_of,
    kind_name,
    made,
    room,
    truth,
    type_error,
    value_error,
)

__all__ = [
    "BINARY",
    "UNARY",
    "delete_item",
    "extended",
    "get_field",
    "get_item",
    "get_slice",
    "missing",
    "search",
    "sequence",
    "set_field",
    "set_item",
    "store",
]

_OVERFLOW: Final = 7
_SYMBOLS: Final = {
    **{Op.ADD: "+", Op.SUB: "-", Op.MUL: "*", Op.DIV: "/", Op.FLOORDIV: "//", Op.MOD: "%", Op.POW: "**"},
    **{Op.LSHIFT: "<<", Op.RSHIFT: ">>", Op.BITOR: "|", Op.BITXOR: "^", Op.BITAND: "&"},
}
_INTEGERS: Final = (int, bool)
_SEQUENCES: Final = (str, bytes, list, tuple)


def _unsupported(op: int, left: Value, right: Value) -> NoReturn:
    raise type_error(f"{kind_name(left)} {_SYMBOLS[op]} {kind_name(right)} has no meaning")


def _ranged(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise Raised(_OVERFLOW, "an integer has more than 256 bits")


def _zero() -> NoReturn:
    raise Raised(ZERO_DIVISION, "division by zero")


def _integers(left: Value, right: Value) -> bool:
    return type(left) in _INTEGERS and type(right) in _INTEGERS


def _decimals(op: int, left: Value, right: Value) -> tuple[Decimal, Decimal]:
    """Both as Decimals, when one is and the other is a number; else the operator has no meaning."""
    if type(left) is Decimal:
        if type(right) is Decimal:
            return left, right
        if type(right) in _INTEGERS:
            return left, Decimal.of(int(right))
    elif type(right) is Decimal and type(left) in _INTEGERS:
        return Decimal.of(int(left)), right
    _unsupported(op, left, right)


def _add(left: Value, right: Value, meter: Meter) -> Value:
    if _integers(left, right):
        return _ranged(left + right)
    if type(left) is type(right) and type(left) in _SEQUENCES:
        room(type(left), len(left) + len(right), meter)
        return left + right
    a, b = _decimals(Op.ADD, left, right)
    return Decimal(a.units + b.units)


def _sub(left: Value, right: Value, meter: Meter) -> Value:
    if _integers(left, right):
        return _ranged(left - right)
    a, b = _decimals(Op.SUB, left, right)
    return Decimal(a.units - b.units)


def _mul(left: Value, right: Value, meter: Meter) -> Value:
    if _integers(left, right):
        return _ranged(left * right)
    if type(left) in _INTEGERS and type(right) in _SEQUENCES:
        left, right = right, left
    if type(left) in _SEQUENCES and type(right) in _INTEGERS:
        times = max(0, int(right))
        room(type(left), len(left) * times, meter)
        return left * times
    a, b = _decimals(Op.MUL, left, right)
    return a.times(b)


def _div(left: Value, right: Value, meter: Meter) -> Value:
    """Of two integers too it is a Decimal: there are no floats."""
    if _integers(left, right):
        left = Decimal.of(int(left))
    a, b = _decimals(Op.DIV, left, right)
    return a.over(b)


def _floordiv(left: Value, right: Value, meter: Meter) -> Value:
    if _integers(left, right):
        return _ranged(left // right) if right else _zero()
    a, b = _decimals(Op.FLOORDIV, left, right)
    return a.floored(b)[0]


def _mod(left: Value, right: Value, meter: Meter) -> Value:
    if _integers(left, right):
        return left % right if right else _zero()
    if type(left) is str:
        raise type_error("text is not formatted with %: write an f-string")
    a, b = _decimals(Op.MOD, left, right)
    return a.floored(b)[1]


def _pow(left: Value, right: Value, meter: Meter) -> Value:
    if type(right) not in _INTEGERS or type(left) not in (int, bool, Decimal):
        _unsupported(Op.POW, left, right)
    exponent = int(right)
    if exponent < 0:
        raise value_error("an exponent is not negative: write 1 / x ** n")
    if type(left) is Decimal:
        # One multiplication each bit of the exponent; a base beyond one overflows long before a thousand.
        if exponent > 1024:
            raise Raised(_OVERFLOW, "an exponent of a Decimal is at most 1024")
        result, base = Decimal.of(1), left
        while exponent:
            meter.charge(10)
            if exponent & 1:
                result = result.times(base)
            exponent >>= 1
            base = base.times(base) if exponent else base
        return result
    base_bits = int(left).bit_length()
    if base_bits > 1 and exponent > INT_BITS:
        raise Raised(_OVERFLOW, "an integer has more than 256 bits")
    if base_bits <= 1:
        exponent = min(exponent, 2 + (exponent & 1))  # -1, 0 and 1: only whether it is zero, odd or even matters
    if (base_bits - 1) * exponent > INT_BITS:
        raise Raised(_OVERFLOW, "an integer has more than 256 bits")
    meter.charge(exponent // 8)
    return _ranged(int(left) ** exponent)


def _shift(op: int, left: Value, right: Value) -> Value:
    if not _integers(left, right):
        _unsupported(op, left, right)
    if right < 0:
        raise value_error("a shift is not negative")
    if op == Op.RSHIFT:
        return left >> min(int(right), INT_BITS)
    if left and right > INT_BITS:
        raise Raised(_OVERFLOW, "an integer has more than 256 bits")
    return _ranged(left << right) if left else 0


def _lshift(left: Value, right: Value, meter: Meter) -> Value:
    return _shift(Op.LSHIFT, left, right)


def _rshift(left: Value, right: Value, meter: Meter) -> Value:
    return _shift(Op.RSHIFT, left, right)


def _bitor(left: Value, right: Value, meter: Meter) -> Value:
    return left | right if _integers(left, right) else _unsupported(Op.BITOR, left, right)


def _bitxor(left: Value, right: Value, meter: Meter) -> Value:
    return left ^ right if _integers(left, right) else _unsupported(Op.BITXOR, left, right)


def _bitand(left: Value, right: Value, meter: Meter) -> Value:
    return left & right if _integers(left, right) else _unsupported(Op.BITAND, left, right)


def _eq(left: Value, right: Value, meter: Meter) -> bool:
    return equal(left, right, meter)


def _ne(left: Value, right: Value, meter: Meter) -> bool:
    return not equal(left, right, meter)


def _lt(left: Value, right: Value, meter: Meter) -> bool:
    return compared(left, right, meter) < 0


def _le(left: Value, right: Value, meter: Meter) -> bool:
    return compared(left, right, meter) <= 0


def _gt(left: Value, right: Value, meter: Meter) -> bool:
    return compared(left, right, meter) > 0


def _ge(left: Value, right: Value, meter: Meter) -> bool:
    return compared(left, right, meter) >= 0


def _contains(item: Value, container: Value, meter: Meter) -> bool:
    kind = type(container)
    if kind is Dict:
        return key(item, meter) in container.items
    if kind is str or kind is bytes:
        if type(item) is not kind:
            if kind is bytes and type(item) in _INTEGERS:
                meter.work(len(container))
                return 0 <= item < 256 and int(item) in container
            raise type_error(f"a {kind.__name__} contains a {kind.__name__}, not a {kind_name(item)}")
        search(container, item, meter)
        return item in container
    if kind is list or kind is tuple:
        for other in container:
            meter.work(SLOT_BYTES)
            if equal(item, other, meter):
                return True
        return False
    raise type_error(f"a {kind_name(container)} contains nothing")


def search(container: str | bytes, part: str | bytes, meter: Meter) -> None:
    """Pays for the worst a search can take: every place, and as much of the part as can match there."""
    meter.charge(len(container) // 4 + len(container) * min(len(part), 64) // 64)


def _not_in(item: Value, container: Value, meter: Meter) -> bool:
    return not _contains(item, container, meter)


BINARY: Final[dict[int, Callable[[Value, Value, Meter], Value]]] = {
    **{Op.ADD: _add, Op.SUB: _sub, Op.MUL: _mul, Op.DIV: _div, Op.FLOORDIV: _floordiv, Op.MOD: _mod, Op.POW: _pow},
    **{Op.LSHIFT: _lshift, Op.RSHIFT: _rshift, Op.BITOR: _bitor, Op.BITXOR: _bitxor, Op.BITAND: _bitand},
    **{Op.EQ: _eq, Op.NE: _ne, Op.LT: _lt, Op.LE: _le, Op.GT: _gt, Op.GE: _ge, Op.IN: _contains, Op.NOT_IN: _not_in},
}


def _neg(value: Value) -> Value:
    if type(value) in _INTEGERS:
        return _ranged(-value)
    if type(value) is Decimal:
        return Decimal(-value.units)
    raise type_error(f"-{kind_name(value)} has no meaning")


def _pos(value: Value) -> Value:
    if type(value) in _INTEGERS:
        return int(value)
    if type(value) is Decimal:
        return value
    raise type_error(f"+{kind_name(value)} has no meaning")


def _invert(value: Value) -> Value:
    if type(value) in _INTEGERS:
        return -1 - value
    raise type_error(f"~{kind_name(value)} has no meaning")


def _not(value: Value) -> bool:
    return not truth(value)


UNARY: Final[dict[int, Callable[[Value], Value]]] = {Op.NEG: _neg, Op.POS: _pos, Op.INVERT: _invert, Op.NOT: _not}


# --- items, slices, fields --------------------------------------------------------------------------------------


def _place(container: Value, index: Value) -> int:
    if type(index) not in _INTEGERS:
        raise type_error(f"an index is an int, not a {kind_name(index)}")
    size = len(container)
    place = int(index) + size if index < 0 else int(index)
    if not 0 <= place < size:
        raise Raised(INDEX_ERROR, f"index {index} is outside of {size} items")
    return place


def missing(item: Value) -> Raised:
    shown = str(item) if type(item) in (int, bool) else item if type(item) is str else kind_name(item)
    return Raised(KEY_ERROR, f"no key {shown[:64]}")


def get_item(container: Value, index: Value, meter: Meter) -> Value:
    kind = type(container)
    if kind is Dict:
        token = key(index, meter)
        if token not in container.items:
            raise missing(index)
        return container.items[token]
    if kind in _SEQUENCES:
        return container[_place(container, index)]
    raise type_error(f"a {kind_name(container)} has no items")


def get_slice(container: Value, lower: Value, upper: Value, meter: Meter) -> Value:
    if type(container) not in _SEQUENCES:
        raise type_error(f"a {kind_name(container)} has no slices")
    for bound in (lower, upper):
        if bound is not None and type(bound) not in _INTEGERS:
            raise type_error("the bounds of a slice are int or left out")
    start, stop, _ = slice(lower, upper).indices(len(container))
    room(type(container), max(0, stop - start), meter)
    return container[start:stop]


def set_item(container: Value, index: Value, value: Value, meter: Meter) -> None:
    if type(container) is list:
        container[_place(container, index)] = value
    elif type(container) is Dict:
        store(container, key(index, meter), value, meter)
    else:
        raise type_error(f"items of a {kind_name(container)} are not assigned")


def store(target: Dict, token: object, value: Value, meter: Meter) -> None:
    """One entry of a dict; a new one takes room."""
    if token not in target.items:
        if len(target.items) >= ITEMS_HELD_MAX:
            raise value_error(f"a dict has at most {ITEMS_HELD_MAX} items")
        meter.allocate(3 * SLOT_BYTES)
    target.items[token] = value


def delete_item(container: Value, index: Value, meter: Meter) -> None:
    if type(container) is list:
        meter.work(8 * len(container))
        del container[_place(container, index)]
    elif type(container) is Dict:
        token = key(index, meter)
        if token not in container.items:
            raise missing(index)
        del container.items[token]
    else:
        raise type_error(f"items of a {kind_name(container)} are not deleted")


def _field(value: Value, name: str) -> int:
    if type(value) is not Struct:
        raise type_error(f"a {kind_name(value)} has no field {name}")
    place = value.type.index.get(name)
    if place is None:
        raise type_error(f"{value.type.name} has no field {name}")
    return int(place)


def get_field(value: Value, name: str) -> Value:
    return value.values[_field(value, name)]


def set_field(target: Value, name: str, value: Value) -> None:
    target.values[_field(target, name)] = value


def extended(target: list[Value], more: Value, meter: Meter) -> None:
    """list.extend and +=: the list itself grows."""
    items = list(made(sequence(more, meter), meter))
    if len(target) + len(items) > ITEMS_HELD_MAX:
        raise value_error(f"a list has at most {ITEMS_HELD_MAX} items")
    target.extend(items)


def sequence(value: Value, meter: Meter) -> Sequence[Value]:
    """What `for` walks over: of a dict its keys, as they are now."""
    kind = type(value)
    if kind is Dict:
        meter.allocate(SLOT_BYTES * (len(value.items) + 1))
        return [key_of(token) for token in value.items]
    if kind in _SEQUENCES:
        return value  # type: ignore[no-any-return]
    raise type_error(f"a {kind_name(value)} cannot be walked over")
