"""Runs a chain that is killed at a fault point. A process of its own: it imports once and forks for every scenario.

Reads one JSON request per line: {"directory", "fault", "txs", "full_disk"}; answers {"status"}. The child appends to
`calls` every ABCI call, to `acked` every block a subscriber saw, each line as one write.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import pytest

from althing.consensus.engine import Engine, Genesis, Phase
from althing.consensus.grammar import Call, RecordingApplication
from althing.consensus.registry import make_engine
from althing.protocol.block import Timestamp
from althing.protocol.errors import UnavailableError
from althing.service.faultpoints import arm_from_environment
from althing.testing.kvstore import KeyValueApplication

GENESIS = Genesis("crash", Timestamp(1_700_000_000, 0), b"{}")


class Journal:
    """Lines that survive SIGKILL: each is in the page cache before the next step."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, line: object) -> None:
        os.write(self._handle, (json.dumps(line) + "\n").encode())


async def fill_the_disk(engine: Engine) -> None:
    """The kernel refuses to let any file grow: the engine stalls, refuses, and goes on when there is room again."""
    number = 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    while engine.status().phase is Phase.RUNNING:
        number += 1
        with contextlib.suppress(UnavailableError):
            await engine.submit(b"fill%d=%s" % (number, b"x" * 20_000))
            await asyncio.sleep(0.001)
    assert engine.status().phase is Phase.STALLED, engine.status()
    assert "engine.disk_full" in engine.status().error, engine.status()
    with pytest.raises(UnavailableError, match=r"engine\.disk_full"):
        await engine.submit(b"refused=1")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    while engine.status().phase is Phase.STALLED or engine.status().pool_count:
        await asyncio.sleep(0.001)
    assert engine.status().phase is Phase.RUNNING, engine.status()


async def story(directory: Path, txs: list[str], *, full_disk: bool) -> None:
    calls, acked = Journal(directory / "calls"), Journal(directory / "acked")
    calls.write("start")
    engine = make_engine("solo", GENESIS, directory / "engine", {"min_block_interval_ms": 0, "retry_ms": 5})

    def record(call: Call) -> None:
        calls.write([call.method, call.height, call.hash.hex()])

    await engine.start(RecordingApplication(KeyValueApplication(directory / "app"), record))
    try:
        for tx in txs:
            await engine.submit(tx.encode())
            async for committed in engine.committed(max(engine.latest_height - 1, 1)):
                line = [committed.height, committed.block_id.hash.hex(), [t.decode() for t in committed.block.txs]]
                acked.write(line)
                if tx.encode() in committed.block.txs:
                    break
        await engine.wait_height(1)
        if full_disk:
            await fill_the_disk(engine)
    finally:
        await engine.stop()


def child(request: dict[str, Any]) -> None:
    os.environ["ALTHING_FAULT"] = request.get("fault", "")
    arm_from_environment()
    directory = Path(request["directory"])
    directory.mkdir(exist_ok=True)
    asyncio.run(asyncio.wait_for(story(directory, request["txs"], full_disk=request["full_disk"]), 20))


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                child(request)
            except BaseException as exc:  # noqa: BLE001 -- told to the test
                sys.stderr.write(f"{exc!r}\n")
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
