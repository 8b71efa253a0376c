"""What the demo tells a person: the stream that the README shows, and honestly where it stands."""

from __future__ import annotations

from pathlib import Path

from althing.apps.recorded.examples import load_examples
from althing.cli.demo.registration import DemoDevice, examples_folder
from althing.cli.demo.texts import Progress, Report, welcome
from althing.client import generate_key

ROOT = Path(__file__).resolve().parents[3]
HOME = Path.home() / ".althing"
LISTENS = {"mqtt": "mqtt://127.0.0.1:1883", "http": "http://127.0.0.1:8080"}


def _welcome(home: Path, seconds: int = 600) -> str:
    devices = [
        DemoDevice(example, None if example.key == "none" else generate_key(), "alt_x", "mqtt5")
        for example in load_examples(examples_folder())
    ]
    return "\n".join(welcome(".venv/bin/althing", home, "http://127.0.0.1:8420", LISTENS, devices, seconds))


def test_the_readme_shows_what_the_demo_shows() -> None:
    """Word for word, so that whoever follows one recognises the other."""
    said = [line.strip() for line in _welcome(HOME).splitlines() if line.strip().startswith(".venv/bin/althing")]
    assert len(said) == 3
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for line in said:
        assert line.replace(str(HOME), "~/.althing") in readme


def test_lines_name_the_home_that_is_not_the_usual_one(tmp_path: Path) -> None:
    text = _welcome(tmp_path)
    assert f"proof get --home {tmp_path} --stream office-machine/temperature" in text
    assert f"--trust {tmp_path / 'trust.json'}" in text
    assert f"device add greenhouse --home {tmp_path}" in text
    assert f"rm -r {tmp_path}" in text


def test_how_long_the_recordings_take_is_said() -> None:
    assert "the recordings take 10 minutes" in _welcome(HOME)
    assert "the recordings take 60 s" in _welcome(HOME, 60)


def test_progress_is_reported_while_there_is_some() -> None:
    report = Report("althing", HOME)
    assert report.lines(Progress(100, 2, 7, 9, False), 5.0) == [
        "100 readings (20/s), 2 batches anchored, 7 messages waiting, height 9"
    ]
    assert report.lines(Progress(150, 3, 0, 11, False), 5.0) == [
        "150 readings (10/s), 3 batches anchored, 0 messages waiting, height 11"
    ]


def test_the_end_of_the_recordings_is_said_once_with_the_way_to_go_on() -> None:
    report = Report("althing", HOME)
    report.lines(Progress(100, 2, 7, 9, False), 5.0)
    first = "\n".join(report.lines(Progress(110, 3, 2, 10, True), 5.0))
    assert "all recordings have ended; the devices stay online" in first
    assert "Ctrl-C, then althing demo --loop" in first
    # What was still waiting is anchored, and then there is nothing more to say, however long it runs.
    assert report.lines(Progress(110, 4, 0, 11, True), 5.0) == [
        "110 readings, 4 batches anchored, 0 messages waiting, height 11"
    ]
    assert report.lines(Progress(110, 4, 0, 12, True), 5.0) == []
    # A message of the user's own device shows.
    assert report.lines(Progress(110, 5, 0, 13, True), 5.0) == [
        "110 readings, 5 batches anchored, 0 messages waiting, height 13"
    ]


def test_another_home_is_in_the_way_to_go_on(tmp_path: Path) -> None:
    lines = Report("althing", tmp_path).lines(Progress(0, 0, 0, 1, True), 5.0)
    assert lines[-1].endswith(f"althing demo --home {tmp_path} --loop")
