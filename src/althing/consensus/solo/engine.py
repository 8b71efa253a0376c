"""The embedded engine: one signer in this process. Three parties share it, each on a thread of its own.

The event loop of the caller serves `submit` and the waits; the check thread runs CheckTx; the consensus thread does the
handshake and then makes blocks until told to stop. They meet in the pool, the store and the few fields guarded below.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from althing import __version__
from althing.consensus.abci import Application, CheckTxResponse, FinalizeBlockResponse
from althing.consensus.engine import (
    Clock,
    CommittedBlock,
    Dropped,
    EngineError,
    EngineStatus,
    Genesis,
    Phase,
    PoolRefusedError,
)
from althing.consensus.following import Followed
from althing.consensus.peers import EngineNetwork
from althing.consensus.solo.chain import ChainState
from althing.consensus.solo.checker import Checker, Outcome
from althing.consensus.solo.handshake import handshake
from althing.consensus.solo.pace import Kind, Situation, next_block
from althing.consensus.solo.pool import Pool, tx_key
from althing.consensus.solo.producer import Interrupted, Producer, require_majority, require_turn
from althing.consensus.solo.settings import SoloSettings
from althing.consensus.solo.signer import Signer, ValidatorKey, load_or_create_key
from althing.consensus.solo.store import BlockStore
from althing.protocol.block import (
    Block,
    BlockId,
    Commit,
    ConsensusParams,
    SignedHeader,
    ValidatorSet,
    tx_size,
)
from althing.protocol.errors import AlthingError, UnavailableError

__all__ = ["SoloEngine"]

T = TypeVar("T")

_log = logging.getLogger(__name__)
_RECENT_MAX = 64  # committed blocks kept decoded for subscribers that keep up
_KEY_FILE = "priv_validator_key.json"


class SoloEngine(Followed):
    """`Engine` with one signer. One instance runs once: make a new one to start again."""

    def __init__(self, genesis: Genesis, settings: SoloSettings, *, clock: Clock = time.time_ns) -> None:
        self._genesis = genesis
        self._settings = settings
        self._clock = clock
        self._key: ValidatorKey | None = None
        self._store: BlockStore | None = None
        self._checker: Checker | None = None
        self._producer: Producer | None = None
        self._pool = Pool(
            count_max=settings.pool_count_max,
            bytes_max=settings.pool_bytes_max,
            seen_max=settings.seen_max,
            dropped=lambda keys: self._tell(self._drop, keys),
        )
        self._watcher: Dropped | None = None
        self._thread = threading.Thread(target=self._run, name="solo-consensus", daemon=True)
        self._stopping = threading.Event()
        self._wake = threading.Condition()
        self._woken = False
        # Written by the consensus thread, read by all: single assignments of immutable values.
        self._phase = self._resume = Phase.STOPPED
        self._error: AlthingError | None = None
        self._state: ChainState | None = None
        # Of the event loop.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._app: Application | None = None
        self._ready: asyncio.Future[None] | None = None
        self._changed = asyncio.Event()
        self._recent: OrderedDict[int, CommittedBlock] = OrderedDict()
        self._checks: set[asyncio.Future[CheckTxResponse]] = set()
        self._ended = False

    async def start(self, app: Application) -> None:
        """See `Engine.start`. Raises EngineError if store, key or application do not fit together."""
        assert self._loop is None, "an engine runs once"
        self._loop = asyncio.get_running_loop()
        self._app = app
        self._ready = self._loop.create_future()
        self._phase = Phase.REPLAYING
        self._thread.start()
        try:
            await self._ready
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """See `Engine.stop`."""
        self._stopping.set()
        self._wake_consensus()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._phase is not Phase.HALTED:
            self._phase = Phase.STOPPED
        self._end()

    async def submit(self, tx: bytes) -> CheckTxResponse:
        """See `Engine.submit`. Cancelling the caller does not take the transaction back."""
        self._refuse_unless_running()
        assert self._loop is not None
        assert self._checker is not None
        size = tx_size(tx)
        if len(tx) > self._settings.tx_bytes_max or size > self._limits()[0]:
            raise PoolRefusedError("pool.tx_too_large", f"{len(tx)} bytes are more than a transaction may have")
        key = tx_key(tx)
        self._pool.reserve(key, size)
        future: asyncio.Future[CheckTxResponse] = self._loop.create_future()
        self._checks.add(future)
        self._checker.check(key, tx, future)
        return await future

    def watch_drops(self, dropped: Dropped) -> None:
        """See `Engine.watch_drops`."""
        self._watcher = dropped

    def status(self) -> EngineStatus:
        """See `Engine.status`."""
        state, error = self._state, self._error
        count, size = self._pool.load
        return EngineStatus(
            engine="solo",
            chain_id=self._genesis.chain_id,
            phase=self._phase,
            error="" if error is None else str(error),
            base_height=0 if self._store is None else self._store.bases()[0],
            latest_height=self.latest_height,
            latest_block_hash=b"" if state is None else state.block_id.hash,
            latest_block_time=self._genesis.time if state is None else state.time,
            app_hash=b"" if state is None else state.app_hash,
            pool_count=count,
            pool_bytes=size,
            validator_address=b"" if self._key is None else self._key.address,
        )

    def network(self) -> EngineNetwork:
        """See `Engine.network`: one signer, nobody beside it."""
        return EngineNetwork("", "", __version__)

    def metrics(self) -> bytes:
        """See `Engine.metrics`: it lives in this process."""
        return b""

    @property
    def latest_height(self) -> int:
        """See `Engine.latest_height`."""
        return 0 if self._state is None else self._state.height

    def block(self, height: int) -> Block:
        """See `Engine.block`."""
        return self._found(height, self._open_store().block)

    def block_id(self, height: int) -> BlockId:
        """The id the commit for a height names."""
        return self.commit(height).block_id

    def signed_header(self, height: int) -> SignedHeader:
        """See `Engine.signed_header`."""
        return self._found(height, self._open_store().signed_header)

    def commit(self, height: int) -> Commit:
        """See `Engine.commit`."""
        return self._found(height, self._open_store().commit)

    def validators(self, height: int) -> ValidatorSet:
        """See `Engine.validators`."""
        return self._found(height, self._open_store().validators, ahead=1)

    def consensus_params(self, height: int) -> ConsensusParams:
        """See `Engine.consensus_params`."""
        return self._found(height, self._open_store().params, ahead=1)

    def results(self, height: int) -> FinalizeBlockResponse:
        """See `Engine.results`."""
        return self._found(height, self._open_store().results)

    @property
    def _first_height(self) -> int:
        return self._genesis.initial_height

    async def _block(self, height: int) -> CommittedBlock | None:
        recent = self._recent.get(height)
        if recent is None and self._store is None:
            return None
        return recent if recent is not None else await asyncio.to_thread(self._read, height)

    def proposer_priorities(self, height: int) -> tuple[int, ...]:
        """See `Engine.proposer_priorities`: one signer proposes every block."""
        return (0,) * len(self.validators(height).validators)

    def submit_evidence(self, evidence: Mapping[str, Any]) -> bytes:
        """See `Engine.submit_evidence`: the one signer is this process, and its store keeps it from signing twice."""
        raise EngineError("engine.evidence", "the embedded engine has one signer and takes no evidence")

    # --- consensus thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._prepare()
            self._tell(self._announce_ready)
            self._produce()
        except Interrupted:
            pass
        except AlthingError as exc:
            self._halt(exc)
        except Exception as exc:  # noqa: BLE001 -- whatever the application raised ends the engine, visibly
            _log.exception("the application or the engine failed")
            self._halt(EngineError("engine.halted", f"{type(exc).__name__}: {exc}"))
        finally:
            if self._checker is not None:
                self._checker.stop()
            self._tell(self._end)

    def _prepare(self) -> None:
        assert self._app is not None
        settings = self._settings
        self._store = store = BlockStore(settings.directory, map_bytes_max=settings.map_bytes_max)
        store.claim(self._genesis.fingerprint(), self._genesis.chain_id)
        self._key = key = load_or_create_key(settings.key_file or settings.directory / _KEY_FILE)
        signer = Signer(key, self._genesis.chain_id, store.last_signed())
        self._producer = producer = Producer(
            self._app,
            store,
            self._pool,
            signer,
            settings,
            self._clock,
            stopping=self._stopping,
            stalled=self._stalled,
        )
        state = handshake(self._app, store, self._genesis, key.public, producer.commit)
        if settings.hand_over:
            require_turn(state.validators, key.address)
        else:
            require_majority(state.validators, key.address)
            require_majority(state.next_validators, key.address)
        self._state = state
        self._checker = Checker(
            self._app,
            self._pool,
            height=lambda: self.latest_height,
            gas_max=lambda: self._limits()[1],
            report=lambda outcomes: self._tell(self._answer, outcomes),
            admitted=self._wake_consensus,
        )
        self._checker.start()
        self._phase = Phase.RUNNING

    def _produce(self) -> None:
        assert self._producer is not None
        assert self._checker is not None
        state = self._state
        assert state is not None
        last_block_ns = last_work_ns = time.monotonic_ns()
        prior_work_ns = 0
        last_work_txs = 0
        while not self._stopping.is_set():
            waiting, size = self._pool.ready
            due = next_block(
                Situation(
                    now_ns=time.monotonic_ns(),
                    waiting=waiting,
                    block_full=size >= self._producer.limits(state)[0],
                    unproven=state.unproven,
                    last_block_ns=last_block_ns,
                    last_work_ns=last_work_ns,
                    prior_work_ns=prior_work_ns,
                    last_work_txs=last_work_txs,
                    interval_ns=self._settings.min_block_interval_ms * 1_000_000,
                    idle_ns=self._settings.idle_block_s * 1_000_000_000,
                    lag_ns=self._clock() - state.time.ns,
                )
            )
            if due.wait_ns:
                self._sleep(due.wait_ns)
                continue
            started_ns = time.monotonic_ns()
            made = self._producer.block(state, with_work=due.kind is Kind.WORK)
            if made is None:
                continue
            state, committed = made
            self._state = state
            last_block_ns = started_ns
            if committed.block.txs:
                prior_work_ns, last_work_ns, last_work_txs = last_work_ns, started_ns, len(committed.block.txs)
            self._tell(self._announce, committed)
            if self._settings.hand_over:
                assert self._key is not None
                require_turn(state.validators, self._key.address)
            stale = self._pool.unchecked_since(state.height)
            if stale:
                self._checker.recheck(stale, state.height)

    def _sleep(self, wait_ns: int) -> None:
        with self._wake:
            if not self._woken:
                self._wake.wait(wait_ns / 1_000_000_000)
            self._woken = False

    def _wake_consensus(self) -> None:
        with self._wake:
            self._woken = True
            self._wake.notify()

    def _stalled(self, error: UnavailableError | None) -> None:
        if error is not None and self._error is None:
            _log.error("a durable write failed and is repeated: %s", error)
        if self._phase is not Phase.STALLED:
            self._resume = self._phase
        self._error = error
        self._phase = self._resume if error is None else Phase.STALLED

    def _halt(self, error: AlthingError) -> None:
        self._error = error
        self._phase = Phase.HALTED

    def _tell(self, method: object, *arguments: object) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(method, *arguments)  # type: ignore[arg-type]
        except RuntimeError:
            _log.debug("the event loop is closed; nobody is left to tell")

    # --- event loop -------------------------------------------------------------------------------------------------

    def _announce_ready(self) -> None:
        assert self._ready is not None
        if not self._ready.done():
            self._ready.set_result(None)

    def _announce(self, committed: CommittedBlock) -> None:
        self._recent[committed.height] = committed
        if len(self._recent) > _RECENT_MAX:
            self._recent.popitem(last=False)
        self._notify()

    def _answer(self, outcomes: list[tuple[asyncio.Future[CheckTxResponse], Outcome]]) -> None:
        for future, outcome in outcomes:
            self._checks.discard(future)
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _drop(self, keys: Sequence[bytes]) -> None:
        if self._watcher is not None:
            self._watcher(keys)

    def _end(self) -> None:
        """The consensus thread has ended, with an error or because it was told to."""
        if self._ended:
            return
        self._ended = True
        error = self._error
        assert self._ready is not None or not self._checks
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error or EngineError("engine.stopped", "stopped before the engine had started"))
            self._ready.exception()  # seen, also when start was cancelled
        for future in self._checks:
            if not future.done():
                future.set_exception(UnavailableError("engine.stopped", "the engine stopped before the check"))
        self._checks.clear()
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _refuse_unless_running(self) -> None:
        phase, error = self._phase, self._error
        if phase is Phase.RUNNING and not self._stopping.is_set():
            return
        if phase is Phase.STALLED and error is not None:
            raise UnavailableError(error.code, error.message, hint=error.hint, retry_after_s=5)
        if phase is Phase.HALTED:
            raise UnavailableError("engine.halted", f"the engine has halted: {error}", retry_after_s=60)
        raise UnavailableError("engine.stopped", "the engine is not running")

    def _limits(self) -> tuple[int, int]:
        assert self._producer is not None
        assert self._state is not None
        return self._producer.limits(self._state)

    # --- stored data, any thread ------------------------------------------------------------------------------------

    def _open_store(self) -> BlockStore:
        store = self._store
        if store is None:
            raise UnavailableError("engine.stopped", "the engine is not running")
        return store

    def _found(self, height: int, read: Callable[[int], T | None], *, ahead: int = 0) -> T:
        if height < self._genesis.initial_height or height > self.latest_height + ahead:
            raise EngineError(
                "engine.unknown_height", f"there is no block {height}, the latest is {self.latest_height}"
            )
        value = read(height)
        if value is None:
            base, header_base = self._open_store().bases()
            raise EngineError(
                "engine.pruned", f"height {height} is pruned: blocks are kept from {base}, headers from {header_base}"
            )
        return value

    def _read(self, height: int) -> CommittedBlock:
        block, commit, results = self.block(height), self.commit(height), self.results(height)
        return CommittedBlock(block, commit.block_id, commit, results)
