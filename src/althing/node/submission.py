"""From a client's transactions to receipts: admission, signature checks, bundles, waiting for blocks.

One task admits whatever has arrived and hands the checks on (`signaturecheck`), another takes what has verified; few bundles
at a time are under way to the engine while the next one fills, so load makes bundles larger and an idle chain answers at
once. What the engine drops, or leaves out for too long, is bundled anew: an id executes once, however often it is sent.
Whatever happens to a bundle, each sender gets one answer: a receipt, a refusal, or that the time is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import repeat
from typing import Final

from althing.consensus.engine import Engine
from althing.ledger.app import Admitted, Ledger
from althing.ledger.authorisation import Check
from althing.ledger.query import find_transaction
from althing.ledger.runtime.errors import NotFoundError, PrunedError
from althing.node.application import CommittedContent
from althing.node.signaturecheck import SignatureChecks
from althing.protocol.bundle import make_bundle
from althing.protocol.errors import AlthingError, ProtocolError, RefusedError, UnavailableError
from althing.protocol.hashing import sha256
from althing.protocol.limits import BUNDLE_TXS_MAX
from althing.protocol.receipt import Receipt
from althing.protocol.signatures import PrivateKey
from althing.protocol.transaction import SignedTransaction

__all__ = ["Submission", "TxAnswer"]

PENDING_MAX: Final = 20_000
PENDING_BYTES_MAX: Final = 128 * 1024 * 1024
BUNDLE_BYTES_MAX: Final = 2 * 1024 * 1024
BUNDLES_UNDER_WAY_MAX: Final = 2
OVERDUE_S: Final = 30  # and so many blocks: then a bundle counts as lost, since an engine may not see all it drops
OVERDUE_BLOCKS: Final = 3  # a chain that stands still loses nothing
AGAIN_S: Final = 0.1  # a bundle that is dropped again and again must not keep the node busy
ADMISSION_MAX: Final = 512  # transactions judged at a time; keeps the loop free for others in between
GROUPS_CHECKED_MAX: Final = 2  # groups whose signatures are being verified; what arrives meanwhile gathers

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
class _Request:
    """What one sender sent together, which costs two futures however much that is."""

    size: int
    judged: asyncio.Future[None] = field(repr=False)
    done: asyncio.Future[None] = field(repr=False)
    answers: list[TxAnswer | _Pending | None]
    unjudged: int
    waiting: int = 0  # for so many places of `answers`

    def judge(self, place: int, answer: TxAnswer | _Pending) -> None:
        self.answers[place] = answer
        self.unjudged -= 1
        if not self.unjudged and not self.judged.done():
            self.judged.set_result(None)


@dataclass(slots=True, eq=False)
class _Pending:
    """A transaction between admission and its block; all who sent it wait for one answer."""

    tx_id: bytes
    data: bytes
    gas_limit: int
    expiry: int
    answer: TxAnswer | None = None
    requests: list[_Request] = field(default_factory=list, repr=False)


@dataclass(slots=True, eq=False)
class _Bundle:
    """What was sent to the engine together, when, and above which block."""

    chosen: list[_Pending]
    sent_s: float
    height: int


_Arrived = tuple[bytes, _Request, int]


@dataclass(slots=True, eq=False)
class _Group:
    """Transactions that are judged together, and the checks of their signatures under way."""

    arrived: list[_Arrived]
    judged: list[Admitted | ProtocolError | RefusedError] = field(default_factory=list)
    failures: asyncio.Task[set[int]] | None = None


class Submission:
    """The way in. Methods are called on the event loop; `block_committed` from the engine's thread."""

    def __init__(
        self,
        ledger: Ledger,
        engine: Engine,
        key: PrivateKey,
        address: Callable[[], bytes],
        clock: Callable[[], int],
        *,
        processes: int = 0,
    ) -> None:
        self._ledger = ledger
        self._engine = engine
        self._key = key
        self._address = address
        self._clock = clock
        self._checks = SignatureChecks(processes)
        self._arrived: deque[_Arrived] = deque()
        self._judging: list[_Group] = []
        self._checked: asyncio.Queue[_Group] = asyncio.Queue(GROUPS_CHECKED_MAX - 1)
        self._pending: dict[bytes, _Pending] = {}
        self._bytes = 0  # of what has arrived, is being judged or pending
        self._unbundled: deque[_Pending] = deque()
        self._expiring: dict[int, set[_Pending]] = {}  # pending by expiry
        self._under_way: dict[bytes, _Bundle] = {}  # by the bundle's id, which is its name in the engine too
        self._overdue: dict[bytes, _Bundle] = {}  # not counted on any more; the engine may have them all the same
        self._height = 0  # of the last block heard of
        self._bundling = False
        self._stopping = False
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._admission: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def pending(self) -> int:
        """Transactions taken and not yet in a block."""
        return len(self._pending) + len(self._arrived) + sum(len(group.arrived) for group in self._judging)

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._engine.watch_drops(self._dropped)
        self._admission = {
            asyncio.create_task(self._admit_forever(), name="admission"),
            asyncio.create_task(self._enter_forever(), name="entering"),
        }
        self._tasks = [*self._admission]

    async def failed(self) -> None:
        """Returns when admission has been stopped; raises the fault that ended it, without which nothing is answered."""
        assert self._admission, "started before it is watched"
        done, _ = await asyncio.wait(self._admission, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not task.cancelled():
                task.result()

    async def stop(self) -> None:
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            # A task that failed has told so by `failed`; what waits must be released all the same.
            await asyncio.wait(self._tasks)
        gone = _stopping()
        for group in self._judging:
            if group.failures is not None:
                group.failures.cancel()
                await asyncio.wait({group.failures})
        for _, request, _ in (*(one for group in self._judging for one in group.arrived), *self._arrived):
            if not request.judged.done():
                request.judged.set_exception(gone)
        self._judging, self._arrived = [], deque()
        for waiting in list(self._pending.values()):
            self._finish(waiting, TxAnswer(waiting.tx_id, gone.code, gone.message))
        await self._checks.stop()

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
        judged, done = self._loop.create_future(), self._loop.create_future()
        count = len(transactions)
        request = _Request(size, judged, done, [None] * count, count)
        self._arrived.extend(zip(transactions, repeat(request), range(count), strict=False))
        self._bytes += size
        self._wake.set()
        if count:
            await judged
        if wait and request.waiting:
            await asyncio.wait({done}, timeout=timeout_s)
        return [_answer(place, wait=wait) for place in request.answers]

    # --- admission ------------------------------------------------------------------------------------------------

    async def _admit_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._arrived:
                count = min(len(self._arrived), ADMISSION_MAX)
                group = _Group([self._arrived.popleft() for _ in range(count)])
                self._judging.append(group)
                try:
                    group.judged = self._ledger.admit([data for data, _, _ in group.arrived], self._clock() // 10**9)
                except AlthingError as exc:  # the state cannot be read
                    self._judging.remove(group)
                    for data, request, _ in group.arrived:
                        self._bytes -= len(data)
                        if not request.judged.done():
                            request.judged.set_exception(exc)
                    continue
                checks = [
                    check for verdict in group.judged if isinstance(verdict, Admitted) for check in verdict.checks
                ]
                group.failures = asyncio.create_task(self._checks.failures(checks))
                await self._checked.put(group)

    async def _enter_forever(self) -> None:
        while True:
            group = await self._checked.get()
            assert group.failures is not None, "a group is queued with its checks"
            failures = await group.failures
            self._judging.remove(group)
            self._enter(group, failures)
            self._start_bundling()

    def _enter(self, group: _Group, failures: set[int]) -> None:
        """Take what has verified, and answer the rest. `failures` count the checks of all its transactions."""
        position = 0
        good: list[Check] = []
        for (data, request, place), verdict in zip(group.arrived, group.judged, strict=True):
            result: TxAnswer | _Pending
            counted = False  # its bytes stay counted: only of the first place that has a transaction
            if not isinstance(verdict, Admitted):
                result = self._refusal(data, verdict)
            else:
                first, position = position, position + len(verdict.checks)
                failed = bool(failures) and not failures.isdisjoint(range(first, position))
                if failed:
                    result = TxAnswer(verdict.tx.id, "tx.signature", "a signature does not verify")
                elif request.judged.done():  # its sender has gone
                    result = TxAnswer(verdict.tx.id, "", "")
                else:
                    good += verdict.checks
                    known = self._pending.get(verdict.tx.id)
                    result = known or self._enqueue(verdict.tx, data)
                    counted = known is None
            if not counted:
                self._bytes -= len(data)
            if not isinstance(result, _Pending):
                self._ledger.transactions.forget(data)  # strangers must not fill the cache
            else:
                result.requests.append(request)
                request.waiting += 1
            request.judge(place, result)
        self._ledger.signatures.add(good)

    def _refusal(self, data: bytes, error: AlthingError) -> TxAnswer:
        tx_id = sha256(data)
        with suppress(AlthingError):
            tx_id = self._ledger.transactions.parse(data, self._ledger.genesis_hash).id
        if error.code == "tx.replayed":
            # Sending again what was executed is not a mistake of the sender's: it gets the receipt.
            with suppress(NotFoundError, PrunedError):
                location = find_transaction(self._ledger.store, tx_id)
                receipt = self._ledger.outcome(location.height).receipts[location.bundle][location.index]
                return TxAnswer(tx_id, "", "executed before", location.height, receipt)
        return TxAnswer(tx_id, error.code, error.message)

    def _enqueue(self, tx: SignedTransaction, data: bytes) -> _Pending:
        body = tx.transaction
        pending = _Pending(tx.id, data, body.gas_limit, body.expiry)
        self._pending[tx.id] = pending
        self._unbundled.append(pending)
        self._expiring.setdefault(body.expiry, set()).add(pending)
        return pending

    def _finish(self, pending: _Pending, answer: TxAnswer) -> None:
        """Give all who wait for a transaction their answer, once."""
        if pending.answer is not None:
            return
        pending.answer = answer
        for request in pending.requests:
            request.waiting -= 1
            if not request.waiting and not request.unjudged and not request.done.done():
                request.done.set_result(None)
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
            if pending.answer is not None:  # expired meanwhile, or executed in another node's bundle
                self._unbundled.popleft()
                continue
            size += len(pending.data)
            gas += pending.gas_limit
            if chosen and (size > BUNDLE_BYTES_MAX or gas > gas_max):
                break
            chosen.append(self._unbundled.popleft())
        return chosen

    async def _send(self, chosen: list[_Pending]) -> None:
        bundle = make_bundle(self._key, self._address(), [p.data for p in chosen], self._ledger.genesis_hash)
        name = sha256(bundle)
        assert self._loop is not None
        self._under_way[name] = _Bundle(chosen, self._loop.time(), self._height)
        try:
            response = await self._engine.submit(bundle)
        except AlthingError as exc:
            if exc.code != "pool.duplicate" or name not in self._overdue:  # the same once more: the engine still has it
                self._give_up(name, exc.code, exc.message)
        except Exception as exc:  # noqa: BLE001 -- the engine's fault; senders are told, the next bundle goes on
            _log.exception("the engine could not check a bundle")
            self._give_up(name, "node.internal", f"the engine failed: {type(exc).__name__}")
        else:
            if response.code:
                self._give_up(name, response.codespace or "bundle.refused", response.log)

    def _give_up(self, name: bytes, code: str, message: str) -> None:
        bundle = self._under_way.pop(name, None)
        for pending in () if bundle is None else bundle.chosen:
            self._finish(pending, TxAnswer(pending.tx_id, code, message))

    def _dropped(self, names: Sequence[bytes]) -> None:
        """The engine no longer has these bundles, and no block has them."""
        for name in names:
            self._overdue.pop(name, None)
        gone = [self._under_way.pop(name) for name in names if name in self._under_way]
        if gone:
            _log.info("the engine dropped %d bundles; what of them still lives is bundled anew", len(gone))
            self._put_back(gone)

    def _put_back(self, bundles: Sequence[_Bundle]) -> None:
        """To the front, in the old order. What has expired by the clock waits for the block that says so."""
        assert self._loop is not None
        now_s = self._clock() // 10**9
        alive = [p for bundle in bundles for p in bundle.chosen if p.answer is None and p.expiry > now_s]
        self._unbundled.extendleft(reversed(alive))
        self._loop.call_later(AGAIN_S, self._start_bundling)

    def _let_go(self) -> None:
        """Slots of bundles that no block has taken for too long are for others, and their transactions bundled anew."""
        assert self._loop is not None
        now, height = self._loop.time(), self._height
        late = {
            name: bundle
            for name, bundle in self._under_way.items()
            if now - bundle.sent_s >= OVERDUE_S and height - bundle.height >= OVERDUE_BLOCKS
        }
        if late:
            _log.warning(
                "%d bundles were in no block for %d s; their transactions are bundled anew", len(late), OVERDUE_S
            )
            for name in late:
                del self._under_way[name]
            self._overdue |= late
            self._put_back(list(late.values()))

    # --- blocks ---------------------------------------------------------------------------------------------------

    def block_committed(self, content: CommittedContent) -> None:
        """Called from the engine's thread after each commit, of blocks without content too: they move ledger time on."""
        if self._loop is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # closed since
                self._loop.call_soon_threadsafe(self._resolve, content)

    def _resolve(self, content: CommittedContent) -> None:
        """1. Receipts to those who wait. 2. What has expired cannot be executed any more. 3. Room for further bundles."""
        self._height = content.height
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
        for kept in (self._under_way, self._overdue):  # 3
            for name in [n for n, bundle in kept.items() if all(p.answer for p in bundle.chosen)]:
                del kept[name]
        self._let_go()
        self._start_bundling()


def _stopping() -> UnavailableError:
    return UnavailableError(
        "node.stopping",
        "the node is stopping; what it had taken may still be executed",
        hint="ask for the transaction by its id, or send it to another node",
    )


def _answer(place: TxAnswer | _Pending | None, *, wait: bool) -> TxAnswer:
    assert place is not None, "every place has been judged"
    if isinstance(place, TxAnswer):
        return place
    if not wait:
        return TxAnswer(place.tx_id, "", "")
    return place.answer or TxAnswer(place.tx_id, "tx.pending", "not in a block yet; ask for it by its id")
