"""Exact decimals: digits as written, shortest digits of floats by width, sums and nanoseconds without rounding error."""

from __future__ import annotations

import decimal
import json
import struct
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from althing.protocol.decimals import (
    DIGITS_MAX,
    EXPONENT_MAX,
    BadNumber,
    add,
    exact_ns,
    floor_ns,
    from_cbor_double,
    from_cbor_half,
    from_cbor_single,
    from_int,
    from_json,
    from_pair,
    from_text,
    shortest,
    text,
    to_ns,
    to_pair,
)

coefficients = st.integers(-(10**DIGITS_MAX) + 1, 10**DIGITS_MAX - 1)
exponents = st.integers(-EXPONENT_MAX, EXPONENT_MAX)
values = st.builds(from_pair, coefficients, exponents).filter(lambda value: type(value) is Decimal)
halves = st.binary(min_size=2, max_size=2)
singles = st.binary(min_size=4, max_size=4)
doubles = st.binary(min_size=8, max_size=8)


def exact(value: Decimal) -> Fraction:
    coefficient, exponent = to_pair(value)
    return Fraction(coefficient) * Fraction(10) ** exponent


def nearest(value: Fraction, fraction_bits: int, exponent_bits: int) -> Fraction:
    """The float of a width nearest to a rational, half to even, by rationals alone: the definition, not the algorithm."""
    lowest = 2 - (1 << (exponent_bits - 1)) - fraction_bits
    magnitude = abs(value)
    power = lowest
    while magnitude / Fraction(2) ** power >= (2 << fraction_bits):
        power += 1
    scaled = magnitude / Fraction(2) ** power
    whole = scaled.numerator // scaled.denominator
    rest = scaled - whole
    if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole % 2):
        whole += 1
    return (Fraction(whole) * Fraction(2) ** power) * (-1 if value < 0 else 1)


@given(values)
def test_text_and_pair_give_the_value_back(value: Decimal) -> None:
    assert to_pair(from_pair(*to_pair(value))) == to_pair(value)
    assert to_pair(from_json(text(value))) == to_pair(value)
    assert isinstance(json.loads(text(value)), int | float)


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,70})(\.[0-9]{1,70})?([eE][+-]?[0-9]{1,4})?", fullmatch=True))
def test_a_json_number_keeps_its_digits_or_is_out_of_range(written: str) -> None:
    value = from_json(written)
    mantissa, _, power = written.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits, exponent = (whole + fraction).lstrip("0"), int(power or "0") - len(fraction)
    if len(digits) > DIGITS_MAX or abs(exponent) > EXPONENT_MAX:
        assert value is BadNumber.OUT_OF_RANGE
    else:
        assert isinstance(value, Decimal)
        coefficient = int(digits or "0") * (-1 if written[0] == "-" else 1)
        assert to_pair(value) == (coefficient, exponent)
        assert not (value == 0 and value.is_signed())


@given(st.text(alphabet="+-0123456789.eE ", max_size=12))
def test_text_is_a_number_exactly_when_json_says_so(written: str) -> None:
    """Apart from a leading plus sign and zeros, which loggers write."""
    value = from_text(written)
    body = written[1:] if written[:1] in ("+", "-") else written
    stripped = body.lstrip("0")
    candidate = stripped if stripped[:1].isdigit() else ("0" + stripped if body[:1] == "0" else body)
    try:
        number = not body.startswith(("+", "-")) and json.loads(candidate, parse_float=Decimal, parse_int=Decimal)
    except json.JSONDecodeError:
        number = False
    is_number = number is not False and candidate.strip() == candidate and not candidate.startswith("-")
    assert (value is not None) == is_number


@given(values, values)
def test_a_sum_is_exact(left: Decimal, right: Decimal) -> None:
    total = add(left, right)
    if isinstance(total, Decimal):
        assert exact(total) == exact(left) + exact(right)
    else:
        assert abs(left.adjusted() - right.adjusted()) > 0 or len(left.as_tuple().digits) == DIGITS_MAX


@given(values, values)
def test_the_callers_decimal_context_has_no_influence(left: Decimal, right: Decimal) -> None:
    expected = add(left, right), text(left), floor_ns(left), exact_ns(right)
    with decimal.localcontext(decimal.Context(prec=3, capitals=0, Emax=5, Emin=-5)):
        assert (add(left, right), text(left), floor_ns(left), exact_ns(right)) == expected


@given(values)
def test_nanoseconds_are_rounded_down(seconds: Decimal) -> None:
    scaled = exact(seconds) * 10**9
    floor = scaled.numerator // scaled.denominator
    assert floor_ns(seconds) == floor
    assert exact_ns(seconds) == (floor if floor == scaled else None)
    assert to_ns(seconds) == (floor if abs(floor) < 2**63 else None)


@given(doubles)
def test_a_doubles_digits_are_the_shortest(raw: bytes) -> None:
    value = from_cbor_double(raw)
    bits = int.from_bytes(raw, "big")
    biased, fraction = (bits >> 52) & 0x7FF, bits & (2**52 - 1)
    if biased == 0x7FF:
        assert value is BadNumber.NOT_FINITE
        return
    assert isinstance(value, Decimal)
    if biased or fraction:
        significand = fraction | (2**52 if biased else 0)
        digits, exponent = shortest(significand, max(biased, 1) - 1075, narrow_below=fraction == 0 and biased > 1)
        assert exact(value) == Fraction(digits) * Fraction(10) ** exponent * (-1 if bits >> 63 else 1)
    else:
        assert to_pair(value) == (0, 0)


@given(singles)
def test_a_single_comes_back_from_its_digits_and_no_fewer_do(raw: bytes) -> None:
    (as_float,) = struct.unpack(">f", raw)
    check_width(from_cbor_single(raw), as_float, 23, 8)


@given(halves)
def test_a_half_comes_back_from_its_digits_and_no_fewer_do(raw: bytes) -> None:
    (as_float,) = struct.unpack(">e", raw)
    check_width(from_cbor_half(raw), as_float, 10, 5)


def check_width(value: Decimal | BadNumber, as_float: float, fraction_bits: int, exponent_bits: int) -> None:
    if as_float != as_float or as_float in (float("inf"), float("-inf")):
        assert value is BadNumber.NOT_FINITE
        return
    assert isinstance(value, Decimal)
    target = Fraction(as_float)
    assert nearest(exact(value), fraction_bits, exponent_bits) == target
    coefficient, exponent = to_pair(value)
    while coefficient and coefficient % 10 == 0:
        coefficient, exponent = coefficient // 10, exponent + 1
    if coefficient == 0:
        return
    # The two decimals with one digit less around the float do not round to it.
    step = Fraction(10) ** (exponent + 1)
    below = (abs(target) / step).numerator // (abs(target) / step).denominator
    for fewer in (below, below + 1):
        assert nearest(fewer * step, fraction_bits, exponent_bits) != abs(target)
    # Of equal length, none is nearer.
    distance = abs(exact(value) - target)
    for other in (abs(coefficient) - 1, abs(coefficient) + 1):
        candidate = other * Fraction(10) ** exponent
        if nearest(candidate, fraction_bits, exponent_bits) == abs(target):
            assert abs(candidate - abs(target)) >= distance


def test_integers_beyond_64_digits_are_out_of_range() -> None:
    assert from_int(10**64 - 1) == Decimal(10**64 - 1)
    assert from_int(10**64) is BadNumber.OUT_OF_RANGE
    assert from_pair(1, 401) is BadNumber.OUT_OF_RANGE
