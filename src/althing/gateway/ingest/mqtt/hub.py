"""What all connections of one server share."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable
from typing import Protocol

from althing.gateway.ingest.mqtt.broker import Broker
from althing.gateway.ingest.mqtt.config import MqttConfig
from althing.gateway.ingest.mqtt.journal import Journal
from althing.gateway.ingest.mqtt.metrics import MqttMetrics
from althing.gateway.ingest.mqtt.packets import Will
from althing.gateway.ingest.mqtt.ports import AccessRules, Authenticator, RefusalLog
from althing.gateway.ingest.mqtt.session import Session
from althing.gateway.ingest.mqtt.store import SessionStore
from althing.gateway.ingest.port import Intake

__all__ = ["Hub", "Peer", "unix_ms"]


def unix_ms() -> int:
    return time.time_ns() // 1_000_000


class Peer(Protocol):
    """A connection as the hub sees it."""

    def flush(self) -> None: ...

    def retry(self) -> None: ...


class Hub:
    """Ports, broker and journal of one server; coalesces the writes of a turn of the loop; lists who waits."""

    def __init__(
        self,
        config: MqttConfig,
        intake: Intake,
        authenticator: Authenticator,
        access: AccessRules,
        store: SessionStore,
        refusals: RefusalLog | None,
        metrics: MqttMetrics,
        loop: asyncio.AbstractEventLoop,
        on_will: Callable[[Session, Will], None],
    ) -> None:
        self.config = config
        self.intake = intake
        self.authenticator = authenticator
        self.access = access
        self.refusals = refusals
        self.metrics = metrics
        self.loop = loop
        self.journal = Journal(store, loop, metrics)
        self.broker = Broker(config, self.journal, metrics, access, unix_ms, on_will)
        self.stalled: dict[Peer, None] = {}  # connections whose messages the intake had no room for
        self._dirty: list[Peer] = []
        # Tells two uses of a packet identifier apart, also across restarts.
        self._boot = secrets.token_bytes(8)
        self._uses = itertools.count()

    def next_use(self) -> bytes:
        return self._boot + next(self._uses).to_bytes(8, "big")

    def want_flush(self, peer: Peer) -> None:
        """Have `peer.flush` called once at the end of this turn of the loop."""
        if not self._dirty:
            self.loop.call_soon(self._flush)
        self._dirty.append(peer)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for peer in dirty:
            peer.flush()

    def retry_stalled(self) -> None:
        for peer in list(self.stalled):
            peer.retry()
