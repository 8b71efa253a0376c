"""A real server on a real socket, in a thread with its own loop; a byte-level client; an intake that obeys the test."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
import time

import pytest
import uvloop

from althing.gateway.ingest.mqtt import MemorySessionStore, MqttConfig, MqttServer, OpenAccess, OpenAuthenticator
from althing.gateway.ingest.port import Accepted, Busy, Refused

TIMEOUT_S = 5.0


class ObedientIntake:
    """Accepts by default; `answer` decides otherwise. Runs on the server's loop; the test reads `items`."""

    def __init__(self):
        self.items = []
        self.arrived = queue.Queue()
        self.overloaded = False
        self.answer = lambda item: Accepted(len(self.items))
        self.held = []
        self.hold = False
        self.keys = {}

    def submit(self, item, done):
        if self.hold:
            self.held.append((item, done))
            self.arrived.put(item)
            return
        outcome = self.answer(item)
        if isinstance(outcome, Accepted):
            if item.dedup_key and item.dedup_key in self.keys:
                outcome = Accepted(self.keys[item.dedup_key], duplicate=True)
            else:
                self.items.append(item)
                if item.dedup_key:
                    self.keys[item.dedup_key] = outcome.sequence
        self.arrived.put(item)
        done(outcome)


class Running:
    """A started server; `call` runs a function on its loop."""

    def __init__(self, server, intake, loop_factory=uvloop.new_event_loop):
        self.server = server
        self.intake = intake
        self.loop = loop_factory()
        self.errors = []
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.host, self.port = asyncio.run_coroutine_threadsafe(server.start(), self.loop).result(10)

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def call(self, function, *args):
        async def on_loop():
            return function(*args)

        return asyncio.run_coroutine_threadsafe(on_loop(), self.loop).result(10)

    @property
    def metrics(self):
        return self.server.metrics

    def until(self, condition, timeout_s=TIMEOUT_S):
        end = time.monotonic() + timeout_s
        while not self.call(condition):
            assert time.monotonic() < end, f"never came true; {self.metrics}"
            time.sleep(0.01)

    def stop(self):
        asyncio.run_coroutine_threadsafe(self.server.stop(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()
        assert not self.errors, self.errors


class Packet:
    def __init__(self, first, body):
        self.kind = first >> 4
        self.flags = first & 15
        self.body = body

    def __repr__(self):
        return f"Packet({self.kind}, {self.flags}, {self.body.hex()})"

    @property
    def packet_id(self):
        if self.kind == 3:
            at = 2 + int.from_bytes(self.body[:2], "big")
            return int.from_bytes(self.body[at : at + 2], "big")
        return int.from_bytes(self.body[:2], "big")

    @property
    def topic(self):
        return self.body[2 : 2 + int.from_bytes(self.body[:2], "big")].decode()

    @property
    def qos(self):
        return self.flags >> 1 & 3

    @property
    def dup(self):
        return bool(self.flags & 8)

    @property
    def retain(self):
        return bool(self.flags & 1)


def varint(value):
    out = bytearray()
    while True:
        value, digit = value >> 7, value & 127
        out.append(digit | (128 if value else 0))
        if not value:
            return bytes(out)


def text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return len(raw).to_bytes(2, "big") + raw


def packet(first, body):
    return bytes((first,)) + varint(len(body)) + body


class Raw:
    """Speaks bytes; every method is one packet. Nothing is checked but what the test asks."""

    def __init__(self, port, level=5):
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.level = level
        self.rest = b""

    def send(self, data):
        self.socket.sendall(data)

    def properties(self, raw):
        return varint(len(raw)) + raw if self.level == 5 else b""

    def connect(
        self, client="", clean=True, keep_alive=60, user=None, password=None, will=None, properties=b"", expect=0
    ):
        flags = (2 if clean else 0) | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
        payload = text(client)
        if will is not None:
            topic, message, qos, retain, *more = will
            flags |= 4 | qos << 3 | (0x20 if retain else 0)
            payload += self.properties(more[0] if more else b"") + text(topic) + text(message)
        if user is not None:
            payload += text(user)
        if password is not None:
            payload += text(password)
        name = "MQIsdp" if self.level == 3 else "MQTT"
        head = text(name) + bytes((self.level, flags)) + keep_alive.to_bytes(2, "big")
        self.send(packet(0x10, head + self.properties(properties) + payload))
        answer = self.read()
        assert answer.kind == 2, answer
        assert answer.body[1] == expect, answer
        self.present = bool(answer.body[0])
        self.connack = answer.body
        return self

    def publish(self, topic, payload=b"", qos=0, packet_id=1, retain=False, dup=False, properties=b""):
        body = text(topic) + (packet_id.to_bytes(2, "big") if qos else b"") + self.properties(properties) + payload
        self.send(packet(0x30 | (8 if dup else 0) | qos << 1 | retain, body))

    def subscribe(self, *filters, packet_id=10, properties=b""):
        body = packet_id.to_bytes(2, "big") + self.properties(properties)
        for topic_filter, options in filters:
            body += text(topic_filter) + bytes((options,))
        self.send(packet(0x82, body))
        answer = self.read()
        assert answer.kind == 9, answer
        assert answer.packet_id == packet_id
        return list(answer.body[3:] if self.level == 5 else answer.body[2:])

    def ack(self, kind, packet_id, reason=None):
        body = packet_id.to_bytes(2, "big") + (bytes((reason,)) if reason is not None else b"")
        self.send(packet(kind << 4 | (2 if kind == 6 else 0), body))

    def disconnect(self, body=b""):
        self.send(packet(0xE0, body))
        self.socket.close()

    def read(self, timeout_s=TIMEOUT_S):
        """The next packet; None when the server has closed."""
        self.socket.settimeout(timeout_s)
        while True:
            if len(self.rest) >= 2:
                length, at, shift = 0, 1, 0
                while at < len(self.rest):
                    digit = self.rest[at]
                    length |= (digit & 127) << shift
                    at += 1
                    shift += 7
                    if digit < 128:
                        if len(self.rest) >= at + length:
                            found = Packet(self.rest[0], self.rest[at : at + length])
                            self.rest = self.rest[at + length :]
                            return found
                        break
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.rest += data

    def body_of(self, found):
        """Payload of a PUBLISH, and its property bytes."""
        at = 2 + int.from_bytes(found.body[:2], "big") + (2 if found.qos else 0)
        if self.level != 5:
            return found.body[at:], b""
        length, shift = 0, 0
        while True:
            digit = found.body[at]
            length |= (digit & 127) << shift
            shift += 7
            at += 1
            if digit < 128:
                return found.body[at + length :], found.body[at : at + length]

    def silent(self):
        """Nothing has come: a PINGREQ is answered next."""
        self.send(b"\xc0\x00")
        found = self.read()
        assert found is not None
        assert found.kind == 13, found

    def closed(self, reason=None):
        """The server closes; an MQTT 5 client is told `reason` first."""
        found = self.read()
        if reason is not None:
            assert found is not None
            assert found.kind == 14, found
            assert found.body[0] == reason, found
            found = self.read()
        assert found is None, found


@pytest.fixture
def start():
    """Start a server with these settings; stopped at the end, when nothing may have gone wrong on its loop."""
    running = []

    def begin(store=None, authenticator=None, access=None, intake=None, refusals=None, loop_factory=None, **settings):
        settings.setdefault("port", 0)
        settings.setdefault("sys_interval_s", 0)
        intake = intake or ObedientIntake()
        server = MqttServer(
            MqttConfig(**settings),
            intake,
            authenticator or OpenAuthenticator(),
            access or OpenAccess(),
            store or MemorySessionStore(),
            refusals=refusals,
        )
        one = Running(server, intake, loop_factory or uvloop.new_event_loop)
        running.append(one)
        return one

    yield begin
    for one in running:
        if one.thread.is_alive():
            one.stop()


@pytest.fixture
def server(start):
    return start()


@pytest.fixture
def raw():
    """raw(server, level=5) opens a byte-level connection."""
    opened = []

    def connect(server, level=5):
        one = Raw(server.port, level)
        opened.append(one)
        return one

    yield connect
    for one in opened:
        one.socket.close()


@pytest.fixture
def outcomes():
    return {"accepted": Accepted, "busy": Busy, "refused": Refused}
