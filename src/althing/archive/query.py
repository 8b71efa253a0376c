"""Questions about readings and their answers. Times are nanoseconds since 1970; ranges are half-open."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from hashlib import sha256
from typing import Final

from althing.archive.errors import QueryError
from althing.protocol.codec import decode, encode
from althing.protocol.decimals import text as decimal_text
from althing.protocol.errors import EncodingError
from althing.protocol.reading import Kind, Value

__all__ = [
    "LIMIT_MAX",
    "POINTS_MAX",
    "AsOf",
    "Axis",
    "Position",
    "ReadingRow",
    "ReadingsPage",
    "ReadingsQuery",
    "SeriesPoint",
    "SeriesQuery",
    "check_range",
    "parse_axis",
    "read_cursor",
    "write_cursor",
]

LIMIT_MAX: Final = 10_000  # rows of one page; an API may allow fewer
POINTS_MAX: Final = 10_000  # buckets of one chart; a screen has fewer columns
_CURSOR_CHARS_MAX: Final = 1024


class Axis(IntEnum):
    """By which time readings are placed and ordered.

    DEVICE: the device's time; a reading without one stands at its arrival (its `device_time` stays null, its flags say
    `no_clock` or `bad_time`), so that it is in the answer. ARRIVAL: the gateway's. BLOCK: of the block with its anchor.
    """

    DEVICE = 0
    ARRIVAL = 1
    BLOCK = 2


def parse_axis(word: str) -> Axis:
    """`device`, `arrival` or `block`, or QueryError `archive.query`."""
    for axis in Axis:
        if axis.name.lower() == word:
            return axis
    raise QueryError("archive.query", f"{word!r} is not a time axis", hint="device, arrival or block")


@dataclass(frozen=True, slots=True)
class AsOf:
    """What an answer is about: the stream's sequences below `next_sequence`, anchored up to block `height`.

    Sequences are contiguous and anchored in order, so this is a set that never changes afterwards.
    """

    height: int
    next_sequence: int


@dataclass(frozen=True, slots=True)
class ReadingsQuery:
    """A page of a stream's readings in order of (time, sequence, record, quantity), descending if asked.

    `as_of` is the stream's head now; a `cursor` brings its own, so pages stay stable while data arrives.
    """

    stream: int
    as_of: AsOf
    axis: Axis = Axis.DEVICE
    start_ns: int | None = None
    end_ns: int | None = None
    quantity: str | None = None
    descending: bool = False
    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """One reading with its address (stream, sequence, index, quantity) and all its times."""

    stream: int
    sequence: int
    index: int
    quantity: str
    kind: Kind
    value: Value
    unit: str
    device_time_ns: int | None
    arrival_ns: int
    block_time_ns: int
    height: int
    flags: int
    origin: int
    schema_version: int
    sum: Decimal | None
    update_ns: int | None

    @property
    def text(self) -> str | None:
        """The exact value as text: a JSON number, the text itself, `true`/`false`, base64url of bytes; None if missing."""
        value = self.value
        if type(value) is Decimal:
            return decimal_text(value)
        if type(value) is bool:
            return "true" if value else "false"
        if type(value) is bytes:
            return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
        return None if value is None else str(value)

    @property
    def number(self) -> float | None:
        """The nearest binary float of a number, for charts only."""
        return float(self.value) if type(self.value) is Decimal else None

    def place_ns(self, axis: Axis) -> int:
        """Where it stands on an axis."""
        if axis is Axis.DEVICE:
            return self.arrival_ns if self.device_time_ns is None else self.device_time_ns
        return self.arrival_ns if axis is Axis.ARRIVAL else self.block_time_ns


@dataclass(frozen=True, slots=True)
class ReadingsPage:
    """`next` is the cursor of the following page, None on the last one."""

    readings: tuple[ReadingRow, ...]
    next: str | None
    as_of: AsOf


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """A quantity's numbers over [start, end) in at most `points` buckets of equal width; open ends are the data's."""

    stream: int
    as_of: AsOf
    quantity: str
    axis: Axis = Axis.DEVICE
    start_ns: int | None = None
    end_ns: int | None = None
    points: int = 500


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """A bucket: extremes and the last reading of it, with its time and address. Floats, for charts only."""

    time_ns: int
    minimum: float
    maximum: float
    last: float
    sequence: int
    index: int
    count: int


@dataclass(frozen=True, slots=True)
class Position:
    """After which reading a page begins."""

    place_ns: int
    sequence: int
    record: int
    quantity: str


def write_cursor(query: ReadingsQuery, as_of: AsOf, at: Position) -> str:
    """An opaque cursor: the pinned head, a fingerprint of the question, and the last reading given."""
    item = [1, as_of.height, as_of.next_sequence, _fingerprint(query), at.place_ns, at.sequence, at.record, at.quantity]
    return base64.urlsafe_b64encode(encode(item)).rstrip(b"=").decode("ascii")


def read_cursor(query: ReadingsQuery, cursor: str) -> tuple[AsOf, Position]:
    """The parts of a cursor made for this very question, or QueryError `archive.cursor`."""
    try:
        if len(cursor) > _CURSOR_CHARS_MAX:
            raise ValueError
        item = decode(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        version, height, next_sequence, fingerprint, place_ns, sequence, record, quantity = item
        if [type(part) for part in item] != [int, int, int, bytes, int, int, int, str] or version != 1:
            raise ValueError
        for number in (height, next_sequence, place_ns, sequence, record):
            if not -(2**63) <= number < 2**63:
                raise ValueError
    except (ValueError, TypeError, EncodingError) as exc:
        raise QueryError("archive.cursor", "not a cursor of this API", hint="begin again without a cursor") from exc
    if fingerprint != _fingerprint(query):
        raise QueryError(
            "archive.cursor", "the cursor belongs to another question", hint="begin again without a cursor"
        )
    if next_sequence > query.as_of.next_sequence:
        raise QueryError("archive.cursor", "the cursor is ahead of this node", hint="ask again when it has caught up")
    return AsOf(height, next_sequence), Position(place_ns, sequence, record, quantity)


def _fingerprint(query: ReadingsQuery) -> bytes:
    item = [query.stream, int(query.axis), query.start_ns, query.end_ns, query.quantity, query.descending]
    return sha256(encode(item)).digest()[:8]


def check_range(start_ns: int | None, end_ns: int | None) -> None:
    """Both ends are 64-bit nanoseconds, else QueryError `archive.query`."""
    for bound in (start_ns, end_ns):
        if bound is not None and not -(2**63) < bound < 2**63:
            raise QueryError("archive.query", "a time is outside the years 1678 to 2262")
