"""SIGKILL at awkward moments: sessions, subscriptions, queues, retained messages and QoS 2 state are still there."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

DURABLE = b"\x11\x00\x00\x0e\x10"


class Killable:
    def __init__(self, directory):
        self.directory = directory
        self.port = 0
        self.start()

    def start(self):
        command = [sys.executable, str(Path(__file__).with_name("serve.py")), str(self.directory), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def again(self):
        self.kill()
        self.start()
        return SimpleNamespace(port=self.port)

    def accepted(self):
        return [line.split(" ") for line in (self.directory / "accepted").read_text().splitlines()]


@pytest.fixture
def killable(tmp_path):
    one = Killable(tmp_path)
    yield one
    one.kill()


def test_what_survives(killable, raw):
    server = SimpleNamespace(port=killable.port)
    sub = raw(server).connect("sub", properties=DURABLE, user="dev")
    sub.subscribe(("a/#", 2), properties=b"\x0b\x07")
    old = raw(server, 4).connect("old", clean=False)
    old.subscribe(("a/#", 1))
    old.disconnect()
    pub = raw(server).connect("pub", properties=DURABLE, user="dev")
    pub.publish("a/1", b"one", 1, 1, properties=b"\x03\x00\x01t")
    pub.publish("a/2", b"two", 2, 2)
    pub.publish("r", b"kept", 1, 3, retain=True)
    assert sorted(pub.read().kind for _ in range(3)) == [4, 4, 5]
    first, second = sub.read(), sub.read()
    sub.ack(5, second.packet_id)
    assert sub.read().kind == 6

    server = killable.again()
    sub = raw(server).connect("sub", clean=False, properties=DURABLE, user="dev")
    assert sub.present
    found = {one.kind: one for one in (sub.read(), sub.read())}
    assert found[6].packet_id == second.packet_id
    assert (found[3].packet_id, found[3].topic) == (first.packet_id, "a/1")
    assert sub.body_of(found[3]) == (b"one", b"\x0b\x07\x03\x00\x01t")
    sub.ack(7, second.packet_id)
    sub.ack(4, first.packet_id)

    old = raw(server, 4).connect("old", clean=False)
    assert old.present
    assert [old.body_of(old.read())[0] for _ in range(2)] == [b"one", b"two"]

    pub = raw(server).connect("pub", clean=False, properties=DURABLE, user="dev")
    assert pub.present
    pub.publish("a/2", b"two", 2, 2, dup=True)
    assert pub.read().kind == 5
    sub.silent()
    pub.ack(6, 2)
    assert pub.read().body == b"\0\2"
    pub.publish("a/2", b"three", 2, 2)
    assert pub.read().kind == 5
    assert sub.body_of(sub.read())[0] == b"three"
    reader = raw(server).connect("reader")
    reader.subscribe(("r", 0))
    assert reader.body_of(reader.read())[0] == b"kept"

    server = killable.again()
    sub = raw(server).connect("sub", clean=False, properties=DURABLE, user="dev")
    assert sub.body_of(sub.read())[0] == b"three"
    sub.silent()


def test_a_will_survives_the_kill_of_the_server(killable, raw):
    server = SimpleNamespace(port=killable.port)
    raw(server).connect("c", properties=DURABLE, user="dev", will=("gone", "lost", 1, False))
    back = raw(server).connect("back", properties=DURABLE, user="dev", will=("gone", "back", 1, False))
    back.silent()
    server = killable.again()
    watcher = raw(server).connect("w")
    watcher.subscribe(("gone", 0))
    raw(server).connect("back", clean=False, properties=DURABLE, user="dev")
    assert watcher.body_of(watcher.read())[0] == b"lost"
    time.sleep(0.3)
    watcher.silent()
    assert [bytes.fromhex(body) for _, body in killable.accepted()] == [b"lost"]


def test_another_process_on_the_same_store_is_refused(killable, tmp_path):
    command = [sys.executable, str(Path(__file__).with_name("serve.py")), str(tmp_path), "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "mqtt_store.locked" in done.stderr


@pytest.mark.parametrize("rounds", [6, pytest.param(100, marks=pytest.mark.long)])
def test_exactly_once_through_kills(killable, raw, rounds):
    """QoS 2 into the intake, and from there to a durable QoS 2 subscriber: each message once at both ends."""
    random_moment = random.Random(7)
    total = rounds * 30
    sent = released = 0
    unreleased: dict[int, bytes] = {}  # packet identifier → payload, PUBREC not yet seen
    owed: dict[int, bytes] = {}  # PUBREC seen, PUBCOMP not
    got: list[bytes] = []
    held: set[int] = set()  # the subscriber's QoS 2 identifiers between PUBLISH and PUBREL
    server = SimpleNamespace(port=killable.port)

    def connect(clean):
        pub = raw(server).connect("pub", clean=clean, properties=DURABLE, user="dev")
        sub = raw(server).connect("sub", clean=clean, properties=DURABLE, user="dev")
        if clean:
            sub.subscribe(("althing/v1/dev/#", 2))
        else:
            assert pub.present
            assert sub.present
        for packet_id, payload in unreleased.items():
            pub.publish("althing/v1/dev/t", payload, 2, packet_id, dup=True)
        for packet_id in owed:
            pub.ack(6, packet_id)
        return pub, sub

    def from_sub(found):
        if found.kind == 3:
            if found.packet_id not in held:
                held.add(found.packet_id)
                got.append(sub.body_of(found)[0])
            sub.ack(5, found.packet_id)
        elif found.kind == 6:
            held.discard(found.packet_id)
            sub.ack(7, found.packet_id)

    def from_pub(found):
        nonlocal released
        if found.kind == 5 and found.packet_id in unreleased:
            owed[found.packet_id] = unreleased.pop(found.packet_id)
            pub.ack(6, found.packet_id)
        elif found.kind == 7 and owed.pop(found.packet_id, None) is not None:
            released += 1

    def step(timeout_s):
        progress = False
        for one, handle in ((pub, from_pub), (sub, from_sub)):
            try:
                found = one.read(timeout_s)
            except TimeoutError:
                continue
            if found is None:
                raise ConnectionError
            handle(found)
            progress = True
        return progress

    pub, sub = connect(True)
    kills = 0
    while len(got) < total or released < total:
        until = time.monotonic() + random_moment.uniform(0.02, 0.25)
        while time.monotonic() < until or kills >= rounds:
            while sent < total and len(unreleased) + len(owed) < 8:
                packet_id = next(i for i in range(1, 20) if i not in unreleased and i not in owed)
                sent += 1
                unreleased[packet_id] = sent.to_bytes(4, "big")
                pub.publish("althing/v1/dev/t", unreleased[packet_id], 2, packet_id)
            if not step(0.01) and len(got) >= total and released >= total:
                break
        if kills < rounds:
            kills += 1
            server = killable.again()
            pub, sub = connect(False)
    expected = [number.to_bytes(4, "big") for number in range(1, total + 1)]
    assert sorted(bytes.fromhex(body) for _, body in killable.accepted()) == expected
    assert sorted(got) == expected
