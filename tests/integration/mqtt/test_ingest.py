"""`althing/v1/<device>/<stream>`: to the intake, acknowledged only when accepted, refused with words, slow without loss."""

from __future__ import annotations

import hashlib

import pytest

from althing.gateway.ingest.mqtt import Denied, DeviceAccess, LmdbSessionStore, Reason, StaticTokens
from althing.gateway.ingest.port import Accepted, Busy, Principal, Refused

TOPIC = "althing/v1/dev/temp"


def arrived(server):
    return server.intake.arrived.get(timeout=5)


@pytest.mark.parametrize("level", [3, 4, 5])
def test_qos1_reaches_the_intake_and_is_acknowledged(server, raw, level):
    client = raw(server, level).connect("c", user="dev")
    client.publish(TOPIC, b"\x00\xff body", 1, 77)
    answer = client.read()
    assert (answer.kind, answer.body) == (4, b"\0\x4d")
    item = arrived(server)
    assert (item.device, item.stream, item.body) == ("dev", "temp", b"\x00\xff body")
    assert item.principal == Principal("dev", "", "open")
    assert (item.content_type, item.dedup_key, item.transport, item.origin_gateway) == ("", b"", "mqtt", False)


def test_no_acknowledgement_before_the_intake_decides(server, raw):
    server.intake.hold = True
    client = raw(server).connect("c", user="dev")
    client.publish(TOPIC, b"1", 1, 1)
    client.publish(TOPIC, b"2", 2, 2)
    arrived(server), arrived(server)
    client.silent()
    for number, (_, done) in enumerate(server.intake.held):
        server.call(done, Accepted(number))
    assert [client.read().kind, client.read().kind] == [4, 5]


def test_content_type_and_idempotency_key(server, raw):
    client = raw(server).connect("c", user="dev")
    key = b"\x26" + b"\x00\x0fIdempotency-Key" + b"\x00\x04k-17"
    client.publish(TOPIC, b"{}", 1, 1, properties=b"\x03\x00\x10application/json" + key)
    item = arrived(server)
    assert item.content_type == "application/json"
    assert item.dedup_key == b"k-17"


def test_many_packets_of_one_segment_are_answered_in_order(server, raw):
    client = raw(server).connect("c", user="dev")
    body = b"".join(
        bytes((0x32, 2 + len(TOPIC) + 3 + 1))
        + len(TOPIC).to_bytes(2, "big")
        + TOPIC.encode()
        + i.to_bytes(2, "big")
        + b"\0x"
        for i in range(1, 101)
    )
    client.send(body)
    assert [client.read().packet_id for _ in range(100)] == list(range(1, 101))
    assert server.metrics.ingested == 100


def test_refusal_is_told_to_mqtt5_with_a_reason(server, raw):
    codes = {
        "payload.not_senml": 0x99,
        "auth.unknown_key": 0x87,
        "quota.bytes": 0x97,
        "device.suspended": 0x87,
        "something.else": 0x83,
        "stream.rate": 0x97,
    }
    client = raw(server).connect("c", user="dev")
    for packet_id, (code, reason) in enumerate(codes.items(), 1):
        server.intake.answer = lambda item, code=code: Refused(code, "because")
        for qos, kind in ((1, 4), (2, 5)):
            client.publish(TOPIC, b"x", qos, packet_id)
            answer = client.read()
            assert (answer.kind, answer.packet_id, answer.body[2]) == (kind, packet_id, reason)
            assert f"{code}: because".encode() in answer.body
    assert server.metrics.refused == 2 * len(codes)


def test_no_reason_string_for_who_does_not_want_it(server, raw):
    server.intake.answer = lambda item: Refused("payload.bad", "because")
    client = raw(server).connect("c", user="dev", properties=b"\x17\x00")
    client.publish(TOPIC, b"x", 1, 1)
    assert client.read().body == b"\0\1\x99"


def test_refusal_is_a_plain_acknowledgement_before_mqtt5(server, raw):
    server.intake.answer = lambda item: Refused("payload.bad", "because")
    client = raw(server, 4).connect("c", user="dev")
    client.publish(TOPIC, b"x", 1, 1)
    assert (client.read().body) == b"\0\1"
    client.publish(TOPIC, b"x", 2, 2)
    assert client.read().kind == 5
    client.ack(6, 2)
    assert client.read().kind == 7


def test_busy_keeps_the_order_answers_pings_and_loses_nothing(server, raw):
    server.intake.answer = lambda item: Busy(1)
    client = raw(server).connect("c", user="dev")
    for i in range(1, 21):
        client.publish(TOPIC, bytes((i,)), 1, i)
    server.until(lambda: server.metrics.busy_retries >= 3)
    client.silent()
    server.intake.answer = lambda item: Accepted(1)
    assert [client.read().packet_id for _ in range(20)] == list(range(1, 21))
    assert [item.body[0] for item in server.intake.items] == list(range(1, 21))


def test_a_stalled_stream_does_not_keep_up_the_others_of_a_relay(server, raw):
    server.intake.answer = lambda item: Busy(60) if item.stream == "held" else Accepted(1)
    client = raw(server).connect("c", user="dev")
    for i in range(1, 4):
        client.publish("althing/v1/dev/held", bytes((i,)), 1, i)
    client.publish(TOPIC, b"other", 1, 4)
    assert client.read().packet_id == 4
    server.until(lambda: server.metrics.busy_retries >= 3)
    client.publish(TOPIC, b"other", 1, 5)
    assert client.read().packet_id == 5
    client.silent()
    server.intake.answer = lambda item: Accepted(1)
    assert [client.read().packet_id for _ in range(3)] == [1, 2, 3]
    assert [item.body[0] for item in server.intake.items if item.stream == "held"] == [1, 2, 3]


def test_busy_with_qos2_and_a_client_that_leaves(server, raw):
    server.intake.answer = lambda item: Busy(1)
    client = raw(server).connect("c", user="dev", properties=b"\x11\0\0\0\x3c")
    client.publish(TOPIC, b"x", 2, 5)
    server.until(lambda: server.metrics.busy_retries >= 1)
    first = arrived(server).dedup_key
    client.socket.close()
    server.until(lambda: server.metrics.connections == 0)
    server.intake.answer = lambda item: Accepted(1)
    client = raw(server).connect("c", clean=False, user="dev", properties=b"\x11\0\0\0\x3c")
    assert client.present
    client.publish(TOPIC, b"x", 2, 5, dup=True)
    assert client.read().kind == 5
    assert [item.dedup_key for item in server.intake.items] == [first]


def test_qos0_is_dropped_and_counted_when_overloaded(server, raw):
    server.intake.overloaded = True
    client = raw(server).connect("c", user="dev")
    client.publish(TOPIC, b"x")
    client.silent()
    server.intake.overloaded = False
    client.publish(TOPIC, b"y")
    assert arrived(server).body == b"y"
    assert server.metrics.dropped_qos0 == 1


def test_receive_maximum_is_told_and_kept(start, raw):
    server = start(receive_maximum=5)
    server.intake.hold = True
    client = raw(server).connect("c", user="dev")
    assert b"\x21\x00\x05" in client.connack
    for i in range(1, 6):
        client.publish(TOPIC, b"x", 1, i)
    client.silent()
    client.publish(TOPIC, b"x", 1, 6)
    client.closed(0x93)


def test_older_client_is_slowed_down_not_closed(start, raw):
    server = start(legacy_receive_maximum=10)
    server.intake.hold = True
    client = raw(server, 4).connect("c", user="dev")
    for i in range(1, 101):
        client.publish(TOPIC, b"x", 1, i)
    seen = 0
    while seen < 100:
        server.until(lambda: server.intake.held)
        item = server.call(lambda: [server.intake.held.pop(0) for _ in range(len(server.intake.held))])
        for _, done in item:
            server.call(done, Accepted(1))
            seen += 1
    assert [client.read().packet_id for _ in range(100)] == list(range(1, 101))


def test_a_foreign_device_is_refused_and_recorded(start, raw):
    class Log:
        def __init__(self):
            self.seen = []
            self.busy = 2

        def record(self, item, refusal, done):
            self.busy -= 1
            if self.busy >= 0:
                done(Busy(1))
                return
            self.seen.append((item.device, item.principal.device, refusal.code))
            done(refusal)

    log = Log()
    server = start(refusals=log)
    client = raw(server).connect("c", user="dev")
    client.publish("althing/v1/other/temp", b"x", 1, 1)
    assert client.read().body[2] == 0x87
    assert log.seen == [("other", "dev", "auth.wrong_device")]
    assert log.busy == -1, "answered only when it was recorded"
    client.publish("althing/v1/dev", b"x", 1, 2)
    assert client.read().body[2] == 0x90
    client.publish("althing/v1/dev/a/b", b"x", 1, 3)
    assert client.read().body[2] == 0x90
    client.publish("althing/v1//a", b"x", 2, 4)
    assert client.read().body[2] == 0x90
    assert not server.intake.items


def test_retained_is_ingested_once_and_delivered_to_later_subscribers(server, raw):
    client = raw(server).connect("c", user="dev")
    client.publish(TOPIC, b"21.5", 1, 1, retain=True)
    assert client.read().kind == 4
    assert client.subscribe((TOPIC, 1)) == [1]
    found = client.read()
    assert (found.topic, found.retain) == (TOPIC, True)
    assert len(server.intake.items) == 1


def test_subscribers_get_it_only_after_acceptance(server, raw):
    watcher = raw(server).connect("w", user="dev")
    watcher.subscribe(("althing/v1/dev/#", 1))
    client = raw(server).connect("c", user="dev")
    server.intake.answer = lambda item: Refused("payload.bad", "no")
    client.publish(TOPIC, b"bad", 1, 1)
    assert client.read().body[2] == 0x99
    watcher.silent()
    server.intake.answer = lambda item: Accepted(1)
    client.publish(TOPIC, b"good", 1, 2)
    assert client.read().kind == 4
    assert watcher.body_of(watcher.read())[0] == b"good"


def test_a_will_is_brokered_and_recorded_on_the_status_stream(server, raw):
    watcher = raw(server).connect("w")
    watcher.subscribe(("gone/#", 1))
    client = raw(server).connect("c", user="dev", will=("gone/dev", "lost", 1, False, b"\x03\x00\x04text"))
    client.socket.close()
    assert watcher.body_of(watcher.read()) == (b"lost", b"\x03\x00\x04text")
    item = arrived(server)
    assert (item.device, item.stream, item.body) == ("dev", "status", b"lost")
    assert (item.content_type, item.origin_gateway) == ("text", True)
    assert item.dedup_key


def test_a_clean_disconnect_has_no_will_and_reason_4_has(server, raw):
    raw(server).connect("c", user="dev", will=("gone", "1", 0, False)).disconnect()
    server.until(lambda: server.metrics.connections == 0)
    assert server.metrics.wills == 0
    raw(server).connect("c", user="dev", will=("gone", "2", 0, False)).disconnect(b"\x04")
    assert arrived(server).body == b"2"


def test_tokens_and_revocation(start, raw):
    tokens = StaticTokens({"dev": hashlib.sha256(b"secret").digest()}, "org")
    server = start(authenticator=tokens, access=DeviceAccess())
    raw(server).connect("c", user="dev", password="wrong", expect=0x86).closed()
    raw(server, 4).connect("c", user="dev", password="wrong", expect=4).closed()
    raw(server).connect("c", user="nobody", password="", expect=0x86)
    raw(server).connect("c", expect=0x86)
    client = raw(server).connect("c", user="dev", password="secret")
    old = raw(server, 4).connect("d", user="dev", password="secret")
    assert client.subscribe(("althing/v1/dev/#", 0), ("althing/v1/x/#", 0), ("#", 0)) == [0, 0x87, 0]
    client.publish("$SYS/x", b"", 1, 1)
    assert client.read().body[2] == 0x90
    assert server.call(server.server.disconnect_device, "dev") == 2
    client.closed(0x98)
    old.closed()
    assert server.call(server.server.disconnect_device, "dev") == 0


def test_an_authenticator_may_take_its_time_while_bytes_wait(start, raw):
    class Slow:
        open = True

        def __init__(self):
            self.waiting = []

        def authenticate(self, credentials, done):
            self.waiting.append((credentials, done))

    slow = Slow()
    server = start(authenticator=slow)
    client = raw(server)
    hello = b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03one"
    client.send(hello + b"\xc0\x00" + b"\xc0")
    server.until(lambda: slow.waiting)
    client.send(b"\x00")
    assert slow.waiting[0][0].client_id == "one"
    assert slow.waiting[0][0].peer == "127.0.0.1"
    server.call(slow.waiting[0][1], Principal("one", "", "open"))
    assert [client.read().kind for _ in range(3)] == [2, 13, 13]
    refused = raw(server)
    refused.send(hello)
    server.until(lambda: len(slow.waiting) == 2)
    server.call(slow.waiting[1][1], Denied(Reason.BANNED, "go away"))
    assert refused.read().body[:2] == b"\0\x8a"
    refused.closed()


def test_nobody_takes_over_a_foreign_session(server, raw):
    mine = raw(server).connect("shared-id", user="dev", properties=b"\x11\0\0\0\x3c")
    raw(server).connect("shared-id", user="thief", expect=0x87).closed()
    raw(server, 4).connect("shared-id", user="thief", expect=5).closed()
    mine.silent()


@pytest.mark.parametrize("durable", [False, True])
def test_qos2_use_of_a_packet_identifier(start, raw, tmp_path, durable):
    """A repetition before PUBREL is one message; the identifier's next use after PUBCOMP is another."""
    store = LmdbSessionStore(tmp_path / "store") if durable else None
    server = start(store=store)
    expiry = b"\x11\0\0\0\x3c" if durable else b""
    client = raw(server).connect("c", user="dev", properties=expiry)
    client.publish(TOPIC, b"1", 2, 9)
    assert client.read().kind == 5
    client.publish(TOPIC, b"1", 2, 9, dup=True)
    assert client.read().kind == 5
    client.ack(6, 9)
    assert client.read().body == b"\0\x09"
    client.ack(6, 9)
    assert client.read().body == b"\0\x09\x92"
    client.publish(TOPIC, b"1", 2, 9)
    assert client.read().kind == 5
    keys = [item.dedup_key for item in server.intake.items]
    assert len(keys) == len(set(keys)) == 2
