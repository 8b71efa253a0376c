"""Committed transactions a second and latency: embedded engine, one validator, four validators; each beside V0.

Every round starts each chain anew, alone on the machine, with its client: what is compared never runs at the same time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from althing.client.sending import Sender
from althing.client.transport import Transport
from althing.protocol.messages.identity import SetAttribute
from bench.figures import Figure, at_least, at_most, median, reported
from bench.network.chains import Chain, make_chain
from bench.network.reference import V0_TEXT, reference
from bench.population import account_signer
from bench.processes import run_json

__all__ = ["measure", "transaction_bytes"]

_IN_FLIGHT = 2_000
Rows = dict[str, list[dict[str, float]]]


def transaction_bytes() -> int:
    """How long a signed transaction of ours is: what V0's are made as long as."""
    signer = account_signer(0)
    # Nothing is sent: the sender only signs.
    sender = Sender(Transport(["http://127.0.0.1:1"]), bytes(32))
    return len(sender.sign((signer,), (SetAttribute(signer.address, "r0", "0" * 32),)))


def measure(folder: Path, console: Console, *, quick: bool) -> list[Figure]:
    rounds, count, single = (1, 6_000, 40) if quick else (5, 40_000, 400)
    accounts, keys_each = (200, 20) if quick else (1_000, 100)
    size = transaction_bytes()
    chains = [
        make_chain(folder / "solo", "solo", accounts=accounts, keys_each=keys_each),
        make_chain(folder / "one", "cometbft", accounts=accounts, keys_each=keys_each),
        make_chain(folder / "four", "cometbft", 4, accounts=accounts, keys_each=keys_each),
    ]
    rows: Rows = {}
    nonce = 0
    for turn in range(rounds):
        for validators in (1, 4):
            with reference(folder / f"v0-{validators}-{turn}", validators) as v0:
                v0.load(in_flight=_IN_FLIGHT, count=count // 4, size=size, run=0)  # brings caches in
                _note(rows, console, f"V0, {validators}", v0.load(in_flight=_IN_FLIGHT, count=count, size=size, run=1))
                if validators == 4:
                    v0.load(in_flight=1, count=single // 4, size=size, run=2)
                    _note(rows, console, "V0, 4, single", v0.load(in_flight=1, count=single, size=size, run=3))
        for chain in chains:
            with chain.running() as children:
                for presigned in (False, True):
                    for part in (count // 4, count):
                        nonce += 1
                        answer = _ours(
                            chain, children[0].ready["api"], _IN_FLIGHT, part, nonce, accounts, keys_each, presigned
                        )
                    _note(rows, console, chain.name + (", signed beforehand" if presigned else ""), answer)
                if len(chain.homes) == 4:
                    for part in (single // 4, single):
                        nonce += 1
                        answer = _ours(chain, children[0].ready["api"], 1, part, nonce, accounts, keys_each, False)
                    _note(rows, console, f"{chain.name}, single", answer)
    return _figures(rows, size)


def _ours(
    chain: Chain, url: str, in_flight: int, count: int, run: int, accounts: int, keys_each: int, presigned: bool
) -> dict[str, float]:
    options: dict[str, Any] = {"url": url, "accounts": accounts, "keys_each": keys_each, "in_flight": in_flight}
    answer: dict[str, float] = run_json(
        "bench.transactions_client", {**options, "count": count, "presigned": presigned, "run": run}
    )
    return answer


def _note(rows: Rows, console: Console, name: str, answer: dict[str, float]) -> None:
    rows.setdefault(name, []).append(answer)
    console.log(f"{name}: {answer['rate']:,.0f}/s, p50 {answer['p50_ms']:.1f} ms, p99 {answer['p99_ms']:.1f} ms")


def _ratio(rows: Rows, ours: str, other: str, key: str = "rate") -> float:
    return median(a[key] / b[key] for a, b in zip(rows[ours], rows[other], strict=True))


def _value(rows: Rows, name: str, key: str = "rate") -> float:
    return median(one[key] for one in rows[name])


def _figures(rows: Rows, size: int) -> list[Figure]:
    one, four = "cometbft, 1 validator", "cometbft, 4 validators"
    text = f"{_IN_FLIGHT:,} in flight, {size} bytes"
    figures = [
        reported(f"V0, 1 validator, {text}", _value(rows, "V0, 1"), "tx/s", V0_TEXT),
        reported(f"V0, 4 validators, {text}", _value(rows, "V0, 4"), "tx/s", V0_TEXT),
        reported(
            f"embedded engine, signed, {text}",
            _value(rows, "solo"),
            "tx/s",
            "V0, 1 validator",
            _ratio(rows, "solo", "V0, 1"),
        ),
        at_least(
            f"1 validator, signed, {text}",
            _value(rows, one),
            "tx/s",
            "V0, 1 validator",
            _ratio(rows, one, "V0, 1"),
            0.7,
        ),
        at_least(
            f"1 validator, signed, {text}: beside the embedded engine",
            _value(rows, one),
            "tx/s",
            "the embedded engine",
            _ratio(rows, one, "solo"),
            0.85,
        ),
        at_least(
            f"4 validators, signed, {text}",
            _value(rows, four),
            "tx/s",
            "V0, 4 validators",
            _ratio(rows, four, "V0, 4"),
            0.45,
        ),
    ]
    for name, against in (("solo", "V0, 1"), (one, "V0, 1"), (four, "V0, 4")):
        own = f"{name}, signed beforehand"
        figures.append(reported(f"{own}, {text}", _value(rows, own), "tx/s", against, _ratio(rows, own, against)))
    for key, unit in (("p50_ms", "p50"), ("p99_ms", "p99")):
        for name in ("V0, 1", "V0, 4", "solo", one, four):
            figures.append(reported(f"{name}, {text}: {unit}", _value(rows, name, key), "ms"))
        v0 = _value(rows, "V0, 4, single", key)
        figures.append(reported(f"V0, 4 validators, 1 in flight: {unit}", v0, "ms", V0_TEXT))
        ratio = _ratio(rows, f"{four}, single", "V0, 4, single", key)
        value = _value(rows, f"{four}, single", key)
        figures.append(
            at_most(f"4 validators, signed, 1 in flight: {unit}", value, "ms", 1.3, "V0, 4 validators", ratio)
        )
    return figures
