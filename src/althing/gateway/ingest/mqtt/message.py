"""An application message inside the broker, and how it is written to the wire."""

from __future__ import annotations

from dataclasses import dataclass

from althing.gateway.ingest.mqtt.codec import encode_varint
from althing.gateway.ingest.mqtt.properties import Prop

__all__ = ["Message", "delivery_properties"]


@dataclass(frozen=True, slots=True)
class Message:
    """`properties` are the MQTT 5 bytes forwarded unaltered; `expires_ms` is Unix time, 0 for never."""

    topic: str
    payload: bytes
    qos: int
    retain: bool = False
    properties: bytes = b""
    expires_ms: int = 0

    @property
    def size(self) -> int:
        return len(self.payload) + len(self.properties) + len(self.topic)


def delivery_properties(message: Message, now_ms: int, identifiers: tuple[int, ...], alias: int) -> bytes:
    """Properties of one delivery: what remains of the expiry [MQTT-3.3.2-6], all matching subscription identifiers
    [MQTT-3.3.4-3], our topic alias, and what the sender gave."""
    if not (message.expires_ms or identifiers or alias):
        return message.properties
    parts: list[bytes] = []
    if message.expires_ms:
        left_s = max(0, -(-(message.expires_ms - now_ms) // 1000))
        parts.append(bytes((Prop.MESSAGE_EXPIRY,)) + left_s.to_bytes(4, "big"))
    parts.extend(bytes((Prop.SUBSCRIPTION_ID,)) + encode_varint(identifier) for identifier in identifiers)
    if alias:
        parts.append(bytes((Prop.TOPIC_ALIAS,)) + alias.to_bytes(2, "big"))
    parts.append(message.properties)
    return b"".join(parts)
