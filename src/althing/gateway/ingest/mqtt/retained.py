"""Retained messages (MQTT 5 §3.3.1.3): one per topic, stored, bounded, expiring."""

from __future__ import annotations

from althing.gateway.ingest.mqtt.config import MqttConfig
from althing.gateway.ingest.mqtt.journal import Journal
from althing.gateway.ingest.mqtt.message import Message
from althing.gateway.ingest.mqtt.metrics import MqttMetrics
from althing.gateway.ingest.mqtt.records import pack_message, retained_key
from althing.gateway.ingest.mqtt.topics import TopicTree

__all__ = ["RetainedMessages"]


class RetainedMessages:
    """What a new subscriber is told at once. `$SYS` topics are the server's own and are not stored."""

    def __init__(self, config: MqttConfig, journal: Journal, metrics: MqttMetrics) -> None:
        self._config = config
        self._journal = journal
        self._metrics = metrics
        self._tree: TopicTree[Message] = TopicTree()
        self._bytes = 0

    def has_room(self, message: Message) -> bool:
        """Whether `keep` would stay within the bounds."""
        if not message.payload:
            return True
        old = self._tree.get(message.topic)
        size = self._bytes + message.size - (old.size if old is not None else 0)
        count = len(self._tree) + (old is None)
        return count <= self._config.retained_messages_max and size <= self._config.retained_bytes_max

    def keep(self, message: Message) -> None:
        """Replace the topic's message; an empty payload removes it [MQTT-3.3.1-6, -7]. Beyond the bounds the newest is
        not kept (callers that can say so ask `has_room` first)."""
        stored = not message.topic.startswith("$SYS/")
        key = retained_key(message.topic)
        if not message.payload:
            if self._remove(message.topic) and stored:
                self._journal.delete(key, lazy=not message.qos)
        elif self.has_room(message):
            self.take_back(message)
            if stored:
                self._journal.put(key, pack_message(message), lazy=not message.qos)
        self._metrics.retained = len(self._tree)

    def take_back(self, message: Message) -> None:
        """Put a message into memory only (it came from the store)."""
        self._remove(message.topic)
        self._tree.put(message.topic, message)
        self._bytes += message.size
        self._metrics.retained = len(self._tree)

    def match(self, topic_filter: str, now_ms: int) -> list[Message]:
        """Messages for a new subscription; expired ones are removed on the way [MQTT-3.3.2-5]."""
        alive: list[Message] = []
        for message in self._tree.match(topic_filter):
            if message.expires_ms and message.expires_ms <= now_ms:
                self._remove(message.topic)
                self._journal.delete(retained_key(message.topic), lazy=True)
                self._metrics.dropped_expired += 1
            else:
                alive.append(message)
        self._metrics.retained = len(self._tree)
        return alive

    def _remove(self, topic: str) -> bool:
        old = self._tree.pop(topic)
        if old is None:
            return False
        self._bytes -= old.size
        return True
