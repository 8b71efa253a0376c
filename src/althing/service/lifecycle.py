"""Parts of a process, started in order and stopped in the reverse one, and the signals that end it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

__all__ = ["Lifecycle", "start_unless_stopped", "stop_on_signals"]

_log = structlog.get_logger("althing.service")

T = TypeVar("T")


class Lifecycle:
    """What was started is stopped once, newest first, also when a later part fails to start."""

    def __init__(self, *, stop_timeout_s: float = 30.0) -> None:
        """`stop_timeout_s` bounds each part: one that hangs must not keep the others from making their data safe."""
        self._stop_timeout_s = stop_timeout_s
        self._parts: list[tuple[str, Callable[[], Awaitable[object]]]] = []

    async def start(
        self,
        name: str,
        start: Callable[[], Awaitable[object]] | None,
        stop: Callable[[], Awaitable[object]],
    ) -> None:
        """Start a part; from then on `stop` is owed. So it is when the start is cut off: half of it may be there."""
        if start is not None:
            try:
                await start()
            except asyncio.CancelledError:
                self._parts.append((name, stop))
                raise
        self._parts.append((name, stop))
        _log.debug("started", part=name)

    async def stop(self) -> None:
        """Stop everything. A part that fails or hangs is logged, and the rest is stopped all the same."""
        while self._parts:
            name, stop = self._parts.pop()
            try:
                async with asyncio.timeout(self._stop_timeout_s):
                    await stop()
            except TimeoutError:
                _log.error("part did not stop in time", part=name, timeout_s=self._stop_timeout_s)
            except Exception as error:  # noqa: BLE001 -- whatever it was, the other parts must still be stopped
                _log.error("part failed to stop", part=name, reason=repr(error), exc_info=error)
            else:
                _log.debug("stopped", part=name)


async def start_unless_stopped(start: Coroutine[Any, Any, T], stop: asyncio.Event) -> T | None:
    """What `start` returns; None when `stop` was set first.

    `start` is then cancelled and awaited: it stops what it has begun before it lets the cancellation through.
    """
    starting = asyncio.create_task(start, name="start")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (starting, stopped):
            task.cancel()
        await asyncio.wait({starting, stopped})
    return None if stop.is_set() and starting.cancelled() else starting.result()


def stop_on_signals(stop: asyncio.Event) -> None:
    """Have SIGINT and SIGTERM set `stop`; the second one ends the process at once, as its user expects."""
    loop = asyncio.get_running_loop()

    def received(number: signal.Signals) -> None:
        _log.info("stopping", signal=number.name)
        stop.set()
        for other in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(other)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, received, number)
