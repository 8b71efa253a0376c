"""A client's session on the server (MQTT 5 §4.1): what is owed to the client, and the QoS 2 messages it is sending.

Order numbers grow by one per queued message; the packet identifier is derived from the order, so it survives a kill
without being written when a message is sent. A QoS 2 message goes out only after its record is durable: otherwise a
kill could give its identifier to another message, which the client would take for a repetition and lose.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from althing.gateway.ingest.mqtt.config import MqttConfig
from althing.gateway.ingest.mqtt.journal import Journal
from althing.gateway.ingest.mqtt.message import Message
from althing.gateway.ingest.mqtt.metrics import MqttMetrics
from althing.gateway.ingest.mqtt.packets import Will
from althing.gateway.ingest.mqtt.reasons import Reason
from althing.gateway.ingest.mqtt.records import (
    QueuedRecord,
    SessionRecord,
    inbound_key,
    pack_queued,
    pack_session,
    queued_key,
    released_key,
    sent_key,
    session_key,
)
from althing.gateway.ingest.mqtt.topics import Subscription
from althing.gateway.ingest.port import Principal

__all__ = ["Incoming", "Link", "Outgoing", "Session"]

_NEVER = 0xFFFFFFFF  # Session Expiry Interval that does not expire (§3.1.2.11.2)


class Link(Protocol):
    """The connection of a session, as the session sees it."""

    window: int  # QoS 1 and 2 messages that may be unacknowledged [MQTT-3.3.4-7]

    @property
    def writable(self) -> bool: ...

    def deliver(self, out: Outgoing, dup: bool) -> bool:
        """False when the message is too large for the client."""
        ...

    def send_pubrel(self, packet_id: int, reason: int) -> None: ...

    def send_pubrec(self, packet_id: int, reason: int, text: str) -> None: ...

    def send_pubcomp(self, packet_id: int, reason: int) -> None: ...

    def close(self, reason: Reason, text: str = "") -> None: ...


@dataclass(slots=True)
class Outgoing:
    """A message on its way to the client; `qos` 0 only for retained ones that wait for room."""

    order: int
    packet_id: int
    message: Message
    qos: int
    retain: bool
    identifiers: tuple[int, ...]
    epoch: int = 0  # journal group that makes it durable
    sent: bool = False
    released: bool = False  # PUBREC came: only PUBREL and PUBCOMP are left


@dataclass(slots=True)
class Incoming:
    """A QoS 2 message from the client, from PUBLISH to PUBREL. `use` tells two uses of a packet identifier apart."""

    use: bytes
    done: bool = False  # decided (accepted, or refused to a client that cannot be told)
    active: bool = False  # being decided in this process


class Session:
    """State and rules of one session; records its durable part in the journal."""

    def __init__(
        self,
        number: int,
        record: SessionRecord,
        journal: Journal,
        metrics: MqttMetrics,
        config: MqttConfig,
        clock: Callable[[], int],
    ) -> None:
        self.number = number
        self.client_id = record.client_id
        self.uid = record.uid
        self.owner = record.owner
        self.principal = Principal(record.device, record.organisation, record.method)
        self.level = record.level
        self.expiry_s = record.expiry_s
        self.closed_ms = record.closed_ms
        self.will: Will | None = record.will
        self.durable = record.expiry_s > 0
        self.will_due_ms = 0  # when a will that waits is sent
        self.timer_ms = 0  # the broker's timer for this session
        self.ended = False
        self.subscriptions: dict[str, Subscription] = {}
        self.incoming: dict[int, Incoming] = {}
        self.link: Link | None = None
        self._journal = journal
        self._metrics = metrics
        self._config = config
        self._clock = clock  # Unix time in milliseconds
        self._waiting: deque[Outgoing] = deque()
        self._flying: dict[int, Outgoing] = {}
        self._used: set[int] = set()  # packet identifiers of waiting and flying messages
        self._order = 0
        self._sent_order = 0
        self._bytes = 0
        self._pump_epoch = 0

    # --- being stored

    def save(self) -> None:
        if self.durable:
            principal = self.principal
            record = SessionRecord(
                self.client_id,
                self.uid,
                self.owner,
                principal.device,
                principal.organisation,
                principal.method,
                self.level,
                self.expiry_s,
                self.closed_ms,
                self.will,
            )
            self._journal.put(session_key(self.number), pack_session(record))

    def forget(self) -> None:
        """Delete every record but those of subscriptions, which the broker deletes."""
        self.ended = True
        self._metrics.queued -= len(self._used)
        if self.durable:
            for out in (*self._waiting, *self._flying.values()):
                if out.qos:
                    self._delete(out, lazy=False)
            for packet_id in self.incoming:
                self._journal.delete(inbound_key(self.number, packet_id))
            self._journal.delete(sent_key(self.number))
            self._journal.delete(session_key(self.number))
        self._waiting.clear()
        self._flying.clear()
        self._used.clear()
        self.incoming.clear()

    def restore(self, queued: Iterable[tuple[int, QueuedRecord | None]], sent_order: int) -> None:
        """Take back what was stored: (order, message), or None where only PUBREL is owed."""
        for order, record in queued:
            self._order = max(self._order, order)
            packet_id = _packet_id(order)
            self._used.add(packet_id)
            self._metrics.queued += 1
            if record is None:
                out = Outgoing(order, packet_id, _NOTHING, 2, False, (), sent=True, released=True)
            else:
                out = Outgoing(order, packet_id, record.message, record.qos, record.retain, record.identifiers)
                out.sent = order <= sent_order
                self._bytes += record.message.size
            if out.sent:
                self._flying[packet_id] = out
            else:
                self._waiting.append(out)
        self._sent_order = sent_order

    def expires_at_ms(self) -> int:
        """Unix time when a disconnected session ends; 0 for never or while connected."""
        if not self.closed_ms or self.expiry_s == _NEVER:
            return 0
        return self.closed_ms + self.expiry_s * 1000

    # --- to the client

    @property
    def backlog(self) -> int:
        return len(self._waiting) + len(self._flying)

    def enqueue(self, message: Message, qos: int, retain: bool, identifiers: tuple[int, ...]) -> None:
        """Send or keep a message. A full queue drops the newest message, as Mosquitto does, and counts it."""
        link = self.link
        if not qos:
            if link is None:
                return  # QoS 0 is not kept for absent clients
            if not link.writable:
                self._metrics.dropped_qos0 += 1
            elif not link.deliver(Outgoing(0, 0, message, 0, retain, identifiers), False):
                self._metrics.dropped_too_large += 1
            return
        config = self._config
        if len(self._used) >= config.queue_messages_max or self._bytes + message.size > config.queue_bytes_max:
            self._metrics.dropped_queue_full += 1
            return
        order = self._order + 1
        packet_id = _packet_id(order)
        while packet_id in self._used:
            order += 1
            packet_id = _packet_id(order)
        self._order = order
        out = Outgoing(order, packet_id, message, qos, retain, identifiers)
        self._used.add(packet_id)
        self._bytes += message.size
        self._metrics.queued += 1
        if self.durable:
            record = QueuedRecord(message, qos, retain, identifiers)
            self._journal.put(queued_key(self.number, order), pack_queued(record))
            out.epoch = self._journal.epoch
            self._waiting.append(out)
            if link is not None and self._pump_epoch != out.epoch:
                self._pump_epoch = out.epoch
                self._journal.when_durable(self.pump)
        else:
            self._waiting.append(out)
            self.pump()

    def enqueue_retained(self, message: Message, qos: int, identifiers: tuple[int, ...]) -> None:
        """A retained message for a new subscription: QoS 0 too may wait, so that a slow reader gets all of them."""
        if qos:
            self.enqueue(message, qos, True, identifiers)
        elif len(self._waiting) < self._config.retained_messages_max:
            self._waiting.append(Outgoing(0, 0, message, 0, True, identifiers))
            self.pump()

    def pump(self) -> None:
        """Send what may be sent: within the client's Receive Maximum, its reading speed, and our durability."""
        link = self.link
        waiting, flying = self._waiting, self._flying
        if link is None or not waiting:
            return
        committed = self._journal.committed
        sent_order = self._sent_order
        while waiting and link.writable:
            out = waiting[0]
            if out.qos and (len(flying) >= link.window or out.epoch > committed):
                break
            waiting.popleft()
            if out.message.expires_ms and not out.sent and out.message.expires_ms <= self._clock():
                self._metrics.dropped_expired += 1
                if out.qos:
                    self._drop(out)
                continue
            if not link.deliver(out, out.sent):
                self._metrics.dropped_too_large += 1
                if out.qos:
                    self._drop(out)
                continue
            if out.qos:
                out.sent = True
                flying[out.packet_id] = out
                self._sent_order = out.order
        if self.durable and self._sent_order != sent_order:
            self._journal.put(sent_key(self.number), self._sent_order.to_bytes(8, "big"), lazy=True)

    def resume(self, link: Link) -> None:
        """A connection takes the session up: what was sent is repeated in its order [MQTT-4.4.0-1, MQTT-4.6.0-1]."""
        self.link = link
        again = sorted(self._flying.values(), key=lambda out: out.order)
        repeat: deque[Outgoing] = deque()
        for out in again:
            if len(again) > link.window and not out.released:
                # The client takes fewer at once than before: the rest waits its turn.
                repeat.append(out)
                del self._flying[out.packet_id]
            elif out.released:
                link.send_pubrel(out.packet_id, 0)
            elif not link.deliver(out, True):
                self._metrics.dropped_too_large += 1
                del self._flying[out.packet_id]
                self._drop(out)
        self._waiting.extendleft(reversed(repeat))
        self.pump()
        self._journal.when_durable(self.pump)  # what was queued a moment ago may not be durable yet

    def on_puback(self, packet_id: int) -> bool:
        """False when the client acknowledges a QoS 2 message with PUBACK, which is a protocol error."""
        out = self._flying.get(packet_id)
        if out is None:
            return True
        if out.qos != 1:
            return False
        del self._flying[packet_id]
        self._drop(out)
        self.pump()
        return True

    def on_pubrec(self, packet_id: int, reason: int) -> bool:
        """PUBREL leaves after the release is durable: else a kill could have PUBLISH sent again after PUBCOMP."""
        out = self._flying.get(packet_id)
        if out is None:
            if self.link is not None:
                self.link.send_pubrel(packet_id, Reason.PACKET_IDENTIFIER_NOT_FOUND)
            return True
        if out.qos != 2:
            return False
        if reason >= 0x80:
            del self._flying[packet_id]
            self._drop(out)
            self.pump()
            return True
        if not out.released:
            out.released = True
            self._bytes -= out.message.size
            out.message = _NOTHING
            if self.durable:
                self._journal.delete(queued_key(self.number, out.order))
                self._journal.put(released_key(self.number, out.order), b"\x01")
        if self.durable:
            self._journal.when_durable(lambda: self._release(packet_id))
        else:
            self._release(packet_id)
        return True

    def _release(self, packet_id: int) -> None:
        if self.link is not None:
            self.link.send_pubrel(packet_id, 0)

    def on_pubcomp(self, packet_id: int) -> bool:
        out = self._flying.get(packet_id)
        if out is None:
            return True
        if out.qos != 2:
            return False
        del self._flying[packet_id]
        self._drop(out)
        self.pump()
        return True

    def _drop(self, out: Outgoing) -> None:
        self._used.discard(out.packet_id)
        self._metrics.queued -= 1
        self._bytes -= out.message.size
        if self.durable:
            self._delete(out, lazy=True)

    def _delete(self, out: Outgoing, *, lazy: bool) -> None:
        key = released_key if out.released else queued_key
        self._journal.delete(key(self.number, out.order), lazy=lazy)


def _packet_id(order: int) -> int:
    return (order - 1) % 65_535 + 1


_NOTHING = Message("", b"", 0)
