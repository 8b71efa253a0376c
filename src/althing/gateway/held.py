"""Messages that were accepted but cannot be anchored: kept durably and reported, never dropped, never refused late.

It happens when a stream is handed to another gateway while messages of ours wait (the hand-over names a sequence, so it
fails unless an owner forces it at that moment), or when the chain has other messages under our sequences. Messages come
here before the spool forgets them. When the stream is ours again they are accepted anew, under new sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import cbor2

from althing.gateway.errors import SpoolCorruptError
from althing.gateway.spool.records import MessageRecord
from althing.gateway.spool.segment import write_atomically
from althing.service.faultpoints import hit

__all__ = ["HeldMessages", "HeldStream"]

FILE: Final = "held.cbor"


@dataclass(frozen=True, slots=True)
class HeldStream:
    """Why a stream's messages are kept back: `code` of the refusal, since when, and whether only an operator may
    release them (the chain has something else under their sequences)."""

    path: str
    number: int
    code: str
    operator: bool


class HeldMessages:
    """One small file, replaced whole. Rare by design, so it is kept simple and blocking: call it from a thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._streams: dict[int, HeldStream] = {}
        self._messages: dict[tuple[int, int], MessageRecord] = {}
        self._load()

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(sorted(self._streams))

    @property
    def streams(self) -> tuple[HeldStream, ...]:
        return tuple(self._streams[number] for number in sorted(self._streams))

    @property
    def count(self) -> int:
        return len(self._messages)

    def messages(self, number: int) -> list[MessageRecord]:
        """What is held of a stream, in the order of its old sequences."""
        return [self._messages[key] for key in sorted(self._messages) if key[0] == number]

    def hold(self, streams: list[HeldStream]) -> None:
        """From now on, messages of these streams are kept back."""
        for stream in streams:
            self._streams[stream.number] = stream
        self._save()

    def keep(self, messages: tuple[MessageRecord, ...]) -> None:
        """Take over messages from the spool; the same ones again change nothing."""
        if messages:
            for message in messages:
                self._messages[message.number, message.sequence] = message
            self._save()

    def drop(self, number: int) -> None:
        """The stream's messages were accepted anew."""
        self._streams.pop(number, None)
        for key in [key for key in self._messages if key[0] == number]:
            del self._messages[key]
        self._save()

    def allow(self, path: str) -> bool:
        """An operator allows a conflicting stream's messages to be accepted anew. False when none is held."""
        for stream in self._streams.values():
            if stream.path == path:
                self._streams[stream.number] = HeldStream(stream.path, stream.number, stream.code, False)
                self._save()
                return True
        return False

    def _save(self) -> None:
        item = [
            1,
            [[s.path, s.number, s.code, s.operator] for s in self.streams],
            [list(self._messages[key]) for key in sorted(self._messages)],
        ]
        data: bytes = cbor2.dumps(item)
        hit("held.save")
        write_atomically(self._path, sha256(data).digest() + data)

    def _load(self) -> None:
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        if sha256(data[32:]).digest() != data[:32]:
            raise SpoolCorruptError(self._path, 0, "the file does not match its checksum")
        _, streams, messages = cbor2.loads(data[32:])
        self._streams = {number: HeldStream(path, number, code, op) for path, number, code, op in streams}
        records = [MessageRecord(*fields) for fields in messages]
        self._messages = {(record.number, record.sequence): record for record in records}
