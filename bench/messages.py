"""MQTT QoS 1 messages per second, accepted and until anchored, against Mosquitto and V; readings in packs.

Gateway, node, Mosquitto and publisher are processes of their own on one machine.
"""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from althing.node.home import Home
from althing.protocol.genesis import genesis_hash
from bench.figures import Figure, at_least, median, reported
from bench.mqtt_client import connect_packet, subscribe_packet
from bench.population import DEVICES, make_devices, make_home
from bench.processes import Child, gateway, node, run_json
from bench.references import V_TEXT, checks_per_s, mosquitto, mosquitto_path

__all__ = ["Site", "measure_messages", "measure_readings", "running", "site"]

CONNECTIONS, IN_FLIGHT = 50, 20
_ANCHOR_S = 300
_MOSQUITTO_TEXT = "Mosquitto 2: persistence true, one offline durable QoS 1 subscriber; does not fsync a message"


@dataclass
class Site:
    """A chain with a node, a gateway and devices, all running."""

    home: Home
    node: Child
    gateway: Child
    runs: int = 0

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.gateway.ready['http']}/v1/status", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def anchored(self) -> int:
        return int(self.status()["anchored"])

    def publish(
        self,
        count: int,
        *,
        signed: bool,
        records: int = 0,
        level: int = 5,
        devices: int = DEVICES,
        rate: float = 0,
        limit_s: float = 600,
    ) -> dict[str, float]:
        """Publish, wait until all is anchored; rates, and processor time of each process per message."""
        self.runs += 1
        before = self.anchored()
        cpu = self.gateway.cpu_s(), self.node.cpu_s()
        port = int(str(self.gateway.ready["mqtt"]).rsplit(":", 1)[1])
        genesis = self.home.genesis()
        answer: dict[str, float] = run_json(
            "bench.mqtt_client",
            {
                **shape(count, port, level, self.runs, devices),
                "signed": signed,
                "records": records,
                "rate": rate,
                "limit_s": limit_s,
                "chain_id": genesis.chain_id,
                "genesis_hash": genesis_hash(genesis).hex(),
            },
        )
        sent = int(answer["count"])
        deadline = time.monotonic() + _ANCHOR_S
        while self.anchored() - before < sent:
            if time.monotonic() > deadline:
                raise SystemExit(f"not all was anchored: {self.status()}")
            time.sleep(0.05)
        answer["anchored_rate"] = sent / (time.time() - answer["began"])
        answer["gateway_us"] = (self.gateway.cpu_s() - cpu[0]) / sent * 1e6
        answer["node_us"] = (self.node.cpu_s() - cpu[1]) / sent * 1e6
        assert self.status()["refused"] == 0, "nothing may be refused"
        return answer


def shape(count: int, port: int, level: int, run: int, devices: int) -> dict[str, Any]:
    """What every publisher has in common; counters of later runs begin where no earlier run has been."""
    return {
        "connections": min(CONNECTIONS, devices),
        "in_flight": IN_FLIGHT,
        "devices": devices,
        "count": count,
        "level": level,
        "port": port,
        "run": run,
        "first": run * 1_000_000,
    }


@contextmanager
def site(folder: Path, *, devices: int, signed: bool, readings: bool) -> Iterator[Site]:
    """A new chain with so many devices, its node and its gateway."""
    home = make_home(folder)
    with node(home.path) as own_node:
        make_devices(home, own_node.ready["api"], count=devices, signed=signed, readings=readings)
    with running(home) as own:
        yield own


@contextmanager
def running(home: Home) -> Iterator[Site]:
    """Node and gateway of a home that exists."""
    with node(home.path) as own_node, gateway(home.path) as own_gateway:
        yield Site(home, own_node, own_gateway)


def measure_messages(folder: Path, console: Console, *, quick: bool) -> list[Figure]:
    rounds, count, devices = (1, 10_000, 100) if quick else (3, 60_000, DEVICES)
    stock: list[dict[str, float]] = []
    plain: list[dict[str, float]] = []
    checked: list[dict[str, float]] = []
    with site(folder / "plain", devices=devices, signed=False, readings=False) as own:
        for turn in range(rounds + 1):
            result = own.publish(count if turn else count // 4, signed=False, devices=devices)
            if mosquitto_path() is not None:
                with mosquitto(folder) as (_, port):
                    _offline_subscriber(port)
                    options = {**shape(count, port, 5, turn, devices), "signed": False, "records": 0}
                    answer = run_json("bench.mqtt_client", options)
                if turn:
                    stock.append(answer)
            if turn:
                plain.append(result)
                console.log(_told("unsigned", result), f"Mosquitto {stock[-1]['rate']:,.0f}/s" if stock else "")
    with site(folder / "checked", devices=devices, signed=True, readings=False) as own:
        for turn in range(rounds + 1):
            before = checks_per_s()
            result = own.publish(count if turn else count // 4, signed=True, devices=devices)
            result["v"] = (before + checks_per_s()) / 2
            if turn:
                checked.append(result)
                console.log(_told("signed", result), f"V {result['v']:,.0f}")
    name = "QoS 1 messages"
    figures = []
    rate = median(one["rate"] for one in plain)
    done = median(one["anchored_rate"] for one in plain)
    if stock:
        pairs = list(zip(plain, stock, strict=True))
        reference = median(one["rate"] for one in stock)
        figures.append(reported(f"{name} of Mosquitto, the same publisher", reference, "messages/s", _MOSQUITTO_TEXT))
        ratio = median(a["rate"] / b["rate"] for a, b in pairs)
        figures.append(at_least(f"{name}, unsigned: accepted", rate, "messages/s", "Mosquitto", ratio, 0.2))
        ratio = median(a["anchored_rate"] / b["rate"] for a, b in pairs)
        figures.append(at_least(f"{name}, unsigned: until all anchored", done, "messages/s", "Mosquitto", ratio, 0.2))
    else:
        figures.append(reported(f"{name}, unsigned: accepted", rate, "messages/s", "Mosquitto is not installed"))
        figures.append(reported(f"{name}, unsigned: until all anchored", done, "messages/s"))
    figures += _costs(f"{name}, unsigned", plain)
    figures.append(reported("V", median(one["v"] for one in checked), "checks/s", V_TEXT))
    for what, key in (("accepted", "rate"), ("until all anchored", "anchored_rate")):
        ratio = median(one[key] / one["v"] for one in checked)
        value = median(one[key] for one in checked)
        figures.append(at_least(f"{name}, signatures checked: {what}", value, "messages/s", "V", ratio, 0.3))
    return figures + _costs(f"{name}, signatures checked", checked)


def measure_readings(folder: Path, console: Console, *, quick: bool) -> list[Figure]:
    rounds, devices = (1, 100) if quick else (3, DEVICES)
    figures = []
    for signed in (False, True):
        kind = "signed" if signed else "unsigned"
        with site(folder / kind, devices=devices, signed=signed, readings=True) as own:
            for records, count in ((1, 40_000), (10, 20_000), (100, 5_000)):
                found = []
                for turn in range(rounds + 1):
                    before = checks_per_s()
                    result = own.publish(
                        count // 4 if quick or not turn else count, signed=signed, records=records, devices=devices
                    )
                    result["v"] = (before + checks_per_s()) / 2
                    if turn:
                        found.append(result)
                        console.log(_told(f"{kind}, packs of {records}", result), f"V {result['v']:,.0f}")
                name = f"readings, SenML JSON in packs of {records}, {kind}"
                for what, key in (("accepted", "rate"), ("until all anchored", "anchored_rate")):
                    value = median(one[key] * records for one in found)
                    ratio = median(one[key] * records / one["v"] for one in found)
                    if records == 100:
                        figures.append(at_least(f"{name}: {what}", value, "readings/s", "V", ratio, 4))
                    else:
                        figures.append(reported(f"{name}: {what}", value, "readings/s", "V", ratio))
                figures += _costs(name, found)
    return [reported("V", checks_per_s(), "checks/s", V_TEXT), *figures]


def _costs(name: str, found: list[dict[str, float]]) -> list[Figure]:
    return [
        reported(f"{name}: processor, {part}", median(one[f"{part}_us"] for one in found), "us/message")
        for part in ("gateway", "node", "client")
    ]


def _told(what: str, result: dict[str, float]) -> str:
    return (
        f"{what}: {result['rate']:,.0f}/s accepted, {result['anchored_rate']:,.0f}/s anchored, "
        f"gateway {result['gateway_us']:.0f} us, node {result['node_us']:.0f} us"
    )


def _offline_subscriber(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as offline:
        offline.sendall(connect_packet("offline", 4, clean=False))
        offline.recv(4)
        offline.sendall(subscribe_packet("althing/#"))
        offline.recv(5)
