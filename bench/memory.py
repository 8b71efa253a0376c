"""Memory of gateway and node under a steady load: resident bytes by the second, and their slope over the second half."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from rich.console import Console

from bench.figures import Figure, at_most, reported
from bench.messages import site

__all__ = ["measure", "slope"]

_MIB = 1024 * 1024
_RATE = 1_500  # messages a second: what both carry without a break, beside the samples
_GROWTH_MAX = 0.02  # of its memory, a minute


def measure(folder: Path, console: Console, *, quick: bool) -> list[Figure]:
    minutes = float(os.environ.get("BENCH_MINUTES", "3"))
    devices = 100 if quick else 1_000
    samples: dict[str, list[tuple[float, float, float]]] = {"gateway": [], "node": []}
    with site(folder / "site", devices=devices, signed=True, readings=True) as own:
        ended = threading.Event()

        def sample() -> None:
            while not ended.wait(1):
                for name, child in (("gateway", own.gateway), ("node", own.node)):
                    now = child.memory()
                    samples[name].append((time.monotonic(), now.own / _MIB, now.mapped / _MIB))

        watcher = threading.Thread(target=sample)
        watcher.start()
        try:
            result = own.publish(
                int(_RATE * 60 * minutes) // 50 * 50, signed=True, records=1, devices=devices, rate=_RATE
            )
        finally:
            ended.set()
            watcher.join()
    figures = []
    load = f"{result['rate']:,.0f} signed messages/s for {result['took'] / 60:.1f} minutes"
    for name, rows in samples.items():
        half = rows[len(rows) // 2 :]
        growth = slope([(at, own_mib) for at, own_mib, _ in half]) * 60
        last = half[-1][1]
        figures.append(reported(f"memory of the {name}, own, at the end of {load}", last, "MiB"))
        figures.append(reported(f"memory of the {name}, own, in the middle of it", half[0][1], "MiB"))
        figures.append(reported(f"memory of the {name}, mapped files, at the end", half[-1][2], "MiB"))
        name = f"memory of the {name}, growth over the second half"
        figures.append(at_most(name, growth, "MiB/minute", _GROWTH_MAX, "its memory at the end", growth / last))
    return figures


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares."""
    x = sum(at for at, _ in points) / len(points)
    y = sum(value for _, value in points) / len(points)
    spread = sum((at - x) ** 2 for at, _ in points)
    return sum((at - x) * (value - y) for at, value in points) / spread if spread else 0.0
