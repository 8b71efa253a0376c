"""Blocking reads off the event loop: bounded threads, bounded waiting, slow archive work apart from quick state reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from althing.node.api.limits import ARCHIVE_THREADS, STATE_THREADS, WAITING_MAX
from althing.protocol.errors import UnavailableError

__all__ = ["Reads"]

P = ParamSpec("P")
T = TypeVar("T")


class _Lane:
    """A few threads and a bounded queue before them."""

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._under_way = 0

    async def run(self, work: Callable[[], T]) -> T:
        if self._under_way >= WAITING_MAX:
            raise UnavailableError("node.busy", "too many reads are waiting", hint="ask less often, or another node")
        self._under_way += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # Counted until the thread is done, also when the caller has gone: that is when there is room again.
        future.add_done_callback(self._done)
        return await future

    def _done(self, _future: object) -> None:
        self._under_way -= 1

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


class Reads:
    """`state` for reads of microseconds, `archive` for those that may take seconds."""

    def __init__(self) -> None:
        self._state = _Lane("state-read", STATE_THREADS)
        self._archive = _Lane("archive-read", ARCHIVE_THREADS)

    async def state(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._state.run(lambda: work(*args, **kwargs))

    async def archive(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._archive.run(lambda: work(*args, **kwargs))

    def close(self) -> None:
        """Wait for reads under way; after it storage may be closed."""
        self._state.close()
        self._archive.close()
