"""Messages per second through a gateway's guard, spool and batches, with a fake ledger, one process, no network.

    python bench/gateway_pipeline.py [--seconds 5] [--profile]

Each case keeps 1,000 messages in flight (50 connections, 20 each) over 1,000 devices, waits for every acknowledgement
and, at the end, until all is anchored, archived and proved. V is PyNaCl's Ed25519 checks per second of one core.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from althing.gateway.anchoring import BatchConfig
from althing.gateway.ingest.port import Accepted, Busy, Inbound, Outcome, Principal
from althing.gateway.intake import GuardConfig, Pipeline
from althing.protocol.message import sign_message
from althing.protocol.readings import Quantity, StreamSchema
from althing.protocol.signatures import PrivateKey, Suite, verify
from althing.testing.gateway_rig import GENESIS, new_ledger, running

DEVICES = 1_000
IN_FLIGHT = 1_000
SENML = b'[{"n":"t","u":"Cel","v":23.125,"t":1700000000},{"n":"rh","u":"%RH","v":40.5}]'
SCHEMA = StreamSchema((Quantity("t", "Cel"), Quantity("rh", "%RH")), content_type="application/senml+json")


@dataclass
class Load:
    """Keeps messages in flight until its time is over."""

    pipeline: Pipeline
    messages: Iterator[Inbound]
    accepted: int = 0
    refused: int = 0
    in_flight: int = 0
    stopped: bool = False
    until: float = 0.0
    scheduled: bool = False
    empty: asyncio.Event = field(default_factory=asyncio.Event)

    def fill(self) -> None:
        self.scheduled = False
        self.stopped = self.stopped or time.perf_counter() > self.until
        while self.in_flight < IN_FLIGHT and not self.stopped:
            item = next(self.messages, None)
            if item is None:
                self.stopped = True
                break
            self.in_flight += 1
            self.pipeline.submit(item, self.done)
        if not self.in_flight:
            self.empty.set()

    def done(self, outcome: Outcome) -> None:
        self.in_flight -= 1
        if isinstance(outcome, Accepted):
            self.accepted += 1
        elif not isinstance(outcome, Busy):
            self.refused += 1
        if not self.scheduled:
            # At the end of the turn, as a client that sees all acknowledgements of a packet.
            self.scheduled = True
            asyncio.get_running_loop().call_soon(self.fill)


async def measure(
    name: str, make: Callable[[], tuple[object, Iterator[Inbound]]], seconds: float, processes: int, profile: bool
) -> dict[str, object]:
    ledger, messages = make()
    guard = GuardConfig(rate_per_s=1e6, rate_burst=1_000_000)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        async with running(
            Path(folder),
            ledger,
            batch=BatchConfig(),
            guard=guard,
            processes=processes,  # type: ignore[arg-type]
        ) as rig:
            if processes:
                await rig.pipeline._checker.warm_up()
            load = Load(rig.pipeline, messages)
            profiler = cProfile.Profile() if profile else None
            begin, cpu = time.perf_counter(), time.process_time()
            if profiler:
                profiler.enable()
            load.until = begin + seconds
            load.fill()
            await load.empty.wait()
            acknowledged = time.perf_counter() - begin
            drained = await rig.anchoring.drain(60)
            if profiler:
                profiler.disable()
                pstats.Stats(profiler).sort_stats("tottime").print_stats(28)
            all_of_it = time.perf_counter() - begin
            cpu = time.process_time() - cpu
            assert drained
            assert not load.refused
            assert sum(row.count for rows in rig.ledger.rows.values() for row in rows) == load.accepted
            return {
                "case": name,
                "messages": load.accepted,
                "acknowledged_per_s": round(load.accepted / acknowledged),
                "anchored_per_s": round(load.accepted / all_of_it),
                "cpu_us_per_message": round(cpu / load.accepted * 1e6, 1),
                "groups": rig.spool.groups_total,
                "batches": rig.anchoring.batches_total,
            }


def unsigned(body: bytes, schema: StreamSchema | None) -> tuple[object, Iterator[Inbound]]:
    ledger = new_ledger()
    items = []
    for number in range(DEVICES):
        name = f"device-{number:04d}"
        ledger.add_device(name)
        ledger.add_stream(f"{name}/data", schema)
        items.append(Inbound(Principal(name, "acme", "token"), name, "data", body))

    def messages() -> Iterator[Inbound]:
        while True:
            yield from items

    return ledger, messages()


def signed(suite: Suite, count: int) -> tuple[object, Iterator[Inbound]]:
    ledger = new_ledger()
    senders = []
    for number in range(DEVICES):
        name = f"device-{number:04d}"
        key = PrivateKey(suite, number.to_bytes(32, "big")[:-1] + b"\x07")
        ledger.add_device(name, key)
        ledger.add_stream(f"{name}/data")
        senders.append((name, key, Principal(name, "acme", "token")))
    made = []
    for index in range(count):
        name, key, principal = senders[index % DEVICES]
        body = sign_message(key, GENESIS, "test", f"{name}/data", index // DEVICES, b"x" * 100)
        made.append(Inbound(principal, name, "data", body))
    return ledger, iter(made)


def reference(seconds: float = 1.0) -> float:
    key = PrivateKey(Suite.ED25519, bytes(range(32)))
    signature = key.sign(b"x" * 250)
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for _ in range(100):
            verify(key.suite, key.public, b"x" * 250, signature)
        count += 100
    return count / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    print(json.dumps({"case": "V", "ed25519_per_s": round(reference())}))
    count = int(options.seconds * 12_000)
    cases: list[tuple[str, Callable[[], tuple[object, Iterator[Inbound]]], int]] = [
        ("raw 100 bytes, unsigned", lambda: unsigned(b"x" * 100, None), 0),
        ("SenML JSON, 2 readings, unsigned", lambda: unsigned(SENML, SCHEMA), 0),
        ("Ed25519 signed, threads", lambda: signed(Suite.ED25519, count), 0),
        ("Ed25519 signed, 1 process", lambda: signed(Suite.ED25519, count), 1),
        ("Ed25519 signed, 2 processes", lambda: signed(Suite.ED25519, count), 2),
        ("ES256 signed, 1 process", lambda: signed(Suite.ES256, count), 1),
    ]
    for name, make, processes in cases:
        if options.only in name:
            print(json.dumps(asyncio.run(measure(name, make, options.seconds, processes, options.profile))))


if __name__ == "__main__":
    main()
