"""A node as a process: built from a home, started in order, stopped in the reverse one. Engine and ledger meet here.

Start: storage and its locks, engine (replays what the ledger lacks), submission, index, API. Stop: event streams end,
the API takes no more requests and finishes those under way, then submission, engine, storage.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from althing.consensus.abci import ValidatorUpdate
from althing.consensus.cometbft.settings import StateSync
from althing.consensus.engine import Clock, Engine, EngineError, Genesis
from althing.consensus.registry import make_engine
from althing.ledger.assembly import Rulebook
from althing.node.api.app import build_app, guarded
from althing.node.api.context import Api
from althing.node.config import ApiConfig, NodeConfig, SnapshotConfig, read_config
from althing.node.home import Home
from althing.node.indexer import Indexer
from althing.node.metrics import NodeMetrics
from althing.node.node import Node
from althing.protocol.address import address_of_key, format_address
from althing.protocol.errors import AlthingError
from althing.service.faultpoints import arm_from_environment
from althing.service.hostnames import HostNames
from althing.service.lifecycle import Lifecycle, start_unless_stopped, stop_on_signals
from althing.service.listener import bind_first, read_token, require_safe, tls_context
from althing.service.webserver import WebServer

__all__ = ["NodeProcess", "open_node", "run_node"]

_log = structlog.get_logger("althing.node")

_GRACEFUL_S: Final = 5  # for requests under way at the end; a client that waits for a block sends again
_INDEX_EVERY_S: Final = 1.0  # so many blocks share one durable write of the index


def open_node(
    home: Home | Path,
    *,
    engine: str = "solo",
    settings: Mapping[str, Any] | None = None,
    keep_versions: int = 1000,
    verify_processes: int = 0,
    keep_receipts_days: int = 0,
    snapshots: SnapshotConfig | None = None,
    rulebook: Rulebook | None = None,
    clock: Clock = time.time_ns,
) -> Node:
    """A node of a home with an engine by name; `settings` are the engine's own. Not started."""
    at = home if isinstance(home, Home) else Home(home)
    chosen = dict(settings or {})
    if engine in ("solo", "cometbft"):
        chosen.setdefault("key_file", at.validator_key_file)

    def maker(genesis: Genesis, directory: Path, clock: Clock) -> Engine:
        if engine == "cometbft" and not genesis.validators:
            # Every node names the same founding validators; the embedded engine has its one signer.
            members = tuple(ValidatorUpdate(v.public, v.power) for v in at.genesis().validators)
            genesis = replace(genesis, validators=members)
        return make_engine(engine, genesis, directory, chosen, clock=clock)

    return Node(
        at,
        maker,
        keep_versions=keep_versions,
        verify_processes=verify_processes,
        keep_receipts_days=keep_receipts_days,
        snapshots=snapshots if engine == "cometbft" else None,  # nobody joins the embedded engine
        rulebook=rulebook,
        clock=clock,
    )


class NodeProcess:
    """A node and its API. Construct, `start`, and always `stop`, all on one event loop."""

    def __init__(
        self,
        home: Home | Path,
        config: NodeConfig | None = None,
        *,
        rulebook: Rulebook | None = None,
        clock: Clock = time.time_ns,
    ) -> None:
        self.home = home if isinstance(home, Home) else Home(home)
        self.config = config if config is not None else read_config(self.home.path)
        self._rulebook = rulebook  # default: all rules of this release
        self._clock = clock
        self._life = Lifecycle()
        self.node: Node
        self.api: Api
        self.url = ""

    async def start(self) -> str:
        """Start everything and return the API's address; or stop what was started and raise an AlthingError."""
        try:
            return await self._start()
        except BaseException:
            await self._life.stop()
            raise

    async def stop(self) -> None:
        """API, submission, engine, storage. Idempotent."""
        await self._life.stop()

    async def failed(self) -> None:
        """Never returns while the node works; raises what ended its engine or its admission."""
        parts = {
            asyncio.create_task(self._engine_ended(), name="engine"),
            asyncio.create_task(self.node.submission.failed(), name="submission"),
        }
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for part in parts:
                await _cancel(part)

    async def _engine_ended(self) -> None:
        with suppress(EngineError):
            # A height that never comes: this ends only with the engine.
            await self.node.engine.wait_height(2**62)
        status = self.node.status()
        raise EngineError("engine.halted", status.error or f"the engine is {status.phase.value}")

    async def _start(self) -> str:
        config, life = self.config, self._life
        # Refuse what is not safe before anything is opened.
        tls, token = _security(config.api)
        node = self.node = open_node(
            self.home,
            rulebook=self._rulebook,
            engine=config.engine,
            settings=_engine_settings(config, self.home),
            keep_versions=config.keep_versions,
            verify_processes=config.verify_processes,
            keep_receipts_days=config.keep_receipts_days,
            snapshots=config.snapshots,
            clock=self._clock,
        )
        await life.start("node", None, node.stop)
        metrics = NodeMetrics()
        metrics.watch(node)
        await node.start()
        opening = asyncio.create_task(
            asyncio.to_thread(Indexer, self.home.path / "node" / "index", node.ledger, node.engine), name="index-open"
        )
        # A thread is not cut off: what it opens is closed.
        await life.start("index", lambda: asyncio.shield(opening), lambda: _close_index(opening))
        indexer = opening.result()
        task = asyncio.create_task(_index(indexer), name="index")
        await life.start("indexing", None, lambda: _cancel(task))
        api = self.api = Api(node, config.api, indexer, metrics)
        await life.start("reads", None, _in_thread(api.reads.close))
        bound = bind_first(config.api.host, self._ports())
        host, port = bound.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else str(host)
        self.url = f"{'http' if tls is None else 'https'}://{shown}:{port}"
        hosts = HostNames(host, config.api.host_names)
        server = WebServer(
            guarded(build_app(api), api, hosts=hosts, token=token),
            bound,
            tls=tls,
            connections_max=config.api.connections_max,
            idle_s=config.api.idle_s,
            graceful_s=_GRACEFUL_S,
        )
        await life.start("api", server.start, lambda: _stop_serving(api, server))
        node.remember_ports(api=self.url)
        status = node.status()
        _log.info("node ready", api=self.url, chain=status.chain_id, height=status.latest_height, engine=status.engine)
        return self.url

    def _ports(self) -> list[int]:
        """The port of the last run if it was on this host, the configured one, any."""
        ports = [self.config.api.port, 0]
        known = self.home.ports().get("api")
        if isinstance(known, str):
            with suppress(ValueError):
                before = urlsplit(known)
                if before.hostname == self.config.api.host and before.port:
                    ports.insert(0, before.port)
        return ports


async def run_node(
    home: Home | Path,
    config: NodeConfig | None = None,
    *,
    ready: Callable[[NodeProcess], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run a node until SIGINT, SIGTERM or `stop`, or until its engine halts, which is raised after everything is stopped.

    A node that still waits for its chain's first block, which others must make with it, is stopped like any other.
    """
    arm_from_environment()
    if stop is None:
        stop = asyncio.Event()
        stop_on_signals(stop)
    process = NodeProcess(home, config)
    if await start_unless_stopped(process.start(), stop) is None:
        return
    stopped = asyncio.create_task(stop.wait(), name="stop")
    failed = asyncio.create_task(process.failed(), name="engine")
    try:
        if ready is not None:
            ready(process)
        await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
    finally:
        for task in (stopped, failed):
            await _cancel(task)
        await process.stop()


def _engine_settings(config: NodeConfig, home: Home) -> Mapping[str, Any] | None:
    if config.engine == "solo":
        return {
            "min_block_interval_ms": config.solo.min_block_interval_ms,
            "idle_block_s": config.solo.idle_block_s,
        }
    if config.engine == "cometbft":
        own = config.cometbft
        return {
            "profile": own.profile,
            "moniker": own.name or _node_name(home),
            "announce_validator": own.announce_validator,
            "binary": own.binary,
            "p2p_listen": own.p2p_listen,
            "external_address": own.external_address,
            "persistent_peers": own.peers,
            "signer_listen": own.signer_listen,
            "idle_block_s": own.idle_block_s,
            "trace_file": own.trace_file,
            "state_sync": _state_sync(own.state_sync, own.state_sync_ca, home),
        }
    return None


def _node_name(home: Home) -> str:
    """As the genesis names this node's key; of one admitted later the address of its account."""
    key = home.node_key()
    address = address_of_key(key.suite, key.public)
    named = [found.name for found in home.genesis().nodes if found.key.address == address]
    return named[0] if named else format_address(address)


def _state_sync(servers: tuple[str, ...], ca: Path | None, home: Home) -> StateSync | None:
    """From the header of the home's trust file on."""
    if not servers:
        return None
    trust = home.trust()
    return StateSync(servers, trust.height, trust.header_hash, ca)


def _security(config: ApiConfig) -> tuple[Any, str | None]:
    tls = None
    if config.certificate is not None and config.key is not None:
        tls = tls_context(config.certificate, config.key)
    token = None if config.token_file is None else read_token(config.token_file)
    require_safe(config.host, tls=tls is not None, authenticated=token is not None)
    return tls, token


async def _close_index(opening: asyncio.Task[Indexer]) -> None:
    await asyncio.to_thread((await opening).close)


async def _stop_serving(api: Api, server: WebServer) -> None:
    api.stopping.set()
    await server.stop()


async def _index(indexer: Indexer) -> None:
    while True:
        try:
            await asyncio.to_thread(indexer.catch_up)
        except AlthingError as exc:
            # A full disk, or blocks pruned away: lists are behind, which they say; the chain goes on.
            _log.error("the index cannot follow", code=exc.code, reason=exc.message)
        await asyncio.sleep(_INDEX_EVERY_S)


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})


def _in_thread(work: Callable[[], None]) -> Callable[[], Any]:
    return lambda: asyncio.to_thread(work)
