"""Readings and charts by DuckDB over segments. All statements are put together from constants of this file."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from althing.archive.catalogue import Catalogue, Held
from althing.archive.errors import ArchiveError
from althing.archive.query import (
    Axis,
    Position,
    ReadingRow,
    ReadingsQuery,
    SeriesPoint,
    SeriesQuery,
)
from althing.archive.sql import Database
from althing.protocol.decimals import from_pair
from althing.protocol.reading import Kind, Value

__all__ = ["join_value", "overlapping", "read_page", "read_series", "reading_row", "span"]

_FILES_FIRST: Final = 4  # a page is often found in the first few segments of its order; then twice as many each time

_KINDS: Final = frozenset(int(kind) for kind in Kind)
_PLACE: Final = {
    Axis.DEVICE: "coalesce(device_time_ns, arrival_ns)",
    Axis.ARRIVAL: "arrival_ns",
    Axis.BLOCK: "block_time_ns",
}
_TIMED: Final = "device_time_ns"  # DEVICE where no reading lacks a time: row groups can be skipped by its statistics
_ROW: Final = (
    "sequence, record, quantity, kind, coefficient, exponent, text, data, unit, device_time_ns, arrival_ns, "
    "block_time_ns, height, flags, origin, schema_version, sum, update_ns"
)
# A double nearest to coefficient × 10^exponent: exact operands and one rounding (Clinger's fast path), else by text.
_POWERS: Final = "[" + ", ".join(f"1e{power}" for power in range(23)) + "]"
_NUMBER: Final = (
    "CASE WHEN exponent = 0 THEN coefficient::DOUBLE "
    "WHEN exponent BETWEEN -22 AND -1 AND coefficient BETWEEN -9007199254740992 AND 9007199254740992 "
    f"THEN coefficient::DOUBLE / {_POWERS}[1 - exponent] "
    "WHEN coefficient IS NOT NULL THEN (coefficient::VARCHAR || 'e' || exponent::VARCHAR)::DOUBLE "
    "ELSE text::DOUBLE END"
)


def span(held: Held, axis: Axis) -> tuple[int, int] | None:
    """First and last place of a run's readings on an axis; None when it has none."""
    run = held.run
    if not run.readings:
        return None
    if axis is Axis.DEVICE:
        assert run.place_min is not None
        assert run.place_max is not None
        return run.place_min, run.place_max
    return (run.arrival_min, run.arrival_max) if axis is Axis.ARRIVAL else (run.block_min, run.block_max)


def overlapping(
    held: Sequence[Held], axis: Axis, start_ns: int | None, end_ns: int | None
) -> list[tuple[int, int, Held]]:
    """The runs with readings in [start, end), each with its first and last place."""
    found = []
    for one in held:
        spanned = span(one, axis)
        if spanned is None or (start_ns is not None and spanned[1] < start_ns):
            continue
        if end_ns is None or spanned[0] < end_ns:
            found.append((*spanned, one))
    return found


def read_page(
    database: Database,
    catalogue: Catalogue,
    held: Sequence[Held],
    query: ReadingsQuery,
    next_sequence: int,
    after: Position | None,
) -> list[ReadingRow]:
    """Up to `limit` readings in order, after a position.

    Segments are taken in the order of their times, a few at a time: as soon as the page is full and no segment left could
    hold an earlier place, the rest is not opened. So the newest page of a million batches reads a few files.
    """
    start_ns, end_ns = query.start_ns, query.end_ns
    if after is not None and query.descending:
        end_ns = after.place_ns + 1 if end_ns is None else min(end_ns, after.place_ns + 1)
    elif after is not None:
        start_ns = after.place_ns if start_ns is None else max(start_ns, after.place_ns)
    runs = overlapping(held, query.axis, start_ns, end_ns)
    order = (lambda one: -one[1]) if query.descending else (lambda one: one[0])
    runs.sort(key=order)
    statement = _page_statement(query, start_ns, end_ns, after, [one for _, _, one in runs])
    values = _values(query.stream, next_sequence, start_ns, end_ns, query.quantity)
    values["limit"] = query.limit
    if after is not None:
        values |= {
            "place": after.place_ns,
            "after_sequence": after.sequence,
            "record": after.record,
            "name": after.quantity,
        }
    taken = _FILES_FIRST
    while True:
        files = {one.segment.name: one.segment for _, _, one in runs[:taken]}
        if not files:
            return []
        with database.run(statement, [catalogue.path(segment) for segment in files.values()], values) as cursor:
            rows = [reading_row(query.stream, row) for row in cursor.fetchall()]
        if taken >= len(runs):
            return rows
        if len(rows) == query.limit:
            last = rows[-1].place_ns(query.axis)
            rest = runs[taken]
            if (rest[1] < last) if query.descending else (rest[0] > last):
                return rows
        taken *= 2


def read_series(
    database: Database, catalogue: Catalogue, held: Sequence[Held], query: SeriesQuery
) -> list[SeriesPoint]:
    """The buckets that hold a number, in order."""
    runs = overlapping(held, query.axis, query.start_ns, query.end_ns)
    if not runs:
        return []
    start = min(low for low, _, _ in runs) if query.start_ns is None else query.start_ns
    end = max(high for _, high, _ in runs) + 1 if query.end_ns is None else query.end_ns
    if end <= start:
        return []
    width = -(-(end - start) // query.points)
    files = {one.segment.name: one.segment for _, _, one in runs}
    place = _place(query.axis, [one for _, _, one in runs])
    statement = _series_statement(place, _where(place, start, end, query.quantity))
    values = _values(query.stream, query.as_of.next_sequence, start, end, query.quantity)
    values["width"] = width
    with database.run(statement, [catalogue.path(segment) for segment in files.values()], values) as cursor:
        return [SeriesPoint(*row) for row in cursor.fetchall()]


def reading_row(stream: int, row: Sequence[Any]) -> ReadingRow:
    """A row of the columns `_ROW`, or ArchiveError when it cannot come from a reading: the file is forged."""
    (
        sequence, record, quantity, kind, coefficient, exponent, text, data, unit, device_time_ns, arrival_ns,
        block_time_ns, height, flags, origin, schema_version, total, update_ns,
    ) = row  # fmt: skip
    where = f"stream {stream} sequence {sequence} record {record} quantity {quantity}"
    needed = (sequence, record, quantity, kind, unit, arrival_ns, block_time_ns, height, flags, origin, schema_version)
    if None in needed or kind not in _KINDS:
        raise ArchiveError("archive.column_differs", "a column is missing or out of range", where=where)
    return ReadingRow(
        stream,
        sequence,
        record,
        quantity,
        Kind(kind),
        join_value(kind, coefficient, exponent, text, data, where),
        unit,
        device_time_ns,
        arrival_ns,
        block_time_ns,
        height,
        flags,
        origin,
        schema_version,
        None if total is None else _decimal(total, where),
        update_ns,
    )


def join_value(
    kind: int, coefficient: int | None, exponent: int | None, text: str | None, data: bytes | None, where: str = ""
) -> Value:
    """The value of its columns (docs/spec/segments.md §4), the inverse of `split_value`."""
    if coefficient is not None:
        if exponent is None:
            return bool(coefficient)
        number = from_pair(coefficient, exponent)
        if not isinstance(number, Decimal):
            raise ArchiveError("archive.column_differs", "the exponent is out of range", where=where)
        return number
    if text is not None:
        return _decimal(text, where) if kind == Kind.NUMBER else text
    return data


def _decimal(text: str, where: str) -> Decimal:
    # `sum` may have more digits than a value may; all are finite.
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise ArchiveError("archive.column_differs", "not a decimal number", where=where)
    return number


def _page_statement(
    query: ReadingsQuery, start_ns: int | None, end_ns: int | None, after: Position | None, held: Sequence[Held]
) -> str:
    place = _place(query.axis, held)
    where = _where(place, start_ns, end_ns, query.quantity)
    direction, sign = ("DESC", "<") if query.descending else ("ASC", ">")
    if after is not None:
        where += f" AND ({place}, sequence, record, quantity) {sign} ($place, $after_sequence, $record, $name)"
    order = ", ".join(f"{column} {direction}" for column in (place, "sequence", "record", "quantity"))
    return f"SELECT {_ROW} FROM read_parquet($files) WHERE {where} ORDER BY {order} LIMIT $limit"  # noqa: S608


def _series_statement(place: str, where: str) -> str:
    return (
        "SELECT max(place), min(value), max(value), arg_max(value, address), arg_max(sequence, address), "  # noqa: S608
        "arg_max(record, address), count(*) FROM (SELECT sequence, record, place, value, "
        "{'place': place, 'sequence': sequence, 'record': record} AS address FROM (SELECT sequence, record, "
        f"{place} AS place, {_NUMBER} AS value FROM read_parquet($files) WHERE {where} AND kind = 0)) "
        "WHERE value IS NOT NULL GROUP BY (place - $start) // $width ORDER BY 1"
    )


def _place(axis: Axis, held: Sequence[Held]) -> str:
    return _TIMED if axis is Axis.DEVICE and not any(one.run.untimed for one in held) else _PLACE[axis]


def _where(place: str, start_ns: int | None, end_ns: int | None, quantity: str | None) -> str:
    parts = ["part = 1", "stream_number = $stream", "sequence < $next_sequence"]
    if start_ns is not None:
        parts.append(f"{place} >= $start")
    if end_ns is not None:
        parts.append(f"{place} < $end")
    if quantity is not None:
        parts.append("quantity = $quantity")
    return " AND ".join(parts)


def _values(
    stream: int, next_sequence: int, start_ns: int | None, end_ns: int | None, quantity: str | None
) -> dict[str, Any]:
    values: dict[str, Any] = {"stream": stream, "next_sequence": next_sequence}
    if start_ns is not None:
        values["start"] = start_ns
    if end_ns is not None:
        values["end"] = end_ns
    if quantity is not None:
        values["quantity"] = quantity
    return values
