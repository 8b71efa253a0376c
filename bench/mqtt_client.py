"""The publisher of `bench.messages`: QoS 1 over many connections, a fixed number in flight on each, all encoded beforehand;
at a given rate, where the publisher has time, each when it is due: a long load need not be kept in memory.

A connection publishes for its share of the devices, so it gives no name (the listener is open, on loopback).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import uvloop

from althing.protocol.message import sign_message
from bench.population import device_key, device_name

_T0 = 1_700_000_000


class Publisher(asyncio.Protocol):
    """Keeps `in_flight` messages unacknowledged until its share is acknowledged."""

    def __init__(
        self, name: str, level: int, in_flight: int, rate: float, share: int, encode: Callable[[int], bytes]
    ) -> None:
        loop = asyncio.get_running_loop()
        self.share = share
        self.encode = encode
        self.packets = [] if rate else [encode(number) for number in range(share)]
        self.hello = connect_packet(name, level)
        self.in_flight = in_flight
        self.rate = rate  # messages a second; 0 is as fast as acknowledgements come
        self.sent = self.acknowledged = 0
        self.connected: asyncio.Future[None] = loop.create_future()
        self.finished: asyncio.Future[None] = loop.create_future()
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's has no base class
        self.transport.write(self.hello)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.finished.done():
            self.finished.set_exception(ConnectionError(f"the server closed: {error}"))

    def begin(self) -> None:
        self.began = time.perf_counter()
        self.go_on()

    def go_on(self) -> None:
        until = min(self.share, self.acknowledged + self.in_flight)
        if self.rate:
            due = int((time.perf_counter() - self.began) * self.rate) + 1
            until = min(until, due)
            if self.sent < self.share:
                asyncio.get_running_loop().call_later(1 / self.rate, self.go_on)
        if until > self.sent:
            numbers = range(self.sent, until)
            packets = map(self.encode, numbers) if self.rate else self.packets[self.sent : until]
            self.transport.write(b"".join(packets))
            self.sent = until

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        pos = acknowledged = 0
        while len(data) - pos >= 2 and len(data) - pos >= 2 + data[pos + 1]:
            length = data[pos + 1]
            assert length < 128
            if data[pos] == 0x40:
                if length > 2 and data[pos + 4] >= 0x80:
                    raise AssertionError(f"refused with reason {data[pos + 4]:02x}")
                acknowledged += 1
            elif data[pos] == 0x20:
                assert data[pos + 3] == 0, f"not let in, reason {data[pos + 3]:02x}"
                self.connected.set_result(None)
            else:
                raise AssertionError(f"unexpected packet {data[pos]:02x}")
            pos += 2 + length
        self.rest = data[pos:]
        if acknowledged:
            self.acknowledged += acknowledged
            if self.acknowledged == self.share:
                self.finished.set_result(None)
            elif not self.rate:
                self.go_on()


def packet(first: int, body: bytes) -> bytes:
    size, length = bytearray(), len(body)
    while length >= 128:
        size.append(length & 127 | 128)
        length >>= 7
    size.append(length)
    return bytes((first,)) + bytes(size) + body


def text(value: str) -> bytes:
    return len(value).to_bytes(2, "big") + value.encode()


def connect_packet(client: str, level: int, *, clean: bool = True) -> bytes:
    properties = b"\0" if level == 5 else b""
    return packet(0x10, text("MQTT") + bytes((level, 2 if clean else 0)) + b"\0\0" + properties + text(client))


def subscribe_packet(topic_filter: str) -> bytes:
    """QoS 1, MQTT 3.1.1."""
    return packet(0x82, b"\0\1" + text(topic_filter) + b"\1")


def body(options: dict[str, Any], at: int) -> bytes:
    """100 random bytes, or a SenML pack of so many records with two decimals, one a second."""
    records = options["records"]
    if not records:
        return os.urandom(100)
    start = _T0 + at * records
    names = (f'{{"n":"t","u":"Cel","v":{20 + (start + i) % 500 / 100:.2f},"t":{start + i}}}' for i in range(records))
    return ("[" + ",".join(names) + "]").encode()


def _fail(_loop: object, context: dict[str, Any]) -> None:
    """A callback that fails would otherwise leave everybody waiting."""
    sys.stderr.write(f"{context.get('message')}: {context.get('exception')!r}\n")
    os._exit(1)


async def main(options: dict[str, Any]) -> dict[str, float]:
    asyncio.get_running_loop().set_exception_handler(_fail)
    connections, devices, signed = options["connections"], options["devices"], options["signed"]
    share, level = options["count"] // connections, options["level"]
    properties = b"\0" if level == 5 else b""
    publishers = []
    payload_bytes = 0
    rate = options.get("rate", 0) / connections
    keys = [device_key(device) for device in range(devices)] if signed else []
    for index in range(connections):
        own = range(index * devices // connections, (index + 1) * devices // connections)

        def encode(number: int, own: range = own) -> bytes:
            nonlocal payload_bytes
            device = own[number % len(own)]
            name = device_name(device, signed=signed)
            payload = body(options, options["first"] + number)
            payload_bytes += len(payload)
            if signed:
                payload = sign_message(
                    keys[device],
                    bytes.fromhex(options["genesis_hash"]),
                    options["chain_id"],
                    f"{name}/data",
                    options["first"] + number // len(own),
                    payload,
                    content_type="application/senml+json" if options["records"] else "",
                )
            identifier = (number % 60_000 + 1).to_bytes(2, "big")
            return packet(0x32, text(f"althing/v1/{name}/data") + identifier + properties + payload)

        name = f"bench-{options['run']}-{index}"
        publishers.append(Publisher(name, level, options["in_flight"], rate, share, encode))
    for publisher in publishers:
        await asyncio.get_running_loop().create_connection(lambda own=publisher: own, "127.0.0.1", options["port"])
    async with asyncio.timeout(30):
        await asyncio.gather(*(publisher.connected for publisher in publishers))
    cpu, began, wall = time.process_time(), time.perf_counter(), time.time()
    for publisher in publishers:
        publisher.begin()
    async with asyncio.timeout(options["limit_s"]):
        await asyncio.gather(*(publisher.finished for publisher in publishers))
    took = time.perf_counter() - began
    return {
        "rate": share * connections / took,
        "count": share * connections,
        "began": wall,
        "took": took,
        "payload_bytes": payload_bytes,
        "client_us": (time.process_time() - cpu) / (share * connections) * 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(json.loads(sys.argv[1])))))
