"""Signature checks off the event loop: jobs of a turn go out together, verdicts come back in the order of arrival.

The workers are processes: a verification releases the interpreter lock, but taking it back from a busy event loop costs
up to 5 ms each time (docs/adr/0021-signature-workers.md). While all workers are busy, jobs gather to larger batches.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import connection
from typing import Final

import structlog

from althing.gateway.guard.envelope import Job, Verdict, check_envelopes

__all__ = ["SignatureChecker"]

_log = structlog.get_logger("althing.gateway.guard")

_BATCH_MAX: Final = 128

Answer = Callable[[Verdict | None], None]


class _Batch:
    __slots__ = ("answers", "jobs", "verdicts")

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.answers: list[Answer] = []
        self.verdicts: list[Verdict] | None = None


class SignatureChecker:
    """`check` from the event loop's thread; the answer is None when a worker died and the sender must try again."""

    def __init__(self, genesis_hash: bytes, *, processes: int, threads: int = 2) -> None:
        """`processes` 0 uses threads, which suits tests and small gateways: nothing to start."""
        self._genesis_hash = genesis_hash
        self._processes = processes
        self._workers = processes or threads
        self._loop = asyncio.get_running_loop()
        self._executor = self._start()
        self._gathering: _Batch = _Batch()
        self._under_way: deque[_Batch] = deque()
        self._busy = 0
        self._scheduled = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.waiting = 0

    def _start(self) -> Executor:
        if not self._processes:
            return ThreadPoolExecutor(self._workers, thread_name_prefix="signatures")
        # Spawned, not forked: a fork would copy sockets, locks and the spool's descriptor.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._processes, mp_context=context, initializer=_end_with_parent)

    def check(self, job: Job, answer: Answer) -> None:
        self.waiting += 1
        self._idle.clear()
        batch = self._gathering
        batch.jobs.append(job)
        batch.answers.append(answer)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._scheduled = False
        while self._gathering.jobs and self._busy < 2 * self._workers:
            batch = self._gathering
            self._gathering = rest = _Batch()
            # Spread over the workers what one would take long for.
            size = min(_BATCH_MAX, max(16, -(-len(batch.jobs) // self._workers)))
            if len(batch.jobs) > size:
                rest.jobs, rest.answers = batch.jobs[size:], batch.answers[size:]
                del batch.jobs[size:], batch.answers[size:]
            self._under_way.append(batch)
            self._busy += 1
            try:
                future = self._executor.submit(check_envelopes, self._genesis_hash, batch.jobs)
            except BrokenProcessPool:
                self._restart()
                future = self._executor.submit(check_envelopes, self._genesis_hash, batch.jobs)
            future.add_done_callback(partial(self._done, batch))

    def _done(self, batch: _Batch, future: Future[list[Verdict]]) -> None:
        self._loop.call_soon_threadsafe(self._back, batch, future)

    def _back(self, batch: _Batch, done: Future[list[Verdict]]) -> None:
        self._busy -= 1
        error = done.exception() if not done.cancelled() else BrokenProcessPool("cancelled")
        if error is None:
            batch.verdicts = done.result()
        else:
            _log.error("signature worker failed", reason=repr(error))
            batch.verdicts = []
            if isinstance(error, BrokenProcessPool) and not self._busy:
                self._restart()
        while self._under_way and self._under_way[0].verdicts is not None:
            ready = self._under_way.popleft()
            self.waiting -= len(ready.answers)
            verdicts: list[Verdict] = ready.verdicts or []
            for index, answer in enumerate(ready.answers):
                answer(verdicts[index] if index < len(verdicts) else None)
        if self._gathering.jobs:
            self._send()
        elif not self.waiting:
            self._idle.set()

    def _restart(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = self._start()

    async def settled(self) -> None:
        """Wait until every job is answered."""
        await self._idle.wait()

    async def warm_up(self) -> None:
        """Have the workers started before the first message needs them."""
        futures = [self._executor.submit(check_envelopes, self._genesis_hash, []) for _ in range(self._workers)]
        await asyncio.gather(*(asyncio.wrap_future(future) for future in futures))

    async def close(self) -> None:
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=False)


def _end_with_parent() -> None:
    """In a worker: end when the gateway is gone. The pool's queues would not tell, as each worker holds both ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
