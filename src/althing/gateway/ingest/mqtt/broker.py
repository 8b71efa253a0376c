"""The broker: sessions by client identifier, routing to subscribers, retained messages, wills, expiry.

Knows no sockets and no clock of its own: connections call it, `tick` is called a few times a second.
"""

from __future__ import annotations

import heapq
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from althing.gateway.ingest.mqtt.config import MqttConfig
from althing.gateway.ingest.mqtt.journal import Journal
from althing.gateway.ingest.mqtt.message import Message
from althing.gateway.ingest.mqtt.metrics import MqttMetrics
from althing.gateway.ingest.mqtt.packets import Connect, Subscribe, SubscribeItem, Will
from althing.gateway.ingest.mqtt.ports import AccessRules
from althing.gateway.ingest.mqtt.reasons import Reason
from althing.gateway.ingest.mqtt.records import SessionRecord, subscription_key
from althing.gateway.ingest.mqtt.records import pack_subscription as pack
from althing.gateway.ingest.mqtt.restore import restore_records
from althing.gateway.ingest.mqtt.retained import RetainedMessages
from althing.gateway.ingest.mqtt.session import Session
from althing.gateway.ingest.mqtt.topics import Subscription, SubscriptionTree, filter_is_valid, split_share
from althing.gateway.ingest.port import Principal

__all__ = ["Broker", "Owed", "owner_of"]


@dataclass(frozen=True, slots=True)
class Owed:
    """A retained message that a new subscription is owed, after its SUBACK."""

    message: Message
    qos: int
    identifiers: tuple[int, ...]


class Broker:
    """Routes messages and keeps sessions. `on_will` is told each will that is published."""

    def __init__(
        self,
        config: MqttConfig,
        journal: Journal,
        metrics: MqttMetrics,
        access: AccessRules,
        clock: Callable[[], int],
        on_will: Callable[[Session, Will], None],
    ) -> None:
        self._config = config
        self._journal = journal
        self._metrics = metrics
        self._access = access
        self._clock = clock
        self._on_will = on_will
        self._by_client: dict[str, Session] = {}
        self._by_number: dict[int, Session] = {}
        self._next_number = 1
        self._tree = SubscriptionTree()
        self.retained = RetainedMessages(config, journal, metrics)
        self._turns: dict[tuple[str, str], int] = {}
        self._timers: list[tuple[int, int]] = []  # (when, session number), the earliest first

    # --- sessions

    def load(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Take up what the store kept. Sessions that were connected when the process died count as closed now, and
        their wills wait a grace period, because the server, not the client, was away."""
        now = self._clock()
        restored = restore_records(records, self._journal, self._metrics, self._config, self._clock)
        for message in restored.retained:
            self.retained.take_back(message)
        for session in restored.sessions:
            self._by_number[session.number] = session
            self._by_client[session.client_id] = session
            self._next_number = max(self._next_number, session.number + 1)
            for subscription in session.subscriptions.values():
                self._tree.add(subscription)
            was_connected = not session.closed_ms
            if was_connected:
                session.closed_ms = now
                session.save()
            if session.will is not None:
                grace_s = self._config.restart_will_grace_s if was_connected else 0
                session.will_due_ms = now + max(session.will.delay_s, grace_s) * 1000
            self._arm(session)
        self._gauge()

    def open(self, connect: Connect, client_id: str, principal: Principal, expiry_s: int) -> tuple[Session, bool]:
        """The session for a CONNECT, and whether it was there before. The caller has checked `owner_of`."""
        old = self._by_client.get(client_id)
        if old is not None and old.link is not None:
            self._metrics.takeovers += 1
            old.link.close(Reason.SESSION_TAKEN_OVER)  # detaches, and ends the session if it was to end
            old = self._by_client.get(client_id)
        if old is not None:
            due = old.expires_at_ms()
            if connect.clean_start or (due and due <= self._clock()) or not old.expiry_s:
                self.end(old)
                old = None
        present = old is not None
        if old is None:
            record = SessionRecord(
                client_id,
                secrets.token_bytes(16),
                owner_of(principal),
                principal.device,
                principal.organisation,
                principal.method,
                connect.level,
                expiry_s,
                0,
            )
            session = Session(self._next_number, record, self._journal, self._metrics, self._config, self._clock)
            self._next_number += 1
            self._by_client[client_id] = session
            self._by_number[session.number] = session
        else:
            session = old
        session.principal = principal
        session.level = connect.level
        session.expiry_s = expiry_s
        session.closed_ms = 0
        session.will = connect.will
        session.save()
        self._gauge()
        return session, present

    def find(self, client_id: str) -> Session | None:
        return self._by_client.get(client_id)

    @property
    def has_room(self) -> bool:
        return len(self._by_client) < self._config.sessions_max

    def detach(self, session: Session, *, with_will: bool) -> None:
        """The session's connection ended. A will is sent after its delay or when the session ends (§3.1.3.2.2)."""
        session.link = None
        session.closed_ms = self._clock()
        if not with_will:
            session.will = None
        will = session.will
        if will is not None and (not will.delay_s or not session.expiry_s):
            self._send_will(session)
            will = None
        if not session.expiry_s:
            self.end(session)
            return
        session.save()
        if will is not None:
            session.will_due_ms = session.closed_ms + will.delay_s * 1000
        self._arm(session)

    def end(self, session: Session) -> None:
        """The session is over: its subscriptions, queue and records go, and a will still waiting is sent."""
        if session.will is not None:
            self._send_will(session)
        for name in list(session.subscriptions):
            self._remove(session, name)
        session.forget()
        del self._by_client[session.client_id]
        del self._by_number[session.number]
        self._gauge()

    def tick(self) -> None:
        """Send the wills and end the sessions that are due."""
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            when, number = heapq.heappop(self._timers)
            session = self._by_number.get(number)
            if session is None or session.timer_ms != when:
                continue
            session.timer_ms = 0
            if not session.closed_ms:
                continue  # its client came back
            expires = session.expires_at_ms()
            if expires and expires <= now:
                self.end(session)
                continue
            if session.will is not None and session.will_due_ms <= now:
                self._send_will(session)
                session.save()
            self._arm(session)

    def _arm(self, session: Session) -> None:
        """Keep one timer per session, the earliest it may need: a client that comes and goes leaves no trail of them."""
        expires = session.expires_at_ms()
        due = min(when for when in (expires, session.will_due_ms if session.will else 0, 2**63) if when)
        if due < 2**63 and not 0 < session.timer_ms <= due:
            session.timer_ms = due
            heapq.heappush(self._timers, (due, session.number))

    def _send_will(self, session: Session) -> None:
        will, session.will = session.will, None
        assert will is not None
        self._metrics.wills += 1
        expires = self._clock() + will.expiry_s * 1000 if will.expiry_s is not None else 0
        message = Message(will.topic, will.payload, will.qos, will.retain, will.properties, expires)
        self.route(message, session.number)
        self._on_will(session, will)

    # --- subscriptions

    def subscribe(self, session: Session, packet: Subscribe) -> tuple[list[int], list[Owed]]:
        """Reason code per filter (§3.9.3), and the retained messages that follow the SUBACK."""
        codes: list[int] = []
        owed: list[Owed] = []
        for item in packet.items:
            codes.append(self._subscribe_one(session, item, packet.identifier, owed))
        self._gauge()
        return codes, owed

    def _subscribe_one(self, session: Session, item: SubscribeItem, identifier: int, owed: list[Owed]) -> int:
        name = item.topic_filter
        if not filter_is_valid(name, self._config.topic_levels_max, self._config.topic_bytes_max):
            return Reason.TOPIC_FILTER_INVALID
        group, topic_filter = split_share(name)
        if not self._access.may_subscribe(session.principal, topic_filter):
            return Reason.NOT_AUTHORISED
        known = name in session.subscriptions
        if not known and len(session.subscriptions) >= self._config.subscriptions_max:
            return Reason.QUOTA_EXCEEDED
        subscription = Subscription(
            session.number, topic_filter, group, item.qos, item.no_local, item.retain_as_published, identifier
        )
        session.subscriptions[name] = subscription
        self._tree.add(subscription)
        if session.durable:
            self._journal.put(subscription_key(session.number, name), pack(subscription))
        wants_retained = not group and (item.retain_handling == 0 or (item.retain_handling == 1 and not known))
        if wants_retained and len(owed) < self._config.retained_messages_max:
            identifiers = (identifier,) if identifier else ()
            for message in self.retained.match(topic_filter, self._clock()):
                if len(owed) >= self._config.retained_messages_max:
                    break  # many overlapping filters in one packet
                if self._access.may_receive(session.principal, message.topic):
                    owed.append(Owed(message, min(message.qos, item.qos), identifiers))
        return item.qos

    def unsubscribe(self, session: Session, filters: tuple[str, ...]) -> list[int]:
        """Reason code per filter (§3.11.3)."""
        codes: list[int] = []
        for name in filters:
            if not filter_is_valid(name, self._config.topic_levels_max, self._config.topic_bytes_max):
                codes.append(Reason.TOPIC_FILTER_INVALID)
            elif name in session.subscriptions:
                self._remove(session, name)
                codes.append(Reason.SUCCESS)
            else:
                codes.append(Reason.NO_SUBSCRIPTION_EXISTED)
        self._gauge()
        return codes

    def _remove(self, session: Session, name: str) -> None:
        subscription = session.subscriptions.pop(name)
        self._turns.pop((subscription.group, subscription.topic_filter), None)
        self._tree.remove(subscription)
        if session.durable:
            self._journal.delete(subscription_key(session.number, name))

    # --- messages

    def wanted(self, topic: str) -> bool:
        """Whether anybody subscribes to the topic."""
        return bool(self._tree.match(topic))

    def route(self, message: Message, sender: int) -> bool:
        """Keep a retained message, and hand the message to each session once, with the highest QoS and all
        identifiers of its matching subscriptions (§3.3.4). False when nobody subscribes."""
        if message.retain:
            self.retained.keep(message)
        found = self._tree.match(message.topic)
        if not found:
            return False
        if len(found) == 1 and not found[0].group:
            self._deliver(message, found, sender)
            return True
        own: dict[int, list[Subscription]] = {}
        shared: dict[tuple[str, str], list[Subscription]] = {}
        for subscription in found:
            if subscription.group:
                shared.setdefault((subscription.group, subscription.topic_filter), []).append(subscription)
            else:
                own.setdefault(subscription.session, []).append(subscription)
        for subscriptions in own.values():
            self._deliver(message, subscriptions, sender)
        for key, members in shared.items():
            self._deliver_shared(message, key, members, sender)
        return True

    def _deliver(self, message: Message, subscriptions: Iterable[Subscription], sender: int) -> None:
        qos, retain, number = -1, False, 0
        identifiers: tuple[int, ...] = ()
        for subscription in subscriptions:
            number = subscription.session
            if subscription.no_local and number == sender:
                continue  # [MQTT-3.8.3-3]
            qos = max(qos, subscription.qos)
            retain = retain or subscription.retain_as_published
            if subscription.identifier:
                identifiers = (*identifiers, subscription.identifier)
        if qos < 0:
            return
        session = self._by_number[number]
        if self._access.may_receive(session.principal, message.topic):
            session.enqueue(message, min(qos, message.qos), retain and message.retain, identifiers)

    def _deliver_shared(self, message: Message, key: tuple[str, str], members: list[Subscription], sender: int) -> None:
        """One member gets it, in turn: one that reads if there is one, else one that will come back."""
        turn = self._turns.get(key, 0)
        self._turns[key] = turn + 1
        waiting: Subscription | None = None
        for offset in range(len(members)):
            member = members[(turn + offset) % len(members)]
            session = self._by_number[member.session]
            if session.link is not None and session.link.writable:
                self._deliver(message, (member,), sender)
                return
            if waiting is None and (session.durable or session.link is not None):
                waiting = member
        if waiting is not None:
            self._deliver(message, (waiting,), sender)

    def _gauge(self) -> None:
        self._metrics.sessions = len(self._by_client)
        self._metrics.subscriptions = self._tree.count


def owner_of(principal: Principal) -> str:
    """Whose sessions a principal may resume: its own device's, or its organisation's operators'."""
    return f"{principal.organisation}/{principal.device}"
