"""What happens to a client's PUBLISH: ingested through the intake, or brokered, and acknowledged when that is safe.

QoS 1 is acknowledged after the intake accepted and, where a stored session is owed the message, after that is durable
too. QoS 2 keeps one `Incoming` per packet identifier from PUBLISH to PUBREL; its `use`, stored before the intake sees
the message, makes a message sent again after a kill the same message, and a later use of the identifier another one.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from althing.gateway.ingest.hints import explained
from althing.gateway.ingest.mqtt.errors import MqttPacketError
from althing.gateway.ingest.mqtt.hub import Hub, unix_ms
from althing.gateway.ingest.mqtt.message import Message
from althing.gateway.ingest.mqtt.packets import V5, Publish
from althing.gateway.ingest.mqtt.reasons import Reason
from althing.gateway.ingest.mqtt.records import inbound_key
from althing.gateway.ingest.mqtt.refusals import reason_of
from althing.gateway.ingest.mqtt.session import Incoming, Session
from althing.gateway.ingest.port import Accepted, Busy, Inbound, Outcome, Refused

__all__ = ["INGEST_PREFIX", "Acknowledger", "Inbox", "Target", "target_of"]

INGEST_PREFIX = "althing/v1/"
_TARGETS_MAX = 1_024


@dataclass(frozen=True, slots=True)
class Target:
    """Where a topic leads for one connection: a stream of its device, the broker (device empty), or nowhere."""

    device: str = ""
    stream: str = ""
    refusal: Refused | None = None


def target_of(topic: str) -> Target:
    """`althing/v1/<device>/<stream>` is ingested; what else begins so is a mistake; `$SYS` and `$share` are ours."""
    if topic.startswith(INGEST_PREFIX):
        levels = topic.split("/")
        if len(levels) == 4 and levels[2] and levels[3]:
            return Target(levels[2], levels[3])
        return Target(refusal=Refused("mqtt.topic_name_invalid", "the form is althing/v1/<device>/<stream>"))
    if topic.startswith(("$SYS/", "$share/")) or topic in ("$SYS", "$share"):
        return Target(refusal=Refused("mqtt.topic_name_invalid", "this topic is the server's own"))
    return Target()


class Acknowledger(Protocol):
    """The connection, as the inbox needs it."""

    @property
    def open(self) -> bool: ...

    def send_puback(self, packet_id: int, reason: int = 0, text: str = "") -> None: ...

    def window_full(self, full: bool) -> None: ...

    def flush(self) -> None: ...

    def retry(self) -> None: ...


class _Arrival:
    """One PUBLISH while the intake decides, or records the listener's own `refusal`."""

    __slots__ = ("inbound", "inbox", "incoming", "number", "publish", "refusal")

    def __init__(
        self,
        inbox: Inbox,
        number: int,
        publish: Publish,
        inbound: Inbound,
        incoming: Incoming | None,
        refusal: Refused | None,
    ):
        self.inbox = inbox
        self.number = number
        self.publish = publish
        self.inbound = inbound
        self.incoming = incoming
        self.refusal = refusal

    def __lt__(self, other: _Arrival) -> bool:
        return self.number < other.number

    @property
    def stream(self) -> tuple[str, str]:
        return self.inbound.device, self.inbound.stream

    def submit(self) -> None:
        hub = self.inbox.hub
        if self.refusal is None or hub.refusals is None:
            hub.intake.submit(self.inbound, self.done)
        else:
            hub.refusals.record(self.inbound, self.refusal, self.done)

    def done(self, outcome: Outcome) -> None:
        self.inbox.decided(self, outcome)


class _Stalled:
    """Messages of one stream that the intake had no room for: the oldest is offered again, the others wait behind it."""

    __slots__ = ("probe", "waiting")

    def __init__(self) -> None:
        self.waiting: list[_Arrival] = []  # a heap
        self.probe: _Arrival | None = None


class Inbox:
    """Incoming messages of one connection. `in_flight` counts what its client may not yet send more of."""

    def __init__(self, hub: Hub, connection: Acknowledger, session: Session) -> None:
        self.hub = hub
        self._connection = connection
        self._session = session
        self._principal = session.principal
        self._strict = session.level == V5
        config = hub.config
        self._limit = config.receive_maximum if self._strict else config.legacy_receive_maximum
        self._in_flight = 0
        self._counted: set[int] = set()  # QoS 2 packet identifiers within `_in_flight`
        self._undecided_bytes = 0  # payloads that the intake has not decided on
        self._paused = False
        self._targets: dict[str, Target] = {}
        self._arrivals = 0
        # By stream, as order is by topic [MQTT-4.6.0-5]: a held one does not keep up the others of a relay. The window of
        # the connection bounds them all.
        self._stalled: dict[tuple[str, str], _Stalled] = {}

    def on_publish(self, publish: Publish) -> None:
        """Raises MqttPacketError when the client sends more than Receive Maximum allows [MQTT-3.3.4-9]."""
        self.hub.metrics.messages_in += 1
        incoming: Incoming | None = None
        if publish.qos:
            if publish.qos == 1:
                self._in_flight += 1
            elif publish.packet_id not in self._counted:
                self._in_flight += 1
                self._counted.add(publish.packet_id)
            if self._in_flight > self._limit:
                if self._strict:
                    raise MqttPacketError(Reason.RECEIVE_MAXIMUM_EXCEEDED, "more in flight than Receive Maximum")
                self._pause()
            if publish.qos == 2:
                incoming = self._begin(publish.packet_id)
                if incoming is None:
                    return
        target = self._targets.get(publish.topic)
        if target is None:
            target = self._resolve(publish.topic)
        if target.refusal is not None and not (target.device and self.hub.refusals is not None):
            self.hub.metrics.refused += 1
            self._answer_refused(publish, incoming, target.refusal)
        elif target.device:
            self._ingest(publish, target, incoming)
        else:
            self._broker(publish, incoming)

    def access_changed(self) -> None:
        self._targets.clear()

    def closed(self) -> None:
        """The connection is gone: what the intake had no room for is sent again by the client, or was QoS 0."""
        for stalled in self._stalled.values():
            for arrival in stalled.waiting:
                if arrival.incoming is not None:
                    arrival.incoming.active = False
        self._stalled.clear()
        self.hub.stalled.pop(self._connection, None)

    def retry(self) -> None:
        """Offer each stream's oldest message again; its others follow when it gets through, so their order stays."""
        for stalled in list(self._stalled.values()):
            if stalled.probe is None and stalled.waiting:
                stalled.probe = heapq.heappop(stalled.waiting)
                stalled.probe.submit()

    # --- QoS 2 book-keeping

    def _begin(self, packet_id: int) -> Incoming | None:
        """The entry of a new message, or None for one already decided or being decided [MQTT-4.3.3-10]."""
        session, hub = self._session, self.hub
        incoming = session.incoming.get(packet_id)
        if incoming is None:
            if len(session.incoming) >= 2 * self._limit:
                raise MqttPacketError(Reason.RECEIVE_MAXIMUM_EXCEEDED, "too many QoS 2 messages without PUBREL")
            incoming = session.incoming[packet_id] = Incoming(hub.next_use(), active=True)
            if session.durable:
                hub.journal.put(inbound_key(session.number, packet_id), b"\0" + incoming.use)
            return incoming
        if incoming.done:
            hub.journal.when_durable(partial(self._pubrec, packet_id, 0, ""))
            return None
        if incoming.active:
            return None
        incoming.active = True
        return incoming

    def on_pubrel(self, packet_id: int) -> None:
        """PUBCOMP leaves after the identifier is durably free: else a later use would look like this one."""
        session = self._session
        incoming = session.incoming.get(packet_id)
        if incoming is None or not incoming.done:
            self._pubcomp(packet_id, Reason.PACKET_IDENTIFIER_NOT_FOUND)
            return
        del session.incoming[packet_id]
        if session.durable:
            self.hub.journal.delete(inbound_key(session.number, packet_id))
            self.hub.journal.when_durable(partial(self._pubcomp, packet_id, 0))
        else:
            self._pubcomp(packet_id, 0)

    def finished(self, packet_id: int) -> None:
        """PUBCOMP, or a PUBREC that refuses, was sent on this connection."""
        if packet_id in self._counted:
            self._counted.discard(packet_id)
            self._less_in_flight()

    def _pubrec(self, packet_id: int, reason: int, text: str) -> None:
        # By the session, not the connection: the client may have come back on another one meanwhile.
        if self._session.link is not None:
            self._session.link.send_pubrec(packet_id, reason, text)

    def _pubcomp(self, packet_id: int, reason: int) -> None:
        if self._session.link is not None:
            self._session.link.send_pubcomp(packet_id, reason)

    # --- ways of a message

    def _resolve(self, topic: str) -> Target:
        target = target_of(topic)
        if target.refusal is None:
            if target.device and not self._principal.speaks_for(target.device):
                refusal = Refused("auth.wrong_device", "the topic names another device than the one connected")
                target = Target(target.device, target.stream, refusal)
            elif not self.hub.access.may_publish(self._principal, topic):
                refusal = Refused("mqtt.not_authorised", "not allowed to publish to this topic")
                target = Target(target.device, target.stream, refusal)
        if len(self._targets) >= _TARGETS_MAX:
            self._targets.clear()
        self._targets[topic] = target
        return target

    def _inbound(self, publish: Publish, target: Target, incoming: Incoming | None) -> Inbound:
        key = publish.dedup_key
        if incoming is not None and not key:
            key = self._session.uid + publish.packet_id.to_bytes(2, "big") + incoming.use
        return Inbound(
            self._principal, target.device, target.stream, publish.payload, publish.content_type, key, "mqtt"
        )

    def _ingest(self, publish: Publish, target: Target, incoming: Incoming | None) -> None:
        """To the intake; or, refused by the listener itself, to the log of refusals and only then answered."""
        hub = self.hub
        if not publish.qos and ((target.device, target.stream) in self._stalled or hub.intake.overloaded):
            hub.metrics.dropped_qos0 += 1
            return
        self._arrivals += 1
        self._undecided_bytes += len(publish.payload)
        if self._undecided_bytes > hub.config.undecided_bytes_max:
            self._pause()
        inbound = self._inbound(publish, target, incoming)
        arrival = _Arrival(self, self._arrivals, publish, inbound, incoming, target.refusal)
        if incoming is not None and self._session.durable:
            hub.journal.when_durable(partial(self._submit, arrival))
        else:
            self._submit(arrival)

    def _submit(self, arrival: _Arrival) -> None:
        if arrival.stream in self._stalled:
            self._stall(arrival)
        else:
            arrival.submit()

    def _stall(self, arrival: _Arrival) -> None:
        if not self._connection.open:
            if arrival.incoming is not None:
                arrival.incoming.active = False
            return
        heapq.heappush(self._stalled.setdefault(arrival.stream, _Stalled()).waiting, arrival)
        self.hub.stalled[self._connection] = None

    def decided(self, arrival: _Arrival, outcome: Outcome) -> None:
        """The intake's answer; may come after the connection, and even the session, is gone."""
        if arrival.publish.qos == 0 or not isinstance(outcome, Busy):
            self._undecided_bytes -= len(arrival.publish.payload)
            self._may_resume_reading()
        stalled = self._stalled.get(arrival.stream)
        probed = stalled is not None and stalled.probe is arrival
        if stalled is not None and probed:
            stalled.probe = None
        if isinstance(outcome, Accepted):
            self._accepted(arrival, outcome)
        elif isinstance(outcome, Refused):
            self.hub.metrics.refused += 1
            self._answer_refused(arrival.publish, arrival.incoming, outcome)
        elif not arrival.publish.qos:
            self.hub.metrics.dropped_qos0 += 1
        else:
            self.hub.metrics.busy_retries += 1
            self._stall(arrival)
        if probed and not isinstance(outcome, Busy):
            self._resume(arrival.stream)

    def _resume(self, stream: tuple[str, str]) -> None:
        stalled = self._stalled.pop(stream, None)
        if not self._stalled:
            self.hub.stalled.pop(self._connection, None)
        for arrival in sorted(stalled.waiting) if stalled is not None else ():
            self._submit(arrival)

    def _accepted(self, arrival: _Arrival, outcome: Accepted) -> None:
        hub, publish = self.hub, arrival.publish
        hub.metrics.ingested += 1
        routed = False
        # A repetition is brokered again only where the first copy may not have been: QoS 2 (both are one commit) and
        # QoS 1 that says it is sent again. An old message replayed is not.
        if (publish.retain or hub.broker.wanted(publish.topic)) and (
            not outcome.duplicate or publish.qos == 2 or publish.dup
        ):
            hub.broker.route(self._message(publish), self._session.number)
            routed = True
        if publish.qos == 1:
            if routed:
                hub.journal.when_durable(partial(self._puback, publish.packet_id))
            else:
                self._connection.send_puback(publish.packet_id)
                self._less_in_flight()
        elif arrival.incoming is not None:
            self._decide(publish.packet_id, arrival.incoming, 0, "")

    def _broker(self, publish: Publish, incoming: Incoming | None) -> None:
        hub = self.hub
        message = self._message(publish)
        if publish.retain and not hub.broker.retained.has_room(message):
            refusal = Refused("mqtt.quota_exceeded", "no room for another retained message")
            hub.metrics.refused += 1
            self._answer_refused(publish, incoming, refusal)
            return
        matched = hub.broker.route(message, self._session.number)
        reason = Reason.SUCCESS if matched else Reason.NO_MATCHING_SUBSCRIBERS
        if publish.qos == 1:
            hub.journal.when_durable(partial(self._puback, publish.packet_id, reason))
        elif incoming is not None:
            self._decide(publish.packet_id, incoming, reason, "")

    def _answer_refused(self, publish: Publish, incoming: Incoming | None, refusal: Refused) -> None:
        """A reason code, or for older clients an acknowledgement: silence would bring the message back for ever."""
        reason = reason_of(refusal.code)
        text = explained(refusal.code, refusal.reason)
        if publish.qos == 1:
            self._puback(publish.packet_id, reason, text)
        elif incoming is not None:
            self._decide(publish.packet_id, incoming, reason, text)

    # --- answers

    def _puback(self, packet_id: int, reason: int = 0, text: str = "") -> None:
        self._connection.send_puback(packet_id, reason, text)
        self._less_in_flight()

    def _decide(self, packet_id: int, incoming: Incoming, reason: int, text: str) -> None:
        """A QoS 2 message is decided. A refusal that the client is told ends the exchange [MQTT-4.3.3-9]."""
        session, journal = self._session, self.hub.journal
        incoming.active = False
        if session.ended or session.incoming.get(packet_id) is not incoming:
            return
        key = inbound_key(session.number, packet_id)
        if reason >= 0x80 and self._strict:
            del session.incoming[packet_id]
            if session.durable:
                journal.delete(key)
        else:
            incoming.done = True
            if session.durable:
                journal.put(key, b"\1" + incoming.use)
        journal.when_durable(partial(self._pubrec, packet_id, reason, text))

    def _less_in_flight(self) -> None:
        self._in_flight -= 1
        self._may_resume_reading()

    def _pause(self) -> None:
        self._paused = True
        self._connection.window_full(True)

    def _may_resume_reading(self) -> None:
        if (
            self._paused
            and (self._strict or self._in_flight <= self._limit // 2)
            and self._undecided_bytes <= self.hub.config.undecided_bytes_max // 2
        ):
            self._paused = False
            self._connection.window_full(False)

    def _message(self, publish: Publish) -> Message:
        expires = unix_ms() + publish.expiry_s * 1000 if publish.expiry_s is not None else 0
        return Message(publish.topic, publish.payload, publish.qos, publish.retain, publish.properties, expires)
