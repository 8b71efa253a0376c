"""From a client's transactions to receipts: admission, signature checks in threads, bundles, waiting for blocks.

One task admits whatever has arrived; checks run in a few threads, which the crypto libraries leave the interpreter for;
one bundle at a time is under way to the engine while the next one fills, so load makes bundles larger and an idle chain
answers at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from althing.consensus.engine import Engine
from althing.ledger.app import Admitted, Ledger
from althing.ledger.authorisation import Check
from althing.ledger.query import find_transaction
from althing.ledger.runtime.errors import NotFoundError
from althing.node.application import CommittedContent
from althing.protocol.bundle import make_bundle
from althing.protocol.errors import AlthingError, RefusedError, UnavailableError
from althing.protocol.hashing import sha256
from althing.protocol.limits import BUNDLE_TXS_MAX
from althing.protocol.signatures import PrivateKey, verify

__all__ = ["Submission", "TxAnswer"]

PENDING_MAX: Final = 20_000
PENDING_BYTES_MAX: Final = 128 * 1024 * 1024
BUNDLE_BYTES_MAX: Final = 2 * 1024 * 1024
BUNDLES_UNDER_WAY_MAX: Final = 2
ADMISSION_MAX: Final = 1024  # transactions judged at a time; keeps the loop free for others in between
CHECKS_A_TASK: Final = 64


@dataclass(frozen=True, slots=True)
class TxAnswer:
    """What is known of a submitted transaction: `code` empty when accepted (or committed, then with height and receipt)."""

    tx_id: bytes
    code: str
    message: str
    height: int | None = None
    receipt: bytes | None = None


@dataclass(slots=True)
class _Pending:
    """A transaction between admission and its block; all who sent it wait for one answer."""

    tx_id: bytes
    data: bytes
    done: asyncio.Future[TxAnswer] = field(repr=False)


class Submission:
    """The way in. Methods are called on the event loop; `block_committed` from the engine's thread."""

    def __init__(
        self,
        ledger: Ledger,
        engine: Engine,
        key: PrivateKey,
        address: bytes,
        clock: Callable[[], int],
        *,
        threads: int = 2,
    ) -> None:
        self._ledger = ledger
        self._engine = engine
        self._key = key
        self._address = address
        self._clock = clock
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="verify")
        self._arrived: deque[tuple[bytes, asyncio.Future[TxAnswer | _Pending]]] = deque()
        self._arrived_bytes = 0
        self._pending: dict[bytes, _Pending] = {}
        self._unbundled: deque[_Pending] = deque()
        self._under_way = 0
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def pending(self) -> int:
        """Transactions admitted and not yet in a block."""
        return len(self._pending) + len(self._arrived)

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks = [asyncio.create_task(self._admit_forever(), name="admission")]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        gone = UnavailableError("node.stopping", "the node is stopping", hint="send the transaction to another node")
        for _, arrived in self._arrived:
            if not arrived.done():
                arrived.set_exception(gone)
        for waiting in self._pending.values():
            if not waiting.done.done():
                waiting.done.set_result(TxAnswer(waiting.tx_id, gone.code, gone.message))
        self._pool.shutdown(wait=True)

    async def submit(self, transactions: Sequence[bytes], *, wait: bool, timeout_s: int) -> list[TxAnswer]:
        """Answers in the order given. With `wait` they tell the block; after `timeout_s` the code is `tx.pending`."""
        size = sum(len(data) for data in transactions)
        if self.pending + len(transactions) > PENDING_MAX or self._arrived_bytes + size > PENDING_BYTES_MAX:
            raise UnavailableError("pool.full", "too many transactions are waiting", hint="send more slowly")
        assert self._loop is not None, "started before serving"
        arrivals = [self._loop.create_future() for _ in transactions]
        self._arrived.extend(zip(transactions, arrivals, strict=True))
        self._arrived_bytes += size
        self._wake.set()
        judged = await asyncio.gather(*arrivals)
        if not wait:
            return [TxAnswer(j.tx_id, "", "") if isinstance(j, _Pending) else j for j in judged]
        waiting = {j.done for j in judged if isinstance(j, _Pending) and not j.done.done()}
        if waiting:
            await asyncio.wait(waiting, timeout=timeout_s)
        return [self._answer(j) if isinstance(j, _Pending) else j for j in judged]

    @staticmethod
    def _answer(pending: _Pending) -> TxAnswer:
        if pending.done.done():
            return pending.done.result()
        return TxAnswer(pending.tx_id, "tx.pending", "not in a block yet; ask for it by its id")

    # --- admission ------------------------------------------------------------------------------------------------

    async def _admit_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._arrived:
                count = min(len(self._arrived), ADMISSION_MAX)
                group = [self._arrived.popleft() for _ in range(count)]
                self._arrived_bytes -= sum(len(data) for data, _ in group)
                await self._admit(group)
                await self._bundle()

    async def _admit(self, group: list[tuple[bytes, asyncio.Future[TxAnswer | _Pending]]]) -> None:
        time_s = self._clock() // 1_000_000_000
        judged = self._ledger.admit([data for data, _ in group], time_s)
        checks = [check for verdict in judged if isinstance(verdict, Admitted) for check in verdict.checks]
        bad = await self._verify(checks)
        for (data, arrived), verdict in zip(group, judged, strict=True):
            if arrived.done():
                continue
            if not isinstance(verdict, Admitted):
                arrived.set_result(self._refusal(data, verdict))
            elif any(id(check[1]) in bad for check in verdict.checks):
                arrived.set_result(TxAnswer(verdict.tx.id, "tx.signature", "a signature does not verify"))
            else:
                arrived.set_result(self._enqueue(verdict.tx.id, data))

    async def _verify(self, checks: list[Check]) -> set[int]:
        """Verify in threads; identities of the signatures that do not hold. Those that do are remembered."""
        assert self._loop is not None
        groups = [checks[i : i + CHECKS_A_TASK] for i in range(0, len(checks), CHECKS_A_TASK)]
        if len(groups) == 1 and len(groups[0]) <= 2:
            failed = [_failures(groups[0])]
        else:
            failed = list(await asyncio.gather(*(self._loop.run_in_executor(self._pool, _failures, g) for g in groups)))
        bad = {number for numbers in failed for number in numbers}
        for key, signature in checks:
            if id(signature) not in bad:
                self._ledger.signatures.add(key, signature)
        return bad

    def _refusal(self, data: bytes, error: AlthingError) -> TxAnswer:
        tx_id = sha256(data)
        with suppress(AlthingError):
            tx_id = self._ledger.transactions.parse(data, self._ledger.genesis_hash).id
        if error.code == "tx.replayed":
            # Sending again what was executed is not a mistake of the sender's: it gets the receipt.
            with suppress(NotFoundError):
                location = find_transaction(self._ledger.store, tx_id)
                receipt = self._ledger.outcome(location.height).receipts[location.bundle][location.index]
                return TxAnswer(tx_id, "", "executed before", location.height, receipt)
        return TxAnswer(tx_id, error.code, error.message)

    def _enqueue(self, tx_id: bytes, data: bytes) -> _Pending:
        known = self._pending.get(tx_id)
        if known is None:
            assert self._loop is not None
            known = _Pending(tx_id, data, self._loop.create_future())
            self._pending[tx_id] = known
            self._unbundled.append(known)
        return known

    # --- bundles --------------------------------------------------------------------------------------------------

    async def _bundle(self) -> None:
        while self._unbundled and self._under_way < BUNDLES_UNDER_WAY_MAX:
            chosen: list[_Pending] = []
            size = 0
            while self._unbundled and len(chosen) < BUNDLE_TXS_MAX:
                size += len(self._unbundled[0].data)
                if chosen and size > BUNDLE_BYTES_MAX:
                    break
                chosen.append(self._unbundled.popleft())
            bundle = make_bundle(self._key, self._address, [p.data for p in chosen], self._ledger.genesis_hash)
            self._under_way += 1
            try:
                response = await self._engine.submit(bundle)
            except (UnavailableError, RefusedError) as exc:
                self._under_way -= 1
                self._give_up(chosen, exc.code, exc.message)
                continue
            if response.code:
                self._under_way -= 1
                self._give_up(chosen, response.codespace or "bundle.refused", response.log)

    def _give_up(self, chosen: list[_Pending], code: str, message: str) -> None:
        for pending in chosen:
            self._pending.pop(pending.tx_id, None)
            if not pending.done.done():
                pending.done.set_result(TxAnswer(pending.tx_id, code, message))

    # --- blocks ---------------------------------------------------------------------------------------------------

    def block_committed(self, content: CommittedContent) -> None:
        """Called from the engine's thread after each commit."""
        if content.finalized.result.bundles and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._resolve, content)

    def _resolve(self, content: CommittedContent) -> None:
        for bundle in content.finalized.result.bundles:
            self._under_way = max(0, self._under_way - 1)
            for tx_id, receipt in zip(bundle.tx_ids, bundle.receipts, strict=True):
                pending = self._pending.pop(tx_id, None)
                if pending is not None:
                    self._ledger.transactions.forget(pending.data)
                    if not pending.done.done():
                        pending.done.set_result(TxAnswer(tx_id, "", "", content.height, receipt))
        self._wake.set()
        if self._unbundled:
            assert self._loop is not None
            self._tasks = [task for task in self._tasks if not task.done()]
            self._tasks.append(self._loop.create_task(self._bundle(), name="bundle"))


def _failures(checks: list[Check]) -> list[int]:
    return [id(s) for key, s in checks if not verify(key.suite, key.public, s.signed, s.value)]
