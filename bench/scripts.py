"""Areas that are programs of their own, run as they are: `state_commit.py` and `archive.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rich.console import Console

from bench.figures import Figure, read

__all__ = ["measure_archive", "measure_state"]

_HERE = Path(__file__).parent


def measure_state(folder: Path, console: Console, *, quick: bool) -> list[Figure]:
    arguments = ["--sizes", "10000,30000", "--rounds", "3"] if quick else []
    return _run("state_commit.py", folder, [*arguments, "--folder", str(folder)])


def measure_archive(folder: Path, console: Console, *, quick: bool) -> list[Figure]:
    return _run("archive.py", folder, ["--batches", "5000"] if quick else [])


def _run(name: str, folder: Path, arguments: list[str]) -> list[Figure]:
    results = folder / "results.json"
    subprocess.run(
        [sys.executable, str(_HERE / name), "--json", str(results), *arguments], check=True, stdout=subprocess.DEVNULL
    )
    return read(results)
