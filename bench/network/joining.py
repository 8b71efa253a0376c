"""How long a node takes to join: by state sync onto a chain of many keys, by block sync through many blocks.

Beside each the time in which the same bytes are copied and forced to the disk: what no joining could be faster than.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from pathlib import Path

from rich.console import Console

from althing.node.home import Home
from althing.node.joining import join_home
from bench.figures import Figure, reported
from bench.network.chains import Chain, make_chain
from bench.processes import disk_bytes, node, run_json

__all__ = ["measure"]

_WAIT_S = 3_600


def measure(folder: Path, console: Console, *, quick: bool) -> list[Figure]:
    accounts, keys_each, blocks = (100, 100, 150) if quick else (2_000, 500, 10_000)
    return _state_sync(folder, console, accounts, keys_each) + _block_sync(folder, console, blocks)


def _state_sync(folder: Path, console: Console, accounts: int, keys_each: int) -> list[Figure]:
    every = 20
    chain = make_chain(
        folder / "keys", "cometbft", 2, accounts=accounts, keys_each=keys_each,
        more=f"snapshots = {{ every_blocks = {every}, keep = 2 }}\n",
    )  # fmt: skip
    with chain.running() as children:
        urls = [str(child.ready["api"]) for child in children]
        trust = _get(f"{urls[0]}/v1/trust").encode()
        # On to the next snapshot and what follows it: a joining node needs the headers above it.
        start = _height(urls[0])
        _advance(urls[0], accounts, keys_each, start + 2 * every)
        _wait_for_snapshot(chain.homes[0])
        joined = _join(folder / "joined", chain, trust, urls)
        took, height = _until_joined(joined, urls[0])
        console.log(f"state sync: {accounts * keys_each:,} keys in {took:.1f} s, at height {height}")
        size = disk_bytes(joined.state_dir)
    copied = _copy_s(joined.state_dir, folder / "copy-state")
    name = f"joining by state sync, {accounts * keys_each:,} keys"
    return [
        reported(name, took, "s", "copying the same bytes and forcing them to disk", took / copied),
        reported(f"{name}: bytes of the state on disk", size / 1e6, "MB"),
        reported(f"{name}: copying these", copied, "s"),
    ]


def _block_sync(folder: Path, console: Console, blocks: int) -> list[Figure]:
    chain = make_chain(folder / "blocks", "cometbft", accounts=10, keys_each=10)
    with chain.running() as children:
        url = str(children[0].ready["api"])
        _advance(url, 10, 10, blocks)
        trust = _get(f"{url}/v1/trust").encode()
        joined = _join(folder / "followed", chain, trust, [])
        took, height = _until_joined(joined, url)
        console.log(f"block sync: {height:,} blocks in {took:.1f} s, {height / took:,.0f} a second")
    size = disk_bytes(joined.blocks_dir)
    copied = _copy_s(joined.blocks_dir, folder / "copy-blocks")
    name = f"joining by block sync, {height:,} blocks"
    return [
        reported(name, took, "s", "copying the same bytes and forcing them to disk", took / copied),
        reported(f"{name}: bytes of blocks on disk", size / 1e6, "MB"),
        reported(f"{name}: copying these", copied, "s"),
    ]


def _join(folder: Path, chain: Chain, trust: bytes, servers: list[str]) -> Home:
    genesis = chain.homes[0].genesis_file.read_bytes()
    joined = join_home(folder, genesis=genesis, peers=chain.peers, trust=trust, state_sync=servers)
    settings = folder / "config.toml"
    text = settings.read_text().replace("[node]\n", '[node]\nlog_level = "warning"\n')
    settings.write_text(text + "[node.api]\nport = 0\n")
    return joined.home


def _until_joined(home: Home, url: str) -> tuple[float, int]:
    """Seconds from the start of its process until its state is the chain's, and the height it has then."""
    target = _height(url)
    began = time.perf_counter()
    with node(home.path) as child:
        own = str(child.ready["api"])
        while _height(own) < target:
            if time.perf_counter() - began > _WAIT_S:
                raise SystemExit(f"the node did not join: {_get(f'{own}/v1/status')}")
            time.sleep(0.05)
        return time.perf_counter() - began, _height(own)


def _advance(url: str, accounts: int, keys_each: int, height: int) -> None:
    """One transaction after another, until the chain is so high: each makes its block and the one that proves it."""
    run = 0
    while (left := height - _height(url)) > 0:
        run += 1
        run_json(
            "bench.transactions_client",
            {
                "url": url,
                "accounts": accounts,
                "keys_each": keys_each,
                "in_flight": 1,
                "count": max(1, min(1_000, (left + 1) // 2)),
                "presigned": False,
                "run": run + height,
            },
        )


def _wait_for_snapshot(home: Home) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not any(home.snapshots_dir.glob("*")):
        if time.monotonic() > deadline:
            raise SystemExit("no snapshot was made")
        time.sleep(0.2)


def _copy_s(source: Path, target: Path) -> float:
    """Every file's allocated bytes, copied in large pieces and forced to disk."""
    target.mkdir()
    began = time.perf_counter()
    for number, file in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
        left = file.stat().st_blocks * 512
        with file.open("rb") as reading, (target / str(number)).open("wb") as writing:
            while left > 0 and (part := reading.read(min(left, 1 << 22))):
                writing.write(part)
                left -= len(part)
            writing.flush()
            os.fsync(writing.fileno())
    return time.perf_counter() - began


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        text: str = answer.read().decode()
        return text


def _height(url: str) -> int:
    return int(json.loads(_get(f"{url}/v1/status"))["height"])
