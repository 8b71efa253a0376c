"""Control packets that a server sends (MQTT 5 §3, MQTT 3.1.1 §3)."""

from __future__ import annotations

from althing.gateway.ingest.mqtt.codec import encode_varint
from althing.gateway.ingest.mqtt.packets import V5
from althing.gateway.ingest.mqtt.properties import Prop, encode_properties
from althing.gateway.ingest.mqtt.reasons import PUBREL, UNSUBACK, Reason, connect_return_code

__all__ = [
    "PINGRESP_PACKET",
    "encode_ack",
    "encode_connack",
    "encode_disconnect",
    "encode_publish",
    "encode_suback",
    "encode_unsuback",
]

PINGRESP_PACKET = b"\xd0\x00"


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + encode_varint(len(body)) + body


def encode_connack(level: int, reason: Reason, present: bool, properties: list[tuple[int, int | str | bytes]]) -> bytes:
    """§3.2; session present only with success [MQTT-3.2.2-6]."""
    if level == V5:
        return _packet(0x20, bytes((present, reason)) + encode_properties(properties))
    return bytes((0x20, 2, present, connect_return_code(reason)))


def encode_ack(kind: int, level: int, packet_id: int, reason: int = 0, text: str = "") -> bytes:
    """PUBACK, PUBREC, PUBREL, PUBCOMP in their shortest form (§3.4.2.1)."""
    first = kind << 4 | (2 if kind == PUBREL else 0)
    if level != V5 or (not reason and not text):
        return bytes((first, 2, packet_id >> 8, packet_id & 0xFF))
    if not text:
        return bytes((first, 3, packet_id >> 8, packet_id & 0xFF, reason))
    body = bytes((packet_id >> 8, packet_id & 0xFF, reason))
    return _packet(first, body + encode_properties([(Prop.REASON_STRING, text)]))


def encode_publish(
    level: int, topic: bytes, payload: bytes, qos: int, retain: bool, dup: bool, packet_id: int, properties: bytes
) -> bytes:
    """§3.3; `properties` without their length in front."""
    head = len(topic).to_bytes(2, "big") + topic
    if qos:
        head += packet_id.to_bytes(2, "big")
    if level == V5:
        head += encode_varint(len(properties)) + properties
    first = 0x30 | (8 if dup else 0) | qos << 1 | retain
    return b"".join((bytes((first,)), encode_varint(len(head) + len(payload)), head, payload))


def encode_suback(level: int, packet_id: int, reasons: list[int]) -> bytes:
    """§3.9; MQTT 3.1.1 knows one failure, MQTT 3.1 none (it is told QoS 0 granted by nobody, so 0x80 as well)."""
    head = packet_id.to_bytes(2, "big")
    if level == V5:
        return _packet(0x90, head + b"\0" + bytes(reasons))
    return _packet(0x90, head + bytes(min(reason, 0x80) for reason in reasons))


def encode_unsuback(level: int, packet_id: int, reasons: list[int]) -> bytes:
    """§3.11."""
    head = packet_id.to_bytes(2, "big")
    return _packet(UNSUBACK << 4, head + b"\0" + bytes(reasons) if level == V5 else head)


def encode_disconnect(reason: int, text: str = "") -> bytes:
    """§3.14, MQTT 5 only."""
    if not text:
        return bytes((0xE0, 1, reason))
    return _packet(0xE0, bytes((reason,)) + encode_properties([(Prop.REASON_STRING, text)]))
