"""Valid conversations with bytes changed, cut, repeated and swapped: nothing breaks but the connection."""

from __future__ import annotations

import random
import socket

import pytest


def s(value):
    return len(value).to_bytes(2, "big") + value


def p(first, body):
    size = len(body)
    return bytes((first,)) + (bytes((size,)) if size < 128 else bytes((size & 127 | 128, size >> 7))) + body


def conversation(dice, level):
    """A CONNECT and some packets that fit it."""
    five = level == 5
    none = b"\0" if five else b""
    flags = dice.choice([0x00, 0x02, 0x82, 0xC2, 0x06, 0xEE])
    body = s(b"MQTT") + bytes((level, flags)) + b"\0\x05"
    if five:
        body += dice.choice([b"\0", b"\x05\x11\0\0\0\x09", b"\x06\x22\0\x05\x21\0\x02", b"\x05\x27\0\0\0\x40"])
    body += s(dice.choice([b"a", b"b", b"c"]))
    if flags & 4:
        body += none + s(dice.choice([b"will", b"althing/v1/dev/w"])) + s(b"gone")
    if flags & 0x80:
        body += s(b"dev")
    if flags & 0x40:
        body += s(b"secret")
    packets = [p(0x10, body)]
    for _ in range(dice.randrange(1, 12)):
        packet_id = dice.randrange(1, 4).to_bytes(2, "big")
        topic = s(dice.choice([b"x", b"x/y", b"althing/v1/dev/t", b"althing/v1/other/t", b"$SYS/x"]))
        properties = dice.choice([b"\0", b"\x03\x23\0\1", b"\x05\x02\0\0\0\1", b"\x04\x03\0\1t"]) if five else b""
        qos = dice.randrange(3)
        packets.append(
            dice.choice(
                [
                    p(0x30 | qos << 1 | dice.randrange(2), topic + (packet_id if qos else b"") + properties + b"hello"),
                    p(0x62, packet_id),
                    p(0x40, packet_id),
                    p(0x50, packet_id),
                    p(0x70, packet_id),
                    p(0x82, packet_id + none + s(dice.choice([b"#", b"x/+", b"$share/g/x", b"+"])) + bytes((qos,))),
                    p(0xA2, packet_id + none + s(dice.choice([b"#", b"x/+"]))),
                    b"\xc0\x00",
                    b"\xe0\x00",
                ]
            )
        )
    return packets


def spoilt(dice, packets):
    kind = dice.randrange(6)
    if kind == 0:
        return b"".join(packets)
    if kind == 1:
        dice.shuffle(packets)
        return b"".join(packets)
    data = bytearray(b"".join(packets))
    if kind == 2:
        for _ in range(dice.randrange(1, 5)):
            data[dice.randrange(len(data))] = dice.randrange(256)
    elif kind == 3:
        del data[dice.randrange(len(data)) :]
    elif kind == 4:
        where = dice.randrange(len(packets[0]), len(data) + 1)
        data[where:where] = dice.randbytes(dice.randrange(1, 20))
    else:
        where = dice.randrange(len(packets[0]), len(data))
        data[where] ^= 1 << dice.randrange(8)
    return bytes(data)


@pytest.mark.parametrize("rounds", [400, pytest.param(20_000, marks=pytest.mark.long)])
def test_spoilt_conversations(start, raw, rounds):
    server = start(sys_interval_s=1, queue_messages_max=100, retained_messages_max=50)
    dice = random.Random(11)
    for _ in range(rounds):
        data = spoilt(dice, conversation(dice, dice.choice([4, 5, 5])))
        with socket.create_connection(("127.0.0.1", server.port), 5) as client:
            try:
                cut = dice.randrange(len(data) + 1)
                client.sendall(data[:cut])
                client.sendall(data[cut:])
                if dice.randrange(2):
                    client.settimeout(0.002)
                    client.recv(65536)
            except OSError:
                pass  # closed on us, or nothing to say
    server.until(lambda: server.metrics.connections == 0)
    client = raw(server).connect("fresh", user="dev")
    client.publish("althing/v1/dev/t", b"still here", 1, 1)
    assert client.read().kind == 4
    assert server.metrics.protocol_errors > rounds // 20
    assert server.metrics.ingested > 0
