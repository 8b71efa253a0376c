"""Bytes that no client should send: the connection ends, MQTT 5 clients are told why, and the server goes on."""

from __future__ import annotations

import pytest

MALFORMED, PROTOCOL = 0x81, 0x82


def s(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return len(raw).to_bytes(2, "big") + raw


def p(first, body):
    assert len(body) < 128
    return bytes((first, len(body))) + body


def head(level=5, flags=2, name="MQTT", properties=b"\0"):
    return s(name) + bytes((level, flags)) + b"\0\x3c" + (properties if level == 5 else b"")


BAD_FIRST = {
    "publish before connect": p(0x30, s("a")),
    "pingreq before connect": b"\xc0\x00",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls hello": bytes.fromhex("16030100c6010000c20303"),
    "packet type 0": b"\x00\x00",
    "connect with flags": p(0x11, head() + s("x")),
    "wrong protocol name": p(0x10, head(name="MQTX") + s("x")),
    "lower case name": p(0x10, head(name="mqtt") + s("x")),
    "reserved connect flag": p(0x10, head(flags=3) + s("x")),
    "will qos without will": p(0x10, head(flags=2 | 8) + s("x")),
    "will retain without will": p(0x10, head(flags=2 | 0x20) + s("x")),
    "will qos 3": p(0x10, head(flags=2 | 4 | 24) + s("x") + b"\0" + s("t") + s("m")),
    "password without user 3.1.1": p(0x10, head(4, 2 | 0x40) + s("x") + s("p")),
    "client id missing": p(0x10, head()),
    "client id runs over": p(0x10, head() + b"\0\x05ab"),
    "client id not utf-8": p(0x10, head() + s(b"\xff\xfe")),
    "client id with surrogate": p(0x10, head() + s(b"\xed\xa0\x80")),
    "client id with nul": p(0x10, head() + s("a\0b")),
    "will missing": p(0x10, head(flags=6) + s("x")),
    "user name missing": p(0x10, head(flags=2 | 0x80) + s("x")),
    "trailing bytes": p(0x10, head() + s("x") + b"\0"),
    "empty connect": b"\x10\x00",
    "short header": p(0x10, s("MQTT") + b"\x05"),
    "properties run over": p(0x10, head(properties=b"\x20") + s("x")),
    "unknown property": p(0x10, head(properties=b"\x02\x7f\x00") + s("x")),
    "property of another packet": p(0x10, head(properties=b"\x03\x23\x00\x01") + s("x")),
    "property twice": p(0x10, head(properties=b"\x06\x21\x00\x01\x21\x00\x02") + s("x")),
    "receive maximum 0": p(0x10, head(properties=b"\x03\x21\x00\x00") + s("x")),
    "maximum packet size 0": p(0x10, head(properties=b"\x05\x27\x00\x00\x00\x00") + s("x")),
    "request problem information 2": p(0x10, head(properties=b"\x02\x17\x02") + s("x")),
    "authentication data alone": p(0x10, head(properties=b"\x04\x16" + s("d")) + s("x")),
    "remaining length of five bytes": b"\x10\xff\xff\xff\xff\x01",
    "remaining length too long a form": b"\x10\x80\x00",
    "will response topic wildcard": p(0x10, head(flags=6) + s("x") + b"\x04\x08" + s("#") + s("t") + s("m")),
}


@pytest.mark.parametrize("name", BAD_FIRST)
def test_what_is_not_a_connect_is_closed(server, raw, name):
    client = raw(server)
    client.send(BAD_FIRST[name])
    found = client.read()
    assert found is None or (found.kind == 2 and found.body[1] != 0), found
    raw(server).connect("alive").silent()
    assert server.metrics.protocol_errors == 1


BAD_5 = {
    "second connect": (p(0x10, head() + s("x")), PROTOCOL),
    "connack from client": (p(0x20, b"\0\0\0"), PROTOCOL),
    "pingresp from client": (b"\xd0\x00", PROTOCOL),
    "suback from client": (p(0x90, b"\0\1\0\0"), PROTOCOL),
    "packet type 0": (b"\x00\x00", PROTOCOL),
    "publish qos 3": (p(0x36, s("a") + b"\0\1\0"), MALFORMED),
    "publish dup qos 0": (p(0x38, s("a") + b"\0"), MALFORMED),
    "publish packet id 0": (p(0x32, s("a") + b"\0\0\0"), PROTOCOL),
    "publish without packet id": (p(0x32, s("a")), MALFORMED),
    "publish without properties": (p(0x30, s("a")), MALFORMED),
    "publish topic runs over": (p(0x30, b"\0\x09a"), MALFORMED),
    "publish of one byte": (p(0x30, b"\0"), MALFORMED),
    "publish topic not utf-8": (p(0x30, s(b"\xc0\x80") + b"\0"), MALFORMED),
    "publish topic surrogate": (p(0x30, s(b"\xed\xbf\xbf") + b"\0"), MALFORMED),
    "publish topic nul": (p(0x30, s("a\0") + b"\0"), MALFORMED),
    "publish topic plus": (p(0x30, s("a/+") + b"\0"), 0x90),
    "publish topic hash": (p(0x30, s("#") + b"\0"), 0x90),
    "publish too many levels": (p(0x30, s("/" * 80) + b"\0"), 0x90),
    "publish empty topic": (p(0x30, s("") + b"\0"), PROTOCOL),
    "publish unknown alias": (p(0x30, s("") + b"\x03\x23\x00\x01"), PROTOCOL),
    "publish alias 0": (p(0x30, s("a") + b"\x03\x23\x00\x00"), 0x94),
    "publish alias too high": (p(0x30, s("a") + b"\x03\x23\xff\xff"), 0x94),
    "publish subscription identifier": (p(0x30, s("a") + b"\x02\x0b\x01"), MALFORMED),
    "publish payload format 2": (p(0x30, s("a") + b"\x02\x01\x02"), PROTOCOL),
    "publish response topic wildcard": (p(0x30, s("a") + b"\x06\x08" + s("b/#")), PROTOCOL),
    "publish content type twice": (p(0x30, s("a") + b"\x08" + (b"\x03" + s("t")) * 2), PROTOCOL),
    "publish property cut off": (p(0x30, s("a") + b"\x02\x02\x00"), MALFORMED),
    "publish user property cut off": (p(0x30, s("a") + b"\x04\x26" + s("k")), MALFORMED),
    "puback packet id 0": (p(0x40, b"\0\0"), PROTOCOL),
    "puback flags": (p(0x41, b"\0\1"), MALFORMED),
    "puback reason unknown": (p(0x40, b"\0\1\x55"), MALFORMED),
    "puback one byte": (p(0x40, b"\0"), MALFORMED),
    "pubrel flags": (p(0x60, b"\0\1"), MALFORMED),
    "pubrel trailing": (p(0x62, b"\0\1\0\0\0"), MALFORMED),
    "subscribe flags": (p(0x80, b"\0\1\0" + s("a") + b"\0"), MALFORMED),
    "subscribe nothing": (p(0x82, b"\0\1\0"), PROTOCOL),
    "subscribe packet id 0": (p(0x82, b"\0\0\0" + s("a") + b"\0"), PROTOCOL),
    "subscribe no options": (p(0x82, b"\0\1\0" + s("a")), MALFORMED),
    "subscribe qos 3": (p(0x82, b"\0\1\0" + s("a") + b"\3"), MALFORMED),
    "subscribe reserved bits": (p(0x82, b"\0\1\0" + s("a") + b"\x40"), MALFORMED),
    "subscribe retain handling 3": (p(0x82, b"\0\1\0" + s("a") + b"\x30"), PROTOCOL),
    "subscribe shared no local": (p(0x82, b"\0\1\0" + s("$share/g/a") + b"\4"), PROTOCOL),
    "subscribe identifier 0": (p(0x82, b"\0\1\2\x0b\0" + s("a") + b"\0"), PROTOCOL),
    "unsubscribe flags": (p(0xA0, b"\0\1\0" + s("a")), MALFORMED),
    "unsubscribe nothing": (p(0xA2, b"\0\1\0"), PROTOCOL),
    "pingreq flags": (b"\xc1\x00", MALFORMED),
    "pingreq body": (b"\xc0\x01\x00", MALFORMED),
    "disconnect flags": (b"\xe1\x00", MALFORMED),
    "disconnect prolongs": (p(0xE0, b"\0\x05\x11\0\0\0\x09"), PROTOCOL),
    "auth": (p(0xF0, b"\x18\0"), PROTOCOL),
    "oversize": (b"\x30\xff\xff\xff\x7f", 0x95),
    "remaining length of five bytes": (b"\x30\x80\x80\x80\x80\x01", MALFORMED),
}


@pytest.mark.parametrize("name", BAD_5)
def test_mqtt5_client_is_told_and_closed(server, raw, name):
    data, reason = BAD_5[name]
    client = raw(server).connect("bad")
    client.send(data)
    client.closed(reason)
    raw(server).connect("alive").silent()
    assert server.metrics.protocol_errors == 1


BAD_4 = {
    "empty topic": p(0x30, s("")),
    "topic with wildcard": p(0x30, s("a/#")),
    "ack with a reason": p(0x40, b"\0\1\0"),
    "subscribe with MQTT 5 options": p(0x82, b"\0\1" + s("a") + b"\x08"),
    "disconnect with a body": p(0xE0, b"\0"),
    "auth": p(0xF0, b""),
    "pubrel flags": p(0x60, b"\0\1"),
}


@pytest.mark.parametrize("name", BAD_4)
def test_older_client_is_closed_in_silence(server, raw, name):
    client = raw(server, 4).connect("bad")
    client.send(BAD_4[name])
    client.closed()


def test_unknown_level_is_answered_in_words_that_old_clients_know(server, raw):
    for level in (0, 2, 6, 0x84):
        client = raw(server)
        client.send(p(0x10, s("MQTT") + bytes((level, 2)) + b"\0\0" + s("x")))
        answer = client.read()
        assert (answer.kind, answer.body) == (2, b"\0\1")
        client.closed()


def test_packets_before_the_error_count(server, raw):
    client = raw(server).connect("x")
    client.send(p(0x32, s("t") + b"\0\1\0hi") + b"\x00\x00")
    assert client.read().kind == 4
    client.closed(PROTOCOL)
    server.until(lambda: server.metrics.protocol_errors == 1)
    assert server.metrics.messages_in == 1


def test_one_byte_at_a_time(server, raw):
    client = raw(server)
    for byte in p(0x10, head() + s("slow")):
        client.send(bytes((byte,)))
    assert client.read().kind == 2
    for byte in b"\xc0\x00":
        client.send(bytes((byte,)))
    assert client.read().kind == 13


def test_everything_in_one_segment(server, raw):
    client = raw(server)
    subscribe = p(0x82, b"\0\1\0" + s("a") + b"\1")
    client.send(p(0x10, head() + s("fast")) + subscribe + p(0x32, s("a") + b"\0\1\0hi") + b"\xc0\x00\xe0\x00")
    kinds = []
    while (found := client.read()) is not None:
        kinds.append(found.kind)
    assert kinds[0] == 2
    assert sorted(kinds[1:]) == [3, 4, 9, 13]
