"""What a network costs: memory of each node over a load, and disk per million transactions, from one run on four validators."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from rich.console import Console

from bench.figures import Figure, at_most, reported
from bench.memory import slope
from bench.network.chains import make_chain
from bench.processes import Memory, disk_bytes, run_json

__all__ = ["measure"]

_MIB = 1024 * 1024
_GROWTH_MAX = 0.02  # of its memory, a minute
_IN_FLIGHT = 500


def measure(folder: Path, console: Console, *, quick: bool) -> list[Figure]:
    minutes = float(os.environ.get("BENCH_MINUTES", "3"))
    accounts, keys_each, part = (100, 20, 1_000) if quick else (1_000, 100, 10_000)
    chain = make_chain(folder / "four", "cometbft", 4, accounts=accounts, keys_each=keys_each)
    parts = ("blocks", "state", "index")
    before = [{name: disk_bytes(home.path / "node" / name) for name in parts} for home in chain.homes]
    samples: list[tuple[float, list[tuple[Memory, Memory]]]] = []
    sent = run = 0
    with chain.running() as children:
        ended = threading.Event()

        def sample() -> None:
            while not ended.wait(1):
                samples.append((time.monotonic(), [child.memory_by_name("cometbft") for child in children]))

        watcher = threading.Thread(target=sample)
        watcher.start()
        try:
            until = time.monotonic() + 60 * minutes
            while time.monotonic() < until:
                run += 1
                run_json(
                    "bench.transactions_client",
                    {
                        "url": children[0].ready["api"],
                        "accounts": accounts,
                        "keys_each": keys_each,
                        "in_flight": _IN_FLIGHT,
                        "count": part,
                        "presigned": False,
                        "run": run,
                    },
                )
                sent += part
                console.log(f"{sent:,} transactions")
        finally:
            ended.set()
            watcher.join()
    figures = []
    text = f"over {sent:,} signed transactions, 4 validators, in {minutes:g} minutes"
    half = samples[len(samples) // 2 :]
    for at, name in ((0, "a node"), (1, "its CometBFT")):
        most = max(max(found[at].own for found in row) for _, row in half) / _MIB
        figures.append(reported(f"memory of {name}, own, the largest of four, {text}", most, "MiB"))
        grown = max(slope([(when, row[n][at].own / _MIB) for when, row in half]) for n in range(len(chain.homes))) * 60
        figures.append(
            at_most(
                f"memory of {name}: growth over the second half",
                grown,
                "MiB/minute",
                _GROWTH_MAX,
                "its memory",
                grown / most,
            )
        )
    for name in parts:
        grown = max(
            disk_bytes(home.path / "node" / name) - was[name] for home, was in zip(chain.homes, before, strict=True)
        )
        figures.append(
            reported(
                f"disk per million transactions, nothing pruned, {name}",
                grown / sent,
                "MB",
                f"extrapolated from {sent:,} transactions of a run with {_IN_FLIGHT} in flight; the largest of four nodes",
            )
        )
    return figures
