"""Turns the records of a session store back into sessions and retained messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from althing.gateway.ingest.mqtt.config import MqttConfig
from althing.gateway.ingest.mqtt.errors import SessionStoreError
from althing.gateway.ingest.mqtt.journal import Journal
from althing.gateway.ingest.mqtt.message import Message
from althing.gateway.ingest.mqtt.metrics import MqttMetrics
from althing.gateway.ingest.mqtt.records import (
    QueuedRecord,
    SessionRecord,
    unpack_message,
    unpack_queued,
    unpack_session,
    unpack_subscription,
)
from althing.gateway.ingest.mqtt.session import Incoming, Session
from althing.gateway.ingest.mqtt.topics import Subscription

__all__ = ["Restored", "restore_records"]


@dataclass(slots=True)
class Restored:
    sessions: list[Session] = field(default_factory=list)
    retained: list[Message] = field(default_factory=list)


@dataclass(slots=True)
class _Parts:
    record: SessionRecord | None = None
    subscriptions: list[Subscription] = field(default_factory=list)
    queued: dict[int, QueuedRecord | None] = field(default_factory=dict)
    incoming: dict[int, Incoming] = field(default_factory=dict)
    sent_order: int = 0
    keys: list[bytes] = field(default_factory=list)


def restore_records(
    records: Iterable[tuple[bytes, bytes]],
    journal: Journal,
    metrics: MqttMetrics,
    config: MqttConfig,
    clock: Callable[[], int],
) -> Restored:
    """Raises SessionStoreError (mqtt_store.damaged) for a record that cannot be read. Records of a session that is
    gone (it was not to outlive its connection) are deleted."""
    out = Restored()
    parts: dict[int, _Parts] = {}
    for key, value in records:
        kind = key[:1]
        if kind == b"t":
            out.retained.append(unpack_message(value))
            continue
        if len(key) < 9:
            raise SessionStoreError("mqtt_store.damaged", "a key of the session store is unknown")
        number = int.from_bytes(key[1:9], "big")
        part = parts.setdefault(number, _Parts())
        part.keys.append(key)
        _add(part, kind, number, key[9:], value)
    for number, part in sorted(parts.items()):
        record = part.record
        if record is None or not record.expiry_s:
            for key in part.keys:
                journal.delete(key, lazy=True)
            continue
        session = Session(number, record, journal, metrics, config, clock)
        session.subscriptions = {subscription.name: subscription for subscription in part.subscriptions}
        session.incoming = part.incoming
        session.restore(sorted(part.queued.items()), part.sent_order)
        out.sessions.append(session)
    return out


def _add(part: _Parts, kind: bytes, number: int, rest: bytes, value: bytes) -> None:
    if kind == b"s":
        part.record = unpack_session(value)
    elif kind == b"f":
        part.subscriptions.append(unpack_subscription(number, value))
    elif kind == b"q":
        part.queued.setdefault(int.from_bytes(rest, "big"), unpack_queued(value))
    elif kind == b"r":
        part.queued[int.from_bytes(rest, "big")] = None
    elif kind == b"i":
        part.incoming[int.from_bytes(rest, "big")] = Incoming(use=value[1:], done=value[:1] == b"\x01")
    elif kind == b"w":
        part.sent_order = int.from_bytes(value, "big")
    else:
        raise SessionStoreError("mqtt_store.damaged", "a record of the session store has an unknown kind")
