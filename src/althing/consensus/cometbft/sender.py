"""Sending transactions into CometBFT's pool: in order, many at a time, over one connection.

`broadcast_tx_async` answers at once and the application's own check is what the sender hears, so nobody waits for the
20 ms after which CometBFT's ABCI client writes on its own: an empty `check_tx` behind the batch makes it write now.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from typing import Final

import structlog

from althing.consensus.cometbft.pool import Sent, SentPool
from althing.consensus.cometbft.rpc import BATCH_MAX, AsyncRpc, Call, RpcError
from althing.protocol.errors import UnavailableError

__all__ = ["Sender"]

_log = structlog.get_logger("althing.engine")
_PAUSE_S: Final = 0.2


class Sender:
    """`push` what was taken into the pool; `up` and `down` as the engine comes and goes."""

    def __init__(self, rpc: AsyncRpc, pool: SentPool, *, batch_bytes_max: int) -> None:
        self._rpc = rpc
        self._pool = pool
        self._batch_bytes_max = batch_bytes_max
        self._queue: deque[Sent] = deque()
        self._wake = asyncio.Event()
        self._up = asyncio.Event()

    def push(self, sent: Sent) -> None:
        """Send this next."""
        self._queue.append(sent)
        self._wake.set()

    def up(self) -> None:
        """The engine answers, and has forgotten its pool: everything is sent again, in the old order."""
        self._queue = deque(self._pool.waiting())
        self._up.set()
        self._wake.set()

    def down(self) -> None:
        """The engine has ended; what is sent waits."""
        self._up.clear()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait()
            await self._up.wait()
            self._wake.clear()
            while self._queue and self._up.is_set():
                await self._send(self._batch())

    def _batch(self) -> list[Sent]:
        chosen: list[Sent] = []
        size = 0
        while self._queue and len(chosen) < BATCH_MAX:
            size += len(self._queue[0].tx)
            if chosen and size > self._batch_bytes_max:
                break
            chosen.append(self._queue.popleft())
        return chosen

    async def _send(self, batch: list[Sent]) -> None:
        calls: list[Call] = [("broadcast_tx_async", {"tx": base64.b64encode(s.tx).decode("ascii")}) for s in batch]
        try:
            answers = await self._rpc.batch([*calls, ("check_tx", {"tx": ""})])
        except UnavailableError as error:
            if self._up.is_set():
                # It may have ended a moment ago, or not: what is in its pool already is refused as a duplicate.
                _log.warning("the engine did not take transactions", reason=error.message)
                self._queue.extendleft(reversed(batch))
                await asyncio.sleep(_PAUSE_S)
            return
        for sent, answer in zip(batch, answers, strict=False):
            if isinstance(answer, RpcError):
                self._pool.refused(sent, answer.data)
