"""Framing and decoding: however the bytes are cut, and whatever they are."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.gateway.ingest.mqtt.codec import VARINT_MAX, Framer, encode_varint, read_string, read_varint
from althing.gateway.ingest.mqtt.encode import encode_publish
from althing.gateway.ingest.mqtt.errors import MqttPacketError
from althing.gateway.ingest.mqtt.packets import (
    V5,
    V311,
    PublishDecoder,
    decode_ack,
    decode_auth,
    decode_connect,
    decode_disconnect,
    decode_subscribe,
    decode_unsubscribe,
)
from althing.gateway.ingest.mqtt.properties import Prop, encode_items, encode_properties, read_properties
from althing.gateway.ingest.mqtt.reasons import Reason


def frames_of(framer, chunks):
    """(first byte, body) of every packet, and the error that ended the stream."""
    found = []
    for chunk in chunks:
        data, frames, error = framer.feed(chunk)
        found.extend((first, data[start:stop]) for first, start, stop in frames)
        if error is not None:
            return found, error.reason
    return found, None


def cut(data, places):
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


bodies = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=12)


@given(bodies, st.lists(st.integers(0, 5_000), max_size=20))
def test_frames_do_not_depend_on_how_the_stream_is_cut(packets, places):
    stream = b"".join(bytes((first,)) + encode_varint(len(body)) + body for first, body in packets)
    framer = Framer(1_000)
    assert frames_of(framer, cut(stream, places)) == (packets, None)
    assert framer.held == 0


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
def test_any_bytes_end_the_same_way_however_cut(stream, places):
    assert frames_of(Framer(200), cut(stream, places)) == frames_of(Framer(200), [stream] if stream else [])


@given(st.binary(max_size=2_000))
def test_a_framer_holds_no_more_than_its_limit(stream):
    framer = Framer(64)
    for byte in stream:
        _, _, error = framer.feed(bytes((byte,)))
        assert framer.held <= 64
        if error is not None:
            return


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16_383, "ff7f"), (16_384, "808001"), (2_097_151, "ffff7f"),
     (2_097_152, "80808001"), (VARINT_MAX, "ffffff7f")],
)  # fmt: skip
def test_variable_byte_integers_of_the_standard(value, encoded):
    data = bytes.fromhex(encoded)
    assert encode_varint(value) == data
    assert read_varint(data, 0, len(data)) == (value, len(data))


@pytest.mark.parametrize("encoded", ["8000", "808000", "ffffffff01", "80", "", "80808080"])
def test_bad_variable_byte_integers(encoded):
    data = bytes.fromhex(encoded)
    with pytest.raises(MqttPacketError) as caught:
        read_varint(data, 0, len(data))
    assert caught.value.reason == Reason.MALFORMED_PACKET
    assert caught.value.code == "mqtt.malformed_packet"


@given(st.text())
def test_strings(value):
    raw = value.encode("utf-8", "surrogatepass")
    if len(raw) > 65_535:
        return
    data = len(raw).to_bytes(2, "big") + raw
    if "\0" in value:
        with pytest.raises(MqttPacketError):
            read_string(data, 0, len(data))
    else:
        assert read_string(data, 0, len(data)) == (value, len(data))


def test_a_byte_order_mark_is_kept():
    data = b"\0\4\xef\xbb\xbfA"
    assert read_string(data, 0, 6)[0] == "\ufeffA"


@given(st.integers(0, 255), st.binary(max_size=120), st.sampled_from([3, 4, 5]))
def test_no_bytes_break_a_decoder(first, body, level):
    """Either a packet, or an MqttPacketError; nothing else, ever."""
    decoders = [
        lambda: decode_connect(body, first, 0, len(body)),
        lambda: PublishDecoder(level, 10, 100, 10).decode(body, first, 0, len(body)),
        lambda: decode_ack(body, 0x40, 0, len(body), level),
        lambda: decode_ack(body, 0x62, 0, len(body), level),
        lambda: decode_subscribe(body, 0x82, 0, len(body), level),
        lambda: decode_unsubscribe(body, 0xA2, 0, len(body), level),
        lambda: decode_disconnect(body, 0xE0, 0, len(body), level),
        lambda: decode_auth(body, 0xF0, 0, len(body)),
    ]
    for decode in decoders:
        try:
            decode()
        except MqttPacketError:
            pass


def full_connect():
    properties = encode_properties(
        [
            (Prop.SESSION_EXPIRY, 120),
            (Prop.RECEIVE_MAXIMUM, 10),
            (Prop.REQUEST_PROBLEM_INFO, 0),
            (Prop.TOPIC_ALIAS_MAXIMUM, 4),
        ]
    )
    will = encode_properties([(Prop.WILL_DELAY, 5), (Prop.CONTENT_TYPE, "text"), (Prop.MESSAGE_EXPIRY, 9)])

    def s(value):
        return len(value).to_bytes(2, "big") + value

    return s(b"MQTT") + b"\x05\xce\x00\x0a" + properties + s(b"id") + will + s(b"t") + s(b"m") + s(b"user") + s(b"pass")


def test_connect_is_read_whole():
    body = full_connect()
    connect = decode_connect(body, 0x10, 0, len(body))
    assert (connect.client_id, connect.username, connect.password) == ("id", "user", b"pass")
    assert (connect.clean_start, connect.keep_alive_s, connect.expiry_s) == (True, 10, 120)
    assert (connect.receive_maximum, connect.topic_alias_max, connect.problem_information) == (10, 4, False)
    will = connect.will
    assert (will.topic, will.payload, will.qos, will.retain, will.delay_s) == ("t", b"m", 1, False, 5)
    assert (will.content_type, will.expiry_s, will.properties) == ("text", 9, b"\x03\x00\x04text")


@given(st.integers(0, 200))
def test_a_connect_cut_short_is_malformed(length):
    body = full_connect()
    if length < len(body):
        with pytest.raises(MqttPacketError):
            decode_connect(body, 0x10, 0, length)


topics = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=30).filter(
    lambda topic: topic.count("/") < 64
)


@given(
    topics,
    st.binary(max_size=300),
    st.integers(0, 2),
    st.booleans(),
    st.integers(1, 65_535),
    st.sampled_from([V311, V5]),
)
def test_publish_round_trip(topic, payload, qos, retain, packet_id, level):
    properties = encode_items([(Prop.CONTENT_TYPE, "x"), (Prop.CORRELATION_DATA, b"\xff")]) if level == V5 else b""
    data = encode_publish(level, topic.encode(), payload, qos, retain, bool(qos), packet_id, properties)
    whole, [(first, start, stop)], error = Framer(10_000).feed(data)
    assert error is None
    publish = PublishDecoder(level, 0, 4_096, 64).decode(whole, first, start, stop)
    assert (publish.topic, publish.payload, publish.qos, publish.retain) == (topic, payload, qos, retain)
    assert (publish.packet_id, publish.dup) == ((packet_id, True) if qos else (0, False))
    assert publish.properties == properties


def test_forwarded_properties_keep_their_bytes_and_order():
    parts = [b"\x26\x00\x01k\x00\x01v", b"\x03\x00\x01t", b"\x26\x00\x01k\x00\x01w", b"\x01\x01"]
    body = parts[0] + b"\x02\x00\x00\x00\x09" + parts[1] + b"\x23\x00\x01" + parts[2] + parts[3]
    properties, end = read_properties(encode_varint(len(body)) + body, 0, len(body) + 1, 3)
    assert end == len(body) + 1
    assert properties.forwarded == b"".join(parts)
    assert properties.user == [("k", "v"), ("k", "w")]
    assert properties.numbers[Prop.MESSAGE_EXPIRY] == 9


def test_user_properties_are_bounded():
    body = b"\x26\x00\x00\x00\x00" * 65
    with pytest.raises(MqttPacketError):
        read_properties(encode_varint(len(body)) + body, 0, len(body) + 2, 3)
