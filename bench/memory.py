"""Memory of gateway and node, and of each process they start, under a steady load: is it flat?

Every process is sampled each second; its memory in a quarter of the load is the median of that quarter's samples. Flat is
what has hardly more in the last quarter than in the one before. The first quarters are reported beside it: until the
node has proved some 260,000 messages, its cache of batches' trees fills up to its bound (40 MB).
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from bench.figures import Figure, at_most, reported
from bench.messages import Site, site
from bench.processes import Memory

__all__ = ["measure", "slope"]

_MIB: Final = 1024 * 1024
_RATE: Final = 1_000  # messages a second: what both carry without a break, beside the samples
_GROWTH_MAX: Final = 0.03  # of its memory, from the third quarter to the last: more than the samples scatter


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    messages: int
    memory: Memory


class _Watch(threading.Thread):
    """Samples all processes of a site until told to end; by daemon and role."""

    def __init__(self, own: Site) -> None:
        super().__init__(name="memory")
        self._site = own
        self._ended = threading.Event()
        self.samples: dict[str, list[_Sample]] = {}

    def run(self) -> None:
        while not self._ended.wait(1):
            accepted = int(self._site.status()["accepted"])
            for daemon, child in (("gateway", self._site.gateway), ("node", self._site.node)):
                for memory in child.memory():
                    name = daemon if memory.role == "main" else f"{daemon}, {memory.role}"
                    self.samples.setdefault(name, []).append(_Sample(time.monotonic(), accepted, memory))

    def end(self) -> None:
        self._ended.set()
        self.join()


def measure(folder: Path, console: Console, *, quick: bool) -> list[Figure]:
    minutes = float(os.environ.get("BENCH_MINUTES", "10"))
    devices = 100 if quick else 1_000
    with site(folder / "site", devices=devices, signed=True, readings=True) as own:
        watch = _Watch(own)
        watch.start()
        try:
            count = int(_RATE * 60 * minutes) // 50 * 50
            result = own.publish(count, signed=True, records=1, devices=devices, rate=_RATE, limit_s=minutes * 120 + 60)
        finally:
            watch.end()
    load = f"{count:,} signed messages of {devices:,} devices in {result['took'] / 60:.1f} minutes"
    console.log(load)
    figures = [reported("memory, the load", result["rate"], "messages/s", load)]
    for name, samples in watch.samples.items():
        _tell(console, name, samples)
        figures += _figures(name, samples)
    return figures


def _figures(name: str, samples: Sequence[_Sample]) -> list[Figure]:
    quarters = [samples[len(samples) * at // 4 : len(samples) * (at + 1) // 4] for at in range(4)]
    own = [statistics.median(one.memory.own for one in quarter) for quarter in quarters]
    middle = [statistics.median(one.messages for one in quarter) for quarter in quarters]
    last = samples[-1].memory
    name = f"memory of the {name}"
    figures = [
        reported(f"{name}: own, {which} quarter", value / _MIB, "MiB")
        for which, value in zip(("first", "second", "third", "last"), own, strict=True)
    ]
    growth = own[3] - own[2]
    reference = "its memory in the third quarter"
    figures.append(
        at_most(f"{name}: growth, third to last quarter", growth / _MIB, "MiB", _GROWTH_MAX, reference, growth / own[2])
    )
    for which, start in (("first", 0), ("third", 2)):
        growth = (own[3] - own[start]) / (middle[3] - middle[start])
        figures.append(reported(f"{name}: growth a message, {which} to last quarter", growth, "B/message"))
    figures.append(
        reported(
            f"{name}: slope over the last quarter",
            slope([(one.messages, one.memory.own) for one in quarters[3]]),
            "B/message",
        )
    )
    for what, value in (("RSS", last.resident), ("PSS", last.shared_out), ("USS", last.unique)):
        figures.append(reported(f"{name}: {what} at the end, with mapped files", value / _MIB, "MiB"))
    return figures


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares."""
    x = statistics.fmean(at for at, _ in points)
    y = statistics.fmean(value for _, value in points)
    spread = sum((at - x) ** 2 for at, _ in points)
    return sum((at - x) * (value - y) for at, value in points) / spread if spread else 0.0


def _tell(console: Console, name: str, samples: Sequence[_Sample]) -> None:
    """Own memory about twenty times on its way."""
    step = max(1, len(samples) // 20)
    way = ", ".join(f"{one.memory.own / _MIB:.1f}" for one in samples[::step])
    console.print(f"{name}, own MiB every {samples[step].at_s - samples[0].at_s:.0f} s: {way}")
