"""Messages that were accepted but cannot be anchored: kept durably and reported, never dropped, never refused late.

It happens when a stream is handed to another gateway while messages of ours wait (the hand-over names a sequence, so it
fails unless an owner forces it at that moment), or when the chain has other messages under our sequences. Messages come
here before the spool forgets them. When the stream is ours again they are accepted anew, under new sequences.

The way back survives a kill at any point: `bring_back` is durable while the log has nothing of the stream, and no batch
is frozen before `drop`. So what the log then has of the stream are the first of these messages, and only the rest follows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

import cbor2

from althing.gateway.errors import SpoolCorruptError
from althing.gateway.spool.lock import SpoolLock
from althing.gateway.spool.records import MessageRecord
from althing.gateway.spool.segment import write_atomically
from althing.service.faultpoints import hit

__all__ = ["HeldMessages", "HeldStream", "release_stream"]

FILE: Final = "held.cbor"
_VERSION: Final = 2


@dataclass(frozen=True, slots=True)
class HeldStream:
    """Why a stream's messages are kept back: `code` of the refusal, and whether only an operator may release them (a copy
    of this gateway has anchored something else under their sequences). `returning` is the first sequence they get while
    on their way back into the log."""

    path: str
    number: int
    code: str
    operator: bool
    returning: int | None = None


class HeldMessages:
    """One small file, replaced whole. Rare by design, so it is kept simple and blocking: call it from a thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._streams: dict[int, HeldStream] = {}
        self._messages: dict[tuple[int, int], MessageRecord] = {}
        self._load()

    @property
    def numbers(self) -> tuple[int, ...]:
        """Streams whose messages stay out of a batch."""
        return tuple(number for number in sorted(self._streams) if self._streams[number].returning is None)

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

    def bring_back(self, number: int, first: int) -> None:
        """From now on the log has these messages again, from the sequence `first` on: as many of them as it has."""
        self._streams[number] = replace(self._streams[number], returning=first)
        self._save()

    def drop(self, number: int) -> None:
        """The stream's messages were accepted anew, and durably."""
        self._streams.pop(number, None)
        for key in [key for key in self._messages if key[0] == number]:
            del self._messages[key]
        self._save()

    def allow(self, path: str) -> bool:
        """An operator allows a conflicting stream's messages to be accepted anew. False when none is held."""
        for stream in self._streams.values():
            if stream.path == path:
                self._streams[stream.number] = replace(stream, operator=False)
                self._save()
                return True
        return False

    def _save(self) -> None:
        item = [
            _VERSION,
            [[s.path, s.number, s.code, s.operator, s.returning] for s in self.streams],
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
        version, *content = cbor2.loads(data[32:])
        if version != _VERSION:
            raise SpoolCorruptError(self._path, 32, f"the file is of version {version}")
        streams, messages = content
        self._streams = {fields[1]: HeldStream(*fields) for fields in streams}
        records = [MessageRecord(*fields) for fields in messages]
        self._messages = {(record.number, record.sequence): record for record in records}


def release_stream(folder: Path, path: str) -> bool:
    """`HeldMessages.allow` from outside, under the spool's lock: SpoolError while a gateway runs, which has a copy of its
    own and would write over it."""
    lock = SpoolLock(folder)
    try:
        return HeldMessages(folder).allow(path)
    finally:
        lock.release()
