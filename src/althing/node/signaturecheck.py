"""Where a node verifies signatures: a few at once here, many in processes of their own, in threads until those are up.

A verification leaves the interpreter lock, but to take it back from a thread that executes a block costs up to 5 ms each
time, so that threads verify hardly anything beside a busy node (docs/adr/0041-verification-beside-execution.md).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import cbor2

from althing.ledger.authorisation import Check
from althing.node.signatureworker import HEAD_BYTES, frame
from althing.protocol.signatures import verify

__all__ = ["SignatureChecks"]

HERE_MAX: Final = 4  # checks that are done at once on the event loop: less than a way to another process and back
CHECKS_A_FRAME: Final = 128
FRAME_BYTES_MAX: Final = 4 * 1024 * 1024
THREADS: Final = 2
CHECKS_A_TASK: Final = 64
_ANSWER_S: Final = 30.0  # all that may wait at once takes a few seconds
_STOP_S: Final = 5

_log = logging.getLogger(__name__)


class _Worker:
    """One process and the connection to it. Of the event loop."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # The very modules of this process, wherever they were found; `-P` adds no folder to them.
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and module
                [sys.executable, "-P", "-m", "althing.node.signatureworker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment,
            )
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._writer: StreamWriter | None = None
        self.ready = False
        self.ended = False
        self._task = asyncio.create_task(self._read(ours), name="signatures")

    @property
    def load(self) -> int:
        return len(self._waiting)

    def ask(self, body: bytes) -> asyncio.Future[bytes]:
        """One byte for each check of a frame, in order; ConnectionError when the process has gone."""
        assert self._writer is not None, "ready before it is asked"
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._writer.write(frame(body))
        return future

    async def _read(self, connection: socket.socket) -> None:
        try:
            reader: StreamReader
            reader, self._writer = await asyncio.open_unix_connection(sock=connection)
            await reader.readexactly(1)
            self.ready = True
            while True:
                size = int.from_bytes(await reader.readexactly(HEAD_BYTES), "big")
                answer = await reader.readexactly(size)
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result(answer)
        except (IncompleteReadError, OSError) as exc:
            _log.error("a process that verifies signatures has ended: %s", exc)
        finally:
            self.ready, self.ended = False, True
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_exception(ConnectionError("the process has ended"))
            self._waiting.clear()
            if self._writer is not None:
                self._writer.close()
            else:
                connection.close()

    def kill(self) -> None:
        """End a process that does not answer; those who wait for it hear of it, and another is started."""
        self._process.kill()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        try:
            self._process.wait(_STOP_S)  # it ends by itself, since its connection is closed
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class SignatureChecks:
    """`failures` from the event loop; `processes` 0 verifies in threads, which suits tests and nodes with little to do."""

    def __init__(self, processes: int, *, answer_s: float = _ANSWER_S) -> None:
        self._processes = processes
        self._answer_s = answer_s
        self._workers: list[_Worker] = []
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="verify")
        self._stopping = False

    async def stop(self) -> None:
        self._stopping = True
        await asyncio.gather(*(worker.stop() for worker in self._workers))
        self._workers = []
        self._threads.shutdown(wait=True)

    async def failures(self, checks: Sequence[Check]) -> set[int]:
        """Which of the checks do not hold, by position."""
        if len(checks) <= HERE_MAX:
            return {at for at, holds in enumerate(_verdicts(checks)) if not holds}
        workers = await self._ready()
        if workers:
            try:
                async with asyncio.timeout(self._answer_s):
                    return await _asked(workers, checks)
            except TimeoutError:
                _log.error("a process that verifies signatures does not answer, and is ended")
                for worker in workers:
                    worker.kill()
            except ConnectionError:
                _log.warning("signatures are verified in threads until another process is up")
        loop = asyncio.get_running_loop()
        groups = [checks[at : at + CHECKS_A_TASK] for at in range(0, len(checks), CHECKS_A_TASK)]
        found = await asyncio.gather(*(loop.run_in_executor(self._threads, _verdicts, group) for group in groups))
        return {at for at, holds in enumerate(holds for group in found for holds in group) if not holds}

    async def _ready(self) -> list[_Worker]:
        """The processes that are up; they are started when they are first of use, and again when one has ended."""
        for worker in [worker for worker in self._workers if worker.ended]:
            self._workers.remove(worker)
            await worker.stop()
        while len(self._workers) < self._processes and not self._stopping:
            self._workers.append(_Worker())
        return [worker for worker in self._workers if worker.ready]


async def _asked(workers: list[_Worker], checks: Sequence[Check]) -> set[int]:
    asked = [min(workers, key=lambda worker: worker.load).ask(body) for body in _frames(checks)]
    try:
        answers = await asyncio.gather(*asked)
    finally:
        for one in asked:
            one.cancel()
    verdicts = b"".join(answers)
    assert len(verdicts) == len(checks), "one verdict each"
    return {at for at, holds in enumerate(verdicts) if not holds} if 0 in verdicts else set()


def _frames(checks: Sequence[Check]) -> Iterator[bytes]:
    flat: list[int | bytes] = []
    size = 0
    for key, signature in checks:
        flat += (int(key.suite), key.public, signature.signed, signature.value)
        size += len(signature.signed)
        if len(flat) >= 4 * CHECKS_A_FRAME or size >= FRAME_BYTES_MAX:
            yield cbor2.dumps(flat)
            flat, size = [], 0
    if flat:
        yield cbor2.dumps(flat)


def _verdicts(checks: Sequence[Check]) -> list[bool]:
    return [verify(key.suite, key.public, signature.signed, signature.value) for key, signature in checks]
