"""Streams that go from one gateway to the other and back while messages of theirs are under way.

The owner forces each hand-over at the sequence that the chain has, so what the gateway before has accepted and not yet
anchored must wait there, held, until the stream is its own again (gateway/held.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Final

import httpx2

from althing.client import Client
from althing.protocol.errors import AlthingError
from althing.protocol.messages.streams import HandOver
from althing.testing.faults import SECOND, Site

__all__ = ["HandOvers"]

_TICK_S: Final = 0.2
_GUESSES: Final = 30
_TRIES_MAX: Final = 10
_HELD_S: Final = 6.0  # for how long messages are expected to become held
_SETTLE_S: Final = 120.0


class HandOvers:
    """A thread that hands one of the streams over, and back, whenever it is asked; through kills of all daemons.

    It also sends transactions of its own meanwhile: a gateway lets go of a refused batch when ledger time has passed its
    transactions' expiry, and a chain on which nobody does anything has no time.
    """

    def __init__(self, site: Site, paths: Sequence[str], seed: str) -> None:
        self._site = site
        self._paths = list(paths)
        self._random = Random(f"{seed} hand-overs")  # noqa: S311 -- to be repeated
        self._asked = threading.Event()
        self._always = threading.Event()
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="hand-overs", daemon=True)
        self.count = 0  # of streams that went to the second gateway and came back

    def start(self) -> None:
        self._thread.start()

    def ask(self) -> None:
        """Have a stream handed over and back; nothing new when one is under way."""
        self._asked.set()

    def keep_on(self) -> None:
        """From now on without being asked: whoever waits for one of the gateways to take a message gets his turn."""
        self._always.set()
        self._asked.set()

    def end(self) -> None:
        """Let the one under way come to its end; raises what ended the thread before."""
        self._ended.set()
        self._asked.set()
        self._thread.join(_SETTLE_S)
        assert not self._thread.is_alive(), "a hand-over does not come to its end"
        if self._failure is not None:
            raise self._failure

    def settle(self) -> None:
        """With nobody publishing: give all streams to each gateway in turn until none holds messages back."""
        end = time.monotonic() + _SETTLE_S
        while held := [noun for noun in self._site.gateways if not self._free(noun)]:
            assert time.monotonic() < end, f"{held} still hold messages back"
            for path in self._paths:
                self._give(path, held[0])
            self._tick_until(partial(self._free, held[0]), _HELD_S)

    def _run(self) -> None:
        try:
            while True:
                self._asked.wait()
                if self._ended.is_set():
                    return
                if not self._always.is_set():
                    self._asked.clear()
                for _ in range(_TRIES_MAX):
                    if self._there_and_back(self._random.choice(self._paths)) or self._ended.is_set():
                        break
        except BaseException as error:  # noqa: BLE001 -- raised again by `end`
            self._failure = error

    def _there_and_back(self, path: str) -> bool:
        """Whether the first gateway had to hold messages back: only if some were under way."""
        self._give(path, SECOND)
        held = self._tick_until(partial(self._held, "gateway"), _HELD_S)
        self._tick_until(self._ended.is_set, self._random.uniform(0, 1))
        self._give(path, "gateway")
        self._tick_until(partial(self._free, "gateway"), _HELD_S)
        self.count += 1
        return held

    def _give(self, path: str, noun: str) -> None:
        """Until the chain says so. The gateway before still anchors, so a hand-over is sent for each of the sequences that
        the stream may have reached by then; one fits."""
        address = self._site.gateway_address(noun)

        def written_by(client: Client) -> bool:
            return client.stream(path)[0].gateway == address

        def hand_over(client: Client) -> None:
            _, head = client.stream(path)
            client.send_all([[HandOver(path, address, head.next_sequence + more)] for more in range(_GUESSES)])

        while not self._tried(written_by):
            self._tried(hand_over)

    def _tick_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Whether the condition came true within the time."""
        end = time.monotonic() + timeout_s
        while not (true := condition()) and time.monotonic() < end:
            self._tried(lambda client: client.set_attribute("tick", f"{time.monotonic_ns()}"))
            time.sleep(_TICK_S)
        return true

    def _held(self, noun: str) -> bool:
        """Whether a gateway says that it holds messages back."""
        return self._streams_held(noun) > 0

    def _free(self, noun: str) -> bool:
        """Whether it says that it holds none."""
        return self._streams_held(noun) == 0

    def _streams_held(self, noun: str) -> int:
        """-1 while it does not answer."""
        try:
            return len(self._site.gateway_status(noun)["held"])
        except (httpx2.HTTPError, ValueError):
            return -1

    def _tried(self, action: Callable[[Client], object]) -> bool:
        """Do it with a client of its own; False when the node was killed meanwhile or refuses it."""
        try:
            with self._site.client() as client:
                return bool(action(client))
        except AlthingError:
            time.sleep(_TICK_S)
            return False
