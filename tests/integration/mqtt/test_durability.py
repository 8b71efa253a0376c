"""When acknowledgements leave, and what a take-over or a full disk may not change."""

from __future__ import annotations

import asyncio
import threading

from althing.gateway.ingest.mqtt import MemorySessionStore, SessionStoreError
from althing.gateway.ingest.port import Accepted

DURABLE = b"\x11\x00\x00\x00\x3c"
TOPIC = "althing/v1/dev/temp"


class Gated(MemorySessionStore):
    """A disk that waits for the test, or is full."""

    blocking = True

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.full = False

    def write(self, changes):
        assert self.gate.wait(10)
        if self.full:
            raise SessionStoreError("mqtt_store.full", "no room")
        super().write(changes)


def test_nothing_is_acknowledged_before_the_store_has_it(start, raw):
    store = Gated()
    server = start(store=store)
    sub = raw(server).connect("sub", properties=DURABLE)
    sub.subscribe(("a", 2))
    pub = raw(server).connect("pub", properties=DURABLE)
    store.gate.clear()
    pub.publish("a", b"1", 1, 1)
    pub.publish("a", b"2", 2, 2)
    pub.publish("kept", b"3", 1, 3, retain=True)
    pub.silent()
    sub.silent()
    store.gate.set()
    assert sorted(pub.read().kind for _ in range(3)) == [4, 4, 5]
    assert [sub.body_of(sub.read())[0] for _ in range(2)] == [b"1", b"2"]


def test_subscriptions_and_releases_wait_too(start, raw):
    store = Gated()
    server = start(store=store)
    client = raw(server).connect("c", properties=DURABLE)
    client.publish("a", b"x", 2, 7)
    assert client.read().kind == 5
    store.gate.clear()
    client.ack(6, 7)
    client.send(b"\x82\x07\x00\x09\x00\x00\x01b\x01")
    client.silent()
    store.gate.set()
    assert {client.read().kind, client.read().kind} == {7, 9}


def test_a_full_disk_withholds_and_loses_nothing(start, raw):
    store = Gated()
    server = start(store=store)
    sub = raw(server).connect("sub", properties=DURABLE)
    sub.subscribe(("a", 1))
    store.full = True
    pub = raw(server).connect("pub")
    pub.publish("a", b"1", 1, 1)
    server.until(lambda: server.metrics.store_failures >= 1)
    pub.silent()
    sub.silent()
    pub.publish("nobody", b"x", 0)
    pub.silent()
    store.full = False
    assert pub.read().kind == 4
    assert sub.body_of(sub.read())[0] == b"1"


def test_ingest_needs_no_disk_of_ours_when_nobody_listens(start, raw):
    store = Gated()
    server = start(store=store)
    store.gate.clear()
    client = raw(server).connect("c", user="dev")
    client.publish(TOPIC, b"x", 1, 1)
    assert client.read().kind == 4
    store.gate.set()


def test_takeover_while_the_intake_decides(start, raw):
    server = start()
    server.intake.hold = True
    watcher = raw(server).connect("w")
    watcher.subscribe((TOPIC, 2))
    first = raw(server).connect("c", user="dev", properties=DURABLE)
    first.publish(TOPIC, b"x", 2, 5)
    server.until(lambda: len(server.intake.held) == 1)
    second = raw(server).connect("c", clean=False, user="dev", properties=DURABLE)
    second.publish(TOPIC, b"x", 2, 5, dup=True)
    second.silent()
    assert len(server.intake.held) == 1
    server.call(server.intake.held[0][1], Accepted(1))
    assert second.read().kind == 5
    assert watcher.read().kind == 3
    watcher.silent()
    second.ack(6, 5)
    assert second.read().body == b"\0\5"


def test_an_answer_after_the_session_is_gone_is_harmless(start, raw):
    server = start()
    server.intake.hold = True
    client = raw(server).connect("c", user="dev")
    for qos in (0, 1, 2):
        client.publish(TOPIC, b"x", qos, qos)
    server.until(lambda: len(server.intake.held) == 3)
    client.socket.close()
    server.until(lambda: server.metrics.sessions == 0)
    for _, done in server.intake.held:
        server.call(done, Accepted(1))
    assert server.metrics.ingested == 3


def test_a_duplicate_that_is_replayed_is_not_brokered_again(start, raw):
    server = start()
    watcher = raw(server).connect("w")
    watcher.subscribe((TOPIC, 1))
    key = b"\x26" + b"\x00\x0fIdempotency-Key" + b"\x00\x01k"
    client = raw(server).connect("c", user="dev")
    for packet_id in (1, 2):
        client.publish(TOPIC, b"x", 1, packet_id, properties=key)
        assert client.read().body == packet_id.to_bytes(2, "big")
    assert watcher.read().kind == 3
    watcher.silent()
    assert len(server.intake.items) == 1


def test_a_restart_in_the_same_store_keeps_packet_identifiers(start, raw):
    store = MemorySessionStore()
    server = start(store=store)
    sub = raw(server).connect("sub", properties=DURABLE)
    sub.subscribe(("a", 2))
    pub = raw(server).connect("pub")
    for number in range(1, 4):
        pub.publish("a", bytes((number,)), 2, number)
        pub.read()
    sent = [sub.read().packet_id for _ in range(3)]
    server.stop()
    again = start(store=store)
    sub = raw(again).connect("sub", clean=False, properties=DURABLE)
    found = [sub.read() for _ in range(3)]
    assert [one.packet_id for one in found] == sent
    assert [sub.body_of(one)[0] for one in found] == [b"\1", b"\2", b"\3"]
    assert all(one.dup for one in found)


def test_under_the_standard_event_loop(start, raw):
    server = start(loop_factory=asyncio.new_event_loop)
    client = raw(server).connect("c", user="dev")
    client.subscribe(("#", 1))
    client.publish(TOPIC, b"x" * 200_000, 1, 1)
    assert sorted(client.read().kind for _ in range(2)) == [3, 4]
