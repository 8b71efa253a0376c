"""The recordings of examples/ as devices would send them: declarations, schemas, messages in the order of their times.

An `example.toml` states source, licence, zone and units, and by whom they are stated; a zone or unit that nobody states
is refused, so nothing is ever guessed. A recorded value keeps its digits from the file to the message.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from althing.apps.recorded.recordings import RecordingError, parse_fridge_tag, parse_machine_csv, parse_qtag
from althing.protocol.decimals import from_text, text
from althing.protocol.mapping import Field, Mapping, TimeField
from althing.protocol.readings import Kind, Quantity, StreamSchema
from althing.protocol.timestamps import UNIX_FORMATS, parse_time

__all__ = ["Declared", "Example", "ExampleStream", "RecordedMessage", "load_example", "load_examples"]

_KEYS: Final = ("ed25519", "p256", "none")
_STATED_BY: Final = ("file", "this example")
_KINDS: Final = {"number": Kind.NUMBER, "text": Kind.TEXT, "bool": Kind.BOOL}
_RECORDS_PER_MESSAGE_MAX: Final = 1000
_NS: Final = 10**9


@dataclass(frozen=True, slots=True)
class Declared:
    """Something a reader of the data must know: what it is, who states it, and why, if the file does not."""

    what: str
    stated_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class ExampleStream:
    """A stream of an example's device. `content` names the part of the recording it carries."""

    name: str
    content: str
    content_type: str
    schema: StreamSchema
    declarations: tuple[Declared, ...]
    records_per_message: int = 1


@dataclass(frozen=True, slots=True)
class RecordedMessage:
    """One message to send: `time_ns` is the time of its first record, None for a file sent whole."""

    stream: str
    content_type: str
    body: bytes
    time_ns: int | None


@dataclass(frozen=True, slots=True)
class Example:
    """One recording with its declarations. `key` is how its device signs: "ed25519", "p256", or "none" at all."""

    title: str
    device: str
    key: str
    format: str
    source: str
    licence: str
    zone: Declared
    offset_minutes: int
    data: bytes
    streams: tuple[ExampleStream, ...]

    def messages(self, stream: str) -> Iterator[RecordedMessage]:
        """The messages of a stream, oldest record first, whatever the order of the file."""
        found = next((each for each in self.streams if each.name == stream), None)
        if found is None:
            raise _error(f"{self.device} has no stream {stream!r}")
        if found.content == "file":
            yield RecordedMessage(found.name, found.content_type, self.data, None)
            return
        records = sorted(_CONTENTS[self.format, found.content](self), key=lambda record: record.time_ns)
        for at in range(0, len(records), found.records_per_message):
            part = records[at : at + found.records_per_message]
            body = _senml(part) if found.content_type == "application/senml+json" else _plain(part)
            yield RecordedMessage(found.name, found.content_type, body, part[0].time_ns)


@dataclass(frozen=True, slots=True)
class _Record:
    """A record before encoding: plain JSON members, or SenML fields by quantity. Values are JSON texts already."""

    time_ns: int
    members: str


def load_examples(root: Path) -> tuple[Example, ...]:
    """All examples below a folder, by the names of their folders."""
    return tuple(load_example(path.parent) for path in sorted(root.glob("*/example.toml")))


def load_example(folder: Path) -> Example:
    """An example's declaration and recording; RecordingError if it is incomplete or the file is another one."""
    declared = tomllib.loads((folder / "example.toml").read_text(encoding="utf-8"))
    _known(declared, {"version", "title", "file", "sha256", "format", "source", "zone", "device", "streams"})
    if declared["version"] != 1:
        raise _error(f"{folder.name}: an unknown version of the declaration")
    data = (folder / declared["file"]).read_bytes()
    if hashlib.sha256(data).hexdigest() != declared["sha256"]:
        raise RecordingError("recording.changed", f"{declared['file']} is not the file that {folder.name} declares")
    source, zone, device = declared["source"], declared["zone"], declared["device"]
    _known(source, {"repository", "path", "licence"})
    _known(zone, {"offset_minutes", "stated_by", "reason"})
    _known(device, {"name", "key"})
    if device["key"] not in _KEYS:
        raise _error(f"{folder.name}: the key is one of {', '.join(_KEYS)}")
    offset = zone["offset_minutes"]
    return Example(
        title=declared["title"],
        device=device["name"],
        key=device["key"],
        format=declared["format"],
        source=f"{source['repository']}: {source['path']}",
        licence=source["licence"],
        zone=_declared(f"UTC{offset:+d} min", zone),
        offset_minutes=offset,
        data=data,
        streams=tuple(_stream(stream, offset, declared["format"]) for stream in declared["streams"]),
    )


def _stream(declared: dict[str, Any], offset: int, form: str) -> ExampleStream:
    optional = {"quantities", "mapping", "records_per_message"}
    _known(declared, {"name", "content", "content_type", "backfill"}, optional)
    if declared["content"] != "file" and (form, declared["content"]) not in _CONTENTS:
        raise _error(f"a {form} recording has no {declared['content']!r}")
    declarations = []
    quantities = []
    for quantity in declared.get("quantities", []):
        _known(quantity, {"name", "unit", "kind", "stated_by"}, {"reason"})
        declarations.append(_declared(f"{quantity['name']}: unit {quantity['unit'] or 'none'}", quantity))
        quantities.append(Quantity(quantity["name"], quantity["unit"], _KINDS[quantity["kind"]]))
    per_message = declared.get("records_per_message", 1)
    if not 1 <= per_message <= _RECORDS_PER_MESSAGE_MAX:
        raise _error(f"a message has 1 to {_RECORDS_PER_MESSAGE_MAX} records")
    mapping = _mapping(declared["mapping"], offset) if "mapping" in declared else None
    schema = StreamSchema(tuple(quantities), declared["content_type"], mapping, backfill=declared["backfill"])
    return ExampleStream(
        declared["name"], declared["content"], declared["content_type"], schema, tuple(declarations), per_message
    )


def _mapping(declared: dict[str, Any], offset: int) -> Mapping:
    _known(declared, {"fields", "time"}, {"missing"})
    fields = []
    for each in declared["fields"]:
        _known(each, {"pointer", "quantity"}, {"kind"})
        fields.append(Field(each["pointer"], each["quantity"], kind=_KINDS[each.get("kind", "number")]))
    time = declared["time"]
    _known(time, {"pointer", "format"})
    own_zone = time["format"] == "rfc3339" or time["format"] in UNIX_FORMATS
    return Mapping(
        tuple(fields),
        TimeField(time["pointer"], time["format"], 0 if own_zone else offset),
        missing=tuple(declared.get("missing", ())),
    )


def _declared(what: str, declaration: dict[str, Any]) -> Declared:
    stated_by, reason = declaration["stated_by"], declaration.get("reason", "")
    if stated_by not in _STATED_BY:
        raise _error(f"{what} is stated by {stated_by!r}, not by {' or '.join(_STATED_BY)}")
    if stated_by != "file" and not reason:
        raise _error(f"{what} is stated by {stated_by} without a reason")
    return Declared(what, stated_by, reason)


def _machine_rows(example: Example) -> Iterator[_Record]:
    for row in parse_machine_csv(example.data):
        yield _record(example, row.time, "YYYY-MM-DD HH:mm:ss", timestamp=row.time, value=_number(row.value))


def _qtag_readings(example: Example) -> Iterator[_Record]:
    export = parse_qtag(example.data)
    for reading in export.readings:
        time_ns = _time_ns(example, reading.time, "YYYY-MM-DD HH:mm")
        base, value = f'"bn":"{export.serial}:","bt":{time_ns // _NS}', _digits(reading.temperature)
        first = f'{{{base},"n":"temperature","v":{value}}}'
        second = f'{{"n":"out_of_limits","vb":{json.dumps(reading.out_of_limits)}}}'
        yield _Record(time_ns, f"{first},{second}")


def _qtag_alarms(example: Example) -> Iterator[_Record]:
    for run in parse_qtag(example.data).alarms:
        yield _record(
            example,
            run.start,
            "YYYY-MM-DD HH:mm",
            alarm=run.alarm,
            start=run.start,
            minutes=_number(run.minutes),
            raised=run.raised,
            ended=run.ended,
            extreme=_number(run.extreme) if run.extreme else "",
            extreme_at=run.extreme_at,
        )


def _fridge_days(example: Example) -> Iterator[_Record]:
    for day in parse_fridge_tag(example.data).days:
        external = {"external": day.external_timeout} if day.external_timeout else {}
        yield _record(
            example,
            day.date,
            "YYYY-MM-DD",
            date=day.date,
            min=day.minimum,
            min_at=day.minimum_at,
            max=day.maximum,
            max_at=day.maximum_at,
            average=day.average,
            alarms={str(alarm.alarm): alarm.minutes for alarm in day.alarms},
            timeout={"internal": day.internal_timeout} | external,
            events=day.events,
        )


_CONTENTS: Final[dict[tuple[str, str], Callable[[Example], Iterator[_Record]]]] = {
    ("machine-csv", "rows"): _machine_rows,
    ("qtag-clm", "readings"): _qtag_readings,
    ("qtag-clm", "alarms"): _qtag_alarms,
    ("fridge-tag-2", "days"): _fridge_days,
}


@dataclass(frozen=True, slots=True)
class _Digits:
    """A number to be written into JSON with the digits of the file."""

    written: str


def _record(example: Example, time: str, form: str, **members: Any) -> _Record:
    parts = (
        f"{json.dumps(name)}:{value.written if isinstance(value, _Digits) else json.dumps(value, separators=(',', ':'))}"
        for name, value in members.items()
    )
    return _Record(_time_ns(example, time, form), "{" + ",".join(parts) + "}")


def _time_ns(example: Example, written: str, form: str) -> int:
    time_ns = parse_time(written, form, example.offset_minutes)
    if time_ns is None:
        raise _error(f"{written!r} is not a time")
    return time_ns


def _number(written: str) -> _Digits:
    return _Digits(_digits(written))


def _digits(written: str) -> str:
    value = from_text(written)
    if type(value) is not Decimal:
        raise _error(f"{written!r} is not a number")
    return text(value)


def _senml(records: list[_Record]) -> bytes:
    return ("[" + ",".join(record.members for record in records) + "]").encode()


def _plain(records: list[_Record]) -> bytes:
    return records[0].members.encode() if len(records) == 1 else _senml(records)


def _known(declared: dict[str, Any], required: Set[str], optional: Set[str] = frozenset()) -> None:
    missing, unknown = sorted(required - declared.keys()), sorted(declared.keys() - required - optional)
    if missing or unknown:
        raise _error(f"a declaration lacks {missing} and has the unknown {unknown}")


def _error(what: str) -> RecordingError:
    return RecordingError("recording.declaration", what)
