"""Readings anchored and proved a second in packs of 10: one gateway on four validators, beside the embedded engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from bench.figures import Figure, at_least, median, reported
from bench.messages import Site
from bench.network.chains import Chain, make_chain
from bench.population import DEVICES, make_devices
from bench.processes import gateway

__all__ = ["measure"]

_PACK = 10


def measure(folder: Path, console: Console, *, quick: bool) -> list[Figure]:
    rounds, devices, count = (1, 50, 3_000) if quick else (3, DEVICES, 20_000)
    chains = [make_chain(folder / "solo", "solo"), make_chain(folder / "four", "cometbft", 4)]
    for chain in chains:
        with chain.running() as children:
            make_devices(chain.homes[0], children[0].ready["api"], count=devices, signed=True, readings=True)
    rows: dict[str, list[dict[str, float]]] = {chain.name: [] for chain in chains}
    runs = 0
    for turn in range(rounds):
        for chain in chains:
            with _site(chain, runs) as own:
                own.publish(count // 4, signed=True, records=_PACK, devices=devices)  # brings caches in
                answer = own.publish(count, signed=True, records=_PACK, devices=devices)
                runs = max(runs, own.runs)
            rows[chain.name].append(answer)
            console.log(
                f"{chain.name}, round {turn + 1}: {answer['anchored_rate'] * _PACK:,.0f} readings/s anchored and proved"
            )
    solo, four = (rows[chain.name] for chain in chains)
    ratio = median(a["anchored_rate"] / b["anchored_rate"] for a, b in zip(four, solo, strict=True))
    text = f"readings anchored and proved, signed, packs of {_PACK}, one gateway"
    own_rate, reference = (median(one["anchored_rate"] * _PACK for one in found) for found in (four, solo))
    return [
        reported(f"{text}, embedded engine", reference, "readings/s"),
        at_least(f"{text}, 4 validators", own_rate, "readings/s", "the embedded engine", ratio, 0.7),
    ]


@contextmanager
def _site(chain: Chain, runs: int) -> Iterator[Site]:
    with chain.running() as children, gateway(chain.homes[0].path) as own_gateway:
        site = Site(chain.homes[0], children[0], own_gateway)
        site.runs = runs
        yield site
