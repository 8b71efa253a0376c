"""Properties of MQTT 5 (§2.2.2): one table says type, repeatability and the packets a property may stand in.

Properties that travel with an application message (§3.3.2.3) are kept as the bytes that came, so they are forwarded
unaltered and in order [MQTT-3.3.2-15, -16, -17, -18, -20].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from althing.gateway.ingest.mqtt.codec import (
    encode_binary,
    encode_varint,
    malformed,
    protocol_error,
    read_binary,
    read_string,
    read_u16,
    read_u32,
    read_varint,
)
from althing.gateway.ingest.mqtt.reasons import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
)

__all__ = ["NO_PROPERTIES", "WILL", "Prop", "Properties", "encode_items", "encode_properties", "read_properties"]

WILL = 0  # the will's properties inside CONNECT have a table column of their own


class Prop:
    """Property identifiers."""

    PAYLOAD_FORMAT = 0x01
    MESSAGE_EXPIRY = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_ID = 0x0B
    SESSION_EXPIRY = 0x11
    ASSIGNED_CLIENT_ID = 0x12
    SERVER_KEEP_ALIVE = 0x13
    AUTH_METHOD = 0x15
    AUTH_DATA = 0x16
    REQUEST_PROBLEM_INFO = 0x17
    WILL_DELAY = 0x18
    REQUEST_RESPONSE_INFO = 0x19
    RESPONSE_INFO = 0x1A
    SERVER_REFERENCE = 0x1C
    REASON_STRING = 0x1F
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS_MAXIMUM = 0x22
    TOPIC_ALIAS = 0x23
    MAXIMUM_QOS = 0x24
    RETAIN_AVAILABLE = 0x25
    USER = 0x26
    MAXIMUM_PACKET_SIZE = 0x27
    WILDCARD_AVAILABLE = 0x28
    SUBSCRIPTION_ID_AVAILABLE = 0x29
    SHARED_AVAILABLE = 0x2A


_Kind = Literal["byte", "u16", "u32", "varint", "string", "binary", "pair"]
_ACKS = (PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK)
_TABLE: dict[int, tuple[_Kind, frozenset[int]]] = {
    Prop.PAYLOAD_FORMAT: ("byte", frozenset((PUBLISH, WILL))),
    Prop.MESSAGE_EXPIRY: ("u32", frozenset((PUBLISH, WILL))),
    Prop.CONTENT_TYPE: ("string", frozenset((PUBLISH, WILL))),
    Prop.RESPONSE_TOPIC: ("string", frozenset((PUBLISH, WILL))),
    Prop.CORRELATION_DATA: ("binary", frozenset((PUBLISH, WILL))),
    Prop.SUBSCRIPTION_ID: ("varint", frozenset((SUBSCRIBE,))),
    Prop.SESSION_EXPIRY: ("u32", frozenset((CONNECT, CONNACK, DISCONNECT))),
    Prop.ASSIGNED_CLIENT_ID: ("string", frozenset((CONNACK,))),
    Prop.SERVER_KEEP_ALIVE: ("u16", frozenset((CONNACK,))),
    Prop.AUTH_METHOD: ("string", frozenset((CONNECT, CONNACK, AUTH))),
    Prop.AUTH_DATA: ("binary", frozenset((CONNECT, CONNACK, AUTH))),
    Prop.REQUEST_PROBLEM_INFO: ("byte", frozenset((CONNECT,))),
    Prop.WILL_DELAY: ("u32", frozenset((WILL,))),
    Prop.REQUEST_RESPONSE_INFO: ("byte", frozenset((CONNECT,))),
    Prop.RESPONSE_INFO: ("string", frozenset((CONNACK,))),
    Prop.SERVER_REFERENCE: ("string", frozenset((CONNACK,))),
    Prop.REASON_STRING: ("string", frozenset((CONNACK, DISCONNECT, AUTH, *_ACKS))),
    Prop.RECEIVE_MAXIMUM: ("u16", frozenset((CONNECT, CONNACK))),
    Prop.TOPIC_ALIAS_MAXIMUM: ("u16", frozenset((CONNECT, CONNACK))),
    Prop.TOPIC_ALIAS: ("u16", frozenset((PUBLISH,))),
    Prop.MAXIMUM_QOS: ("byte", frozenset((CONNACK,))),
    Prop.RETAIN_AVAILABLE: ("byte", frozenset((CONNACK,))),
    Prop.USER: (
        "pair",
        frozenset((CONNECT, CONNACK, PUBLISH, WILL, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT, AUTH, *_ACKS)),
    ),
    Prop.MAXIMUM_PACKET_SIZE: ("u32", frozenset((CONNECT, CONNACK))),
    Prop.WILDCARD_AVAILABLE: ("byte", frozenset((CONNACK,))),
    Prop.SUBSCRIPTION_ID_AVAILABLE: ("byte", frozenset((CONNACK,))),
    Prop.SHARED_AVAILABLE: ("byte", frozenset((CONNACK,))),
}
_FORWARDED = frozenset((Prop.PAYLOAD_FORMAT, Prop.CONTENT_TYPE, Prop.RESPONSE_TOPIC, Prop.CORRELATION_DATA, Prop.USER))
_NOT_ZERO = frozenset((Prop.RECEIVE_MAXIMUM, Prop.MAXIMUM_PACKET_SIZE, Prop.SUBSCRIPTION_ID))
USER_PROPERTIES_MAX = 64  # a packet's user properties are memory of ours for no purpose of ours


@dataclass(slots=True)
class Properties:
    """What a property list said: integers, strings and binaries by identifier, and the user properties in order."""

    numbers: dict[int, int] = field(default_factory=dict)
    strings: dict[int, str] = field(default_factory=dict)
    binaries: dict[int, bytes] = field(default_factory=dict)
    user: list[tuple[str, str]] = field(default_factory=list)
    forwarded: bytes = b""


NO_PROPERTIES = Properties()


def read_properties(data: bytes, pos: int, end: int, packet: int) -> tuple[Properties, int]:
    """Read a property list of `packet`; unknown, misplaced, repeated or ill-valued properties are errors (§2.2.2)."""
    length, pos = read_varint(data, pos, end)
    stop = pos + length
    if stop > end:
        raise malformed("the properties run past the packet's end")
    if not length:
        return NO_PROPERTIES, stop
    out = Properties()
    forwarded: list[bytes] = []
    while pos < stop:
        begin = pos
        identifier, pos = read_varint(data, pos, stop)
        entry = _TABLE.get(identifier)
        if entry is None or packet not in entry[1]:
            raise malformed(f"property 0x{identifier:02x} is unknown or not allowed here")
        pos = _read_value(out, identifier, entry[0], data, pos, stop)
        if identifier in _FORWARDED:
            forwarded.append(data[begin:pos])
    out.forwarded = b"".join(forwarded)
    return out, stop


def _read_value(out: Properties, identifier: int, kind: _Kind, data: bytes, pos: int, stop: int) -> int:
    if kind == "pair":
        name, pos = read_string(data, pos, stop)
        value, pos = read_string(data, pos, stop)
        if len(out.user) >= USER_PROPERTIES_MAX:
            raise protocol_error(f"more than {USER_PROPERTIES_MAX} user properties")
        out.user.append((name, value))
        return pos
    if identifier in out.numbers or identifier in out.strings or identifier in out.binaries:
        raise protocol_error(f"property 0x{identifier:02x} stands more than once")
    if kind == "string":
        out.strings[identifier], pos = read_string(data, pos, stop)
        return pos
    if kind == "binary":
        out.binaries[identifier], pos = read_binary(data, pos, stop)
        return pos
    if kind == "byte":
        if pos >= stop:
            raise malformed("a byte runs past the packet's end")
        number, pos = data[pos], pos + 1
        if number > 1:
            raise protocol_error(f"property 0x{identifier:02x} is neither 0 nor 1")
    elif kind == "u16":
        number, pos = read_u16(data, pos, stop)
    elif kind == "u32":
        number, pos = read_u32(data, pos, stop)
    else:
        number, pos = read_varint(data, pos, stop)
    if number == 0 and identifier in _NOT_ZERO:
        raise protocol_error(f"property 0x{identifier:02x} is zero")
    out.numbers[identifier] = number
    return pos


def encode_properties(items: list[tuple[int, int | str | bytes]]) -> bytes:
    """Encode a property list with its length in front."""
    body = encode_items(items)
    return encode_varint(len(body)) + body


def encode_items(items: list[tuple[int, int | str | bytes]]) -> bytes:
    """Encode properties without a length in front."""
    parts: list[bytes] = []
    for identifier, value in items:
        kind = _TABLE[identifier][0]
        parts.append(bytes((identifier,)))
        if isinstance(value, int):
            if kind == "varint":
                parts.append(encode_varint(value))
            else:
                parts.append(value.to_bytes({"byte": 1, "u16": 2, "u32": 4}[kind], "big"))
        else:
            parts.append(encode_binary(value.encode() if isinstance(value, str) else value))
    return b"".join(parts)
