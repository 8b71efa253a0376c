"""Decimal: an exact number with 18 places after the point, in 256 bits. No context, no exponent, one rounding rule.

Sums and differences are exact or overflow; products and quotients round half to even at the last place.
"""

from __future__ import annotations

import re
from typing import Final

from althing.ledger.vm.errors import Raised
from althing.ledger.vm.limits import DECIMAL_PLACES, INT_MAX, INT_MIN

__all__ = ["DECIMAL_ONE", "OVERFLOW", "Decimal", "divided"]

OVERFLOW: Final = 7  # errors.BUILTIN_ERRORS
_VALUE_ERROR: Final = 2
_ZERO_DIVISION: Final = 6
DECIMAL_ONE: Final = 10**DECIMAL_PLACES
_TEXT: Final = re.compile(r"([+-]?)([0-9]{1,78})(?:\.([0-9]{1,18}))?", re.ASCII)


def divided(numerator: int, denominator: int) -> int:
    """The quotient of two integers, rounded half to even."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * abs(rest)
    if twice > abs(denominator) or (twice == abs(denominator) and quotient & 1):
        quotient += 1
    return quotient


class Decimal:
    """`units` are multiples of 10^-18."""

    __slots__ = ("units",)

    def __init__(self, units: int) -> None:
        if not INT_MIN <= units <= INT_MAX:
            raise Raised(OVERFLOW, "a Decimal has more than 256 bits")
        self.units = units

    @classmethod
    def of(cls, value: int | str) -> Decimal:
        """Of an integer, or of a text such as -12.50; at most 18 places."""
        if isinstance(value, int):
            return cls(value * DECIMAL_ONE)
        match = _TEXT.fullmatch(value)
        if match is None:
            raise Raised(_VALUE_ERROR, "a Decimal is written as 12, -0.5 or 3.25, with at most 18 places")
        sign, whole, places = match.groups()
        units = int(whole) * DECIMAL_ONE + int((places or "").ljust(DECIMAL_PLACES, "0"))
        return cls(-units if sign == "-" else units)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decimal) and self.units == other.units

    __hash__ = None  # type: ignore[assignment]  # keys of dicts go through values.key

    def __repr__(self) -> str:
        return f"Decimal({str(self)!r})"

    def __str__(self) -> str:
        whole, places = divmod(abs(self.units), DECIMAL_ONE)
        tail = f"{places:018d}".rstrip("0")
        return f"{'-' if self.units < 0 else ''}{whole}{'.' if tail else ''}{tail}"

    def times(self, other: Decimal) -> Decimal:
        return Decimal(divided(self.units * other.units, DECIMAL_ONE))

    def over(self, other: Decimal) -> Decimal:
        if other.units == 0:
            raise Raised(_ZERO_DIVISION, "division by zero")
        return Decimal(divided(self.units * DECIMAL_ONE, other.units))

    def floored(self, other: Decimal) -> tuple[Decimal, Decimal]:
        """Quotient rounded down, and remainder with the divisor's sign, as Python's divmod of integers."""
        if other.units == 0:
            raise Raised(_ZERO_DIVISION, "division by zero")
        quotient, rest = divmod(self.units, other.units)
        return Decimal(quotient * DECIMAL_ONE), Decimal(rest)

    def rounded(self, places: int) -> Decimal:
        """To so many places, half to even."""
        if not 0 <= places <= DECIMAL_PLACES:
            raise Raised(_VALUE_ERROR, f"round to 0 to {DECIMAL_PLACES} places")
        step = 10 ** (DECIMAL_PLACES - places)
        return Decimal(divided(self.units, step) * step)
