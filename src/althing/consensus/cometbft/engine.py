"""CometBFT as an engine: this process is its application, writes its home, runs it, and reads what it has stored.

Four kinds of thread meet: the event loop (submit, waits, supervision), the server's threads that answer CometBFT
(consensus, checks, reads), whoever reads blocks, and CometBFT's own process. What the server's threads tell is handed to
the event loop; what is read beside them are single assignments of immutable values.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog

from althing.consensus.abci import Application, CheckTxResponse, FinalizeBlockResponse
from althing.consensus.cometbft.address import SocketAddress, parse_address, parse_signer_address
from althing.consensus.cometbft.binary import find_binary
from althing.consensus.cometbft.driven import CheckOutcome, DrivenApplication
from althing.consensus.cometbft.headers import HeaderStore
from althing.consensus.cometbft.health import Health
from althing.consensus.cometbft.home import moniker_of, prepare_home
from althing.consensus.cometbft.instrumentation import FAILED, Instrumentation
from althing.consensus.cometbft.paths import CometHome, lock_directory, unlock_directory
from althing.consensus.cometbft.peerbook import PeerBook, heights_of
from althing.consensus.cometbft.pool import SentPool
from althing.consensus.cometbft.process import EngineProcess, explain
from althing.consensus.cometbft.reads import ChainReader
from althing.consensus.cometbft.rpc import AsyncRpc, Rpc, RpcError
from althing.consensus.cometbft.sender import Sender
from althing.consensus.cometbft.server import AbciServer
from althing.consensus.cometbft.settings import CometSettings
from althing.consensus.cometbft.sockets import SocketFolder
from althing.consensus.cometbft.trace import TraceFile
from althing.consensus.engine import (
    CommittedBlock,
    Dropped,
    EngineError,
    EngineStatus,
    Genesis,
    Phase,
    PoolRefusedError,
)
from althing.consensus.following import Followed
from althing.consensus.grammar import RecordingApplication
from althing.consensus.peers import EngineNetwork
from althing.consensus.solo.signer import ValidatorKey
from althing.protocol.block import (
    Block,
    Commit,
    ConsensusParams,
    SignedHeader,
    ValidatorSet,
    data_bytes_max,
    tx_size,
)
from althing.protocol.errors import AlthingError, UnavailableError

__all__ = ["CometEngine"]

_log = structlog.get_logger("althing.engine")

_POLL_S: Final = 0.05  # while it starts
_CATCH_UP_S: Final = 3.0  # CometBFT looks for peers that are ahead for a second; who really is behind is told so
_HEIGHTS_S: Final = 3.0
_COPY_S: Final = 0.5  # so many blocks share one durable write of their headers
_BACK_OFF_S: Final = (0.1, 10.0)
_IDLE_S: Final = 30.0
_QUIET_STOP_S: Final = 5.0
# An engine whose application died holds its directory a moment longer; a signer may be started after its node.
_PATIENT: Final = frozenset({"engine.locked", "engine.signer"})
_PATIENT_RETRIES: Final = 20


class CometEngine(Followed):
    """`Engine` with CometBFT beneath. One instance runs once: make a new one to start again."""

    def __init__(self, genesis: Genesis, settings: CometSettings) -> None:
        self._genesis = genesis
        self._settings = settings
        self._home = CometHome(settings.directory.absolute())
        self._pool = SentPool(
            count_max=settings.pool_count_max, bytes_max=settings.pool_bytes_max, dropped=self._dropped
        )
        self._watcher: Dropped | None = None
        self._phase = Phase.STOPPED
        self._error: AlthingError | None = None
        self._latest = 0
        self._base = 0
        self._app_hash = b""
        self._params = genesis.consensus_params
        self._key: ValidatorKey | None = None
        self._signer = b""  # the address of the validator that another program signs for
        self._lock: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sockets: SocketFolder | None = None
        self._headers: HeaderStore | None = None
        self._rpc: Rpc | None = None
        self._async_rpc: AsyncRpc | None = None
        self._reader: ChainReader | None = None
        self._driven: DrivenApplication | None = None
        self._server: AbciServer | None = None
        self._sender: Sender | None = None
        self._trace: TraceFile | None = None
        self._process: EngineProcess | None = None
        self._peers = PeerBook(settings.persistent_peers)
        self._health = Health(self._peers)
        self._instruments = Instrumentation()
        self._heights_lock = threading.Lock()
        self._heights_at = float("-inf")
        self._ready: asyncio.Future[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._copy_now = asyncio.Event()
        self._stopping = False
        self._ended = False

    # --- life -----------------------------------------------------------------------------------------------------------

    async def start(self, app: Application) -> None:
        """See `Engine.start`: 1. claim the directory, 2. serve the application, 3. run CometBFT until its RPC answers."""
        assert self._loop is None, "an engine runs once"
        loop = self._loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        settings = self._settings
        try:
            binary = find_binary(settings.binary)
            settings.directory.mkdir(parents=True, exist_ok=True)
            self._lock = lock_directory(settings.directory)  # 1
            self._home.claim(self._genesis.fingerprint(), self._genesis.chain_id)
            self._sockets = SocketFolder(settings.directory)
            self._headers = HeaderStore(self._home.headers_dir)
            self._phase = Phase.REPLAYING
            self._driven = DrivenApplication(self._recorded(app), self, settings.retry_ms / 1000)
            listen = parse_address(settings.abci_listen) if settings.abci_listen else self._sockets.address("abci")
            self._server = AbciServer(self._driven, listen, failed=self._application_failed)  # 2
            self._server.start()
            rpc = self._sockets.address("rpc")
            self._key = prepare_home(self._home, self._genesis, settings, self._server.address, rpc)
            self._rpc, self._async_rpc = Rpc(rpc), AsyncRpc(rpc)
            self._reader = ChainReader(
                self._rpc,
                self._headers,
                initial=self._genesis.initial_height,
                latest=lambda: self._latest,
                base=lambda: self._base,
            )
            self._sender = Sender(self._async_rpc, self._pool, batch_bytes_max=settings.tx_bytes_max)
            work = {
                "cometbft": self._supervise(binary, rpc),  # 3
                "cometbft-send": self._sender.run(),
                "cometbft-headers": self._copy_headers(),
                "cometbft-health": self._health.watch(AsyncRpc(rpc), self._healthy),
            }
            self._tasks = [loop.create_task(task, name=name) for name, task in work.items()]
            for task in self._tasks:
                task.add_done_callback(self._task_ended)
            await self._ready
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """See `Engine.stop`: the sender first, the last headers, CometBFT, then what serves it."""
        if self._stopping:
            return
        self._stopping = True
        if self._driven is not None:
            self._driven.stopping.set()
        supervisor, others = self._tasks[:1], self._tasks[1:]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)
        if self._reader is not None and self._ready is not None and self._ready.done():
            with suppress(AlthingError):
                await asyncio.to_thread(self._copy_all)
        if self._process is not None:
            ending = asyncio.create_task(self._process.stop())
            await asyncio.wait({ending}, timeout=_QUIET_STOP_S)
            if not ending.done() and self._server is not None:
                # It waits for an answer that does not come: without its application it ends by itself.
                await asyncio.to_thread(self._server.stop)
            await ending
        for task in supervisor:
            task.cancel()
            await asyncio.wait({task})
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)
        if self._rpc is not None and self._async_rpc is not None:
            self._rpc.close()
            await self._async_rpc.close()
        self._reader = None
        self._instruments.failed()
        if self._headers is not None:
            self._headers.close()
        if self._trace is not None:
            self._trace.close()
        if self._sockets is not None:
            self._sockets.remove()
        if self._lock is not None:
            unlock_directory(self._lock)
            self._lock = None
        if self._phase is not Phase.HALTED:
            self._phase = Phase.STOPPED
        self._end()

    def _recorded(self, app: Application) -> Application:
        if self._settings.trace_file is None:
            return app
        self._trace = TraceFile(self._settings.trace_file)
        return RecordingApplication(app, self._trace.call)

    async def _supervise(self, binary: Any, rpc: SocketAddress) -> None:
        """Run CometBFT, again and again; a start that never came up, or many without a block, are the end."""
        assert self._server is not None
        assert self._ready is not None
        failures, pause, first = 0, _BACK_OFF_S[0], True
        while not self._stopping:
            await asyncio.to_thread(self._server.wait_idle, _IDLE_S)
            if self._trace is not None:
                self._trace.begin()
            rpc.remove()
            if self._settings.signer_listen:
                parse_signer_address(self._settings.signer_listen).remove()
            height = self._latest
            variables = {"CMT_INSTRUMENTATION_PROMETHEUS_LISTEN_ADDR": self._instruments.renew()}
            syncing = self._settings.state_sync
            if syncing is not None and syncing.ca is not None:
                variables["SSL_CERT_FILE"] = str(syncing.ca)  # as Go reads it; nothing else of it opens TLS connections
            self._process = EngineProcess(binary, self._home.path, self._heard, variables)
            try:
                await self._process.start()
                came_up = await self._run_once(self._process)
                error: AlthingError = explain(list(self._process.tail))
            except AlthingError as failure:
                await self._process.stop()
                came_up, error = False, failure
            if self._sender is not None:
                self._sender.down()
            if self._stopping or self._phase is Phase.HALTED:
                return
            if self._latest > height:
                failures, pause = 0, _BACK_OFF_S[0]
            failures += 1
            patient = error.code in _PATIENT and failures <= _PATIENT_RETRIES
            if (first and not came_up and not patient) or (failures > self._settings.restarts_max and not patient):
                self._halt(error)
                return
            first = first and not came_up
            self._phase = Phase.REPLAYING
            _log.warning("CometBFT ended and is started again", reason=error.message, code=error.code, attempt=failures)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _BACK_OFF_S[1])

    def _heard(self, level: str, message: str, fields: dict[str, Any]) -> None:
        if FAILED in message:
            self._instruments.failed()
        # What it says while it ends in order is about sockets that are closed, and no fault.
        self._health.heard("debug" if self._stopping else level, message, fields)

    async def _run_once(self, process: EngineProcess) -> bool:
        """Until the process has ended; True when it came up before."""
        ended = asyncio.create_task(process.wait(), name="cometbft-process")
        up = asyncio.create_task(self._await_up(), name="cometbft-up")
        try:
            await asyncio.wait({ended, up}, return_when=asyncio.FIRST_COMPLETED)
            if not up.done():
                return False
            up.result()
            await ended
            return True
        finally:
            for task in (up, ended):
                task.cancel()
                await asyncio.wait({task})

    async def _await_up(self) -> None:
        """The RPC answers once the handshake is over; replaying many blocks is progress, standing still is not.

        Then, bounded: until it takes part in consensus.
        """
        assert self._reader is not None
        assert self._async_rpc is not None
        seen, since = self._latest, time.monotonic()
        answered: float | None = None
        while True:
            if self._latest != seen:
                seen, since = self._latest, time.monotonic()
            if time.monotonic() - since > self._settings.start_s:
                raise EngineError("engine.process", f"CometBFT did not come up within {self._settings.start_s} s")
            with suppress(UnavailableError):
                (status,) = await self._async_rpc.batch([("status", {})])
                if isinstance(status, dict):
                    if answered is None:
                        answered = time.monotonic()
                    if not status["sync_info"]["catching_up"] or time.monotonic() - answered > _CATCH_UP_S:
                        break
            await asyncio.sleep(_POLL_S)
        self._base = max(self._base, int(status["sync_info"]["earliest_block_height"] or 0))
        self._signer = bytes.fromhex(status["validator_info"]["address"])
        with suppress(AlthingError):
            self._params = await asyncio.to_thread(self._reader.consensus_params, max(self._latest, 1))
        if self._phase is Phase.REPLAYING:
            self._health.catching_up = bool(status["sync_info"]["catching_up"])
            self._healthy(self._health.catching_up, self._base, started=True)
        assert self._sender is not None
        self._sender.up()
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    async def _copy_headers(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._copy_now.wait(), _COPY_S)
            self._copy_now.clear()
            try:
                await asyncio.to_thread(self._copy_all)
            except AlthingError as error:
                _log.debug("headers are not copied now", reason=error.message)

    def _copy_all(self) -> None:
        assert self._reader is not None
        while self._reader.copy():
            pass

    def _healthy(self, catching_up: bool, base: int, *, started: bool = False) -> None:
        """Told every second while the engine answers. After state sync its blocks begin where it joined."""
        self._base = max(self._base, base)
        up = started or (self._ready is not None and self._ready.done())
        if up and self._phase in (Phase.REPLAYING, Phase.RUNNING):
            self._phase = Phase.REPLAYING if catching_up else Phase.RUNNING

    # --- told by the server's threads -------------------------------------------------------------------------------------

    def checked(self, key: bytes, outcome: CheckOutcome, *, again: bool) -> None:
        """See `driven.Listener`."""
        self._tell(lambda: self._pool.checked(key, outcome, again=again))

    def committed_block(self, height: int, txs: tuple[bytes, ...], app_hash: bytes) -> None:
        """See `driven.Listener`."""
        self._app_hash = app_hash
        self._latest = height
        self._tell(lambda: self._advance(txs))

    def found(self, height: int) -> None:
        """See `driven.Listener`."""
        if height > self._latest:
            self._latest = height
            self._tell(self._notify)

    def stalled(self, error: UnavailableError | None) -> None:
        """See `driven.Listener`."""
        if error is not None and self._error is None:
            _log.error("a durable write failed and is repeated", code=error.code, reason=error.message)
        self._error = error
        if self._phase is not Phase.HALTED:
            self._phase = Phase.RUNNING if error is None else Phase.STALLED

    def limits(self, params: ConsensusParams) -> None:
        """See `driven.Listener`."""
        self._params = params

    def pruned(self, retain_height: int) -> None:
        """See `driven.Listener`. Headers are copied now: what is not copied is not pruned."""
        self._base = max(self._base, retain_height)
        self._tell(self._copy_now.set)

    @property
    def gas_max(self) -> int:
        """See `driven.Listener`."""
        return self._params.block_gas_max

    @property
    def retain_max(self) -> int:
        """See `driven.Listener`: blocks whose headers are not kept yet are not pruned."""
        return 0 if self._reader is None else self._reader.kept

    def _application_failed(self, error: Exception) -> None:
        known = error if isinstance(error, AlthingError) else None
        self._tell(lambda: self._halt(known or EngineError("engine.halted", f"{type(error).__name__}: {error}")))

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """None of them ends by itself while the engine runs, but the supervisor, which has halted it then."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("a part of the engine failed", part=task.get_name(), exc_info=error)
            self._halt(EngineError("engine.halted", f"{task.get_name()}: {type(error).__name__}: {error}"))

    def _tell(self, work: Any) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed; nobody is left to tell
            self._loop.call_soon_threadsafe(work)

    # --- event loop -------------------------------------------------------------------------------------------------------

    def _advance(self, txs: tuple[bytes, ...]) -> None:
        self._pool.committed(txs)
        self._notify()

    def _dropped(self, keys: Sequence[bytes]) -> None:
        if self._watcher is not None:
            self._watcher(keys)

    def _halt(self, error: AlthingError) -> None:
        """The process is left running if it does: what it has stored can still be read."""
        if self._stopping or self._phase is Phase.HALTED:
            return
        self._error, self._phase = error, Phase.HALTED
        _log.error("the engine has halted", code=error.code, reason=error.message)
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error)
        self._end()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._pool.end(UnavailableError("engine.stopped", "the engine stopped before the check"))
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(EngineError("engine.stopped", "stopped before the engine had started"))
            self._ready.exception()  # seen, also when start was cancelled
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _refuse_unless_running(self) -> None:
        phase, error = self._phase, self._error
        if self._stopping or phase is Phase.STOPPED:
            raise UnavailableError("engine.stopped", "the engine is not running")
        if phase is Phase.STALLED and error is not None:
            raise UnavailableError(error.code, error.message, hint=error.hint, retry_after_s=5)
        if phase is Phase.HALTED:
            raise UnavailableError("engine.halted", f"the engine has halted: {error}", retry_after_s=60)
        if phase is Phase.REPLAYING and self._health.catching_up:
            raise UnavailableError("engine.behind", "this node is still catching up with the chain", retry_after_s=5)

    def watch_drops(self, dropped: Dropped) -> None:
        """See `Engine.watch_drops`. Told by CometBFT's rechecks: what it forgets by itself is not seen here."""
        self._watcher = dropped

    async def submit(self, tx: bytes) -> CheckTxResponse:
        """See `Engine.submit`. Cancelling the caller does not take the transaction back."""
        self._refuse_unless_running()
        assert self._sender is not None
        params = self._params
        room = data_bytes_max(params.block_bytes_max, 0, 1)
        if len(tx) > self._settings.tx_bytes_max or tx_size(tx) > room or not tx:
            raise PoolRefusedError(
                "pool.tx_too_large", f"{len(tx)} bytes are more than a transaction may have, or none"
            )
        sent = self._pool.add(tx)
        self._sender.push(sent)
        return await asyncio.shield(sent.answer)

    @property
    def _first_height(self) -> int:
        return self._genesis.initial_height

    async def _block(self, height: int) -> CommittedBlock | None:
        while True:
            try:
                return await asyncio.to_thread(self._open().committed, height)
            except UnavailableError:
                if self._stopping or self._ended:
                    return None
                await asyncio.sleep(_POLL_S)  # it restarts

    def status(self) -> EngineStatus:
        """See `Engine.status`. The pool's numbers are of what was sent through this node."""
        count, size = self._pool.load
        error, latest = self._error, self._latest
        header = None
        if latest:
            with suppress(AlthingError):
                header = self._open().signed_header(latest)
        return EngineStatus(
            engine="cometbft",
            chain_id=self._genesis.chain_id,
            phase=self._phase,
            error="" if error is None else str(error),
            base_height=self._base,
            latest_height=latest,
            latest_block_hash=b"" if header is None else header.header.hash(),
            latest_block_time=self._genesis.time if header is None else header.header.time,
            app_hash=self._app_hash,
            pool_count=count,
            pool_bytes=size,
            validator_address=self._signer if self._key is None else self._key.address,
            conditions=self._health.conditions(alone=self._alone()),
        )

    def network(self) -> EngineNetwork:
        """See `Engine.network`. Peers' heights are asked for at most every few seconds: the answer may hold a block."""
        with self._heights_lock:
            if time.monotonic() - self._heights_at > _HEIGHTS_S and self._rpc is not None and not self._ended:
                self._heights_at = time.monotonic()
                with suppress(UnavailableError, RpcError):
                    self._peers.told_heights(heights_of(self._rpc.call("dump_consensus_state")))
        return EngineNetwork(self._health.id, self._moniker(), self._health.version, self._peers.peers())

    def metrics(self) -> bytes:
        """See `Engine.metrics`."""
        return self._instruments.scrape()

    def _moniker(self) -> str:
        return self._settings.moniker if self._key is None else moniker_of(self._settings, self._key.address)

    def _alone(self) -> bool:
        """Other validators exist, and no peer is connected."""
        with suppress(AlthingError):
            return len(self._open().validators(max(self._latest, 1)).validators) > 1
        return False

    # --- stored data, any thread ------------------------------------------------------------------------------------------

    @property
    def latest_height(self) -> int:
        """See `Engine.latest_height`."""
        return self._latest

    def block(self, height: int) -> Block:
        """See `Engine.block`."""
        return self._open().block(height)

    def signed_header(self, height: int) -> SignedHeader:
        """See `Engine.signed_header`."""
        return self._open().signed_header(height)

    def commit(self, height: int) -> Commit:
        """See `Engine.commit`."""
        return self._open().signed_header(height).commit

    def validators(self, height: int) -> ValidatorSet:
        """See `Engine.validators`."""
        return self._open().validators(height)

    def consensus_params(self, height: int) -> ConsensusParams:
        """See `Engine.consensus_params`."""
        return self._open().consensus_params(height)

    def results(self, height: int) -> FinalizeBlockResponse:
        """See `Engine.results`."""
        return self._open().results(height)

    def proposer_priorities(self, height: int) -> tuple[int, ...]:
        """See `Engine.proposer_priorities`."""
        return self._open().proposer_priorities(height)

    def submit_evidence(self, evidence: Mapping[str, Any]) -> bytes:
        """See `Engine.submit_evidence`: CometBFT verifies it, puts it into a block and tells the application."""
        return self._open().submit_evidence(evidence)

    def _open(self) -> ChainReader:
        reader = self._reader
        if reader is None:
            raise UnavailableError("engine.stopped", "the engine is not running")
        return reader
