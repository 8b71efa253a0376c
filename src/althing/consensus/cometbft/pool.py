"""Transactions on their way into CometBFT's pool, and those in it: each once, bounded, and not lost with the process.

CometBFT forgets its pool when it ends. What was sent through this node stays here until a block has it, or a check
refuses it, and is sent again after a restart. All methods belong to the event loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256

from althing.consensus.abci import CheckTxResponse
from althing.consensus.cometbft.driven import CheckOutcome
from althing.consensus.engine import Dropped, PoolRefusedError
from althing.protocol.errors import AlthingError, UnavailableError

__all__ = ["Sent", "SentPool"]


@dataclass(slots=True, eq=False)
class Sent:
    """A transaction of this node's; `answer` is what its first check gave."""

    key: bytes
    tx: bytes
    answer: asyncio.Future[CheckTxResponse] = field(repr=False)


class SentPool:
    """Bounded by number and bytes. `dropped` is told what had been accepted and left without a block."""

    def __init__(self, *, count_max: int, bytes_max: int, dropped: Dropped) -> None:
        self._dropped = dropped
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._sent: OrderedDict[bytes, Sent] = OrderedDict()
        self._bytes = 0

    def add(self, tx: bytes) -> Sent:
        """Take a transaction; PoolRefusedError `pool.duplicate`, UnavailableError `pool.full`."""
        key = sha256(tx).digest()
        if key in self._sent:
            raise _duplicate()
        if len(self._sent) >= self._count_max or self._bytes + len(tx) > self._bytes_max:
            raise _full()
        sent = Sent(key, tx, asyncio.get_running_loop().create_future())
        self._sent[key] = sent
        self._bytes += len(tx)
        return sent

    def checked(self, key: bytes, outcome: CheckOutcome, *, again: bool) -> None:
        """The application's judgement: the first one is the sender's answer, any refusal ends it."""
        sent = self._sent.get(key)
        if sent is None:
            return  # another node's
        refused = isinstance(outcome, Exception) or outcome.code != 0
        if refused:
            self._remove(key)
        if sent.answer.done():
            if refused:
                self._dropped([key])
            return
        if again:
            return
        if isinstance(outcome, Exception):
            sent.answer.set_exception(outcome)
        else:
            sent.answer.set_result(outcome)

    def refused(self, sent: Sent, said: str) -> None:
        """CometBFT itself did not take it, in its own words."""
        if "already exists in cache" in said:
            if sent.answer.done():
                return  # sent again after a restart, and it was there
            error: AlthingError = _duplicate()
        elif "mempool is full" in said or "recheck" in said:
            error = _full()
        elif "too large" in said.lower() or "pre check" in said:
            error = PoolRefusedError("pool.tx_too_large", said)
        elif "catching up" in said:
            error = UnavailableError("engine.behind", "this node is still catching up with the chain", retry_after_s=5)
        else:
            error = UnavailableError("engine.unreachable", said)
        self._remove(sent.key)
        if sent.answer.done():
            self._dropped([sent.key])
        else:
            sent.answer.set_exception(error)

    def committed(self, txs: tuple[bytes, ...]) -> None:
        """These are in a block."""
        for tx in txs:
            key = sha256(tx).digest()
            sent = self._sent.get(key)
            if sent is not None:
                self._remove(key)
                if not sent.answer.done():  # proposed by another node before this one had checked it
                    sent.answer.set_result(CheckTxResponse())

    def waiting(self) -> list[Sent]:
        """All of them, oldest first: what a restarted engine has to be sent again."""
        return list(self._sent.values())

    def end(self, error: AlthingError) -> None:
        """Nobody will be answered any more."""
        for sent in self._sent.values():
            if not sent.answer.done():
                sent.answer.set_exception(error)
                sent.answer.exception()  # seen, also when its sender has gone
        self._sent.clear()
        self._bytes = 0

    @property
    def load(self) -> tuple[int, int]:
        """Number and bytes."""
        return len(self._sent), self._bytes

    def _remove(self, key: bytes) -> None:
        sent = self._sent.pop(key, None)
        if sent is not None:
            self._bytes -= len(sent.tx)


def _duplicate() -> PoolRefusedError:
    return PoolRefusedError("pool.duplicate", "this transaction is already in the pool or in a recent block")


def _full() -> UnavailableError:
    return UnavailableError("pool.full", "the transaction pool is full", hint="send it again later")
