"""Simulated devices by the thousand: keys, messages and their order come from a seed; asyncio, a few connections.

fleet = Fleet("seed", ed25519=500, p256=10, unsigned=490)
await fleet.register(client, gateway)                     # accounts and streams on the chain
load = HttpLoad(url, fleet.devices, tokens, journal)      # or MqttLoad: one connection is one device at a time
await load.run(messages_each=10)

What was sent and what was acknowledged stands in the `Journal`, which the audit of a chain compares with its archive.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Any, Final

import httpx2

from althing.client import AsyncClient
from althing.gateway.ingest.mqtt.codec import encode_varint
from althing.protocol.message import CONTENT_TYPE_COSE, sign_message
from althing.protocol.messages.devices import RegisterDevice
from althing.protocol.messages.identity import Key
from althing.protocol.messages.streams import DefineStream
from althing.protocol.schema import Quantity, StreamSchema
from althing.protocol.signatures import PrivateKey, Suite

__all__ = ["SCHEMA", "Fleet", "HttpLoad", "Identity", "Journal", "MqttLoad", "SimulatedDevice", "SimulatedMessage"]

SCHEMA: Final = StreamSchema((Quantity("t", "Cel"), Quantity("rh", "%RH")), content_type="application/senml+json")
_RETRY_S: Final = 0.1
_ANSWER_S: Final = 20.0


class Identity(Enum):
    """What makes a message the same when it is sent again (formats.md)."""

    COUNTER = "counter"  # signed: device and counter
    KEY = "key"  # Idempotency-Key
    SESSION = "session"  # QoS 2 packet identifier
    NONE = "none"  # unsigned QoS 1 without a key: at least once


@dataclass(frozen=True, slots=True)
class SimulatedMessage:
    """A message to be sent, as often as needed, byte for byte. No two messages of a fleet have one body."""

    device: str
    stream: str
    index: int
    body: bytes
    content_type: str
    identity: Identity

    @property
    def path(self) -> str:
        return f"{self.device}/{self.stream}"

    @property
    def key(self) -> str:
        """Its Idempotency-Key, "" for none."""
        return f"{self.device}-{self.index}" if self.identity is Identity.KEY else ""


@dataclass(frozen=True, slots=True)
class SimulatedDevice:
    """One device. `key` None: it cannot sign, and the gateway attests."""

    name: str
    streams: tuple[str, ...]
    key: PrivateKey | None
    chain_id: str = ""
    genesis_hash: bytes = b""

    def message(self, index: int, identity: Identity = Identity.KEY) -> SimulatedMessage:
        """Message `index`: SenML with two quantities that follow from name and index. Signed ones are made once and kept
        by whoever sends them, because an ECDSA signature differs each time."""
        stream = self.streams[index % len(self.streams)]
        mixed = int.from_bytes(sha256(f"{self.name} {index}".encode()).digest()[:4], "big")
        pack = [
            {"bn": f"{self.name}/{index}:", "n": "t", "u": "Cel", "v": mixed % 6000 / 100 - 10},
            {"n": "rh", "u": "%RH", "v": mixed // 6000 % 1000 / 10},
        ]
        body = json.dumps(pack, separators=(",", ":")).encode()
        if self.key is None:
            return SimulatedMessage(self.name, stream, index, body, "application/senml+json", identity)
        signed = sign_message(
            self.key,
            self.genesis_hash,
            self.chain_id,
            f"{self.name}/{stream}",
            index,
            body,
            content_type="application/senml+json",
        )
        return SimulatedMessage(self.name, stream, index, signed, CONTENT_TYPE_COSE, Identity.COUNTER)


@dataclass(slots=True)
class Fleet:
    """Devices derived from a seed. After `register` they know their chain and can sign."""

    seed: str
    ed25519: int = 0
    p256: int = 0
    unsigned: int = 0
    streams: int = 1
    devices: tuple[SimulatedDevice, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = tuple(f"s{number}" for number in range(self.streams))
        kinds = [Suite.ED25519] * self.ed25519 + [Suite.ES256] * self.p256 + [None] * self.unsigned
        self.devices = tuple(
            SimulatedDevice(
                f"sim-{number}",
                names,
                None if suite is None else PrivateKey(suite, sha256(f"{self.seed} device {number}".encode()).digest()),
            )
            for number, suite in enumerate(kinds)
        )

    def bind(self, chain_id: str, genesis_hash: bytes) -> None:
        """Tell the devices which chain they sign for."""
        self.devices = tuple(
            SimulatedDevice(device.name, device.streams, device.key, chain_id, genesis_hash) for device in self.devices
        )

    async def register(self, client: AsyncClient, organisation: bytes, gateway: bytes) -> None:
        """Put all devices and streams on the chain, one transaction a device, and bind the fleet to it."""
        under_way = []
        for device in self.devices:
            key = None if device.key is None else Key(device.key.suite, device.key.public)
            define = [DefineStream(device.name, stream, gateway, SCHEMA) for stream in device.streams]
            under_way.append(client.send_later(RegisterDevice(device.name, organisation, key, gateway, ()), *define))
        await asyncio.gather(*under_way)
        self.bind(client.trust.chain_id, client.trust.genesis_hash)


class Journal:
    """What was sent and how it was answered, by body. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[bytes, SimulatedMessage] = {}
        self._acknowledged: set[bytes] = set()
        self._refused: dict[bytes, str] = {}

    def sending(self, message: SimulatedMessage) -> None:
        """Called before a message leaves for the first time."""
        with self._lock:
            assert message.body not in self._sent, "two messages of a fleet have one body"
            self._sent[message.body] = message

    def acknowledged(self, message: SimulatedMessage) -> None:
        with self._lock:
            self._acknowledged.add(message.body)

    def refused(self, message: SimulatedMessage, code: str) -> None:
        with self._lock:
            self._refused[message.body] = code

    @property
    def sent_messages(self) -> Mapping[bytes, SimulatedMessage]:
        with self._lock:
            return dict(self._sent)

    @property
    def acknowledged_bodies(self) -> frozenset[bytes]:
        with self._lock:
            return frozenset(self._acknowledged)

    @property
    def refusals(self) -> Mapping[bytes, str]:
        with self._lock:
            return dict(self._refused)

    @property
    def unanswered(self) -> int:
        with self._lock:
            return len(self._sent) - len(self._acknowledged) - len(self._refused)


class HttpLoad:
    """A fleet over a few keep-alive connections: each request shows the token of its device."""

    def __init__(
        self,
        url: str | Callable[[], str],
        devices: Sequence[SimulatedDevice],
        tokens: Mapping[str, str],
        journal: Journal,
        *,
        connections: int = 8,
    ) -> None:
        self._url = url if callable(url) else lambda: str(url)
        self._devices = devices
        self._tokens = tokens
        self._journal = journal
        self._connections = connections

    async def run(self, messages_each: int, *, first: int = 0) -> None:
        """Send messages first … first + messages_each - 1 of every device; returns when all are answered."""
        work = _round_robin(self._devices, first, messages_each)
        limits = httpx2.Limits(max_connections=self._connections, max_keepalive_connections=self._connections)
        async with httpx2.AsyncClient(timeout=_ANSWER_S, limits=limits) as http:
            await asyncio.gather(*(self._send_all(http, work) for _ in range(self._connections)))

    async def _send_all(self, http: httpx2.AsyncClient, work: Iterator[tuple[SimulatedDevice, int]]) -> None:
        for device, index in work:
            message = device.message(index)
            self._journal.sending(message)
            headers = {"authorization": f"Bearer {self._tokens[device.name]}", "content-type": message.content_type}
            if message.key:
                headers["idempotency-key"] = message.key
            while True:
                path = f"/v1/messages/{message.device}/{message.stream}"
                try:
                    answer = await http.post(self._url() + path, content=message.body, headers=headers)
                except httpx2.TransportError:
                    await asyncio.sleep(_RETRY_S)
                    continue
                if answer.status_code != 503:
                    break
                await asyncio.sleep(_RETRY_S)
            if answer.status_code == 200:
                self._journal.acknowledged(message)
            else:
                self._journal.refused(message, answer.text)


class MqttLoad:
    """A fleet over MQTT 5, QoS 1, pipelined. A connection belongs to one device, so a few connections visit all of them
    in turn; a visit that breaks off is repeated with the same messages."""

    def __init__(
        self,
        address: Callable[[], tuple[str, int]],
        devices: Sequence[SimulatedDevice],
        tokens: Mapping[str, str],
        journal: Journal,
        *,
        connections: int = 8,
        in_flight: int = 20,
    ) -> None:
        self._address = address
        self._devices = devices
        self._tokens = tokens
        self._journal = journal
        self._connections = connections
        self._in_flight = in_flight

    async def run(self, messages_each: int, *, first: int = 0) -> None:
        """Send messages first … first + messages_each - 1 of every device; returns when all are answered."""
        work = iter(self._devices)

        async def visit_all() -> None:
            for device in work:
                messages = [device.message(index) for index in range(first, first + messages_each)]
                for message in messages:
                    self._journal.sending(message)
                await self._visit(device, messages)
                while messages:
                    await asyncio.sleep(_RETRY_S)
                    await self._visit(device, messages)

        await asyncio.gather(*(visit_all() for _ in range(self._connections)))

    async def _visit(self, device: SimulatedDevice, messages: list[SimulatedMessage]) -> None:
        """Send what is not answered yet over one connection; `messages` keeps what is not answered then."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        host, port = self._address()
        packets = {index + 1: message for index, message in enumerate(messages)}
        encoded = [
            _publish(f"althing/v1/{message.path}", message.body, number, message.content_type, message.key)
            for number, message in packets.items()
        ]

        def answered(number: int, reason: int) -> None:
            message = packets.pop(number)
            messages.remove(message)
            if reason < 0x80:
                self._journal.acknowledged(message)
            else:
                self._journal.refused(message, f"reason {reason:#x}")

        hello = _connect(device.name, device.name, self._tokens[device.name])
        try:
            async with asyncio.timeout(_ANSWER_S):
                transport, _ = await loop.create_connection(
                    lambda: _Publisher(hello, encoded, self._in_flight, answered, ended), host, port
                )
                await ended
        except (OSError, TimeoutError):
            return
        transport.close()


class _Publisher(asyncio.Protocol):
    """Keeps up to `window` of the packets unanswered; `ended` is done when all are, or the connection is gone."""

    def __init__(
        self,
        hello: bytes,
        packets: list[bytes],
        window: int,
        answered: Callable[[int, int], None],
        ended: asyncio.Future[None],
    ) -> None:
        self._hello = hello
        self._packets = packets
        self._window = window
        self._answered = answered
        self._ended = ended
        self._sent = self._done = 0
        self._rest = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(self._hello)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        while len(data) - at >= 2 and len(data) - at >= 2 + data[at + 1]:  # no answer to a publisher is over 127 bytes
            self._packet(data[at] >> 4, data[at + 2 : at + 2 + data[at + 1]])
            at += 2 + data[at + 1]
        self._rest = data[at:]
        until = min(len(self._packets), self._done + self._window)
        if until > self._sent and self._done >= 0:
            self._transport.write(b"".join(self._packets[self._sent : until]))
            self._sent = until
        if self._done == len(self._packets) and not self._ended.done():
            self._transport.write(b"\xe0\0")
            self._ended.set_result(None)

    def _packet(self, kind: int, body: bytes) -> None:
        if kind == 2 and body[1]:
            self._transport.close()  # not admitted
        elif kind == 4:
            self._done += 1
            self._answered(int.from_bytes(body[:2], "big"), body[2] if len(body) > 2 else 0)


def _round_robin(devices: Sequence[SimulatedDevice], first: int, count: int) -> Iterator[tuple[SimulatedDevice, int]]:
    for index in range(first, first + count):
        for device in devices:
            yield device, index


def _text(value: str) -> bytes:
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + encode_varint(len(body)) + body


def _connect(client: str, user: str, password: str) -> bytes:
    """CONNECT of MQTT 5 with a clean start, user name, password and no keep-alive (§3.1)."""
    return _packet(0x10, _text("MQTT") + b"\x05\xc2\0\0\0" + _text(client) + _text(user) + _text(password))


def _publish(topic: str, body: bytes, number: int, content_type: str, key: str) -> bytes:
    """PUBLISH of MQTT 5 at QoS 1 with content type and, where there is one, Idempotency-Key (§3.3)."""
    properties = b"\x03" + _text(content_type)
    if key:
        properties += b"\x26" + _text("Idempotency-Key") + _text(key)
    head = _text(topic) + number.to_bytes(2, "big") + encode_varint(len(properties)) + properties
    return _packet(0x32, head + body)
