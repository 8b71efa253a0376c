"""Group commit: changes of one turn of the event loop, and of all turns during a write, become one durable write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from althing.gateway.ingest.mqtt.errors import SessionStoreError
from althing.gateway.ingest.mqtt.metrics import MqttMetrics
from althing.gateway.ingest.mqtt.store import SessionStore

__all__ = ["Journal"]

_LAZY_S = 0.05  # what may be lost without harm waits so long for company
_RETRY_S = 1.0


class Journal:
    """Collects changes; `when_durable` calls back once everything recorded so far cannot be lost.

    `epoch` numbers the group being collected and `committed` the last durable one. A failed write is kept and tried
    again with what came since; until it succeeds nobody is called back, so nothing is acknowledged.
    """

    def __init__(self, store: SessionStore, loop: asyncio.AbstractEventLoop, metrics: MqttMetrics) -> None:
        self._store = store
        self._loop = loop
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, "mqtt-store") if store.blocking else None
        self._changes: dict[bytes, bytes | None] = {}
        self._waiting: list[Callable[[], None]] = []
        self._writing: dict[bytes, bytes | None] | None = None
        self._writing_waiting: list[Callable[[], None]] = []
        self._scheduled: asyncio.Handle | None = None
        self._lazy: asyncio.TimerHandle | None = None
        self._idle: list[asyncio.Future[None]] = []
        self.epoch = 1
        self.committed = 0
        self.failing = False

    def put(self, key: bytes, value: bytes, *, lazy: bool = False) -> None:
        self._change(key, value, lazy)

    def delete(self, key: bytes, *, lazy: bool = False) -> None:
        self._change(key, None, lazy)

    def when_durable(self, call: Callable[[], None]) -> None:
        """Call once all changes so far are durable: at once when they are."""
        if self._changes:
            self._waiting.append(call)
            self._schedule()
        elif self._writing is not None:
            self._writing_waiting.append(call)
        else:
            call()

    async def drain(self) -> None:
        """Wait until nothing is pending, or until a write fails."""
        while (self._changes or self._writing is not None) and not self.failing:
            self._schedule()
            future: asyncio.Future[None] = self._loop.create_future()
            self._idle.append(future)
            await future

    def close(self) -> None:
        for handle in (self._scheduled, self._lazy):
            if handle is not None:
                handle.cancel()
        if self._thread is not None:
            self._thread.shutdown()

    def _change(self, key: bytes, value: bytes | None, lazy: bool) -> None:
        self._changes[key] = value
        if not lazy:
            self._schedule()
        elif self._lazy is None:
            self._lazy = self._loop.call_later(_LAZY_S, self._lazy_due)

    def _lazy_due(self) -> None:
        self._lazy = None
        if self._changes:
            self._schedule()

    def _schedule(self) -> None:
        if self._scheduled is None and self._writing is None and not self.failing:
            self._scheduled = self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._scheduled = None
        self.failing = False
        changes, waiting = self._changes, self._waiting
        if not changes and not waiting:
            return
        self._changes, self._waiting = {}, []
        self._writing, self._writing_waiting = changes, waiting
        self.epoch += 1
        if self._thread is None:
            try:
                self._store.write(changes)
            except SessionStoreError as error:
                self._finish(error)
            else:
                self._finish(None)
        else:
            self._thread.submit(self._write, changes)

    def _write(self, changes: dict[bytes, bytes | None]) -> None:
        failure: SessionStoreError | None = None
        try:
            self._store.write(changes)
        except SessionStoreError as error:
            failure = error
        try:
            self._loop.call_soon_threadsafe(self._finish, failure)
        except RuntimeError:  # the loop was closed while we wrote: nobody is left to tell
            pass

    def _finish(self, failure: SessionStoreError | None) -> None:
        changes, waiting = self._writing, self._writing_waiting
        assert changes is not None
        self._writing, self._writing_waiting = None, []
        if failure is not None:
            self._metrics.store_failures += 1
            self.failing = True
            self._changes = {**changes, **self._changes}
            self._waiting = waiting + self._waiting
            self._scheduled = self._loop.call_later(_RETRY_S, self._begin)
        else:
            self._metrics.store_commits += 1
            self.committed = self.epoch - 1
            for call in waiting:
                call()
            if self._changes or self._waiting:
                self._schedule()
        idle, self._idle = self._idle, []
        for future in idle:
            if not future.done():
                future.set_result(None)
