"""From a client's transactions to receipts: admission, signature checks in threads, bundles, waiting for blocks.

One task admits whatever has arrived; checks run in a few threads, which the crypto libraries leave the interpreter for;
few bundles at a time are under way to the engine while the next one fills, so load makes bundles larger and an idle chain
answers at once. Whatever happens to a bundle, each sender gets one answer: a receipt, a refusal, or that the time is over.
"""

from __future__ import annotations

import asyncio
import logging
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
from althing.protocol.errors import AlthingError, UnavailableError
from althing.protocol.hashing import sha256
from althing.protocol.limits import BUNDLE_TXS_MAX
from althing.protocol.receipt import Receipt
from althing.protocol.signatures import PrivateKey, verify
from althing.protocol.transaction import SignedTransaction

__all__ = ["Submission", "TxAnswer"]

PENDING_MAX: Final = 20_000
PENDING_BYTES_MAX: Final = 128 * 1024 * 1024
BUNDLE_BYTES_MAX: Final = 2 * 1024 * 1024
BUNDLES_UNDER_WAY_MAX: Final = 2
ADMISSION_MAX: Final = 1024  # transactions judged at a time; keeps the loop free for others in between
CHECKS_A_TASK: Final = 64

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TxAnswer:
    """What is known of a submitted transaction: `code` empty when accepted (or committed, then with height and receipt)."""

    tx_id: bytes
    code: str
    message: str
    height: int | None = None
    receipt: bytes | None = None


@dataclass(slots=True, eq=False)
class _Pending:
    """A transaction between admission and its block; all who sent it wait for one answer."""

    tx_id: bytes
    data: bytes
    gas_limit: int
    expiry: int
    done: asyncio.Future[TxAnswer] = field(repr=False)


_Arrived = tuple[bytes, "asyncio.Future[TxAnswer | _Pending]"]


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
        self._arrived: deque[_Arrived] = deque()
        self._judging: list[_Arrived] = []
        self._pending: dict[bytes, _Pending] = {}
        self._bytes = 0  # of what has arrived, is being judged or pending
        self._unbundled: deque[_Pending] = deque()
        self._expiring: dict[int, set[_Pending]] = {}  # pending by expiry
        self._under_way: dict[bytes, list[_Pending]] = {}  # by the bundle's id
        self._bundling = False
        self._stopping = False
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._admission: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def pending(self) -> int:
        """Transactions taken and not yet in a block."""
        return len(self._pending) + len(self._arrived) + len(self._judging)

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._admission = asyncio.create_task(self._admit_forever(), name="admission")
        self._tasks = [self._admission]

    async def failed(self) -> None:
        """Returns when admission has been stopped; raises the fault that ended it, without which nothing is answered."""
        assert self._admission is not None, "started before it is watched"
        await asyncio.wait({self._admission})
        if not self._admission.cancelled():
            self._admission.result()

    async def stop(self) -> None:
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            # A task that failed has told so by `failed`; what waits must be released all the same.
            await asyncio.wait(self._tasks)
        gone = _stopping()
        for _, arrived in (*self._judging, *self._arrived):
            if not arrived.done():
                arrived.set_exception(gone)
        self._judging, self._arrived = [], deque()
        for waiting in list(self._pending.values()):
            self._finish(waiting, TxAnswer(waiting.tx_id, gone.code, gone.message))
        self._pool.shutdown(wait=True)

    async def submit(self, transactions: Sequence[bytes], *, wait: bool, timeout_s: int) -> list[TxAnswer]:
        """Answers in the order given. With `wait` they tell the block; after `timeout_s` the code is `tx.pending`.

        UnavailableError `pool.full`, `node.stopping`: none of them was taken.
        """
        if self._stopping:
            raise _stopping()
        size = sum(len(data) for data in transactions)
        if self.pending + len(transactions) > PENDING_MAX or self._bytes + size > PENDING_BYTES_MAX:
            raise UnavailableError("pool.full", "too many transactions are waiting", hint="send more slowly")
        assert self._loop is not None, "started before serving"
        arrivals = [self._loop.create_future() for _ in transactions]
        self._arrived.extend(zip(transactions, arrivals, strict=True))
        self._bytes += size
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
                self._judging = [self._arrived.popleft() for _ in range(count)]
                try:
                    await self._admit(self._judging)
                except AlthingError as exc:  # the state cannot be read
                    for data, arrived in self._judging:
                        if not arrived.done():
                            self._bytes -= len(data)
                            arrived.set_exception(exc)
                self._judging = []
                self._start_bundling()

    async def _admit(self, group: list[_Arrived]) -> None:
        time_s = self._clock() // 1_000_000_000
        judged = self._ledger.admit([data for data, _ in group], time_s)
        checks = [check for verdict in judged if isinstance(verdict, Admitted) for check in verdict.checks]
        bad = await self._verify(checks)
        for (data, arrived), verdict in zip(group, judged, strict=True):
            result: TxAnswer | _Pending
            if not isinstance(verdict, Admitted):
                result = self._refusal(data, verdict)
            elif any(id(check[1]) in bad for check in verdict.checks):
                result = TxAnswer(verdict.tx.id, "tx.signature", "a signature does not verify")
            elif arrived.done():  # its sender has gone
                result = TxAnswer(verdict.tx.id, "", "")
            else:
                result = self._enqueue(verdict.tx, data)
            if not isinstance(result, _Pending) or result.data is not data:
                self._bytes -= len(data)
                if not isinstance(result, _Pending):
                    self._ledger.transactions.forget(data)  # strangers must not fill the cache
            if not arrived.done():
                arrived.set_result(result)

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

    def _enqueue(self, tx: SignedTransaction, data: bytes) -> _Pending:
        known = self._pending.get(tx.id)
        if known is None:
            assert self._loop is not None
            body = tx.transaction
            known = _Pending(tx.id, data, body.gas_limit, body.expiry, self._loop.create_future())
            self._pending[tx.id] = known
            self._unbundled.append(known)
            self._expiring.setdefault(body.expiry, set()).add(known)
        return known

    def _finish(self, pending: _Pending, answer: TxAnswer) -> None:
        """Give all who wait for a transaction their answer, once."""
        if pending.done.done():
            return
        pending.done.set_result(answer)
        del self._pending[pending.tx_id]
        self._bytes -= len(pending.data)
        alike = self._expiring[pending.expiry]
        alike.discard(pending)
        if not alike:
            del self._expiring[pending.expiry]
        self._ledger.transactions.forget(pending.data)

    # --- bundles --------------------------------------------------------------------------------------------------

    def _start_bundling(self) -> None:
        if self._bundling or self._stopping or not self._unbundled:
            return
        assert self._loop is not None
        self._bundling = True
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(self._loop.create_task(self._bundle(), name="bundle"))

    async def _bundle(self) -> None:
        try:
            while self._unbundled and len(self._under_way) < BUNDLES_UNDER_WAY_MAX:
                chosen = self._choose()
                if chosen:
                    await self._send(chosen)
        finally:
            self._bundling = False

    def _choose(self) -> list[_Pending]:
        """The next bundle: within its count and bytes, and within the gas of one block, or no block would take it."""
        gas_max = self._ledger.block_gas_max
        chosen: list[_Pending] = []
        size = gas = 0
        while self._unbundled and len(chosen) < BUNDLE_TXS_MAX:
            pending = self._unbundled[0]
            if pending.done.done():  # expired meanwhile, or executed in another node's bundle
                self._unbundled.popleft()
                continue
            size += len(pending.data)
            gas += pending.gas_limit
            if chosen and (size > BUNDLE_BYTES_MAX or gas > gas_max):
                break
            chosen.append(self._unbundled.popleft())
        return chosen

    async def _send(self, chosen: list[_Pending]) -> None:
        bundle = make_bundle(self._key, self._address, [p.data for p in chosen], self._ledger.genesis_hash)
        name = sha256(bundle)
        self._under_way[name] = chosen
        try:
            response = await self._engine.submit(bundle)
        except AlthingError as exc:
            self._give_up(name, exc.code, exc.message)
        except Exception as exc:  # noqa: BLE001 -- the engine's fault; senders are told, the next bundle goes on
            _log.exception("the engine could not check a bundle")
            self._give_up(name, "node.internal", f"the engine failed: {type(exc).__name__}")
        else:
            if response.code:
                self._give_up(name, response.codespace or "bundle.refused", response.log)

    def _give_up(self, name: bytes, code: str, message: str) -> None:
        for pending in self._under_way.pop(name, ()):
            self._finish(pending, TxAnswer(pending.tx_id, code, message))

    # --- blocks ---------------------------------------------------------------------------------------------------

    def block_committed(self, content: CommittedContent) -> None:
        """Called from the engine's thread after each commit, of blocks without content too: they move ledger time on."""
        if self._loop is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # closed since
                self._loop.call_soon_threadsafe(self._resolve, content)

    def _resolve(self, content: CommittedContent) -> None:
        """1. Receipts to those who wait. 2. What has expired cannot be executed any more. 3. Room for further bundles."""
        for bundle in content.finalized.result.bundles:  # 1
            own = bundle.id in self._under_way
            for tx_id, receipt in zip(bundle.tx_ids, bundle.receipts, strict=True):
                pending = self._pending.get(tx_id)
                # In another node's bundle a refusal leaves the id unused: that was not the envelope waited for.
                if pending is not None and (own or Receipt.from_bytes(receipt).gas_used):
                    self._finish(pending, TxAnswer(tx_id, "", "", content.height, receipt))
            self._give_up(bundle.id, bundle.log, "the bundle was not executed")
        time_s = content.time_ns // 1_000_000_000
        for expiry in [expiry for expiry in self._expiring if expiry <= time_s]:  # 2
            for pending in list(self._expiring[expiry]):
                answer = TxAnswer(pending.tx_id, "tx.expired", f"the transaction expired at {expiry}")
                self._finish(pending, answer)
        for name in [n for n, chosen in self._under_way.items() if all(p.done.done() for p in chosen)]:  # 3
            del self._under_way[name]
        self._start_bundling()


def _stopping() -> UnavailableError:
    return UnavailableError(
        "node.stopping",
        "the node is stopping; what it had taken may still be executed",
        hint="ask for the transaction by its id, or send it to another node",
    )


def _failures(checks: list[Check]) -> list[int]:
    return [id(s) for key, s in checks if not verify(key.suite, key.public, s.signed, s.value)]
