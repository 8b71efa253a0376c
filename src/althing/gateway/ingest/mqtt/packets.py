"""Control packets that a server reads (MQTT 5 §3, MQTT 3.1.1 §3): frozen data, and strict decoding of each.

Every function takes the whole buffer and the packet's body as (start, stop); nothing is copied but the fields.
"""

from __future__ import annotations

from dataclasses import dataclass

from althing.gateway.ingest.mqtt.codec import (
    malformed,
    protocol_error,
    read_binary,
    read_string,
    read_u16,
)
from althing.gateway.ingest.mqtt.errors import MqttPacketError
from althing.gateway.ingest.mqtt.properties import NO_PROPERTIES, WILL, Prop, Properties, read_properties
from althing.gateway.ingest.mqtt.reasons import (
    AUTH,
    CONNECT,
    DISCONNECT,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Reason,
)

__all__ = [
    "V5",
    "V31",
    "V311",
    "Ack",
    "Connect",
    "Disconnect",
    "Publish",
    "PublishDecoder",
    "Subscribe",
    "SubscribeItem",
    "Unsubscribe",
    "Will",
    "decode_ack",
    "decode_auth",
    "decode_connect",
    "decode_disconnect",
    "decode_subscribe",
    "decode_unsubscribe",
]

V31, V311, V5 = 3, 4, 5
SUBSCRIBE_ITEMS_MAX = 256  # topic filters in one packet


@dataclass(frozen=True, slots=True)
class Will:
    """The will of a CONNECT; `properties` are the bytes forwarded with it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: bytes = b""
    content_type: str = ""
    expiry_s: int | None = None
    delay_s: int = 0


@dataclass(frozen=True, slots=True)
class Connect:
    """A CONNECT of level 3, 4 or 5. `expiry_s` is None where the client did not say."""

    level: int
    client_id: str
    clean_start: bool
    keep_alive_s: int
    will: Will | None
    username: str | None
    password: bytes | None
    expiry_s: int | None = None
    receive_maximum: int = 65_535
    packet_bytes_max: int = 0  # 0: no limit
    topic_alias_max: int = 0
    problem_information: bool = True
    response_information: bool = False
    auth_method: str | None = None


@dataclass(slots=True)
class Publish:
    """A PUBLISH as received. Mutable for speed only: made tens of thousands of times a second."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    packet_id: int
    properties: bytes = b""
    content_type: str = ""
    dedup_key: bytes = b""
    expiry_s: int | None = None


@dataclass(frozen=True, slots=True)
class Ack:
    """PUBACK, PUBREC, PUBREL or PUBCOMP."""

    packet_id: int
    reason: int = 0


@dataclass(frozen=True, slots=True)
class SubscribeItem:
    """One topic filter and its options (MQTT 5 §3.8.3.1)."""

    topic_filter: str
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass(frozen=True, slots=True)
class Subscribe:
    packet_id: int
    items: tuple[SubscribeItem, ...]
    identifier: int = 0


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    packet_id: int
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Disconnect:
    reason: int = 0
    expiry_s: int | None = None


def decode_connect(data: bytes, first: int, pos: int, stop: int) -> Connect:
    """§3.1. An unacceptable protocol raises UNSUPPORTED_PROTOCOL_VERSION, which the listener answers in words."""
    if first & 0x0F:
        raise malformed("CONNECT has flags in its fixed header")
    name, pos = read_string(data, pos, stop)
    if name not in ("MQTT", "MQIsdp"):
        raise malformed("the protocol name is not MQTT")  # [MQTT-3.1.2-1]: closed without an answer
    if pos + 2 > stop:
        raise malformed("CONNECT ends in its header")
    level, flags, pos = data[pos], data[pos + 1], pos + 2
    if (name == "MQTT" and level not in (V311, V5)) or (name == "MQIsdp" and level != V31):
        raise MqttPacketError(Reason.UNSUPPORTED_PROTOCOL_VERSION, f"protocol level {level} is not served")
    if flags & 0x01:
        raise malformed("the reserved flag of CONNECT is set")  # [MQTT-3.1.2-3]
    has_will, will_qos, will_retain = bool(flags & 0x04), flags >> 3 & 3, bool(flags & 0x20)
    if (not has_will and (will_qos or will_retain)) or will_qos == 3:
        raise malformed("the will flags contradict each other")  # [MQTT-3.1.2-11, -12, -13]
    has_username, has_password = bool(flags & 0x80), bool(flags & 0x40)
    if has_password and not has_username and level != V5:
        raise malformed("a password without a user name")  # [MQTT 3.1.1: 3.1.2-22]
    keep_alive_s, pos = read_u16(data, pos, stop)
    properties = NO_PROPERTIES
    if level == V5:
        properties, pos = read_properties(data, pos, stop, CONNECT)
    client_id, pos = read_string(data, pos, stop)
    will = None
    if has_will:
        will, pos = _read_will(data, pos, stop, level, will_qos, will_retain)
    username = password = None
    if has_username:
        username, pos = read_string(data, pos, stop)
    if has_password:
        password, pos = read_binary(data, pos, stop)
    if pos != stop:
        raise malformed("bytes follow the payload of CONNECT")
    numbers = properties.numbers
    if Prop.AUTH_DATA in properties.binaries and Prop.AUTH_METHOD not in properties.strings:
        raise protocol_error("authentication data without a method")
    return Connect(
        level=level,
        client_id=client_id,
        clean_start=bool(flags & 0x02),
        keep_alive_s=keep_alive_s,
        will=will,
        username=username,
        password=password,
        expiry_s=numbers.get(Prop.SESSION_EXPIRY),
        receive_maximum=numbers.get(Prop.RECEIVE_MAXIMUM, 65_535),
        packet_bytes_max=numbers.get(Prop.MAXIMUM_PACKET_SIZE, 0),
        topic_alias_max=numbers.get(Prop.TOPIC_ALIAS_MAXIMUM, 0),
        problem_information=bool(numbers.get(Prop.REQUEST_PROBLEM_INFO, 1)),
        response_information=bool(numbers.get(Prop.REQUEST_RESPONSE_INFO, 0)),
        auth_method=properties.strings.get(Prop.AUTH_METHOD),
    )


def _read_will(data: bytes, pos: int, stop: int, level: int, qos: int, retain: bool) -> tuple[Will, int]:
    properties = NO_PROPERTIES
    if level == V5:
        properties, pos = read_properties(data, pos, stop, WILL)
        _check_message_properties(properties)
    topic, pos = read_string(data, pos, stop)
    payload, pos = read_binary(data, pos, stop)
    will = Will(
        topic=topic,
        payload=payload,
        qos=qos,
        retain=retain,
        properties=properties.forwarded,
        content_type=properties.strings.get(Prop.CONTENT_TYPE, ""),
        expiry_s=properties.numbers.get(Prop.MESSAGE_EXPIRY),
        delay_s=properties.numbers.get(Prop.WILL_DELAY, 0),
    )
    return will, pos


def _check_message_properties(properties: Properties) -> None:
    response = properties.strings.get(Prop.RESPONSE_TOPIC)
    if response is not None and ("#" in response or "+" in response or not response):
        raise protocol_error("the response topic is not a topic name")  # [MQTT-3.3.2-14]


class PublishDecoder:
    """Decodes PUBLISH for one connection: remembers the topics it has seen, and the client's topic aliases."""

    __slots__ = ("_aliases", "_known", "_level", "alias_max", "topic_bytes_max", "topic_levels_max")

    def __init__(self, level: int, alias_max: int, topic_bytes_max: int, topic_levels_max: int) -> None:
        self._level = level
        self._known: dict[bytes, str] = {}
        self._aliases: dict[int, str] = {}
        self.alias_max = alias_max
        self.topic_bytes_max = topic_bytes_max
        self.topic_levels_max = topic_levels_max

    def decode(self, data: bytes, first: int, start: int, stop: int) -> Publish:
        """§3.3. Fast for QoS 1 without properties on a topic seen before: one slice and one look-up."""
        pos = start + 2
        if pos > stop:
            raise malformed("PUBLISH is too short")
        end = pos + (data[start] << 8 | data[start + 1])
        if end > stop:
            raise malformed("the topic runs past the packet's end")
        raw = data[pos:end]
        topic = self._known.get(raw)
        if topic is None and raw:
            topic = self._learn(raw)
        qos = first >> 1 & 3
        packet_id = 0
        if qos:
            if qos == 3:
                raise malformed("QoS 3")  # [MQTT-3.3.1-4]
            if end + 2 > stop:
                raise malformed("PUBLISH ends before its packet identifier")
            packet_id = data[end] << 8 | data[end + 1]
            if not packet_id:
                raise protocol_error("packet identifier 0")  # [MQTT-2.2.1-3]
            end += 2
        elif first & 0x08:
            raise malformed("DUP is set on a QoS 0 message")  # [MQTT-3.3.1-2]
        if self._level != V5:
            if topic is None:
                raise malformed("an empty topic name")  # [MQTT-4.7.3-1]
            return Publish(topic, data[end:stop], qos, bool(first & 1), bool(first & 8), packet_id)
        if end < stop and not data[end]:
            if topic is None:
                raise protocol_error("an empty topic name without an alias")
            return Publish(topic, data[end + 1 : stop], qos, bool(first & 1), bool(first & 8), packet_id)
        return self._decode_with_properties(data, first, end, stop, topic, packet_id)

    def _decode_with_properties(
        self, data: bytes, first: int, pos: int, stop: int, topic: str | None, packet_id: int
    ) -> Publish:
        properties, pos = read_properties(data, pos, stop, 3)
        _check_message_properties(properties)
        alias = properties.numbers.get(Prop.TOPIC_ALIAS)
        if alias is not None:
            if not 0 < alias <= self.alias_max:
                raise MqttPacketError(Reason.TOPIC_ALIAS_INVALID, f"topic alias {alias} is out of range")
            if topic is None:
                topic = self._aliases.get(alias)
                if topic is None:
                    raise protocol_error(f"topic alias {alias} has no topic yet")
            else:
                self._aliases[alias] = topic
        if topic is None:
            raise protocol_error("an empty topic name without an alias")
        dedup_key = b""
        for name, value in properties.user:
            if name == "Idempotency-Key":
                dedup_key = value.encode()
                break
        return Publish(
            topic,
            data[pos:stop],
            first >> 1 & 3,
            bool(first & 1),
            bool(first & 8),
            packet_id,
            properties.forwarded,
            properties.strings.get(Prop.CONTENT_TYPE, ""),
            dedup_key,
            properties.numbers.get(Prop.MESSAGE_EXPIRY),
        )

    def _learn(self, raw: bytes) -> str:
        """A topic name: UTF-8, no wildcard, no U+0000, within our limits (§4.7)."""
        try:
            topic = raw.decode()
        except UnicodeDecodeError as error:
            raise malformed("the topic is not UTF-8") from error
        if "\0" in topic:
            raise malformed("the topic contains U+0000")
        if "+" in topic or "#" in topic:
            raise MqttPacketError(Reason.TOPIC_NAME_INVALID, "a topic name with a wildcard")  # [MQTT-3.3.2-2]
        if len(raw) > self.topic_bytes_max or topic.count("/") >= self.topic_levels_max:
            raise MqttPacketError(Reason.TOPIC_NAME_INVALID, "the topic is too long or has too many levels")
        if len(self._known) >= 1_024:
            self._known.clear()
        self._known[raw] = topic
        return topic


_ACK_FLAGS = {PUBACK: 0, PUBREC: 0, PUBREL: 2, PUBCOMP: 0}
_RECEIVED_REASONS = frozenset((0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99))
_ACK_REASONS = {
    PUBACK: _RECEIVED_REASONS,
    PUBREC: _RECEIVED_REASONS,
    PUBREL: frozenset((0x00, 0x92)),
    PUBCOMP: frozenset((0x00, 0x92)),
}


def decode_ack(data: bytes, first: int, pos: int, stop: int, level: int) -> Ack:
    """§3.4 to §3.7."""
    kind = first >> 4
    if first & 0x0F != _ACK_FLAGS[kind]:
        raise malformed("an acknowledgement has wrong flags")
    packet_id, pos = read_u16(data, pos, stop)
    if not packet_id:
        raise protocol_error("packet identifier 0")
    if pos == stop:
        return Ack(packet_id)
    if level != V5:
        raise malformed("bytes follow an acknowledgement")
    reason, pos = data[pos], pos + 1
    if reason not in _ACK_REASONS[kind]:
        raise malformed(f"reason 0x{reason:02x} has no place in an acknowledgement")
    if pos < stop:
        _, pos = read_properties(data, pos, stop, kind)
        if pos != stop:
            raise malformed("bytes follow an acknowledgement")
    return Ack(packet_id, reason)


def decode_subscribe(data: bytes, first: int, pos: int, stop: int, level: int) -> Subscribe:
    """§3.8."""
    if first & 0x0F != 2:
        raise malformed("SUBSCRIBE has wrong flags")  # [MQTT-3.8.1-1]
    packet_id, pos = read_u16(data, pos, stop)
    if not packet_id:
        raise protocol_error("packet identifier 0")
    identifier = 0
    if level == V5:
        properties, pos = read_properties(data, pos, stop, SUBSCRIBE)
        identifier = properties.numbers.get(Prop.SUBSCRIPTION_ID, 0)
    items: list[SubscribeItem] = []
    while pos < stop:
        topic_filter, pos = read_string(data, pos, stop)
        if pos >= stop:
            raise malformed("a topic filter without options")
        options, pos = data[pos], pos + 1
        if options & 3 == 3:
            raise malformed("a subscription asks for QoS 3")
        if options & (0xC0 if level == V5 else 0xFC):
            raise malformed("reserved bits of the subscription options are set")  # [MQTT-3.8.3-5]
        if options >> 4 & 3 == 3:
            raise protocol_error("retain handling 3")
        shared = topic_filter.startswith("$share/")
        if shared and options & 4:
            raise protocol_error("no-local on a shared subscription")  # [MQTT-3.8.3-4]
        if len(items) >= SUBSCRIBE_ITEMS_MAX:
            raise MqttPacketError(Reason.QUOTA_EXCEEDED, f"more than {SUBSCRIBE_ITEMS_MAX} topic filters")
        items.append(SubscribeItem(topic_filter, options & 3, bool(options & 4), bool(options & 8), options >> 4 & 3))
    if not items:
        raise protocol_error("SUBSCRIBE without a topic filter")  # [MQTT-3.8.3-2]
    return Subscribe(packet_id, tuple(items), identifier)


def decode_unsubscribe(data: bytes, first: int, pos: int, stop: int, level: int) -> Unsubscribe:
    """§3.10."""
    if first & 0x0F != 2:
        raise malformed("UNSUBSCRIBE has wrong flags")  # [MQTT-3.10.1-1]
    packet_id, pos = read_u16(data, pos, stop)
    if not packet_id:
        raise protocol_error("packet identifier 0")
    if level == V5:
        _, pos = read_properties(data, pos, stop, UNSUBSCRIBE)
    filters: list[str] = []
    while pos < stop:
        topic_filter, pos = read_string(data, pos, stop)
        if len(filters) >= SUBSCRIBE_ITEMS_MAX:
            raise MqttPacketError(Reason.QUOTA_EXCEEDED, f"more than {SUBSCRIBE_ITEMS_MAX} topic filters")
        filters.append(topic_filter)
    if not filters:
        raise protocol_error("UNSUBSCRIBE without a topic filter")  # [MQTT-3.10.3-2]
    return Unsubscribe(packet_id, tuple(filters))


def decode_disconnect(data: bytes, first: int, pos: int, stop: int, level: int) -> Disconnect:
    """§3.14."""
    if first & 0x0F:
        raise malformed("DISCONNECT has flags in its fixed header")  # [MQTT-3.14.1-1]
    if pos == stop:
        return Disconnect()
    if level != V5:
        raise malformed("bytes in DISCONNECT")
    reason, pos = data[pos], pos + 1
    expiry_s = None
    if pos < stop:
        properties, pos = read_properties(data, pos, stop, DISCONNECT)
        expiry_s = properties.numbers.get(Prop.SESSION_EXPIRY)
        if pos != stop:
            raise malformed("bytes follow DISCONNECT")
    return Disconnect(reason, expiry_s)


def decode_auth(data: bytes, first: int, pos: int, stop: int) -> None:
    """§3.15: only its form is checked; this server has no enhanced authentication."""
    if first & 0x0F:
        raise malformed("AUTH has flags in its fixed header")
    if pos < stop:
        pos += 1
    if pos < stop:
        _, pos = read_properties(data, pos, stop, AUTH)
        if pos != stop:
            raise malformed("bytes follow AUTH")
