"""The recorded files of examples/: parsed completely, declared honestly, and sent with the digits they were written with."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.apps.recorded.examples import Example, load_example, load_examples
from althing.apps.recorded.recordings import (
    AlarmRun,
    LoggerReading,
    RecordingError,
    parse_fridge_tag,
    parse_machine_csv,
    parse_qtag,
)
from althing.protocol.decimals import text
from althing.protocol.limits import MESSAGE_BYTES_MAX
from althing.protocol.readings import Flag, resolve

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
QTAG = (EXAMPLES / "vaccine-carrier" / "RCPJ00010_02_202211090128.txt").read_bytes()
FRIDGE = (EXAMPLES / "fridge-191544" / "130400191544_202304201514.txt").read_bytes()
SIXTY = (EXAMPLES / "fridge-191542" / "130400191542_202302140605.txt").read_bytes()
MACHINE = (EXAMPLES / "office-machine" / "ambient_temperature_system_failure.csv").read_bytes()
EVERY_HOUR = 7256
ARRIVAL = 1_750_000_000 * 10**9


@pytest.fixture(scope="module")
def examples() -> dict[str, Example]:
    return {example.device: example for example in load_examples(EXAMPLES)}


def test_the_machine_file_has_all_its_rows() -> None:
    rows = parse_machine_csv(MACHINE)
    assert len(rows) == MACHINE.count(b"\n") - 1 == 7267
    assert (rows[0].time, rows[0].value) == ("2013-07-04 00:00:00", "69.88083514")
    assert (rows[-1].time, rows[-1].value) == ("2014-05-28 15:00:00", "72.58408858")
    assert all(earlier.time < later.time for earlier, later in pairwise(rows))


def test_the_qtag_holds_readings_and_alarm_runs() -> None:
    export = parse_qtag(QTAG)
    assert (export.serial, export.device) == ("RCPJ00010", "Q-tag CLm doc LR")
    assert (export.started, export.stopped) == ("2022-11-08 04:49", "2022-11-09 01:28")
    assert len(export.readings) == len(re.findall(rb"\n\t2022-", QTAG)) == 124
    assert export.readings[0] == LoggerReading("2022-11-08 04:49", "4.4", False)
    assert export.readings[7] == LoggerReading("2022-11-08 05:59", "1.6", True)
    assert sum(reading.out_of_limits for reading in export.readings) == QTAG.count(b"\tx\r\n")
    # The logger's own summary agrees with its readings.
    assert (
        min(Decimal(r.temperature) for r in export.readings),
        max(Decimal(r.temperature) for r in export.readings),
    ) == (
        Decimal("0.9"),
        Decimal("24.3"),
    )
    assert [run.alarm for run in export.alarms] == [1, 2, 4, 5, 5, 5]
    assert export.alarms[3] == AlarmRun(
        5, "2022-11-08 12:16", "145", "2022-11-08 12:46", "2022-11-08 14:41", "0.9", "2022-11-08 12:46"
    )
    assert export.alarms[0].ended == ""


def test_the_fridge_tag_holds_daily_records() -> None:
    export = parse_fridge_tag(FRIDGE)
    assert (export.serial, export.temperature_unit, export.created) == ("130400191544", "C", "2023-04-20 15:14")
    assert [day.date for day in export.days] == ["2023-04-20", "2023-04-19", "2023-04-18", "2023-04-17"]
    day = export.days[-1]
    assert (day.minimum, day.minimum_at, day.maximum, day.maximum_at, day.average) == (
        "+2.3",
        "20:11",
        "+20.8",
        "19:41",
        "+4.4",
    )
    assert [(alarm.alarm, alarm.minutes, alarm.raised) for alarm in day.alarms] == [(0, "0", ""), (1, "8", "")]
    assert (day.internal_timeout, day.external_timeout, day.events, day.checked) == ("0", "178", "16", ("19:39",))


def test_the_other_fridge_tag_has_sixty_days_without_an_external_sensor() -> None:
    days = parse_fridge_tag(SIXTY).days
    assert len(days) == 60
    assert (days[0].date, days[-1].date) == ("2023-02-14", "2022-12-17")
    assert {day.external_timeout for day in days} == {""}
    assert days[0].alarms[1].raised == "00:00"


@given(st.sampled_from([QTAG, FRIDGE]), st.data())
def test_a_damaged_export_is_refused_with_a_code_or_read(original: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(original) - 1))
    damage = data.draw(st.binary(max_size=3))
    cut = data.draw(st.integers(at, min(at + 30, len(original))))
    damaged = original[:at] + damage + original[cut:]
    for parse in (parse_qtag, parse_fridge_tag, parse_machine_csv):
        with contextlib.suppress(RecordingError):
            parse(damaged)


@pytest.mark.parametrize(
    ("parse", "data", "message"),
    [
        (parse_machine_csv, b"time,value\n", "line 1"),
        (parse_machine_csv, b"timestamp,value\n2013-07-04 00:00:00,NaN\n", "line 2: 'NaN'"),
        (parse_machine_csv, b"timestamp,value\n2013-07-04 00:00:00\n", "line 2"),
        (parse_machine_csv, b"\xff", "not ASCII"),
        (parse_machine_csv, b"t" * (MESSAGE_BYTES_MAX + 1), "at most"),
        (parse_qtag, FRIDGE, "not a Q-tag CLm"),
        (parse_fridge_tag, QTAG, "not a Q-tag Fridge-tag 2"),
        (parse_qtag, QTAG.replace(b"\t21.1\t", b"\t21,1\t"), "'21,1'"),
        (parse_qtag, QTAG.replace(b"Out of limits", b"Limits"), "columns"),
        (parse_fridge_tag, FRIDGE.replace(b" 2:\r\n  Date", b" 7:\r\n  Date"), "day 2"),
        (parse_fridge_tag, FRIDGE.replace(b"  Avrg T: +4.0\r\n", b""), "Avrg T"),
        (parse_fridge_tag, FRIDGE.replace(b"  Alarm:", b"      Alarm:"), "more than one level"),
    ],
)
def test_what_is_wrong_is_named(parse: object, data: bytes, message: str) -> None:
    assert callable(parse)
    with pytest.raises(RecordingError, match=re.escape(message)):
        parse(data)


def test_every_folder_is_declared_and_licensed(examples: dict[str, Example]) -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert set(examples) == folders
    assert {example.key for example in examples.values()} == {"ed25519", "p256", "none"}
    for name, example in examples.items():
        assert (EXAMPLES / name / "LICENSE").read_text().strip()
        assert example.licence in ("MIT", "MIT OR Apache-2.0")
        assert example.zone.stated_by == "this example"
        assert [stream.content for stream in example.streams].count("file") == 1


def test_what_the_file_does_not_state_has_a_reason(examples: dict[str, Example]) -> None:
    for example in examples.values():
        for stream in example.streams:
            assert len(stream.declarations) == len(stream.schema.quantities)
            assert all(declared.stated_by == "file" or declared.reason for declared in stream.declarations)


@pytest.mark.parametrize("name", ["fridge-191542", "fridge-191544", "office-machine", "vaccine-carrier"])
def test_all_messages_resolve_without_a_doubt(examples: dict[str, Example], name: str) -> None:
    """Only declared backfill and declared missing values: no bad values, unknown quantities or times out of order."""
    example = examples[name]
    for stream in example.streams:
        latest = None
        for message in example.messages(stream.name):
            assert len(message.body) <= MESSAGE_BYTES_MAX
            resolved = resolve(message.content_type, message.body, stream.schema, ARRIVAL, previous_max_ns=latest)
            assert resolved.flags & ~(Flag.BACKFILL | Flag.MISSING) == 0
            if stream.content == "file":
                assert (message.body, resolved.records) == (example.data, ())
                continue
            assert resolved.records
            assert resolved.records[0].device_time_ns == message.time_ns
            assert all(reading.flags & Flag.BACKFILL for reading in resolved.records)
            latest = resolved.latest_ns


def test_the_machines_digits_reach_the_readings_unchanged(examples: dict[str, Example]) -> None:
    example = examples["office-machine"]
    schema = example.streams[0].schema
    sent = [resolve(m.content_type, m.body, schema, ARRIVAL).records[0] for m in example.messages("temperature")]
    rows = parse_machine_csv(example.data)
    assert [text(reading.value) for reading in sent if isinstance(reading.value, Decimal)] == [
        row.value for row in rows
    ]
    assert {reading.unit for reading in sent} == {"degF"}
    gaps = Counter(
        b.device_time_ns - a.device_time_ns for a, b in pairwise(sent) if a.device_time_ns and b.device_time_ns
    )
    assert (gaps.pop(3600 * 10**9), sum(gaps.values())) == (EVERY_HOUR, 7266 - EVERY_HOUR)


def test_the_loggers_readings_come_in_packs(examples: dict[str, Example]) -> None:
    example = examples["vaccine-carrier"]
    schema = example.streams[0].schema
    packs = [resolve(m.content_type, m.body, schema, ARRIVAL).records for m in example.messages("temperature")]
    assert [len(pack) for pack in packs] == [8] * 31
    flat = [reading for pack in packs for reading in pack]
    export = parse_qtag(example.data).readings
    assert [text(r.value) for r in flat if isinstance(r.value, Decimal)] == [reading.temperature for reading in export]
    assert [r.value for r in flat if r.quantity == "out_of_limits"] == [reading.out_of_limits for reading in export]
    # 2022-11-08 04:49 at the declared offset of 0.
    assert flat[0].device_time_ns == 1667882940 * 10**9


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('stated_by = "this example"', 'stated_by = "a hunch"', "a hunch"),
        (', reason = "The file names no unit; declared as degrees Celsius."', "", "without a reason"),
        ("offset_minutes = 0\n", "", "offset_minutes"),
        ('title = "', 'titel = "', "titel"),
        ('key = "p256"', 'key = "rsa"', "key is one of"),
        ('content = "readings"', 'content = "rows"', "no 'rows'"),
    ],
)
def test_an_incomplete_declaration_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(EXAMPLES / "vaccine-carrier", folder)
    declaration = folder / "example.toml"
    before = declaration.read_text()
    assert old in before
    declaration.write_text(before.replace(old, new))
    with pytest.raises(RecordingError, match=re.escape(message)):
        load_example(folder)


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(EXAMPLES / "vaccine-carrier", folder)
    recording = folder / "RCPJ00010_02_202211090128.txt"
    recording.write_bytes(recording.read_bytes().replace(b"\r\n", b"\n"))
    with pytest.raises(RecordingError) as caught:
        load_example(folder)
    assert caught.value.code == "recording.changed"
