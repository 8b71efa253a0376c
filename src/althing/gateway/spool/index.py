"""Which messages were accepted before: by (device, counter) for signed ones, by key for others.

Of each device the last accepted counters are known exactly, with the sequence each got and eight bytes of its body's
hash; below that window every counter counts as used. Counters that follow one another in one stream share a run, so a
device that counts up costs eight bytes a message.
"""

from __future__ import annotations

from bisect import bisect_right
from hashlib import blake2b
from typing import Any, Final, NamedTuple

__all__ = ["BELOW_WINDOW", "CounterWindow", "DedupIndex", "Seen", "digest_of"]

DIGEST_BYTES: Final = 8


def digest_of(body: bytes) -> bytes:
    """Eight bytes that tell two bodies under one counter or key apart; only the sender himself could make them collide."""
    return blake2b(body, digest_size=DIGEST_BYTES).digest()


class Seen(NamedTuple):
    """Where an accepted message stands, and the digest of its body."""

    stream: str
    sequence: int
    digest: bytes


BELOW_WINDOW: Final = "below"


class _Run:
    """Accepted counters start, start+1, … of one stream, with sequences that follow one another too."""

    __slots__ = ("digests", "sequence", "start", "stream")

    def __init__(self, start: int, stream: str, sequence: int, digests: bytearray) -> None:
        self.start = start
        self.stream = stream
        self.sequence = sequence
        self.digests = digests

    @property
    def end(self) -> int:
        return self.start + len(self.digests) // DIGEST_BYTES


class CounterWindow:
    """Accepted counters of one device: the last `size` ones exactly, all below `floor` as used."""

    __slots__ = ("_count", "_runs", "_size", "_starts", "floor")

    def __init__(self, size: int, floor: int = 0) -> None:
        self._size = size
        self._runs: list[_Run] = []
        self._starts: list[int] = []
        self._count = 0
        self.floor = floor

    def find(self, counter: int) -> Seen | str | None:
        """What was accepted under `counter`; BELOW_WINDOW when that is too long ago to know; None when it is free."""
        runs = self._runs
        if not runs or counter >= runs[-1].end:
            return None if counter >= self.floor else BELOW_WINDOW
        if counter < self.floor:
            return BELOW_WINDOW
        at = bisect_right(self._starts, counter) - 1
        if at < 0 or counter >= runs[at].end:
            return None
        run = runs[at]
        offset = counter - run.start
        digest = bytes(run.digests[offset * DIGEST_BYTES : (offset + 1) * DIGEST_BYTES])
        return Seen(run.stream, run.sequence + offset, digest)

    def add(self, counter: int, stream: str, sequence: int, digest: bytes) -> None:
        """Record an accepted counter that `find` called free."""
        runs = self._runs
        at = len(runs) if not runs or counter >= runs[-1].end else bisect_right(self._starts, counter)
        before = runs[at - 1] if at else None
        if (
            before is not None
            and before.end == counter
            and before.stream == stream
            and before.sequence + counter - before.start == sequence
        ):
            before.digests += digest
        else:
            runs.insert(at, _Run(counter, stream, sequence, bytearray(digest)))
            self._starts.insert(at, counter)
        self._count += 1
        if self._count > self._size + (self._size >> 2):
            self._trim()

    def remove(self, counter: int) -> None:
        """Take back what was added last. What the window dropped meanwhile stays used: that errs on the safe side."""
        at = bisect_right(self._starts, counter) - 1
        if at < 0 or self._runs[at].end != counter + 1:
            return
        run = self._runs[at]
        del run.digests[-DIGEST_BYTES:]
        self._count -= 1
        if not run.digests:
            del self._runs[at], self._starts[at]

    def _trim(self) -> None:
        excess = self._count - self._size
        while excess > 0:
            run = self._runs[0]
            held = len(run.digests) // DIGEST_BYTES
            dropped = min(excess, held)
            self.floor = run.start + dropped
            if dropped == held:
                del self._runs[0], self._starts[0]
            else:
                del run.digests[: dropped * DIGEST_BYTES]
                run.start += dropped
                run.sequence += dropped
                self._starts[0] = run.start
            self._count -= dropped
            excess -= dropped

    def dump(self) -> list[Any]:
        return [self.floor, [[run.start, run.stream, run.sequence, bytes(run.digests)] for run in self._runs]]

    @classmethod
    def load(cls, size: int, item: list[Any]) -> CounterWindow:
        floor, runs = item
        window = cls(size, floor)
        for start, stream, sequence, digests in runs:
            window._runs.append(_Run(start, stream, sequence, bytearray(digests)))
            window._starts.append(start)
            window._count += len(digests) // DIGEST_BYTES
        return window


class DedupIndex:
    """Counters by device, and the newest `keys_max` keys of unsigned messages."""

    def __init__(self, window: int, keys_max: int) -> None:
        self._window = window
        self._keys_max = keys_max
        self._devices: dict[str, CounterWindow] = {}
        self._keys: dict[bytes, bytes] = {}  # hash of (stream, key) → sequence ‖ digest, oldest first

    def find_counter(self, device: str, counter: int) -> Seen | str | None:
        window = self._devices.get(device)
        return None if window is None else window.find(counter)

    def add_counter(self, device: str, counter: int, stream: str, sequence: int, digest: bytes) -> None:
        window = self._devices.get(device)
        if window is None:
            window = self._devices[device] = CounterWindow(self._window)
        window.add(counter, stream, sequence, digest)

    def remove_counter(self, device: str, counter: int) -> None:
        self._devices[device].remove(counter)

    def find_key(self, stream: str, key: bytes) -> Seen | None:
        found = self._keys.get(_key(stream, key))
        return None if found is None else Seen(stream, int.from_bytes(found[:8], "big"), found[8:])

    def add_key(self, stream: str, key: bytes, sequence: int, digest: bytes) -> None:
        self._keys[_key(stream, key)] = sequence.to_bytes(8, "big") + digest
        if len(self._keys) > self._keys_max:
            del self._keys[next(iter(self._keys))]

    def remove_key(self, stream: str, key: bytes) -> None:
        self._keys.pop(_key(stream, key), None)

    def dump(self) -> list[Any]:
        """A snapshot in plain values; what changes later does not touch it."""
        devices = [[device, window.dump()] for device, window in self._devices.items()]
        return [devices, b"".join([key + value for key, value in self._keys.items()])]

    def load(self, item: list[Any]) -> None:
        devices, keys = item
        self._devices = {device: CounterWindow.load(self._window, window) for device, window in devices}
        self._keys = {keys[at : at + 16]: keys[at + 16 : at + 32] for at in range(0, len(keys), 32)}


def _key(stream: str, key: bytes) -> bytes:
    return blake2b(stream.encode() + b"\0" + key, digest_size=16).digest()
