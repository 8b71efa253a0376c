"""Parsers of the recordings in examples/: a machine's CSV, and the text exports of Q-tag CLm and Fridge-tag 2 loggers.

Texts are kept as the file has them (`+18.0`, `2022-11-08 04:49`): digits, zones and units are for the example's
declaration to interpret. A file that is not of its form raises RecordingError `recording.*` with the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from althing.protocol.errors import ProtocolError
from althing.protocol.limits import MESSAGE_BYTES_MAX

__all__ = [
    "AlarmRun",
    "DailyAlarm",
    "DailyRecord",
    "FridgeTagExport",
    "LoggerReading",
    "MachineRow",
    "QTagExport",
    "RecordingError",
    "parse_fridge_tag",
    "parse_machine_csv",
    "parse_qtag",
]

_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_MINUTE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}")
_SECOND: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CLOCK: Final = re.compile(r"[0-9]{2}:[0-9]{2}")
_COUNT: Final = re.compile(r"[0-9]+")
_MACHINE_HEADER: Final = "timestamp,value"
_QTAG_DEVICE: Final = "Q-tag CLm"
_FRIDGE_DEVICE: Final = "Q-tag Fridge-tag 2"
_DATA_HEADER: Final = ["yyyy-MM-dd hh:mm", "T", "Out of limits"]


class RecordingError(ProtocolError):
    """A recorded file is not of the form its parser knows."""


@dataclass(frozen=True, slots=True)
class MachineRow:
    """One row: local time of an undeclared zone, and the digits of a temperature of an undeclared unit."""

    time: str
    value: str


@dataclass(frozen=True, slots=True)
class LoggerReading:
    """One reading of a Q-tag: time to the minute, temperature, and the logger's mark "out of limits"."""

    time: str
    temperature: str
    out_of_limits: bool


@dataclass(frozen=True, slots=True)
class AlarmRun:
    """One run of a Q-tag's alarm; texts are empty where the file has none (a run not ended, an extreme not kept)."""

    alarm: int
    start: str
    minutes: str
    raised: str
    ended: str
    extreme: str
    extreme_at: str


@dataclass(frozen=True, slots=True)
class QTagExport:
    """What a Q-tag CLm recorded in one run."""

    serial: str
    device: str
    firmware: str
    started: str
    stopped: str
    readings: tuple[LoggerReading, ...]
    alarms: tuple[AlarmRun, ...]


@dataclass(frozen=True, slots=True)
class DailyAlarm:
    """An alarm's accumulated minutes of one day; `raised` is empty if it was not raised."""

    alarm: int
    minutes: str
    raised: str


@dataclass(frozen=True, slots=True)
class DailyRecord:
    """One day of a Fridge-tag 2: it keeps extremes and an average, no readings. `external_timeout` may be empty."""

    date: str
    minimum: str
    minimum_at: str
    maximum: str
    maximum_at: str
    average: str
    alarms: tuple[DailyAlarm, ...]
    internal_timeout: str
    external_timeout: str
    events: str
    checked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FridgeTagExport:
    """What a Fridge-tag 2 keeps: up to 60 days, newest first as in the file."""

    serial: str
    device: str
    firmware: str
    temperature_unit: str
    activated: str
    created: str
    days: tuple[DailyRecord, ...]


@dataclass(slots=True)
class _Node:
    """A line of an export and the lines indented below it. A line holds one or several `name: value`."""

    line: int
    pairs: dict[str, str]
    children: list[_Node] = field(default_factory=list)


def parse_machine_csv(data: bytes) -> tuple[MachineRow, ...]:
    """The rows of `timestamp,value`, in the file's order."""
    lines = _text(data).split("\n")
    if lines[0].rstrip("\r") != _MACHINE_HEADER:
        raise _error(1, f"the header is not {_MACHINE_HEADER!r}")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if not line and number == len(lines):
            break
        time, comma, value = line.rstrip("\r").partition(",")
        if not comma:
            raise _error(number, "a row has two fields")
        rows.append(MachineRow(_match(_SECOND, time, number), _match(_NUMBER, value, number)))
    return tuple(rows)


def parse_qtag(data: bytes) -> QTagExport:
    """The readings and alarm runs of a Q-tag CLm export."""
    lines = _text(data).split("\n")
    tree = _tree(["" if line.startswith("\t") else line for line in lines])
    if not _value(tree, "Device").startswith(_QTAG_DEVICE):
        raise _error(1, f"the device is not a {_QTAG_DEVICE}")
    result = _section(tree, "Res")
    return QTagExport(
        serial=_value(_section(tree, "Conf").children, "Serial"),
        device=_value(tree, "Device"),
        firmware=_value(tree, "Fw Vers"),
        started=_minute(result.children, "TS Start"),
        stopped=_minute(result.children, "TS Stop"),
        readings=tuple(_readings(lines)),
        alarms=tuple(_alarm_runs(_section(result.children, "Alarm"))),
    )


def parse_fridge_tag(data: bytes) -> FridgeTagExport:
    """The daily records of a Fridge-tag 2 export."""
    tree = _tree(_text(data).split("\n"))
    if _value(tree, "Device") != _FRIDGE_DEVICE:
        raise _error(1, f"the device is not a {_FRIDGE_DEVICE}")
    configuration = _section(tree, "Conf").children
    history = _section(tree, "Hist").children
    days = [node for node in history if node.children and all(name.isdigit() for name in node.pairs)]
    for expected, node in enumerate(days, 1):
        if node.pairs != {str(expected): ""}:
            raise _error(node.line, f"day {expected} is missing")
    return FridgeTagExport(
        serial=_value(configuration, "Serial"),
        device=_value(tree, "Device"),
        firmware=_value(tree, "Fw Vers"),
        temperature_unit=_value(configuration, "Temp unit"),
        activated=_minute(history, "TS Actv"),
        created=_minute(history, "TS Report Creation"),
        days=tuple(_day(node) for node in days),
    )


def _readings(lines: list[str]) -> Iterator[LoggerReading]:
    at = next((number for number, line in enumerate(lines) if line.rstrip("\r") == "Data:"), None)
    if at is None:
        raise _error(len(lines), "there is no table of readings")
    header = lines[at + 1].rstrip("\r").split("\t")[1:] if at + 1 < len(lines) else []
    if header != _DATA_HEADER:
        raise _error(at + 2, f"the columns of the readings are not {_DATA_HEADER}")
    for number, line in enumerate(lines[at + 2 :], at + 3):
        if not line.startswith("\t"):
            break
        cells = line.rstrip("\r").split("\t")[1:]
        if len(cells) != 3 or cells[2] not in ("", "x"):
            raise _error(number, "a reading has a time, a temperature and an 'x' or nothing")
        yield LoggerReading(_match(_MINUTE, cells[0], number), _match(_NUMBER, cells[1], number), cells[2] == "x")


def _alarm_runs(section: _Node) -> Iterator[AlarmRun]:
    for alarm in section.children:
        for run in alarm.children:
            pairs = run.pairs
            times = {key: _optional(_MINUTE, pairs.get(key, ""), run.line) for key in ("TS S", "TS A", "TS E", "TS M")}
            yield AlarmRun(
                alarm=_alarm_number(alarm),
                start=times["TS S"],
                minutes=_match(_COUNT, pairs.get("t A", ""), run.line),
                raised=times["TS A"],
                ended=times["TS E"],
                extreme=_optional(_NUMBER, pairs.get("T M", ""), run.line),
                extreme_at=times["TS M"],
            )


def _day(node: _Node) -> DailyRecord:
    parts, line = node.children, node.line
    external = [child for child in parts if "Ext Sensor timeout" in child.pairs]
    checked = [child for child in parts if "Checked" in child.pairs]
    return DailyRecord(
        date=_match(_DAY, _value(parts, "Date"), line),
        minimum=_match(_NUMBER, _value(parts, "Min T"), line),
        minimum_at=_match(_CLOCK, _value(parts, "TS Min T"), line),
        maximum=_match(_NUMBER, _value(parts, "Max T"), line),
        maximum_at=_match(_CLOCK, _value(parts, "TS Max T"), line),
        average=_match(_NUMBER, _value(parts, "Avrg T"), line),
        alarms=tuple(_daily_alarms(_section(parts, "Alarm"))),
        internal_timeout=_match(_COUNT, _value(_section(parts, "Int Sensor timeout").children, "t AccST"), line),
        external_timeout=_match(_COUNT, _value(external[0].children, "t AccST"), line) if external else "",
        events=_match(_COUNT, _value(parts, "Events"), line),
        checked=tuple(
            _match(_CLOCK, time, child.line)
            for part in checked
            for child in part.children
            for time in child.pairs.values()
        ),
    )


def _daily_alarms(section: _Node) -> Iterator[DailyAlarm]:
    for alarm in section.children:
        yield DailyAlarm(
            alarm=_alarm_number(alarm),
            minutes=_match(_COUNT, _value(alarm.children, "t Acc"), alarm.line),
            raised=next((child.pairs["TS A"] for child in alarm.children if "TS A" in child.pairs), ""),
        )


def _alarm_number(node: _Node) -> int:
    if len(node.pairs) != 1:
        raise _error(node.line, "an alarm begins with its number")
    (name,) = node.pairs
    return int(_match(_COUNT, name, node.line))


def _text(data: bytes) -> str:
    if len(data) > MESSAGE_BYTES_MAX:
        raise RecordingError("recording.too_large", f"a recording has at most {MESSAGE_BYTES_MAX} bytes")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as exc:
        raise RecordingError("recording.form", f"byte {exc.start} is not ASCII") from exc


def _tree(lines: list[str]) -> list[_Node]:
    """The lines by their indentation, one space a level."""
    roots: list[_Node] = []
    path: list[_Node] = []
    for number, line in enumerate(lines, 1):
        content = line.rstrip("\r").lstrip(" ")
        if not content:
            continue
        depth = len(line) - len(line.lstrip(" "))
        if depth > len(path):
            raise _error(number, "a line is indented by more than one level")
        pairs: dict[str, str] = {}
        for part in content.split(", "):
            name, colon, value = part.partition(":")
            if not colon or name in pairs:
                raise _error(number, f"{part!r} is not one 'name: value'")
            pairs[name] = value.strip(" ")
        node = _Node(number, pairs)
        (path[depth - 1].children if depth else roots).append(node)
        path[depth:] = [node]
    return roots


def _section(nodes: list[_Node], name: str) -> _Node:
    for node in nodes:
        if name in node.pairs and not node.pairs[name]:
            return node
    raise RecordingError("recording.form", f"the section {name!r} is missing")


def _value(nodes: list[_Node], name: str) -> str:
    for node in nodes:
        if node.pairs.get(name):
            return node.pairs[name]
    raise RecordingError("recording.form", f"the value {name!r} is missing")


def _minute(nodes: list[_Node], name: str) -> str:
    return _match(_MINUTE, _value(nodes, name), next(node.line for node in nodes if name in node.pairs))


def _match(pattern: re.Pattern[str], written: str, line: int) -> str:
    if pattern.fullmatch(written) is None:
        raise _error(line, f"{written!r} is not of its form")
    return written


def _optional(pattern: re.Pattern[str], written: str, line: int) -> str:
    return _match(pattern, written, line) if written else ""


def _error(line: int, what: str) -> RecordingError:
    return RecordingError("recording.form", f"line {line}: {what}", hint="export the file again from the logger")
