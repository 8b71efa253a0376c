"""What a recording's device sends, in which order, and how far it has come: a second run goes on where the first ended."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from althing.apps.recorded.examples import Example, RecordedMessage
from althing.protocol.errors import AlthingError
from althing.protocol.readings import resolve
from althing.protocol.schema import StreamSchema

__all__ = ["STATUS_STREAM", "PlannedMessage", "Progress", "ProgressError", "plan"]

STATUS_STREAM = "status"


class ProgressError(AlthingError):
    """A device's progress file cannot be used: `recording.progress`."""


@dataclass(frozen=True, slots=True)
class PlannedMessage:
    """A message with the number of readings it will resolve to."""

    message: RecordedMessage
    readings: int


def plan(example: Example) -> tuple[PlannedMessage, ...]:
    """All messages of a device, its streams interleaved so that each advances evenly; a whole file comes last."""
    placed = []
    for number, stream in enumerate(example.streams):
        messages = list(example.messages(stream.name))
        for index, message in enumerate(messages):
            whole = message.time_ns is None
            place = 1.0 if whole else index / len(messages)
            placed.append((place, number, index, _planned(message, stream.schema)))
    placed.sort(key=lambda entry: entry[:3])
    return tuple(entry[3] for entry in placed)


def _planned(message: RecordedMessage, schema: StreamSchema) -> PlannedMessage:
    resolved = resolve(message.content_type, message.body, schema, message.time_ns or 0)
    return PlannedMessage(message, len(resolved.records))


class Progress:
    """A device's durable memory: run number and index of the next message. The counter of a message follows from both,
    so a message sent again after a crash carries the counter it had, and the gateway knows it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.run = 0
        self.next = 0
        try:
            document = json.loads(path.read_bytes())
            self.run, self.next = int(document["run"]), int(document["next"])
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError) as exc:
            raise ProgressError("recording.progress", f"{path} is damaged", hint="reset the demo's data") from exc

    def reached(self, index: int) -> None:
        """All messages before `index` are accepted."""
        if index > self.next:
            self.next = index
            self._save()

    def begin_run(self) -> None:
        """Start the recording over, as a new run with new counters."""
        self.run += 1
        self.next = 0
        self._save()

    def _save(self) -> None:
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps({"run": self.run, "next": self.next}), encoding="ascii")
        os.replace(temporary, self._path)
