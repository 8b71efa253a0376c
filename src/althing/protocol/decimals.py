"""Exact decimals: every number a device sends, as digits and a power of ten, never as a binary fraction.

A value is coefficient × 10^exponent, kept as written (1.10 stays 1.10). The standard library's `Decimal` holds the
pair; arithmetic goes through one context that traps inexact results, so the caller's context has no influence.
docs/spec/payloads.md §2 is the normative text.
"""

from __future__ import annotations

import struct
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow, Rounded
from enum import Enum
from functools import lru_cache
from typing import Final

__all__ = [
    "DIGITS_MAX",
    "EXPONENT_MAX",
    "NS_MAX",
    "BadNumber",
    "Number",
    "add",
    "add_exact",
    "exact_ns",
    "floor_ns",
    "from_cbor_double",
    "from_cbor_half",
    "from_cbor_single",
    "from_int",
    "from_json",
    "from_pair",
    "from_text",
    "shortest",
    "text",
    "to_ns",
    "to_pair",
]

DIGITS_MAX: Final = 64  # significant digits as written; a double needs 17, a 128-bit decimal 34
EXPONENT_MAX: Final = 400  # |exponent|; a double's shortest digits end at 10^-340, its largest value is near 10^308
NS_MAX: Final = 2**63 - 1  # 2262-04-11; nanoseconds since the epoch stay in a signed 64-bit integer

_COEFFICIENT_END: Final = 10**DIGITS_MAX
_EXACT: Final = Context(prec=1200, traps=[Inexact, Rounded, InvalidOperation, Overflow, DivisionByZero])
_ZERO: Final = Decimal(0)
_JSON_DIGITS: Final = frozenset("0123456789")


class BadNumber(Enum):
    """Why something written as a number has no exact value here; it becomes the reading's flag."""

    NOT_FINITE = "NaN or infinity"
    OUT_OF_RANGE = "beyond 64 digits or a power of ten beyond 400"


Number = Decimal | BadNumber


def from_json(written: str) -> Number:
    """The value of a JSON number (RFC 8259 §6) with its digits as written. The caller has checked the grammar."""
    if len(written) <= 19 and "e" not in written and "E" not in written:
        value = Decimal(written)
        return value if value else value.copy_abs()  # zero has no sign
    mantissa, _, power = written.replace("E", "e").partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    sign = power[:1] == "-"
    power = power.lstrip("+-").lstrip("0")
    if len(power) > 6:
        return BadNumber.OUT_OF_RANGE
    exponent = (-int(power or "0") if sign else int(power or "0")) - len(fraction)
    digits = (whole + fraction).lstrip("0")
    if len(digits) > DIGITS_MAX or not -EXPONENT_MAX <= exponent <= EXPONENT_MAX:
        return BadNumber.OUT_OF_RANGE
    minus = "-" if digits and written[0] == "-" else ""
    return Decimal(f"{minus}{digits or '0'}e{exponent}")


def from_text(written: str) -> Number | None:
    """The value of a text that is a JSON number but for a leading '+' or zeros (`+08.0`); None if it is not."""
    sign, body = ("-", written[1:]) if written[:1] == "-" else ("", written.removeprefix("+"))
    mantissa, mark, power = body.replace("E", "e").partition("e")
    whole, point, fraction = mantissa.partition(".")
    power_digits = power[1:] if power[:1] in ("+", "-") else power
    if not whole or not _JSON_DIGITS.issuperset(whole + fraction + power_digits):
        return None
    if (point and not fraction) or (mark and not power_digits):
        return None
    return from_json(f"{sign}{whole}{point}{fraction}{mark}{power}")


def from_int(value: int) -> Number:
    """An integer, exponent 0."""
    return Decimal(value) if -_COEFFICIENT_END < value < _COEFFICIENT_END else BadNumber.OUT_OF_RANGE


def from_pair(coefficient: int, exponent: int) -> Number:
    """coefficient × 10^exponent, as in a CBOR decimal fraction (RFC 8949 §3.4.4)."""
    if not -EXPONENT_MAX <= exponent <= EXPONENT_MAX or not -_COEFFICIENT_END < coefficient < _COEFFICIENT_END:
        return BadNumber.OUT_OF_RANGE
    return Decimal(f"{coefficient}e{exponent}")


def to_pair(value: Decimal) -> tuple[int, int]:
    """(coefficient, exponent) of a finite value, as from_pair takes them."""
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    coefficient = int("".join(map(str, digits)))
    return (-coefficient if sign else coefficient), exponent


def text(value: Decimal) -> str:
    """The one text of a value, always a JSON number; with a = (number of digits) + exponent - 1:
    plain digits if exponent ≤ 0 and a ≥ -6, else d.ddd, `e`, the sign of a, a.
    """
    return str(value).replace("E", "e")


def add(left: Decimal, right: Decimal) -> Number:
    """The exact sum; its exponent is the smaller of the two. Beyond the bounds it is OUT_OF_RANGE."""
    total = add_exact(left, right)
    if len(total.as_tuple().digits) > DIGITS_MAX:
        return BadNumber.OUT_OF_RANGE
    return total


def add_exact(left: Decimal, right: Decimal) -> Decimal:
    """The exact sum of two bounded values, with as many digits as it needs (at most 866)."""
    return _EXACT.add(left, right)


def floor_ns(seconds: Decimal) -> int:
    """Seconds as whole nanoseconds, rounded down (towards minus infinity)."""
    scaled = _EXACT.scaleb(seconds, 9)
    ns = int(scaled)
    return ns - 1 if ns > scaled else ns  # int() rounds towards zero


def exact_ns(seconds: Decimal) -> int | None:
    """Seconds as nanoseconds, or None if they are finer than that."""
    scaled = _EXACT.scaleb(seconds, 9)
    ns = int(scaled)
    return ns if ns == scaled else None


def to_ns(seconds: Decimal) -> int | None:
    """`floor_ns`, or None beyond a signed 64-bit integer."""
    ns = floor_ns(seconds)
    return ns if -NS_MAX <= ns <= NS_MAX else None


def from_cbor_double(raw: bytes) -> Number:
    """Eight bytes of a CBOR double as its shortest decimal: CPython's repr, equal to `shortest` as a test shows."""
    (value,) = struct.unpack(">d", raw)
    written = repr(value)
    if written[-1] in "nf":  # nan, inf
        return BadNumber.NOT_FINITE
    return from_json(written.removesuffix(".0"))


@lru_cache(maxsize=1 << 15)
def from_cbor_single(raw: bytes) -> Number:
    """Four bytes of a CBOR single as the shortest decimal that rounds to it *as a single*."""
    return _from_bits(int.from_bytes(raw, "big"), 23, 8)


@lru_cache(maxsize=1 << 12)
def from_cbor_half(raw: bytes) -> Number:
    """Two bytes of a CBOR half as the shortest decimal that rounds to it *as a half*."""
    return _from_bits(int.from_bytes(raw, "big"), 10, 5)


def _from_bits(bits: int, fraction_bits: int, exponent_bits: int) -> Number:
    fraction = bits & ((1 << fraction_bits) - 1)
    biased = (bits >> fraction_bits) & ((1 << exponent_bits) - 1)
    if biased == (1 << exponent_bits) - 1:
        return BadNumber.NOT_FINITE
    if biased == 0 and fraction == 0:
        return _ZERO
    bias = (1 << (exponent_bits - 1)) - 1
    significand = fraction if biased == 0 else fraction | (1 << fraction_bits)
    power = max(biased, 1) - bias - fraction_bits
    coefficient, exponent = shortest(significand, power, narrow_below=fraction == 0 and biased > 1)
    if exponent > 0 and len(str(coefficient)) + exponent <= 16:
        coefficient, exponent = coefficient * 10**exponent, 0
    return from_pair(-coefficient if bits >> (fraction_bits + exponent_bits) else coefficient, exponent)


def shortest(significand: int, power: int, *, narrow_below: bool) -> tuple[int, int]:
    """The decimal of fewest digits that rounds (half to even) to significand × 2^power; of those the nearest.

    `narrow_below`: the neighbour below is half as far as the one above (the significand is a power of two).
    Integers only (Steele & White 1990, free-format), so every implementation gets the same digits.
    """
    # 1. The rounding interval, in units of 2^(power-2); its ends belong to it when the significand is even.
    middle, high = 4 * significand, 4 * significand + 2
    low = 4 * significand - (1 if narrow_below else 2)
    closed = significand % 2 == 0
    up, down = (1 << max(power - 2, 0)), (1 << max(2 - power, 0))
    # 2. From the largest power of ten downwards, the first with a multiple inside the interval has the fewest digits.
    exponent = (power + significand.bit_length()) * 30103 // 100000 + 1
    while True:
        scale_up, scale_down = 10 ** max(-exponent, 0), 10 ** max(exponent, 0)
        unit = down * scale_down  # one step of the candidate, on the common denominator
        at, least, most = (bound * up * scale_up for bound in (middle, low, high))
        floor = at // unit
        inside = [
            (abs(candidate * unit - at), candidate % 2, candidate)
            for candidate in (floor, floor + 1)
            if (least <= candidate * unit <= most if closed else least < candidate * unit < most)
        ]
        if inside:
            return min(inside)[2], exponent
        exponent -= 1
