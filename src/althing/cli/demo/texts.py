"""What the demo says to a person: its welcome, its progress, its end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from althing.cli.demo.registration import DemoDevice

__all__ = ["Progress", "Report", "farewell", "home_option", "own_command", "welcome"]

_WAYS: Final = {"mqtt5": "MQTT 5", "mqtt311": "MQTT 3.1.1", "http": "HTTP"}


def own_command() -> str:
    """What starts this program in another terminal: its bare name only if the PATH finds this very one."""
    own = Path(sys.argv[0])
    found = shutil.which("althing")
    return "althing" if found and Path(found).resolve() == own.resolve() else str(own)


def home_option(home: Path) -> str:
    """What commands need to find this home: nothing, where it is the usual one."""
    return "" if home == Path.home() / ".althing" else f" --home {home}"


def welcome(
    command: str, home: Path, page: str, listens: dict[str, Any], devices: Sequence[DemoDevice], seconds: int
) -> list[str]:
    """Devices, addresses, and lines to paste; devices that sign come first, because they show more."""
    shown = sorted(devices, key=lambda device: device.key is None)
    stream = f"{shown[0].example.device}/{shown[0].example.streams[0].name}"
    option = home_option(home)
    lines = [""]
    for device in shown:
        key = "no key, the gateway attests" if device.key is None else f"{device.key.suite.name} key"
        lines.append(f"  {device.example.device:18} {key:28} {_WAYS[device.transport]:11} {device.example.title}")
    return [
        *lines,
        "",
        f"page      {page}",
        f"devices   {listens.get('mqtt')} and {listens.get('http')}",
        "",
        "try next, in another terminal:",
        f"  {command} proof get{option} --stream {stream} --seq 0 -o p.cbor",
        f"  {command} proof verify p.cbor --trust {home / 'trust.json'}",
        f"  {command} device add greenhouse{option} --stream climate=temperature:Cel",
        "",
        f"the recordings take {_duration(seconds)}; after that the devices stay online",
        f"stop: Ctrl-C (a second run goes on).   reset: rm -r {home}",
        "",
    ]


def _duration(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} minutes"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the demo stands: readings of this run, the gateway's counts, the chain's height, and whether all has been sent."""

    readings: int
    batches: int
    waiting: int
    height: int
    ended: bool


class Report:
    """Lines about progress. When the recordings have ended that is said once, and afterwards only what changes."""

    def __init__(self, command: str, home: Path) -> None:
        self._again = f"{command} demo{home_option(home)} --loop"
        self._last = 0
        self._said: tuple[int, int, int] | None = None
        self._ended = False

    def lines(self, now: Progress, passed_s: float) -> list[str]:
        """What is new after `passed_s` seconds."""
        rate = (now.readings - self._last) / max(0.001, passed_s)
        self._last = now.readings
        counts = (now.readings, now.batches, now.waiting)
        lines = []
        if not now.ended:
            lines.append(
                f"{now.readings} readings ({rate:.0f}/s), {now.batches} batches anchored, "
                f"{now.waiting} messages waiting, height {now.height}"
            )
        elif counts != self._said:
            lines.append(
                f"{now.readings} readings, {now.batches} batches anchored, {now.waiting} messages waiting, "
                f"height {now.height}"
            )
        self._said = counts
        if now.ended and not self._ended:
            lines += [
                "all recordings have ended; the devices stay online, and what you send yourself is anchored as before",
                f"begin the recordings again, as a new run that is marked as one: Ctrl-C, then {self._again}",
            ]
        self._ended = now.ended
        return lines


def farewell(result: dict[str, Any]) -> list[str]:
    """This run's counts, and whether all of it holds."""
    lines = [
        f"{result['messages']} messages with {result['readings']} readings in {result['batches']} batches, "
        f"{result['refused']} of them refused, height {result['height']}"
    ]
    if result["verified"]:
        lines.append(f"all anchored; {result['proofs_checked']} sampled proofs verify. One: {result['proof_file']}")
    elif not result["proofs_checked"]:
        lines.append("no proof was sampled: nothing was anchored yet")
    else:
        lines.append("NOT everything accepted is anchored and proved; see above")
    return lines
