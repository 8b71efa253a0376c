"""V0: CometBFT's own Go key-value application in its process, unsigned transactions; our binary and our settings.

The same home that our engine would write (profile, block limits, pool, no transaction index), with another application:
`--proxy_app kvstore`. Transactions are as long as ours. Its client speaks
JSON-RPC over a Unix socket, as our node does.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from althing.consensus.abci import ValidatorUpdate
from althing.consensus.cometbft.address import SocketAddress
from althing.consensus.cometbft.binary import find_binary
from althing.consensus.cometbft.home import prepare_home
from althing.consensus.cometbft.nodekey import node_id
from althing.consensus.cometbft.paths import CometHome
from althing.consensus.cometbft.rpc import BATCH_MAX, AsyncRpc, RpcError
from althing.consensus.cometbft.settings import CometSettings
from althing.consensus.engine import Genesis
from althing.consensus.solo.signer import load_or_create_key
from althing.protocol.block import ConsensusParams, Timestamp
from althing.protocol.errors import UnavailableError
from bench.processes import Child, free_port, run_json

__all__ = ["V0_TEXT", "Reference", "reference"]

V0_TEXT = "V0: CometBFT's own key-value application in its process, unsigned, same binary, settings, size and number in flight"
_CONNECTIONS = 4
_POLL_S = 0.01
_UP_S = 60


class Reference:
    """A running network of V0; transactions go to its first node."""

    def __init__(self, rpc: Path, children: list[Child]) -> None:
        self.rpc = rpc
        self.children = children

    def load(self, *, in_flight: int, count: int, size: int, run: int) -> dict[str, float]:
        """Rate and latencies of `count` transactions, by a client process of its own."""
        options = {"rpc": str(self.rpc), "in_flight": in_flight, "count": count, "size": size, "run": run}
        answer: dict[str, float] = run_json("bench.network.reference", options)
        return answer


@contextmanager
def reference(folder: Path, validators: int) -> Iterator[Reference]:
    """A new network of so many validators, up to its first block."""
    folder.mkdir(parents=True)
    binary = find_binary()
    # Paths of sockets are short by nature.
    run = Path(tempfile.mkdtemp(prefix="v0-"))
    homes = [CometHome(folder / f"node{number}") for number in range(validators)]
    keys = [load_or_create_key(home.path / "priv_validator_key.json") for home in homes]
    hosts = [f"127.0.2.{number + 1}:{free_port(f'127.0.2.{number + 1}')}" for number in range(validators)]
    ids = [node_id(home.node_key_file) for home in homes]
    genesis = Genesis(
        "v0",
        Timestamp(int(time.time()) - 1, 0),
        b'""',
        ConsensusParams(app_version=1),
        tuple(ValidatorUpdate(key.public, 10) for key in keys),
    )
    children: list[Child] = []
    try:
        for number, home in enumerate(homes):
            home.claim(genesis.fingerprint(), genesis.chain_id)
            peers = tuple(f"{ids[other]}@{hosts[other]}" for other in range(validators) if other != number)
            settings = CometSettings(home.path, p2p_listen=f"tcp://{hosts[number]}", persistent_peers=peers)
            rpc = SocketAddress(path=run / f"rpc{number}.sock")
            prepare_home(home, genesis, settings, SocketAddress(path=run / "none.sock"), rpc)
            command = [str(binary), "start", "--home", str(home.path), "--proxy_app", "kvstore"]
            children.append(Child(command, home.path / "log"))
        asyncio.run(_first_block(run / "rpc0.sock"))
        yield Reference(run / "rpc0.sock", children)
    finally:
        for child in children:
            child.stop()
        shutil.rmtree(run, ignore_errors=True)


async def _first_block(rpc: Path) -> None:
    client = AsyncRpc(SocketAddress(path=rpc))
    deadline = time.monotonic() + _UP_S
    try:
        while time.monotonic() < deadline:
            try:
                (status,) = await client.batch([("status", {})])
            except UnavailableError:
                status = None
            if isinstance(status, dict) and int(status["sync_info"]["latest_block_height"]) > 0:
                return
            await asyncio.sleep(0.1)
    finally:
        await client.close()
    raise SystemExit("CometBFT with its own application makes no block")


def _transactions(count: int, size: int, run: int) -> list[str]:
    """`key=value` of `size` bytes, each its own, in base64 as the RPC takes them."""
    made = []
    for number in range(count):
        head = f"r{run}k{number}="
        made.append(base64.b64encode((head + "v" * (size - len(head))).encode()).decode())
    return made


async def _one_by_one(rpc: Path, transactions: list[str]) -> dict[str, float]:
    """Each is waited for until its block is committed, by CometBFT's own call for it."""
    client = AsyncRpc(SocketAddress(path=rpc))
    latencies = []
    began = time.perf_counter()
    for tx in transactions:
        at = time.perf_counter()
        (answer,) = await client.batch([("broadcast_tx_commit", {"tx": tx})])
        if isinstance(answer, RpcError) or int(answer["tx_result"]["code"]) or int(answer["check_tx"]["code"]):
            raise SystemExit(f"V0 refused a transaction: {answer}")
        latencies.append(time.perf_counter() - at)
    took = time.perf_counter() - began
    await client.close()
    return _told(len(transactions), took, latencies)


async def _many(rpc: Path, transactions: list[str], in_flight: int) -> dict[str, float]:
    """So many in flight: sent in batches over several connections, counted as blocks bring them, in their order."""
    address = SocketAddress(path=rpc)
    senders, watcher = [AsyncRpc(address) for _ in range(_CONNECTIONS)], AsyncRpc(address)
    (status,) = await watcher.batch([("status", {})])
    height = int(status["sync_info"]["latest_block_height"])
    sent_at: list[float] = []
    latencies: list[float] = []
    next_tx = done = 0
    room = asyncio.Event()
    room.set()

    async def send(client: AsyncRpc) -> None:
        nonlocal next_tx
        while next_tx < len(transactions):
            free = min(BATCH_MAX, in_flight - (next_tx - done), len(transactions) - next_tx)
            if free <= 0:
                room.clear()
                await room.wait()
                continue
            part = transactions[next_tx : next_tx + free]
            next_tx += free
            sent_at.extend([time.perf_counter()] * free)
            answers = await client.batch([("broadcast_tx_sync", {"tx": tx}) for tx in part])
            if any(isinstance(answer, RpcError) or answer["code"] for answer in answers):
                raise SystemExit(f"V0 refused a transaction: {answers[0]}")

    async def watch() -> None:
        nonlocal height, done
        while done < len(transactions):
            found: Any
            (found,) = await watcher.batch(
                [("blockchain", {"minHeight": str(height + 1), "maxHeight": str(height + 20)})]
            )
            metas = (
                []
                if isinstance(found, RpcError)
                else sorted(found["block_metas"], key=lambda m: int(m["header"]["height"]))
            )
            now = time.perf_counter()
            for meta in metas:
                height = int(meta["header"]["height"])
                for _ in range(int(meta["num_txs"])):
                    latencies.append(now - sent_at[done])
                    done += 1
            if metas:
                room.set()
            else:
                await asyncio.sleep(_POLL_S)

    began = time.perf_counter()
    await asyncio.gather(watch(), *(send(client) for client in senders))
    took = time.perf_counter() - began
    for client in (*senders, watcher):
        await client.close()
    return _told(len(transactions), took, latencies)


def _told(count: int, took: float, latencies: list[float]) -> dict[str, float]:
    latencies.sort()
    return {
        "rate": count / took,
        "p50_ms": latencies[len(latencies) // 2] * 1e3,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1e3,
    }


async def _main(options: dict[str, Any]) -> dict[str, float]:
    made = _transactions(options["count"], options["size"], options["run"])
    if options["in_flight"] == 1:
        return await _one_by_one(Path(options["rpc"]), made)
    return await _many(Path(options["rpc"]), made, options["in_flight"])


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_main(json.loads(sys.argv[1])))))
