"""What a message says: readings with exact values, their times, and flags instead of refusals.

A reading's address is (stream, sequence, index, quantity): index is the record's position in the message.
docs/spec/payloads.md §3 and §8 are the normative text; the bit numbers of `Flag` are part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

from althing.protocol.errors import PayloadError

__all__ = [
    "BACKFILL",
    "BAD_TIME",
    "BAD_VALUE",
    "FUTURE",
    "KIND_MISMATCH",
    "LATE",
    "MISSING",
    "NO_CLOCK",
    "NS",
    "OUT_OF_ORDER",
    "OUT_OF_RANGE",
    "UNIT_MISMATCH",
    "UNKNOWN_QUANTITY",
    "UNKNOWN_UNIT",
    "Flag",
    "Kind",
    "Reading",
    "Resolved",
    "Thresholds",
    "Value",
    "flag_names",
    "timing_flags",
]

NS: Final = 1_000_000_000


class Kind(IntEnum):
    """What a value is. The numbers stand in definitions on the chain."""

    NUMBER = 0
    TEXT = 1
    BOOL = 2
    BYTES = 3


class Flag(IntFlag):
    """What is remarkable about a reading. Stored as one integer; `flag_names` gives the words of API and tables."""

    MISSING = 1 << 0  # a declared missing token or null: recorded, without a value
    BAD_VALUE = 1 << 1  # NaN, infinity, or not of the form of its field: without a value
    OUT_OF_RANGE = 1 << 2  # a number beyond the bounds of exact decimals: without a value
    KIND_MISMATCH = 1 << 3  # the quantity is declared with another kind; the value stands as sent
    UNIT_MISMATCH = 1 << 4  # the quantity is declared with another unit; value and unit stand as sent
    UNKNOWN_UNIT = 1 << 5  # neither in the SenML registry nor declared by the quantity
    UNKNOWN_QUANTITY = 1 << 6  # the stream declares no quantity of this name
    BAD_TIME = 1 << 7  # a time that cannot be read or does not fit; there is no device time
    NO_CLOCK = 1 << 8  # the device gave no absolute time
    FUTURE = 1 << 9
    LATE = 1 << 10
    OUT_OF_ORDER = 1 << 11
    BACKFILL = 1 << 12


# Plain integers: IntFlag arithmetic costs a microsecond, and a reading is resolved in six.
MISSING: Final = int(Flag.MISSING)
BAD_VALUE: Final = int(Flag.BAD_VALUE)
OUT_OF_RANGE: Final = int(Flag.OUT_OF_RANGE)
KIND_MISMATCH: Final = int(Flag.KIND_MISMATCH)
UNIT_MISMATCH: Final = int(Flag.UNIT_MISMATCH)
UNKNOWN_UNIT: Final = int(Flag.UNKNOWN_UNIT)
UNKNOWN_QUANTITY: Final = int(Flag.UNKNOWN_QUANTITY)
BAD_TIME: Final = int(Flag.BAD_TIME)
NO_CLOCK: Final = int(Flag.NO_CLOCK)
FUTURE: Final = int(Flag.FUTURE)
LATE: Final = int(Flag.LATE)
OUT_OF_ORDER: Final = int(Flag.OUT_OF_ORDER)
BACKFILL: Final = int(Flag.BACKFILL)

Value = Decimal | str | bool | bytes | None


class Reading(NamedTuple):
    """One value of one quantity. A tuple, because building a frozen dataclass costs four times as much.

    `value` is None when missing or bad (the flags say which). `sum` is SenML's integral over time, in unit·s.
    `quantity` of an undeclared name is "?" followed by the name. `update_ns`: the next reading comes within this time.
    """

    index: int  # type: ignore[assignment]  # the field takes the place of tuple.index, which nobody needs here
    quantity: str
    kind: Kind
    value: Value
    unit: str
    device_time_ns: int | None
    flags: int
    sum: Decimal | None = None
    update_ns: int | None = None


class Resolved(NamedTuple):
    """All readings of a message in record order; `flags` is the union of theirs.

    `latest_ns` is the greatest device time not flagged `future`, to be carried as the stream's `previous_max_ns`.
    """

    records: tuple[Reading, ...]
    flags: int
    latest_ns: int | None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From how many seconds on a device time is remarkable. They are a stream's declaration; time never refuses."""

    future_s: int = 300  # clocks of devices drift by minutes; five are no news
    late_s: int = 3600  # an hour: longer than retries and short outages
    backfill_s: int = 86400  # a day: history being uploaded, not a late delivery

    def __post_init__(self) -> None:
        for seconds in (self.future_s, self.late_s, self.backfill_s):
            if type(seconds) is not int or not 0 <= seconds <= 2**31 - 1:
                raise PayloadError("payload.definition", "a threshold is 0 to 2^31-1 seconds")


def timing_flags(
    device_time_ns: int | None,
    arrival_ns: int,
    previous_max_ns: int | None,
    thresholds: Thresholds,
    *,
    backfill: bool = False,
) -> int:
    """The timing flags of one reading: `future`, `late`, `backfill`, `out_of_order`; nothing without a device time.

    `previous_max_ns` is the stream's greatest device time before this message (not within it: the records of a pack may
    be grouped by quantity). `backfill` says that stream or sender declared it; it replaces `late`.
    """
    if device_time_ns is None:
        return BACKFILL if backfill else 0
    age_ns = arrival_ns - device_time_ns
    flags = 0
    if backfill or age_ns > thresholds.backfill_s * NS:
        flags = BACKFILL
    elif age_ns > thresholds.late_s * NS:
        flags = LATE
    if -age_ns > thresholds.future_s * NS:
        flags |= FUTURE
    if previous_max_ns is not None and device_time_ns < previous_max_ns:
        flags |= OUT_OF_ORDER
    return flags


def flag_names(flags: int) -> tuple[str, ...]:
    """The words of a flags integer in bit order, as API, tables and exports show them."""
    return tuple(name for bit, name in _NAMES if flags & bit)


_NAMES: Final = tuple((int(flag), str(flag.name).lower()) for flag in Flag)
