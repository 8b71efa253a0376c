"""A validator whose chain has no first block yet, because the other one never started: it is stopped like any other node."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from althing.consensus.cometbft.paths import CometHome
from althing.node.config import read_config
from althing.node.daemon import NodeProcess
from althing.node.home import Home
from althing.service.lifecycle import start_unless_stopped
from althing.testing.networks import WAIT_S, client_of, create, founded, running_network

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(300)]


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _engine(home: Home) -> int:
    """The process id of the node's CometBFT, 0 before it runs."""
    try:
        return int(CometHome(home.blocks_dir).pid_file.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("end", ["SIGTERM", "SIGINT", "parent"])
def test_signals_and_the_end_of_its_parent_stop_it_and_its_engine(tmp_path: Path, end: str) -> None:
    made = founded(tmp_path / "half", "127.0.68.", ("acme", "bolt"), 2)
    home, log = made.home(made.nodes[0]), tmp_path / "log"
    command = [sys.executable, "-m", "althing", "node", "start", "--home", str(home.path), "--with-parent"]
    with (
        log.open("wb") as said,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said) as node,
    ):
        try:
            # Its engine has come so far that it looks for the other validator.
            _until(lambda: b"Error dialing peer" in log.read_bytes())
            engine = _engine(home)
            assert _alive(engine)
            assert node.stdin is not None
            if end == "parent":
                node.stdin.close()
            else:
                node.send_signal(signal.Signals[end])
            assert node.wait(30) == 0
        finally:
            node.kill()
        assert node.stdout is not None
        assert node.stdout.read() == b"", "it was never ready"
    assert not _alive(engine)
    assert b"failed to stop" not in log.read_bytes()


def test_stopped_while_it_waits_it_makes_blocks_when_the_other_one_is_there(tmp_path: Path) -> None:
    made = founded(tmp_path / "late", "127.0.69.", ("acme", "bolt"), 2)
    first = made.nodes[0]
    home = made.home(first)

    async def story() -> None:
        process, stop = NodeProcess(home, read_config(home.path)), asyncio.Event()
        starting = asyncio.create_task(start_unless_stopped(process.start(), stop))
        while not (hasattr(process, "node") and process.node._started):
            assert not starting.done()
            await asyncio.sleep(0.02)
        engine = _engine(home)
        assert _alive(engine)
        assert process.node.engine.latest_height == 0
        stop.set()
        assert await starting is None
        assert not _alive(engine)

    asyncio.run(asyncio.wait_for(story(), WAIT_S))
    with running_network(made) as run, client_of(made, run, first) as client:
        assert create(client, 0) >= 1
