"""Batches on their way to the ledger: frozen, submitted until decided, archived, proved, and only then let go.

One anchor is under way at a time; what arrives meanwhile makes the next batch larger. Each step can be repeated after
a crash, because the frozen batch (number, range, seed, root) was durable before its first submission:

1. freeze: range, seed and root are fsynced.        4. archive: the sink has the batch durably.
2. submit: until committed, whatever the nodes do.  5. prove: proofs fetched from a node verify.
3. "anchored before, with this root" is success.    6. release: the spool forgets the range.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import structlog

from althing.gateway.errors import LedgerError, LedgerRefusedError
from althing.gateway.held import HeldMessages, HeldStream
from althing.gateway.leaves import BuiltBatch, build
from althing.gateway.ledger import LedgerPort, Submission
from althing.gateway.proofcheck import ProofCheck
from althing.gateway.registry import Registry
from althing.gateway.sink import ConfirmedBatch, SegmentSink
from althing.gateway.spool.spool import Spool
from althing.gateway.spool.state import FrozenBatch
from althing.protocol.errors import AlthingError, UnavailableError
from althing.protocol.limits import ANCHOR_ROWS_MAX, BATCH_LEAVES_MAX, NONCE_BYTES
from althing.protocol.messages.streams import Anchor
from althing.protocol.signatures import PrivateKey
from althing.protocol.transaction import Transaction, sign_transaction
from althing.service.faultpoints import hit

__all__ = ["Anchoring", "BatchConfig"]

_log = structlog.get_logger("althing.gateway.anchoring")

_STREAM_CODES: Final = ("streams.not_writer", "streams.sequence", "streams.unknown")
_GAS_BASE: Final = 10_000
_GAS_PER_ROW: Final = 2_000  # reads and writes of definition, head, log and its nodes; unused gas is not charged
_GAS_PER_BYTE: Final = 4


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """When a batch is frozen, and how long its anchor is tried."""

    messages: int = 10_000  # enough for a batch at once
    bytes: int = 16 * 1024**2  # the same in bytes of the spool
    age_s: float = 2.0  # an older message is not kept waiting for others
    messages_max: int = 32_768  # of one batch: an anchor's table of as many streams fits a transaction
    bytes_max: int = 64 * 1024**2
    expiry_s: int = 120  # of a transaction, from now on
    lag_s: int = 180  # how far ledger time may be behind the clock (two heartbeats, and some time to spare)
    retry_s: float = 0.5  # first pause between two tries; doubles up to
    retry_max_s: float = 15.0
    proofs: int = 2  # of each batch, fetched and verified before it is released
    patience_s: float = 10.0  # how long a proof or the archive may fail before it is an alarm
    alarm_s: float = 60.0  # a batch that takes longer makes the gateway not ready

    def __post_init__(self) -> None:
        assert 0 < self.messages <= self.messages_max <= BATCH_LEAVES_MAX
        # Every message might be of a stream of its own, and a group of the spool goes into a batch whole.
        assert self.messages_max + 4096 <= ANCHOR_ROWS_MAX


class Anchoring:
    """The task that turns the spool's log into anchors. `alarm` says what needs an operator, "" when all is well."""

    def __init__(
        self,
        spool: Spool,
        registry: Registry,
        ledger: LedgerPort,
        key: PrivateKey,
        sink: SegmentSink,
        proofs: ProofCheck,
        held: HeldMessages,
        config: BatchConfig | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._spool = spool
        self._registry = registry
        self._ledger = ledger
        self._key = key
        self._sink = sink
        self._proofs = proofs
        self._held = held
        self._config = config or BatchConfig()
        self._clock = clock
        self._limits = (self._config.messages_max, self._config.bytes_max)
        self._gas_price = 0  # what the chain asks for a unit of gas, once it has refused for it
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._draining = False
        self._task: asyncio.Task[None] | None = None
        self._frozen_since = 0.0
        self.alarm = ""
        self.batches_total = 0
        self.anchored_total = 0
        self.submissions_total = 0
        self.last_height = 0
        self.last_root = b""
        self.on_held: Callable[[frozenset[str]], None] = lambda _: None
        spool.on_durable = self._wake.set
        registry.on_stream.append(lambda _: self._wake.set())

    # --- life

    def start(self) -> None:
        self._tell_held()
        self._task = asyncio.create_task(self._run(), name="anchoring")

    async def close(self) -> None:
        """Stop between two steps; the frozen batch goes on after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def failed(self) -> None:
        """Returns when anchoring has been stopped; raises the bug that ended it, after which nothing is anchored."""
        assert self._task is not None, "started before it is watched"
        await asyncio.wait((self._task,))
        if not self._task.cancelled():
            self._task.result()

    async def drain(self, timeout_s: float) -> bool:
        """Freeze and anchor all that was accepted. False when that took longer."""
        self._draining = True
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._spool.barrier()
                while self._spool.pending.records or self._spool.state.frozen is not None:
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            return False
        finally:
            self._draining = False
        return True

    @property
    def stuck_s(self) -> float:
        """For how long the batch under way has been so; 0 when there is none."""
        return self._clock() - self._frozen_since if self._frozen_since else 0.0

    async def _run(self) -> None:
        while True:
            try:
                await self._step()
            except OSError as error:
                self._raise_alarm("anchor.disk", error.strerror or str(error))
                await asyncio.sleep(self._config.retry_max_s)
            except AlthingError as error:
                self._raise_alarm(error.code, error.message)
                await asyncio.sleep(self._config.retry_max_s)
            self._settled.set()

    async def _step(self) -> None:
        frozen = self._spool.state.frozen
        if frozen is None:
            # 1
            await self._due()
            done = await self._freeze()
            if done is None:
                return
            frozen, built = done
        else:
            self._frozen_since = self._frozen_since or self._clock()
            again = await self._thawed(frozen)
            if again is None:
                return
            built = again
        # 2, 3
        height = await self._submit(frozen, built)
        # 4, 5, 6
        if height is not None:
            await self._confirm(frozen, built, height)
        self._frozen_since = 0.0

    # --- 1: freeze

    async def _due(self) -> None:
        """Wait until enough has gathered, or the oldest message is old enough."""
        config = self._config
        while True:
            self._wake.clear()
            if self._held.streams and not await self._take_back():
                await asyncio.sleep(self._config.retry_s)
                continue
            pending = self._spool.pending
            wait: float | None = None
            if pending.records:
                age_s = self._clock() - pending.oldest_ns / 1e9
                enough = pending.messages >= config.messages or pending.bytes >= config.bytes
                if self._draining or enough or age_s >= config.age_s:
                    return
                wait = min(max(config.age_s - age_s, 0.01), config.age_s)
            if self._held.streams:  # nothing else may wake for what a node would not answer
                wait = config.retry_max_s if wait is None else min(wait, config.retry_max_s)
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
                    # Every group of the spool wakes; looking again fifty times a second is enough.
                    await asyncio.sleep(0 if self._draining else 0.02)
            except TimeoutError:
                pass

    async def _freeze(self) -> tuple[FrozenBatch, BuiltBatch] | None:
        """None when the range held nothing to anchor and was let go."""
        spool = self._spool
        start, end = spool.state.confirmed, spool.stretch(*self._limits)
        excluded = self._held.numbers
        frozen = FrozenBatch(spool.state.next_number, start, end, secrets.token_bytes(32), bytes(32), 0, excluded)
        built = await asyncio.to_thread(self._build, frozen)
        if built.batch is None:
            await self._let_go(frozen, built)
            return None
        frozen = replace(frozen, root=built.batch.root, size=len(built.messages))
        await asyncio.to_thread(spool.freeze, frozen)
        self._frozen_since = self._clock()
        return frozen, built

    def _build(self, frozen: FrozenBatch) -> BuiltBatch:
        return build(self._spool.read(frozen.start, frozen.end), frozen.seed, frozen.excluded)

    async def _thawed(self, frozen: FrozenBatch) -> BuiltBatch | None:
        """After a restart: the frozen batch, built again from the log; None when it was given up because a repair of
        the spool changed it before it was anchored."""
        while True:
            built = await asyncio.to_thread(self._build, frozen)
            if built.batch is not None and built.batch.root == frozen.root:
                return built
            self._raise_alarm("anchor.rebuild", "the frozen batch cannot be built again: the spool lost messages of it")
            with suppress(LedgerError, LedgerRefusedError):
                # First the expiry: what is not anchored after it never will be.
                if await self._expired(frozen):
                    head = await self._ledger.gateway_head(self._registry.gateway)
                    if head.last_root != frozen.root:
                        await self._unfreeze()
                        return None
            await asyncio.sleep(self._config.retry_s)

    # --- 2, 3: submit

    async def _submit(self, frozen: FrozenBatch, built: BuiltBatch) -> int | None:
        """The height at which the batch is anchored, or None when it was given up for a smaller one."""
        pause_s = self._config.retry_s
        believe_head = False
        while True:
            try:
                head = await self._ledger.gateway_head(self._registry.gateway)
                if head.last_root == frozen.root:
                    return head.last_height
                # A node that lags behind shows an older head; it is believed only after the chain refused our number.
                if head.next_number > frozen.number or (believe_head and head.next_number != frozen.number):
                    frozen = replace(frozen, number=head.next_number)
                believe_head = False
                result, frozen = await self._submit_once(frozen, built)
                if not result.code and result.height is not None:
                    return await self._height_of(frozen, result.height)
                if result.code in _STREAM_CODES:
                    if await self._give_up(frozen, built, result.code):
                        return None
                elif result.code in ("tx.too_large", "tx.out_of_gas", "quota.bytes", "quota.gas"):
                    self._raise_alarm(result.code, result.message)
                    if result.code == "tx.too_large" and await self._expired(frozen):
                        self._limits = (max(1, self._limits[0] // 2), max(1, self._limits[1] // 2))
                        await self._unfreeze()
                        return None
                elif result.code == "streams.anchor_number":
                    believe_head = True
                elif result.code == "tx.fee" and await self._learned_price():
                    continue
                elif result.code not in ("", "tx.pending"):
                    self._raise_alarm(result.code, result.message)
            except LedgerError as error:
                _log.warning("anchor waits for the ledger", code=error.code, reason=error.message, retry_s=pause_s)
            except LedgerRefusedError as error:
                self._raise_alarm(error.code, error.message)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self._config.retry_max_s)

    async def _learned_price(self) -> bool:
        """Whether the chain's price for gas is another than the one offered; from then on that is paid."""
        before, self._gas_price = self._gas_price, await self._ledger.gas_price()
        if self._gas_price != before:
            _log.info("the chain asks for fees", gas_price=self._gas_price)
        return self._gas_price != before

    async def _submit_once(self, frozen: FrozenBatch, built: BuiltBatch) -> tuple[Submission, FrozenBatch]:
        assert built.batch is not None
        status = await self._ledger.status()
        # The expiry is durable before the transaction is out: a batch is given up only when none of its
        # transactions can still be committed.
        # Nodes admit by their clock, which an idle chain's time lags behind; blocks judge by ledger time.
        now_s = max(status.time_s, min(int(self._clock()), status.time_s + self._config.lag_s))
        frozen = replace(frozen, expiry=max(frozen.expiry, now_s + self._config.expiry_s))
        await asyncio.to_thread(self._spool.freeze, frozen)
        entries = built.batch.entries
        gateway = self._registry.gateway
        locators = self._sink.locators(frozen.root)
        anchor = Anchor(gateway, frozen.number, frozen.root, frozen.size, entries, locators)
        gas = _GAS_BASE + len(entries) * (_GAS_PER_ROW + 32 * _GAS_PER_BYTE)
        nonce = secrets.token_bytes(NONCE_BYTES)
        transaction = Transaction((gateway,), gateway, gas, gas * self._gas_price, frozen.expiry, nonce, (anchor,))
        data = await asyncio.to_thread(sign_transaction, transaction, [self._key], self._registry.genesis_hash)
        self.submissions_total += 1
        hit("anchor.submit")
        result = await self._ledger.submit(data)
        hit("anchor.submitted")
        _log.debug("anchor submitted", number=frozen.number, code=result.code, height=result.height)
        return result, frozen

    async def _height_of(self, frozen: FrozenBatch, height: int) -> int:
        """A repeated submission succeeds later than the anchor it repeats; the head knows the anchor's own height. It is
        also the proof of what a receipt only says."""
        head = await self._ledger.gateway_head(self._registry.gateway, at_least=height)
        if head.last_root == frozen.root:
            return head.last_height
        self._ledger.doubt("submit", f"it said that a batch was anchored at height {height}, and it was not")
        raise LedgerError("ledger.invalid", "a node said that the batch was anchored, and it was not")

    async def _expired(self, frozen: FrozenBatch) -> bool:
        return (await self._ledger.status()).time_s > frozen.expiry

    async def _give_up(self, frozen: FrozenBatch, built: BuiltBatch, code: str) -> bool:
        """The chain will not take the batch because of some of its streams. True when it was unfrozen without them.

        Nothing is submitted meanwhile, and the batch is given up only after its last transaction has expired: none of
        them can be committed later, so no message can be anchored twice.
        """
        while True:
            height, refused = await self._refused_streams(built, code)
            if not refused:
                return False
            names = ", ".join(stream.path for stream in refused[:5])
            self._raise_alarm(code, f"accepted messages of {len(refused)} streams cannot be anchored: {names}")
            if await self._expired(frozen):
                break
            await asyncio.sleep(self._config.retry_s)
        head = await self._ledger.gateway_head(self._registry.gateway, at_least=height)
        if head.last_root == frozen.root:
            return False
        # Nobody has anchored as this gateway but itself: then another gateway, which the stream was lent to, wrote what
        # stands under our sequences, and no copy of this home can have had the same messages.
        alone = head.next_number == self._spool.state.next_number
        refused = [replace(stream, operator=stream.operator and not alone) for stream in refused]
        await asyncio.to_thread(self._held.hold, refused)
        self._tell_held()
        await self._unfreeze()
        return True

    async def _refused_streams(self, built: BuiltBatch, code: str) -> tuple[int, list[HeldStream]]:
        """Those whose part of the batch the chain refuses, as of a height; `operator` where the stream is this gateway's."""
        assert built.batch is not None
        paths = {entry: built.messages[built.offsets[entry.stream]].stream for entry in built.batch.entries}
        looked = await self._ledger.look((), tuple(paths.values()))
        refused = []
        for entry, path in paths.items():
            view = looked.streams[path]
            ours = view is not None and view.definition.gateway == self._registry.gateway
            if view is None or not ours or view.next_sequence != entry.first:
                refused.append(HeldStream(path, entry.stream, code, ours))
        return looked.height, refused

    async def _unfreeze(self) -> None:
        await asyncio.to_thread(self._spool.freeze, None)

    # --- 4, 5, 6: archive, prove, release

    async def _confirm(self, frozen: FrozenBatch, built: BuiltBatch, height: int) -> None:
        assert built.batch is not None
        number = self._spool.state.frozen.number if self._spool.state.frozen is not None else frozen.number
        confirmed = ConfirmedBatch(self._registry.gateway, number, height, built.batch, built.messages)
        hit("anchor.committed")
        await self._persist("archive.write", lambda: self._sink.write(confirmed))
        hit("anchor.archived")
        size = len(built.messages)
        chosen = {0, size - 1} if self._config.proofs > 1 else {0}
        while len(chosen) < min(self._config.proofs, size):
            chosen.add(secrets.randbelow(size))
        for index in sorted(chosen):
            await self._prove(built, index)
        hit("anchor.proved")
        await self._let_go(replace(frozen, number=number), built)
        self.batches_total += 1
        self.anchored_total += size
        self.last_height, self.last_root = height, frozen.root
        self._limits = (
            min(self._limits[0] * 2, self._config.messages_max),
            min(self._limits[1] * 2, self._config.bytes_max),
        )
        self.alarm = ""
        _log.info("batch anchored", number=number, messages=size, streams=len(built.batch.entries), height=height)

    async def _prove(self, built: BuiltBatch, index: int) -> None:
        assert built.batch is not None
        message, leaf, root = built.messages[index], built.batch.leaves[index], built.batch.root

        async def once() -> None:
            proof = await self._ledger.proof(message.stream, message.sequence)
            try:
                await asyncio.to_thread(self._proofs.check, proof, leaf, root)
            except AlthingError as error:
                self._ledger.doubt("proof", f"its proof does not verify: {error.message}")
                raise

        await self._persist("anchor.proof", once)

    async def _persist(self, what: str, action: Callable[[], Awaitable[None]]) -> None:
        """Do it until it is done; the spool keeps the messages meanwhile."""
        pause_s = self._config.retry_s
        since = self._clock()
        while True:
            try:
                await action()
            except (AlthingError, OSError) as error:
                # A proof needs the block after the anchor's, so the first tries may come too early.
                early = isinstance(error, UnavailableError | LedgerRefusedError)
                if not early or self._clock() - since > self._config.patience_s:
                    self._raise_alarm(error.code if isinstance(error, AlthingError) else what, f"{what}: {error}")
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self._config.retry_max_s)

    async def _let_go(self, frozen: FrozenBatch, built: BuiltBatch) -> None:
        if built.refusals:
            await self._persist("archive.refusals", lambda: self._sink.write_refusals(built.refusals))
        if built.excluded:
            await asyncio.to_thread(self._held.keep, built.excluded)
        counts = Counter(message.stream for message in (*built.messages, *built.excluded))
        number = frozen.number + (1 if built.messages else 0)
        await self._spool.release(frozen.end, number, counts)
        hit("anchor.released")

    # --- streams that came back

    async def _take_back(self) -> bool:
        """Accept anew what was held of streams that are this gateway's again (see held.py). False while a stream is only
        partly back: then no batch is frozen, so that what the log has of it still says how far it came."""
        for held in self._held.streams:
            partly = held.returning is not None and held.path in self._spool.waiting
            if partly and not await self._bring_back(held):
                return False
        for held in self._held.streams:
            view = self._registry.streams.get(held.path)
            ours = view is not None and view.definition.gateway == self._registry.gateway
            if held.operator or not ours or held.path in self._spool.waiting or self._spool.failure:
                continue
            try:
                fresh = await self._ledger.stream(held.path)
            except LedgerError:
                return True
            except AlthingError as error:
                self._raise_alarm(error.code, f"held messages of {held.path} cannot come back: {error.message}")
                continue
            if fresh is None or fresh.definition.gateway != self._registry.gateway:
                continue
            await asyncio.to_thread(self._held.bring_back, held.number, fresh.next_sequence)
            hit("held.returning")
            if not await self._bring_back(replace(held, returning=fresh.next_sequence)):
                return held.path not in self._spool.waiting
        return True

    async def _bring_back(self, held: HeldStream) -> bool:
        """Append what the log does not have yet; only when all is durable are the held copies let go."""
        assert held.returning is not None
        messages = self._held.messages(held.number)
        back = self._spool.waiting.get(held.path, 0)
        assert back <= len(messages), "nothing else of a held stream is accepted"
        if not self._spool.failure:
            self._spool.restart_sequence(held.path, held.returning)
            for message in messages[back:]:
                self._spool.append_again(message)
        if await self._spool.barrier() is None or self._spool.waiting.get(held.path, 0) < len(messages):
            return False
        hit("held.returned")
        await asyncio.to_thread(self._held.drop, held.number)
        self._tell_held()
        hit("held.dropped")
        _log.warning("held messages accepted anew", stream=held.path)
        return True

    def _tell_held(self) -> None:
        self.on_held(frozenset(stream.path for stream in self._held.streams))

    def _raise_alarm(self, code: str, reason: str) -> None:
        if self.alarm != f"{code}: {reason}":
            self.alarm = f"{code}: {reason}"
            _log.error("anchoring needs attention", code=code, reason=reason)
