"""python -m bench [area …] [--quick]: measure, print tables, write results/<area>.json."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from bench import disk, figures, light, memory, messages, proofs, scripts, transactions
from bench.figures import Figure
from bench.network import cost as network_cost
from bench.network import joining as network_joining
from bench.network import readings as network_readings
from bench.network import transactions as network_transactions

AREAS: dict[str, Callable[..., list[Figure]]] = {
    "transactions": transactions.measure,
    "messages": messages.measure_messages,
    "readings": messages.measure_readings,
    "state": scripts.measure_state,
    "proofs": proofs.measure,
    "light": light.measure,
    "disk": disk.measure,
    "archive": scripts.measure_archive,
    "memory": memory.measure,
}
NETWORK: dict[str, Callable[..., list[Figure]]] = {
    "network-transactions": network_transactions.measure,
    "network-readings": network_readings.measure,
    "network-joining": network_joining.measure,
    "network-cost": network_cost.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("areas", nargs="*", help=f"which ones (all of: {', '.join(AREAS)}); and {', '.join(NETWORK)}")
    parser.add_argument("--quick", action="store_true", help="small sizes and one round: does everything run?")
    parser.add_argument("--folder", type=Path, help="where data is written: the disk that is measured (here)")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the load for the memory figures")
    options = parser.parse_args()
    areas = {**AREAS, **NETWORK}
    unknown = [area for area in options.areas if area not in areas]
    if unknown:
        parser.error(f"there is no area {unknown[0]}; there are {', '.join(areas)}")
    os.environ["BENCH_MINUTES"] = str(0.3 if options.quick else options.minutes)
    console = Console(width=150 if not os.isatty(1) else None)
    console.print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    missed = 0
    for area in options.areas or AREAS:
        with tempfile.TemporaryDirectory(dir=options.folder or Path.cwd(), prefix=".bench-") as folder:
            found = areas[area](Path(folder), console, quick=options.quick)
        figures.show(console, area, found)
        missed += sum(one.met is False for one in found)
        if not options.quick:
            figures.write(options.results / f"{area}.json", found)
    console.print("every target is met" if not missed else f"{missed} targets are missed")


if __name__ == "__main__":
    main()
