"""QoS 1 publishers against the MQTT server (a trivial intake) and against Mosquitto, in one run.

    python bench/mqtt_publish.py [--messages 100000] [--rounds 3] [--loop uvloop|asyncio] [--profile FILE]

50 connections, 20 messages in flight each, 100-byte payloads, 1,000 devices with a stream each; packets are encoded
beforehand and the publisher is a process of its own. Mosquitto keeps its store (`persistence true`), and one offline
durable QoS 1 subscriber with an unlimited queue stands for what the gateway keeps; it does not fsync per message.
The row "stored" gives the server under test the same subscriber, with a durable session store that does fsync.
A connection is one device, so publishers of the server under test are 50 devices with 20 streams each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from althing.gateway.ingest.mqtt import (
    LmdbSessionStore,
    MemorySessionStore,
    MqttConfig,
    MqttServer,
    OpenAccess,
    OpenAuthenticator,
)
from althing.gateway.ingest.port import Accepted, Inbound

CONNECTIONS, IN_FLIGHT, PAYLOAD, STREAMS = 50, 20, 100, 20


class CountingIntake:
    """Accepts everything at once: what is measured is the server alone."""

    overloaded = False

    def __init__(self) -> None:
        self.count = 0

    def submit(self, item: Inbound, done) -> None:  # type: ignore[no-untyped-def]
        self.count += 1
        done(Accepted(self.count))


async def serve(port: int, directory: str | None) -> None:
    store = LmdbSessionStore(Path(directory)) if directory else MemorySessionStore()
    config = MqttConfig(port=port, sys_interval_s=0, queue_messages_max=50_000)
    server = MqttServer(config, CountingIntake(), OpenAuthenticator(), OpenAccess(), store)
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop()


def packet(first: int, body: bytes) -> bytes:
    assert len(body) < 16_384
    size = bytes((len(body),)) if len(body) < 128 else bytes((len(body) & 127 | 128, len(body) >> 7))
    return bytes((first,)) + size + body


def text(value: str) -> bytes:
    return len(value).to_bytes(2, "big") + value.encode()


def connect_packet(client: str, level: int, clean: bool) -> bytes:
    flags = 0x80 | (2 if clean else 0)
    properties = b"\0" if level == 5 else b""
    return packet(0x10, text("MQTT") + bytes((level, flags)) + b"\0\0" + properties + text(client) + text(client))


class Publisher(asyncio.Protocol):
    """Keeps IN_FLIGHT messages unacknowledged until its share is acknowledged."""

    def __init__(self, index: int, level: int, share: int, finished: asyncio.Future[None]) -> None:
        properties = b"\0" if level == 5 else b""
        self.packets = []
        for number in range(share):
            topic = text(f"althing/v1/bench{index}/s{number % STREAMS}")
            identifier = (number % 60_000 + 1).to_bytes(2, "big")
            self.packets.append(packet(0x32, topic + identifier + properties + os.urandom(PAYLOAD)))
        self.hello = connect_packet(f"bench{index}", level, True)
        self.share = share
        self.sent = self.acknowledged = 0
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.finished = finished
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self.hello)  # type: ignore[attr-defined]

    def begin(self) -> None:
        self.sent = min(IN_FLIGHT, self.share)
        self.transport.write(b"".join(self.packets[: self.sent]))  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        pos = 0
        acknowledged = 0
        while len(data) - pos >= 2 and len(data) - pos >= 2 + data[pos + 1]:
            if data[pos] == 0x40:
                acknowledged += 1
            elif data[pos] == 0x20:
                assert data[pos + 3] == 0, "refused"
                self.connected.set_result(None)
            else:
                raise AssertionError(f"unexpected packet {data[pos]:02x}")
            pos += 2 + data[pos + 1]
        self.rest = data[pos:]
        if acknowledged:
            self.acknowledged += acknowledged
            until = min(self.share, self.acknowledged + IN_FLIGHT)
            if until > self.sent:
                self.transport.write(b"".join(self.packets[self.sent : until]))  # type: ignore[attr-defined]
                self.sent = until
            if self.acknowledged == self.share:
                self.finished.set_result(None)


async def publish(port: int, level: int, messages: int) -> float:
    loop = asyncio.get_running_loop()
    publishers = []
    for index in range(CONNECTIONS):
        finished: asyncio.Future[None] = loop.create_future()
        publisher = Publisher(index, level, messages // CONNECTIONS, finished)
        await loop.create_connection(lambda publisher=publisher: publisher, "127.0.0.1", port)
        publishers.append(publisher)
    await asyncio.gather(*(publisher.connected for publisher in publishers))
    started = time.perf_counter()
    for publisher in publishers:
        publisher.begin()
    await asyncio.gather(*(publisher.finished for publisher in publishers))
    return messages / (time.perf_counter() - started)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the server did not start")


def run_publisher(port: int, level: int, messages: int) -> float:
    command = [sys.executable, __file__, "--publish", str(port), str(level), str(messages)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(command: list[str], port: int, level: int, messages: int, rounds: int, prepare: bool) -> dict[str, float]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        if prepare:
            with socket.create_connection(("127.0.0.1", port)) as offline:
                offline.sendall(connect_packet("offline", 4, False))
                offline.recv(4)
                offline.sendall(packet(0x82, b"\0\1" + text("althing/#") + b"\1"))
                offline.recv(5)
        rates = [run_publisher(port, level, messages) for _ in range(rounds)]
        with open(f"/proc/{process.pid}/stat") as file:
            fields = file.read().rsplit(") ", 1)[1].split()
        cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return {"rate": statistics.median(rates), "per_cpu_s": messages * rounds / cpu_s}
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--profile", metavar="FILE")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    parser.add_argument("--publish", nargs=3, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        print(uvloop.run(publish(*options.publish)))
        return
    if options.serve:
        run = uvloop.run if options.loop == "uvloop" else asyncio.run
        if options.profile:
            import cProfile

            profile = cProfile.Profile()
            profile.runcall(run, serve(options.serve, options.store))
            profile.dump_stats(options.profile)
        else:
            run(serve(options.serve, options.store))
        return
    results: dict[str, dict[str, float]] = {}
    port = free_port()
    ours = [sys.executable, __file__, "--serve", str(port), "--loop", options.loop]
    if options.profile:
        ours += ["--profile", options.profile]
    for level, name in ((5, "althing, MQTT 5"), (4, "althing, MQTT 3.1.1")):
        results[name] = measure(ours, port, level, options.messages, options.rounds, False)
    with tempfile.TemporaryDirectory() as directory:
        # One round below our queue's bound: every message is stored for the subscriber before it is acknowledged.
        port = free_port()
        command = [sys.executable, __file__, "--serve", str(port), "--loop", options.loop, "--store", directory]
        name = "althing, stored (LMDB)"
        results[name] = measure(command, port, 5, min(45_000, options.messages), 1, True)
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if mosquitto:
        with tempfile.TemporaryDirectory() as directory:
            port = free_port()
            config = Path(directory) / "mosquitto.conf"
            config.write_text(
                f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
                f"persistence_location {directory}/\nmax_queued_messages 0\nmax_inflight_messages 0\n"
            )
            for level, name in ((5, "mosquitto, MQTT 5"), (4, "mosquitto, MQTT 3.1.1")):
                results[name] = measure(
                    [mosquitto, "-c", str(config)], port, level, options.messages, options.rounds, True
                )
    for name, result in results.items():
        print(f"{name:24} {result['rate']:>10,.0f} messages/s   {result['per_cpu_s']:>10,.0f} per CPU second")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
