"""Committed transactions per second: a real node, real HTTP, the SDK in a process of its own, receipts awaited."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from bench.figures import Figure, at_least, at_most, median, reported
from bench.population import ACCOUNTS, KEYS_EACH, make_accounts, make_home
from bench.processes import node, run_json
from bench.references import V_TEXT, checks_per_s, fsync_s

__all__ = ["measure"]

_FSYNC_TEXT = "5 fsyncs (4 KiB pwrite + fdatasync) + 5 ms"


def measure(folder: Path, console: Console, *, quick: bool) -> list[Figure]:
    rounds = 1 if quick else 5
    accounts, keys_each = (200, 50) if quick else (ACCOUNTS, KEYS_EACH)
    home = make_home(folder / "transactions")
    cases = [(1, False, 200 if quick else 400), (100, False, 4_000), (2_000, False, 30_000), (2_000, True, 30_000)]
    if quick:
        cases = [(in_flight, presigned, count // 4) for in_flight, presigned, count in cases]
    found: dict[tuple[int, bool], list[dict[str, float]]] = {}
    with node(home.path) as process:
        url = process.ready["api"]
        console.log(f"{accounts} accounts with {keys_each} keys each")
        make_accounts(home, url, accounts, keys_each)
        nonce = 0
        for turn in range(rounds + 1):  # the first brings caches and pages in
            for in_flight, presigned, count in cases:
                before, sync = checks_per_s(), fsync_s(folder)
                cpu = process.cpu_s()
                nonce += 1
                answer = run_json(
                    "bench.transactions_client",
                    {
                        "url": url,
                        "accounts": accounts,
                        "keys_each": keys_each,
                        "in_flight": in_flight,
                        "count": count,
                        "presigned": presigned,
                        "run": nonce,
                    },
                )
                answer["node_us"] = (process.cpu_s() - cpu) / count * 1e6
                answer["v"] = (before + checks_per_s()) / 2
                answer["limit_ms"] = 5 * min(sync, fsync_s(folder)) * 1e3 + 5
                if turn or quick:
                    found.setdefault((in_flight, presigned), []).append(answer)
                    console.log(
                        f"in flight {in_flight}{', signed before' if presigned else ''}: {answer['rate']:,.0f}/s, "
                        f"V {answer['v']:,.0f}, p50 {answer['p50_ms']:.1f} ms"
                    )
    return _figures(found, accounts * keys_each)


def _figures(found: dict[tuple[int, bool], list[dict[str, float]]], keys: int) -> list[Figure]:
    figures = [reported("V", median(one["v"] for rows in found.values() for one in rows), "checks/s", V_TEXT)]
    for (in_flight, presigned), rows in found.items():
        name = f"transactions, {in_flight:,} in flight, {keys:,} keys"
        if presigned:
            name += ", signed beforehand"
        rate, ratio = median(one["rate"] for one in rows), median(one["rate"] / one["v"] for one in rows)
        if in_flight == 2_000 and not presigned:
            figures.append(at_least(name, rate, "tx/s", "V", ratio, 0.4))
        else:
            figures.append(reported(name, rate, "tx/s", "V", ratio))
        p50 = median(one["p50_ms"] for one in rows)
        if in_flight == 1:
            against = median(one["p50_ms"] / one["limit_ms"] for one in rows)
            figures.append(at_most(f"{name}: p50", p50, "ms", 1, _FSYNC_TEXT, against))
        else:
            figures.append(reported(f"{name}: p50", p50, "ms"))
        figures.append(reported(f"{name}: p99", median(one["p99_ms"] for one in rows), "ms"))
        figures.append(reported(f"{name}: processor, node", median(one["node_us"] for one in rows), "us/tx"))
        figures.append(reported(f"{name}: processor, client", median(one["client_us"] for one in rows), "us/tx"))
    return figures
