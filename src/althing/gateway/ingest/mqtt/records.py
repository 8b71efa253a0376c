"""What the records of the session store mean: keys and values, each value beginning with a version.

    s <session>            the session itself          f <session> <hash of filter>   a subscription
    q <session> <order>    a queued message            r <session> <order>            PUBREC received, PUBREL owed
    i <session> <packet>   an incoming QoS 2 message   w <session>                    highest order ever sent
    t <hash of topic>      a retained message

`<session>` and `<order>` are eight bytes, big-endian. The packet identifier of an outgoing message follows from its
order, so a kill never changes it [MQTT-4.4.0-1].
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from althing.gateway.ingest.mqtt.errors import SessionStoreError
from althing.gateway.ingest.mqtt.message import Message
from althing.gateway.ingest.mqtt.packets import Will
from althing.gateway.ingest.mqtt.topics import Subscription, split_share

__all__ = [
    "QueuedRecord",
    "SessionRecord",
    "inbound_key",
    "pack_message",
    "pack_queued",
    "pack_session",
    "pack_subscription",
    "queued_key",
    "released_key",
    "retained_key",
    "sent_key",
    "session_key",
    "subscription_key",
    "unpack_message",
    "unpack_queued",
    "unpack_session",
    "unpack_subscription",
]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session as stored. `closed_ms` is when its connection ended (Unix time), 0 while it is connected."""

    client_id: str
    uid: bytes  # 16 random bytes, new for each new session
    owner: str  # whose session it is: nobody else may resume it
    device: str
    organisation: str
    method: str
    level: int
    expiry_s: int
    closed_ms: int
    will: Will | None = None


@dataclass(frozen=True, slots=True)
class QueuedRecord:
    message: Message
    qos: int
    retain: bool
    identifiers: tuple[int, ...]


def session_key(session: int) -> bytes:
    return b"s" + session.to_bytes(8, "big")


def subscription_key(session: int, name: str) -> bytes:
    return b"f" + session.to_bytes(8, "big") + hashlib.sha256(name.encode()).digest()[:16]


def queued_key(session: int, order: int) -> bytes:
    return b"q" + session.to_bytes(8, "big") + order.to_bytes(8, "big")


def released_key(session: int, order: int) -> bytes:
    return b"r" + session.to_bytes(8, "big") + order.to_bytes(8, "big")


def inbound_key(session: int, packet_id: int) -> bytes:
    return b"i" + session.to_bytes(8, "big") + packet_id.to_bytes(2, "big")


def sent_key(session: int) -> bytes:
    return b"w" + session.to_bytes(8, "big")


def retained_key(topic: str) -> bytes:
    return b"t" + hashlib.sha256(topic.encode()).digest()


def _chunk(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


class _Reader:
    """Reads a value; a value that ends too early or goes on too long is a damaged store, not a crash."""

    def __init__(self, value: bytes) -> None:
        self._value = value
        self._pos = 0
        if self.take(">B") != (_VERSION,):
            raise _damaged()

    def take(self, form: str) -> tuple[int, ...]:
        try:
            numbers = struct.unpack_from(form, self._value, self._pos)
        except struct.error as error:
            raise _damaged() from error
        self._pos += struct.calcsize(form)
        return numbers

    def chunk(self) -> bytes:
        (length,) = self.take(">I")
        stop = self._pos + length
        if stop > len(self._value):
            raise _damaged()
        out, self._pos = self._value[self._pos : stop], stop
        return out

    def text(self) -> str:
        try:
            return self.chunk().decode()
        except UnicodeDecodeError as error:
            raise _damaged() from error

    def end(self) -> None:
        if self._pos != len(self._value):
            raise _damaged()


def _damaged() -> SessionStoreError:
    return SessionStoreError("mqtt_store.damaged", "a record of the session store cannot be read")


def pack_session(record: SessionRecord) -> bytes:
    parts = [
        struct.pack(">BBIQ", _VERSION, record.level, record.expiry_s, record.closed_ms),
        _chunk(record.client_id.encode()),
        _chunk(record.uid),
    ]
    parts.extend(_chunk(text.encode()) for text in (record.owner, record.device, record.organisation, record.method))
    will = record.will
    parts.append(struct.pack(">B", will is not None))
    if will is not None:
        expiry = -1 if will.expiry_s is None else will.expiry_s
        parts.append(struct.pack(">BBqI", will.qos, will.retain, expiry, will.delay_s))
        parts.extend(
            _chunk(value) for value in (will.topic.encode(), will.payload, will.properties, will.content_type.encode())
        )
    return b"".join(parts)


def unpack_session(value: bytes) -> SessionRecord:
    read = _Reader(value)
    level, expiry_s, closed_ms = read.take(">BIQ")
    client_id, uid = read.text(), read.chunk()
    owner, device, organisation, method = read.text(), read.text(), read.text(), read.text()
    will = None
    if read.take(">B")[0]:
        qos, retain, expiry, delay_s = read.take(">BBqI")
        topic, payload, properties, content_type = read.text(), read.chunk(), read.chunk(), read.text()
        will = Will(
            topic, payload, qos, bool(retain), properties, content_type, None if expiry < 0 else expiry, delay_s
        )
    read.end()
    return SessionRecord(client_id, uid, owner, device, organisation, method, level, expiry_s, closed_ms, will)


def pack_subscription(subscription: Subscription) -> bytes:
    flags = subscription.qos | subscription.no_local << 2 | subscription.retain_as_published << 3
    return struct.pack(">BBI", _VERSION, flags, subscription.identifier) + _chunk(subscription.name.encode())


def unpack_subscription(session: int, value: bytes) -> Subscription:
    read = _Reader(value)
    flags, identifier = read.take(">BI")
    group, topic_filter = split_share(read.text())
    read.end()
    return Subscription(session, topic_filter, group, flags & 3, bool(flags & 4), bool(flags & 8), identifier)


def pack_message(message: Message) -> bytes:
    head = struct.pack(">BBBQ", _VERSION, message.qos, message.retain, message.expires_ms)
    return head + _chunk(message.topic.encode()) + _chunk(message.properties) + _chunk(message.payload)


def _read_message(read: _Reader) -> Message:
    qos, retain, expires_ms = read.take(">BBQ")
    topic, properties, payload = read.text(), read.chunk(), read.chunk()
    return Message(topic, payload, qos, bool(retain), properties, expires_ms)


def unpack_message(value: bytes) -> Message:
    read = _Reader(value)
    message = _read_message(read)
    read.end()
    return message


def pack_queued(record: QueuedRecord) -> bytes:
    count = len(record.identifiers)
    tail = struct.pack(f">BBH{count}I", record.qos, record.retain, count, *record.identifiers)
    return pack_message(record.message) + tail


def unpack_queued(value: bytes) -> QueuedRecord:
    read = _Reader(value)
    message = _read_message(read)
    qos, retain, count = read.take(">BBH")
    identifiers = read.take(f">{count}I")
    read.end()
    return QueuedRecord(message, qos, bool(retain), identifiers)
