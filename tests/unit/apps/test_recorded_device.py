"""A recorded device's memory over runs: what it has sent, and where a later process goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from althing.apps.recorded import devices
from althing.apps.recorded.devices import Access, RecordedDevice
from althing.apps.recorded.examples import load_example
from althing.apps.recorded.plan import plan

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = load_example(ROOT / "examples" / "fridge-191544")
COUNT = len(plan(EXAMPLE))
ACCESS = Access("127.0.0.1", 1, "http://127.0.0.1:1", "alt_x", "chain", bytes(32))


class Broker:
    """paho's client as the device sees it, answering every message before `publish` returns: the tightest order."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        self.on_publish: Callable[..., None]
        self.sent: list[tuple[str, bytes]] = []
        self.stop_after = 0
        self.device: RecordedDevice
        Broker.last = self

    last: Broker

    def username_pw_set(self, *_arguments: Any) -> None: ...
    def will_set(self, *_arguments: Any, **_options: Any) -> None: ...
    def connect_async(self, *_arguments: Any, **_options: Any) -> None: ...
    def loop_start(self) -> None: ...
    def loop_stop(self) -> None: ...
    def disconnect(self) -> None: ...

    def publish(self, topic: str, body: bytes, **_options: Any) -> Any:
        self.sent.append((topic, body))
        if len(self.sent) == self.stop_after:
            self.device.stop()
        mid = len(self.sent)
        self.on_publish(self, None, mid, SimpleNamespace(is_failure=False), None)
        return SimpleNamespace(mid=mid)


@pytest.fixture(autouse=True)
def broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.mqtt, "Client", Broker)


def _run(progress: Path, *, loop: bool, stop_after: int) -> tuple[Broker, RecordedDevice, dict[str, int]]:
    device = RecordedDevice(
        EXAMPLE, None, ACCESS, progress, transport="mqtt311", duration_s=0, loop=loop, say=lambda _text: None
    )
    broker = Broker.last
    broker.device, broker.stop_after = device, stop_after
    device.start()
    assert device.join(30)
    return broker, device, json.loads(progress.read_bytes())


def test_a_run_ends_with_a_message_that_marks_it(tmp_path: Path) -> None:
    broker, device, memory = _run(tmp_path / "p", loop=False, stop_after=COUNT + 1)
    assert len(broker.sent) == COUNT + 1
    assert broker.sent[-1] == ("althing/v1/fridge-191544/status", b"run 1 of the recording has ended")
    assert device.counts.messages == COUNT + 1
    assert memory == {"run": 0, "next": COUNT + 1}


def test_a_new_run_begins_at_the_beginning_and_is_remembered_message_by_message(tmp_path: Path) -> None:
    broker, _, memory = _run(tmp_path / "p", loop=True, stop_after=COUNT + 1 + 2)
    assert broker.sent[COUNT + 1 :] == broker.sent[:2]
    assert memory == {"run": 1, "next": 2}
    # A later process goes on there, and marks the second run's end.
    broker, _, memory = _run(tmp_path / "p", loop=True, stop_after=COUNT - 2 + 1)
    assert broker.sent[-1] == ("althing/v1/fridge-191544/status", b"run 2 of the recording has ended")
    assert memory == {"run": 1, "next": COUNT + 1}


def test_an_ended_recording_is_not_marked_twice(tmp_path: Path) -> None:
    _run(tmp_path / "p", loop=False, stop_after=COUNT + 1)
    device = RecordedDevice(
        EXAMPLE, None, ACCESS, tmp_path / "p", transport="mqtt311", duration_s=0, loop=False, say=lambda _text: None
    )
    device.start()
    device.stop()
    assert device.join(30)
    assert Broker.last.sent == []
