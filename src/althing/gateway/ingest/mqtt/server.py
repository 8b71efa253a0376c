"""The MQTT server of the gateway: binds, ties the parts together, keeps time (MQTT 5 and 3.1.1)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from althing import __version__
from althing.gateway.ingest.mqtt.config import MqttConfig
from althing.gateway.ingest.mqtt.connection import Connection, Registry
from althing.gateway.ingest.mqtt.errors import ListenerError
from althing.gateway.ingest.mqtt.hub import Hub
from althing.gateway.ingest.mqtt.message import Message
from althing.gateway.ingest.mqtt.metrics import MqttMetrics
from althing.gateway.ingest.mqtt.packets import Will
from althing.gateway.ingest.mqtt.ports import AccessRules, Authenticator, RefusalLog
from althing.gateway.ingest.mqtt.properties import Prop, encode_items
from althing.gateway.ingest.mqtt.reasons import Reason
from althing.gateway.ingest.mqtt.session import Session
from althing.gateway.ingest.mqtt.store import SessionStore
from althing.gateway.ingest.port import Accepted, Busy, Inbound, Intake, Outcome

__all__ = ["MqttServer"]

_TICK_S = 0.25
_RETRY_S = 0.05
_WILLS_WAITING_MAX = 10_000


class MqttServer:
    """An MQTT 5, 3.1.1 and 3.1 server. One event loop; start and stop once; the store is the caller's to close."""

    def __init__(
        self,
        config: MqttConfig,
        intake: Intake,
        authenticator: Authenticator,
        access: AccessRules,
        store: SessionStore,
        *,
        refusals: RefusalLog | None = None,
    ) -> None:
        self._config = config
        self._intake = intake
        self._authenticator = authenticator
        self._access = access
        self._store = store
        self._refusals = refusals
        self._registry = Registry()
        self._wills: list[Inbound] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._hub: Hub | None = None
        self._second = 0.0
        self._sys_due = 0.0
        self.metrics = MqttMetrics()

    async def start(self) -> tuple[str, int]:
        """Load the sessions, bind, and return (host, port). Raises ListenerError (listener.insecure_bind,
        listener.bind_failed) and SessionStoreError."""
        config = self._config
        if not _is_loopback(config.host) and (config.tls is None or self._authenticator.open):
            raise ListenerError(
                "listener.insecure_bind",
                f"{config.host} is reachable by others, and this listener has no TLS or lets anybody in",
                hint="give a certificate and an authenticator, or bind 127.0.0.1",
            )
        loop = asyncio.get_running_loop()
        hub = Hub(
            config,
            self._intake,
            self._authenticator,
            self._access,
            self._store,
            self._refusals,
            self.metrics,
            loop,
            self._on_will,
        )
        hub.broker.load(self._store.load())
        try:
            self._server = await loop.create_server(
                lambda: Connection(hub, self._registry),
                config.host,
                config.port,
                ssl=config.tls,
                backlog=config.backlog,
                reuse_address=True,
                ssl_handshake_timeout=float(config.connect_timeout_s) if config.tls is not None else None,
            )
        except OSError as error:
            hub.journal.close()
            raise ListenerError(
                "listener.bind_failed", f"cannot bind {config.host}:{config.port}: {error}", hint="choose another port"
            ) from error
        self._hub = hub
        for bound in self._server.sockets:
            _keep_alive(bound)
        self._tasks = [
            asyncio.create_task(self._server.serve_forever(), name="mqtt"),
            asyncio.create_task(_every(_TICK_S, lambda: self._tick(hub)), name="mqtt-time"),
            asyncio.create_task(_every(_RETRY_S, lambda: self._retry(hub)), name="mqtt-retry"),
        ]
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def stop(self) -> None:
        """Close the listener and the connections (their wills are sent), and make everything recorded durable."""
        hub, server = self._hub, self._server
        if hub is None or server is None:
            return
        self._hub = None
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._tasks = []
        for connection in list(self._registry.all):
            connection.close(Reason.SERVER_SHUTTING_DOWN)
        await hub.journal.drain()
        for _ in range(20):
            if not self._registry.all:
                break
            await asyncio.sleep(0.05)
        for connection in list(self._registry.all):
            connection.cut()
        await hub.journal.drain()
        hub.journal.close()

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """What must run for as long as it listens."""
        return tuple(self._tasks)

    def disconnect_device(self, name: str, reason_code: int = Reason.ADMINISTRATIVE_ACTION) -> int:
        """End the open connections of a device (suspended, revoked); returns how many there were."""
        connections = list(self._registry.by_device.get(name, ()))
        for connection in connections:
            connection.close(Reason(reason_code))
        return len(connections)

    def access_changed(self) -> None:
        """Access rules answer differently now: what connections remember of them is forgotten."""
        for connection in self._registry.all:
            connection.access_changed()

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False, content_type: str = ""
    ) -> bool:
        """Broker a message of the gateway's own; it is not ingested. False when nobody subscribes."""
        assert self._hub is not None, "the server is not running"
        assert topic
        assert "+" not in topic
        assert "#" not in topic
        properties = encode_items([(Prop.CONTENT_TYPE, content_type)]) if content_type else b""
        return self._hub.broker.route(Message(topic, payload, qos, retain, properties), 0)

    # --- time

    def _tick(self, hub: Hub) -> None:
        now = hub.loop.time()
        hub.broker.tick()
        if now - self._second >= 1.0:
            self._second = now
            for connection in list(self._registry.all):
                connection.check(now)
            if self._wills:
                waiting, self._wills = self._wills, []
                for item in waiting:
                    self._ingest_will(item)
        if self._config.sys_interval_s and now >= self._sys_due:
            self._sys_due = now + self._config.sys_interval_s
            self._publish_sys()

    def _retry(self, hub: Hub) -> None:
        if hub.stalled:
            hub.retry_stalled()

    def _publish_sys(self) -> None:
        if self._hub is None:
            return
        metrics = self.metrics
        for name, value in (
            ("version", f"althing {__version__}"),
            ("clients/connected", metrics.connections),
            ("clients/total", metrics.sessions),
            ("subscriptions/count", metrics.subscriptions),
            ("retained messages/count", metrics.retained),
            ("messages/received", metrics.messages_in),
            ("messages/sent", metrics.messages_out),
            ("bytes/received", metrics.bytes_in),
            ("bytes/sent", metrics.bytes_out),
        ):
            self.publish(f"$SYS/broker/{name}", str(value).encode(), retain=True)

    # --- wills

    def _on_will(self, session: Session, will: Will) -> None:
        """A device's will is a reading too, made by the gateway: on its status stream, once per lost connection."""
        principal = session.principal
        if not principal.device:
            return
        key = session.uid + b"will" + session.closed_ms.to_bytes(8, "big")
        self._ingest_will(
            Inbound(
                principal,
                principal.device,
                self._config.status_stream,
                will.payload,
                will.content_type,
                key,
                "mqtt",
                origin_gateway=True,
            )
        )

    def _ingest_will(self, item: Inbound) -> None:
        def decided(outcome: Outcome) -> None:
            if isinstance(outcome, Accepted):
                self.metrics.ingested += 1
            elif isinstance(outcome, Busy) and len(self._wills) < _WILLS_WAITING_MAX:
                self.metrics.busy_retries += 1
                self._wills.append(item)
            else:
                self.metrics.refused += 1

        self._intake.submit(item, decided)


async def _every(seconds: float, do: Callable[[], None]) -> None:
    while True:
        do()
        await asyncio.sleep(seconds)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name may resolve to anything


def _keep_alive(bound: socket.socket) -> None:
    """Accepted sockets inherit these: a peer that vanished without a word is noticed also where it never pings."""
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            bound.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
