"""Times written in messages, as whole nanoseconds since the Unix epoch: RFC 3339, Unix numbers, and declared patterns.

Zones are fixed offsets only: a name like Europe/Oslo means what a database says that changes several times a year, so a
resolution repeated years later could differ. docs/spec/payloads.md §7 is the normative text.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from althing.protocol.decimals import NS_MAX, from_text, to_ns
from althing.protocol.errors import PayloadError

__all__ = ["OFFSET_MINUTES_MAX", "UNIX_FORMATS", "compile_pattern", "days_from_civil", "parse_time"]

OFFSET_MINUTES_MAX: Final = 24 * 60 - 1
PATTERN_CHARS_MAX: Final = 64
UNIX_FORMATS: Final = {"unix_s": 0, "unix_ms": -3, "unix_us": -6, "unix_ns": -9}

_NS: Final = 10**9
_RFC3339: Final = re.compile(
    r"(?P<YYYY>[0-9]{4})-(?P<MM>[0-9]{2})-(?P<DD>[0-9]{2})[Tt ](?P<HH>[0-9]{2}):(?P<mm>[0-9]{2}):(?P<ss>[0-9]{2})"
    r"(?:\.(?P<S>[0-9]+))?(?:[Zz]|(?P<sign>[+-])(?P<zh>[0-9]{2}):(?P<zm>[0-9]{2}))"
)
_TOKEN: Final = re.compile(r"YYYY|MM|DD|HH|mm|ss|S+|\[|\]|[-/:., TtZ_]")
_WIDTH: Final = {"YYYY": 4, "MM": 2, "DD": 2, "HH": 2, "mm": 2, "ss": 2}


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A pattern like `YYYY-MM-DD HH:mm[:ss[.SSS]]`: each token at most once, optional groups in brackets."""
    if not 0 < len(pattern) <= PATTERN_CHARS_MAX:
        raise _bad(pattern, f"is empty or longer than {PATTERN_CHARS_MAX}")
    parts: list[str] = []
    seen: list[str] = []
    at = 0
    groups: list[int] = []  # how many tokens stood before each open group
    while at < len(pattern):
        match = _TOKEN.match(pattern, at)
        if match is None:
            raise _bad(pattern, f"has {pattern[at]!r}, which is neither a token nor one of '-/:., TtZ_'")
        part, at = match.group(), match.end()
        if part == "[":
            groups.append(len(seen))
            parts.append("(?:")
        elif part == "]":
            # A group without a token would match in many ways, and a long text would take exponential time.
            if not groups or groups.pop() == len(seen):
                raise _bad(pattern, "closes a group that is not open or holds no part of the time")
            parts.append(")?")
        elif part in _WIDTH or part[0] == "S":
            name = "S" if part[0] == "S" else part
            if name in seen or len(part) > 9:
                raise _bad(pattern, f"has {name} twice or too long")
            if groups and name in ("YYYY", "MM", "DD"):
                raise _bad(pattern, "has a part of the date in an optional group")
            seen.append(name)
            parts.append(f"(?P<{name}>[0-9]{{{_WIDTH.get(name, len(part))}}})")
        else:
            parts.append(re.escape(part))
    if groups:
        raise _bad(pattern, "leaves a group open")
    if any(name not in seen for name in ("YYYY", "MM", "DD")):
        raise _bad(pattern, "needs YYYY, MM and DD")
    if any(finer in seen and coarser not in seen for coarser, finer in (("HH", "mm"), ("mm", "ss"), ("ss", "S"))):
        raise _bad(pattern, "has a finer part of the time without the coarser one")
    return re.compile("".join(parts))


def parse_time(value: Any, form: str, offset_minutes: int) -> int | None:
    """Nanoseconds since the epoch of a JSON value in a declared form, or None when it is not a time of that form.

    `form` is "rfc3339", one of UNIX_FORMATS, or a pattern; `offset_minutes` (east positive) applies to patterns only.
    """
    shift = UNIX_FORMATS.get(form)
    if shift is not None:
        return _unix(value, shift)
    if type(value) is not str or len(value) > 2 * PATTERN_CHARS_MAX:
        return None
    match = (_RFC3339 if form == "rfc3339" else compile_pattern(form)).fullmatch(value)
    return None if match is None else _civil(match.groupdict(), offset_minutes, leap=form == "rfc3339")


def days_from_civil(year: int, month: int, day: int) -> int | None:
    """Days from 1970-01-01 to a date of the proleptic Gregorian calendar, or None if there is no such date."""
    if not 1 <= year <= 9999 or not 1 <= month <= 12:
        return None
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    length = 28 + leap if month == 2 else 30 if month in (4, 6, 9, 11) else 31
    if not 1 <= day <= length:
        return None
    # Years begin in March here, so the leap day is the last of its year.
    shifted = year - (month <= 2)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400 + day_of_year - 719468


def _unix(value: Any, shift: int) -> int | None:
    if type(value) is str:
        value = from_text(value)
    if type(value) is int:
        value = Decimal(value)
    if type(value) is not Decimal or value.adjusted() > 30:
        return None
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    return to_ns(Decimal((sign, digits, exponent + shift)))


def _civil(parts: dict[str, str | None], offset_minutes: int, *, leap: bool) -> int | None:
    days = days_from_civil(int(parts["YYYY"] or 0), int(parts["MM"] or 0), int(parts["DD"] or 0))
    hour, minute, second = (int(parts.get(name) or 0) for name in ("HH", "mm", "ss"))
    # A leap second has no POSIX time of its own: 23:59:60 is the same instant as the second after it.
    if days is None or hour > 23 or minute > 59 or second > (60 if leap else 59):
        return None
    if parts.get("zh") is not None:
        zone_hour, zone_minute = int(parts["zh"] or 0), int(parts["zm"] or 0)
        if zone_hour > 23 or zone_minute > 59:
            return None
        offset_minutes = (zone_hour * 60 + zone_minute) * (-1 if parts["sign"] == "-" else 1)
    elif leap:
        offset_minutes = 0
    fraction = int(((parts.get("S") or "") + "0" * 9)[:9])
    seconds = days * 86400 + hour * 3600 + minute * 60 + second - offset_minutes * 60
    ns = seconds * _NS + fraction
    return ns if -NS_MAX <= ns <= NS_MAX else None


def _bad(pattern: str, why: str) -> PayloadError:
    return PayloadError(
        "payload.definition", f"the time pattern {pattern!r} {why}", hint="for example YYYY-MM-DD HH:mm[:ss]"
    )
