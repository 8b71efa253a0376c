"""The thread that has the application check transactions: new ones in order of arrival, rechecks before them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from althing.consensus.abci import Application, CheckTxKind, CheckTxRequest, CheckTxResponse
from althing.consensus.engine import PoolRefusedError
from althing.consensus.solo.pool import Pool

__all__ = ["Checker", "Outcome"]

Outcome = CheckTxResponse | Exception
"""What a check gave; an exception is the application's or the pool's."""

_REPORT_MAX = 64  # outcomes told together when many transactions are in flight


@dataclass(frozen=True, slots=True)
class _New:
    key: bytes
    tx: bytes
    token: object


@dataclass(frozen=True, slots=True)
class _Recheck:
    txs: Sequence[bytes]
    height: int
    done: threading.Event


class Checker:
    """Runs until `stop`. `report` gets (token, outcome) pairs, `admitted` is called after transactions entered the pool.

    `height` gives the committed height a check sees, `gas_max` the most gas a block may use (-1: unlimited).
    """

    def __init__(
        self,
        app: Application,
        pool: Pool,
        *,
        height: Callable[[], int],
        gas_max: Callable[[], int],
        report: Callable[[list[tuple[object, Outcome]]], None],
        admitted: Callable[[], None],
    ) -> None:
        self._app = app
        self._pool = pool
        self._height = height
        self._gas_max = gas_max
        self._report = report
        self._admitted = admitted
        self._jobs: deque[_New | _Recheck] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="solo-check", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the check in work; what still waits is reported as not checked by the caller's own means."""
        with self._wake:
            self._stopping = True
            for job in self._jobs:
                if isinstance(job, _Recheck):
                    job.done.set()
            self._jobs.clear()
            self._wake.notify()
        self._thread.join()

    def check(self, key: bytes, tx: bytes, token: object) -> None:
        """Check a transaction that the pool has reserved room for."""
        with self._wake:
            self._jobs.append(_New(key, tx, token))
            self._wake.notify()

    def recheck(self, txs: Sequence[bytes], height: int) -> None:
        """Check again what stayed in the pool after block `height`; returns when that is done."""
        job = _Recheck(txs, height, threading.Event())
        with self._wake:
            if self._stopping:
                return
            self._jobs.appendleft(job)
            self._wake.notify()
        job.done.wait()

    def _run(self) -> None:
        outcomes: list[tuple[object, Outcome]] = []
        while True:
            with self._wake:
                if outcomes and (not self._jobs or len(outcomes) >= _REPORT_MAX):
                    told, outcomes = outcomes, []
                else:
                    told = []
                    while not self._jobs and not self._stopping:
                        self._wake.wait()
                    if self._stopping:
                        return
                    job = self._jobs.popleft()
            if told:
                self._report(told)
            elif isinstance(job, _New):
                outcomes.append((job.token, self._check_new(job)))
            else:
                self._check_again(job)

    def _check_new(self, job: _New) -> Outcome:
        height = self._height()
        try:
            response = self._app.check_tx(CheckTxRequest(job.tx, CheckTxKind.NEW))
        except Exception as exc:  # noqa: BLE001 -- the application's fault; the sender is told, the chain goes on
            self._pool.release(job.key)
            return exc
        if response.code:
            self._pool.release(job.key)
            return response
        gas_max = self._gas_max()
        if 0 <= gas_max < response.gas_wanted:
            self._pool.release(job.key)
            return PoolRefusedError(
                "pool.gas", f"the transaction wants {response.gas_wanted} gas, a block may use {gas_max}"
            )
        self._pool.admit(job.key, job.tx, response.gas_wanted, height)
        self._admitted()
        return response

    def _check_again(self, job: _Recheck) -> None:
        for tx in job.txs:
            try:
                keep = self._app.check_tx(CheckTxRequest(tx, CheckTxKind.RECHECK)).code == 0
            except Exception:  # noqa: BLE001 -- what cannot be checked cannot stay
                keep = False
            self._pool.rechecked(tx, job.height, keep=keep)
        job.done.set()
