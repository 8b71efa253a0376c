"""Transactions waiting for a block: first in, first out, bounded, each once. Safe to use from several threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from althing.consensus.engine import Dropped, PoolRefusedError
from althing.protocol.errors import UnavailableError

__all__ = ["Pool", "Waiting", "tx_key"]


def tx_key(tx: bytes) -> bytes:
    """The name of a transaction in the pool: SHA-256 of its bytes."""
    return sha256(tx).digest()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A checked transaction; `checked_height` is the committed height its last check saw, at least.

    `deferred`: the application left it out of a proposal that would have been empty; it waits for the next block.
    """

    tx: bytes
    size: int
    gas_wanted: int
    checked_height: int
    deferred: bool = False


def _nobody(_keys: Sequence[bytes]) -> None:
    pass


class Pool:
    """`reserve` before a check, then `admit` or `release`; blocks take with `reap` and report with `committed`.

    `dropped` is told what was admitted and leaves without a block, on the thread that dropped it.
    """

    def __init__(self, *, count_max: int, bytes_max: int, seen_max: int, dropped: Dropped = _nobody) -> None:
        self._dropped = dropped
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._seen_max = seen_max
        self._lock = threading.Lock()
        self._waiting: OrderedDict[bytes, Waiting] = OrderedDict()
        self._checking: dict[bytes, int] = {}
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._bytes = 0  # of what waits or is being checked
        self._ready_count = 0  # what waits and is not deferred
        self._ready_bytes = 0

    def reserve(self, key: bytes, size: int) -> None:
        """Room for a transaction about to be checked; raises `pool.duplicate` or `pool.full`."""
        with self._lock:
            if key in self._waiting or key in self._checking or key in self._seen:
                raise PoolRefusedError("pool.duplicate", "this transaction is already in the pool or in a recent block")
            if len(self._waiting) + len(self._checking) >= self._count_max or self._bytes + size > self._bytes_max:
                raise UnavailableError("pool.full", "the transaction pool is full", hint="send it again later")
            self._checking[key] = size
            self._bytes += size

    def release(self, key: bytes) -> None:
        """The check refused it; it may come again."""
        with self._lock:
            self._bytes -= self._checking.pop(key)

    def admit(self, key: bytes, tx: bytes, gas_wanted: int, checked_height: int) -> None:
        """The check accepted it."""
        with self._lock:
            size = self._checking.pop(key)
            self._waiting[key] = Waiting(tx, size, gas_wanted, checked_height)
            self._ready_count += 1
            self._ready_bytes += size

    def reap(self, bytes_max: int, gas_max: int) -> tuple[bytes, ...]:
        """The oldest transactions that fit a block together; they stay in the pool. -1 gas is unlimited.

        One that no block could hold (the limits shrank after its check) is dropped, so that it blocks no other.
        """
        txs: list[bytes] = []
        hopeless: list[bytes] = []
        size = gas = 0
        with self._lock:
            for key, waiting in self._waiting.items():
                if waiting.deferred:
                    continue
                if waiting.size > bytes_max or 0 <= gas_max < waiting.gas_wanted:
                    hopeless.append(key)
                    continue
                size += waiting.size
                gas += waiting.gas_wanted
                if size > bytes_max or 0 <= gas_max < gas:
                    break
                txs.append(waiting.tx)
            for key in hopeless:
                self._remove(key)
        if hopeless:
            self._dropped(hopeless)
        return tuple(txs)

    def defer(self, txs: Iterable[bytes]) -> None:
        """Leave these out until a block was committed."""
        with self._lock:
            for key in map(tx_key, txs):
                waiting = self._waiting.get(key)
                if waiting is not None and not waiting.deferred:
                    self._waiting[key] = replace(waiting, deferred=True)
                    self._ready_count -= 1
                    self._ready_bytes -= waiting.size

    def committed(self, txs: Iterable[bytes]) -> None:
        """These are in a block now: forget them, remember having seen them, and reconsider what was deferred."""
        with self._lock:
            for key in map(tx_key, txs):
                self._remove(key)
                self._seen[key] = None
            while len(self._seen) > self._seen_max:
                self._seen.popitem(last=False)
            if self._ready_count != len(self._waiting):
                for key, waiting in self._waiting.items():
                    if waiting.deferred:
                        self._waiting[key] = replace(waiting, deferred=False)
                        self._ready_count += 1
                        self._ready_bytes += waiting.size

    def drop(self, txs: Iterable[bytes]) -> None:
        """No longer wanted; they may come again."""
        with self._lock:
            gone = [key for key in map(tx_key, txs) if self._remove(key)]
        if gone:
            self._dropped(gone)

    def unchecked_since(self, height: int) -> list[bytes]:
        """Transactions whose last check did not see this height, oldest first."""
        with self._lock:
            return [waiting.tx for waiting in self._waiting.values() if waiting.checked_height < height]

    def rechecked(self, tx: bytes, height: int, *, keep: bool) -> None:
        """Result of checking again at a height."""
        key = tx_key(tx)
        with self._lock:
            waiting = self._waiting.get(key)
            if waiting is None:
                return
            if keep:
                self._waiting[key] = replace(waiting, checked_height=height)
                return
            self._remove(key)
        self._dropped([key])

    @property
    def ready(self) -> tuple[int, int]:
        """Number and bytes of what the next block may take."""
        with self._lock:
            return self._ready_count, self._ready_bytes

    @property
    def load(self) -> tuple[int, int]:
        """Number and bytes of all that is held, being checked included."""
        with self._lock:
            return len(self._waiting) + len(self._checking), self._bytes

    def _remove(self, key: bytes) -> bool:
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return False
        self._bytes -= waiting.size
        if not waiting.deferred:
            self._ready_count -= 1
            self._ready_bytes -= waiting.size
        return True
