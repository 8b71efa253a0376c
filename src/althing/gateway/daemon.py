"""A gateway as a process: everything built from a home, started in order, stopped in the reverse one.

Start: spool, ledger, registry, signature workers, archive, anchoring, MQTT, HTTP. Stop: listeners first, so nothing new
arrives; then what was accepted reaches its fsync; then the rest. What is not anchored by then goes on at the next start.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from althing.archive.objects import open_objects
from althing.client.keyfile import load_key
from althing.gateway.access import Access, GatewayAccess, MqttAuthenticator
from althing.gateway.anchoring import Anchoring
from althing.gateway.archive_sink import ArchiveSink
from althing.gateway.certificates import CertificateStore
from althing.gateway.config import GatewayConfig, GatewayPaths, ListenerConfig, read_config
from althing.gateway.errors import SettingsError, TaskError
from althing.gateway.guard.checker import SignatureChecker
from althing.gateway.held import HeldMessages
from althing.gateway.ingest.http import HttpConfig, HttpServer
from althing.gateway.ingest.mqtt.config import MqttConfig
from althing.gateway.ingest.mqtt.server import MqttServer
from althing.gateway.ingest.mqtt.store_lmdb import LmdbSessionStore
from althing.gateway.intake import Pipeline
from althing.gateway.ledger import DeviceView, LedgerPort
from althing.gateway.ledger_nodes import NodeLedger
from althing.gateway.light_check import LightProofCheck
from althing.gateway.proofcheck import ProofCheck
from althing.gateway.registry import Registry
from althing.gateway.registry_file import RegistryFile
from althing.gateway.reports import GatewayReports
from althing.gateway.sink import SegmentSink
from althing.gateway.spool.spool import Spool
from althing.gateway.tokens import TokenStore
from althing.protocol.address import address_of_key, parse_address
from althing.protocol.errors import AlthingError
from althing.protocol.genesis import genesis_hash
from althing.protocol.messages.governance import Genesis
from althing.protocol.signatures import PrivateKey
from althing.protocol.trust import Trust, parse_trust
from althing.service.faultpoints import arm_from_environment
from althing.service.lifecycle import Lifecycle, start_unless_stopped, stop_on_signals
from althing.service.listener import read_token, tls_context
from althing.service.outgoing import client_tls

__all__ = ["Addresses", "Gateway", "Outside", "run_gateway"]

_log = structlog.get_logger("althing.gateway")

_CERTIFICATES_EVERY_S = 5.0
_REGISTRY_WAIT_S = 10.0
_DAY_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the listeners are; None for one that is not enabled."""

    mqtt: tuple[str, int] | None
    http: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Outside:
    """What a gateway needs from elsewhere, for those who bring their own (tests, a process that holds the node too)."""

    ledger: LedgerPort | None = None
    sink: SegmentSink | None = None
    proofs: ProofCheck | None = None


class Gateway:
    """One gateway. Construct, `start`, and always `stop`, all on one event loop."""

    def __init__(self, home: Path, config: GatewayConfig | None = None, outside: Outside | None = None) -> None:
        self.paths = GatewayPaths(home)
        self.config = config if config is not None else read_config(self.paths)
        self._outside = outside or Outside()
        self._life = Lifecycle()
        self._mqtt: MqttServer | None = None
        self._http: HttpServer | None = None
        self._tasks: set[asyncio.Task[Any]] = set()  # beside the registry's own
        self.ledger: LedgerPort
        self.spool: Spool
        self.registry: Registry
        self.pipeline: Pipeline
        self.anchoring: Anchoring
        self.reports: GatewayReports
        self.tokens: TokenStore

    async def start(self) -> Addresses:
        """Start everything, or stop what was started and raise an AlthingError that says what to do."""
        try:
            return await self._start()
        except BaseException:
            await self._life.stop()
            raise

    async def stop(self) -> None:
        """Listeners, then the fsync of what was accepted, then the rest. Idempotent."""
        await self._life.stop()

    async def failed(self) -> None:
        """Never returns while the gateway works; TaskError when a task without which it does not has ended."""
        while True:
            await asyncio.wait(self._watched(), return_when=asyncio.FIRST_COMPLETED)
            # The registry replaces its task when it leaves a node; that one has not failed.
            for task in self._ended():
                error = None if task.cancelled() else task.exception()
                reason = "it was cancelled" if task.cancelled() else f"{type(error).__name__}: {error}"
                raise TaskError(task.get_name(), reason) from error

    def _ended(self) -> list[asyncio.Task[Any]]:
        return [task for task in self._watched() if task.done()]

    def _watched(self) -> list[asyncio.Task[Any]]:
        listeners = [task for listener in (self._mqtt, self._http) if listener is not None for task in listener.tasks]
        return [*self._tasks, *self.registry.tasks, *listeners]

    async def drain(self, timeout_s: float) -> bool:
        """Anchor and prove all that was accepted so far; False when that takes longer."""
        return await self.anchoring.drain(timeout_s)

    async def _start(self) -> Addresses:
        config, paths, life = self.config, self.paths, self._life
        genesis = _genesis(paths.genesis)
        own_hash = genesis_hash(genesis)
        key = load_key(paths.key)
        address = parse_address(config.address) if config.address else address_of_key(key.suite, key.public)

        self.spool = Spool(paths.spool, own_hash, config.spool)
        await life.start("spool", None, self.spool.close)
        ledger = self.ledger = self._outside.ledger or self._nodes(_trust(paths.trust, own_hash))
        await life.start("ledger", None, ledger.close)
        registry = self.registry = Registry(
            ledger,
            address,
            genesis.chain_id,
            own_hash,
            RegistryFile(paths.registry),
            age_max_s=config.registry_age_max_s,
            check_every_s=config.registry_check_s,
        )
        await life.start("registry", registry.start, registry.close)
        if not await registry.wait_loaded(_REGISTRY_WAIT_S):
            _log.warning("no node answers, and no registry is kept: messages get Busy", nodes=config.nodes)
        checker = SignatureChecker(own_hash, processes=config.verify_processes)
        await life.start("signatures", None, checker.close)
        self.pipeline = Pipeline(registry, self.spool, checker, config.guard)
        await self._start_anchoring(ledger, key, checker)
        await life.start("pipeline", None, self._quiet)
        return await self._start_listeners()

    async def _start_anchoring(self, ledger: LedgerPort, key: PrivateKey, checker: SignatureChecker) -> None:
        config = self.config
        sink = self._outside.sink
        if sink is None:
            store = await asyncio.to_thread(open_objects, config.archive or str(self.paths.archive))
            sink = await asyncio.to_thread(ArchiveSink, store, self.registry, ledger)
        proofs = self._outside.proofs or LightProofCheck(_trust(self.paths.trust, self.registry.genesis_hash))
        held = HeldMessages(self.paths.spool)
        self.anchoring = Anchoring(self.spool, self.registry, ledger, key, sink, proofs, held, config.batch)
        self.anchoring.on_held = self.pipeline.hold
        self.reports = GatewayReports(
            self.registry, self.spool, self.pipeline, checker, self.anchoring, held, config.batch.alarm_s
        )
        self.reports.lies = lambda: ledger.lies_total
        self.reports.failed = lambda: bool(self._ended())

        async def start() -> None:
            before = asyncio.all_tasks()
            self.anchoring.start()
            self._tasks |= asyncio.all_tasks() - before  # there is no await in between

        await self._life.start("anchoring", start, self.anchoring.close)

    async def _start_listeners(self) -> Addresses:
        config, paths, life = self.config, self.paths, self._life
        tokens = self.tokens = TokenStore(paths.tokens)
        certificates = CertificateStore(paths.certificates, self.registry)
        mqtt = http = None
        if config.mqtt.enabled:
            store = LmdbSessionStore(paths.sessions)

            async def close_store() -> None:
                store.close()

            await life.start("sessions", None, close_store)
            access = Access(self.registry, tokens, certificates, open_=config.mqtt.open)
            settings = MqttConfig(host=config.mqtt.host, port=config.mqtt.port)
            settings = replace(settings, tls=_tls(config.mqtt, certificates))
            server = MqttServer(
                settings, self.pipeline, MqttAuthenticator(access), GatewayAccess(), store, refusals=self.pipeline
            )
            self.registry.on_device.append(self._end_sessions)
            mqtt = await server.start()
            self._mqtt = server
            self.reports.mqtt = server.metrics
            await life.start("mqtt", None, server.stop)
        if config.http.enabled:
            access = Access(self.registry, tokens, certificates, open_=config.http.open)
            tls = _tls(config.http, certificates)
            listener = HttpServer(
                HttpConfig(host=config.http.host, port=config.http.port, host_names=config.http.host_names, tls=tls),
                self.pipeline,
                access,
                self.reports,
            )
            http = await listener.start()
            self._http = listener
            await life.start("http", None, listener.stop)
        watch = asyncio.create_task(_watch(certificates), name="certificates")
        self._tasks.add(watch)

        async def stop_watching() -> None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

        await life.start("certificates", None, stop_watching)
        _log.info("gateway started", mqtt=mqtt, http=http, waiting=self.spool.pending.messages)
        return Addresses(mqtt, http)

    async def _quiet(self) -> None:
        """Take nothing more, and wait for the fsync of what was taken."""
        self.pipeline.closed = True
        await self.pipeline.settled()

    def _end_sessions(self, device: DeviceView) -> None:
        if self._mqtt is not None and not device.active:
            closed = self._mqtt.disconnect_device(device.name)
            if closed:
                _log.warning("sessions of a suspended device ended", device=device.name, connections=closed)

    def _nodes(self, trust: Trust) -> NodeLedger:
        if not self.config.nodes:
            raise SettingsError(
                "gateway.settings", "no node is named", hint='set nodes = ["http://…"] under [gateway] in config.toml'
            )
        token_file = self.config.nodes_token_file
        token = "" if token_file is None else read_token(token_file)
        return NodeLedger(
            self.config.nodes,
            trust,
            token=token,
            verify=client_tls(self.config.nodes_ca),
            kept=self.paths.light,
            trusting_period_s=self.config.trusting_period_days * _DAY_S,
        )


async def run_gateway(
    home: Path,
    config: GatewayConfig | None = None,
    *,
    on_ready: Callable[[Gateway, Addresses], None] | None = None,
    stop: asyncio.Event | None = None,
    drain_s: float = 0.0,
) -> None:
    """Run a gateway until SIGINT, SIGTERM or `stop`; then drain for at most `drain_s` and end in order.

    TaskError, after everything is stopped, when one of its tasks has ended: whoever supervises the process starts it anew.
    """
    arm_from_environment()
    if stop is None:
        stop = asyncio.Event()
        stop_on_signals(stop)
    gateway = Gateway(home, config)
    addresses = await start_unless_stopped(gateway.start(), stop)
    if addresses is None:
        return
    stopped = asyncio.create_task(stop.wait(), name="stop")
    failed = asyncio.create_task(gateway.failed(), name="failed")
    try:
        if on_ready is not None:
            on_ready(gateway, addresses)
        await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            _log.error("gateway failed", exc_info=failed.exception())
            failed.result()
        if drain_s and not await gateway.drain(drain_s):
            _log.warning("not all is anchored; it goes on at the next start", waiting=gateway.spool.pending.messages)
    finally:
        for task in (stopped, failed):
            task.cancel()
        await asyncio.gather(stopped, failed, return_exceptions=True)
        await gateway.stop()


async def _watch(certificates: CertificateStore) -> None:
    while True:
        await asyncio.sleep(_CERTIFICATES_EVERY_S)
        with suppress(AlthingError, OSError):
            await asyncio.to_thread(certificates.refresh)


def _tls(listener: ListenerConfig, certificates: CertificateStore) -> ssl.SSLContext | None:
    if listener.certificate is None or listener.key is None:
        return None
    context = tls_context(listener.certificate, listener.key)
    certificates.attach(context)
    return context


def _genesis(path: Path) -> Genesis:
    return Genesis.from_bytes(_read(path))


def _trust(path: Path, own_hash: bytes) -> Trust:
    trust = parse_trust(_read(path))
    if trust.genesis_hash != own_hash:
        raise SettingsError(
            "gateway.foreign_chain",
            f"{path} is of another chain than this home's",
            hint="put the trust file of this chain there",
        )
    return trust


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(
            "gateway.home", f"{path} cannot be read: {error.strerror}", hint="is this the home of a chain?"
        ) from error
