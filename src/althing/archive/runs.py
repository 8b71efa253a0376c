"""What a segment holds of each stream: runs of sequences without a gap and the span of their times.

Kept as columns of 64-bit integers: an archive of 200 segments over 10,000 streams has two million runs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Runs", "StreamRun", "join_runs"]

_NONE: Final = -(2**63)  # no time has this value: NS_MAX is 2^63 - 1 on both sides of zero


@dataclass(frozen=True, slots=True)
class StreamRun:
    """Sequences first … end - 1 of a stream in a segment, without a gap, and what their times span.

    `place` is the place on the device's axis: device time, else arrival; None when the run has no reading. `untimed`
    counts readings without a device time. `latest_ns`: the stream's greatest device time so far not flagged `future`.
    """

    stream: int
    first: int
    end: int
    readings: int
    untimed: int
    place_min: int | None
    place_max: int | None
    arrival_min: int
    arrival_max: int
    block_min: int
    block_max: int
    latest_ns: int | None


_NAMES: Final = StreamRun.__slots__
_NULLABLE: Final = frozenset(("place_min", "place_max", "latest_ns"))


class Runs:
    """Runs in ascending order of (stream, first)."""

    __slots__ = ("_columns",)

    def __init__(self, runs: Iterable[StreamRun] = ()) -> None:
        ordered = sorted(runs, key=lambda run: (run.stream, run.first))
        self._columns = [
            array("q", [_NONE if (value := getattr(run, name)) is None else value for run in ordered])
            for name in _NAMES
        ]

    @classmethod
    def from_columns(cls, columns: Any) -> Runs:
        """The runs of decoded columns, or ValueError / OverflowError when they are not runs in order."""
        if (
            type(columns) is not list
            or len(columns) != len(_NAMES)
            or any(type(column) is not list for column in columns)
        ):
            raise ValueError("the runs are not columns")
        if len({len(column) for column in columns}) != 1:
            raise ValueError("the runs' columns differ in length")
        runs = cls()
        for at, (name, column) in enumerate(zip(_NAMES, columns, strict=True)):
            if any(type(value) is not int and not (value is None and name in _NULLABLE) for value in column):
                raise ValueError(f"{name} is not a number")
            runs._columns[at] = array("q", [_NONE if value is None else value for value in column])
        streams, firsts, ends = runs._columns[:3]
        for at in range(len(streams)):
            if firsts[at] < 0 or ends[at] <= firsts[at]:
                raise ValueError("a run is empty")
            if at and (streams[at - 1], ends[at - 1]) > (streams[at], firsts[at]):
                raise ValueError("the runs overlap or are not in order")
        return runs

    def to_columns(self) -> list[list[int | None]]:
        return [[None if value == _NONE else value for value in column] for column in self._columns]

    def of(self, stream: int) -> list[StreamRun]:
        """The runs of one stream."""
        streams = self._columns[0]
        return [self._at(at) for at in range(bisect_left(streams, stream), bisect_right(streams, stream))]

    def __len__(self) -> int:
        return len(self._columns[0])

    def __iter__(self) -> Iterator[StreamRun]:
        return (self._at(at) for at in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Runs) and self._columns == other._columns

    __hash__ = None  # type: ignore[assignment]

    def _at(self, at: int) -> StreamRun:
        return StreamRun(*[None if (value := column[at]) == _NONE else value for column in self._columns])  # type: ignore[arg-type]


def join_runs(runs: Sequence[StreamRun]) -> list[StreamRun]:
    """Runs of one stream in ascending order, neighbours made one."""
    joined: list[StreamRun] = []
    for run in runs:
        if joined and joined[-1].end == run.first:
            last = joined.pop()
            run = StreamRun(
                run.stream,
                last.first,
                run.end,
                last.readings + run.readings,
                last.untimed + run.untimed,
                _extreme(min, last.place_min, run.place_min),
                _extreme(max, last.place_max, run.place_max),
                min(last.arrival_min, run.arrival_min),
                max(last.arrival_max, run.arrival_max),
                min(last.block_min, run.block_min),
                max(last.block_max, run.block_max),
                _extreme(max, last.latest_ns, run.latest_ns),
            )
        joined.append(run)
    return joined


def _extreme(choose: Any, left: int | None, right: int | None) -> int | None:
    if left is None or right is None:
        return right if left is None else left
    return int(choose(left, right))
