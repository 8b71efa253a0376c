"""Whatever moment a process dies at: no block that was seen changes or is lost, and the chain goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from althing.consensus.grammar import Call, check_trace
from althing.consensus.solo.store import BlockStore
from althing.testing.kvstore import KeyValueApplication

RUNNER = Path(__file__).with_name("crash_runner.py")
KILLED = -signal.SIGKILL


class Runner:
    """The forking process: one request, one answer."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(RUNNER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, directory: Path, txs: list[str], fault: str = "", *, full_disk: bool = False) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"directory": str(directory), "txs": txs, "fault": fault, "full_disk": full_disk}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return int(answer["status"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.close()


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def check_history(directory: Path) -> None:
    """All runs made legal calls; every block seen is the block stored; every transaction seen is in the state once."""
    run: list[Call] = []
    for entry in [*lines(directory / "calls"), "start"]:
        if entry == "start":
            check_trace(run)
            run = []
        else:
            run.append(Call(entry[0], entry[1], bytes.fromhex(entry[2])))
    app = KeyValueApplication(directory / "app")
    store = BlockStore(directory / "engine", map_bytes_max=1 << 30)
    try:
        state = store.state()
        assert state is not None
        stored: list[str] = []
        for height in range(1, state.height + 1):
            block = store.block(height)
            assert block is not None
            block.check()
            stored += [tx.decode() for tx in block.txs]
        assert len(stored) == len(set(stored))
        for height, block_hash, txs in lines(directory / "acked"):
            header = store.header(height)
            assert header is not None
            assert header.hash().hex() == block_hash
            assert set(txs) <= set(stored)
        assert dict(tx.split("=") for tx in stored).items() <= app.items.items()
        assert len(app.items) == len(stored) + 1
        signed = store.last_signed()
        assert signed is not None
        assert signed.height == state.height
    finally:
        store.close()


GENESIS_POINTS = ["solo.genesis", "solo.genesis_stored"]
BLOCK_POINTS = [
    "solo.block_executed",
    "solo.block_stored",
    "kv.commit",
    "kv.committed",
    "solo.block_committed",
]


@pytest.mark.parametrize(
    ("point", "passage"), [(p, 1) for p in GENESIS_POINTS] + [(p, n) for p in BLOCK_POINTS for n in (1, 2, 5)]
)
def test_killed_at(runner: Runner, tmp_path: Path, point: str, passage: int) -> None:
    status = runner.run(tmp_path, [f"a{i}={i}" for i in range(6)], fault=f"{point}:{passage}")
    assert status == KILLED, "the fault point was passed"
    assert runner.run(tmp_path, ["after=1", "more=2"]) == 0
    check_history(tmp_path)
    assert KeyValueApplication(tmp_path / "app").items["more"] == "2"


def test_killed_again_and_again_while_recovering(runner: Runner, tmp_path: Path) -> None:
    assert runner.run(tmp_path, [f"a{i}={i}" for i in range(5)], fault="solo.block_stored:4") == KILLED
    for point in ("solo.replayed", "kv.commit", "solo.replayed", "kv.committed"):
        assert runner.run(tmp_path, [], fault=f"{point}:1") == KILLED
    assert runner.run(tmp_path, ["c=3"]) == 0
    check_history(tmp_path)


def test_killed_while_replaying_everything(runner: Runner, tmp_path: Path) -> None:
    assert runner.run(tmp_path, [f"a{i}={i}" for i in range(5)]) == 0
    (tmp_path / "app" / "state.json").unlink()
    assert runner.run(tmp_path, [], fault="solo.replayed:3") == KILLED
    assert runner.run(tmp_path, ["c=3"]) == 0
    check_history(tmp_path)


def test_a_full_disk_stalls_and_loses_nothing(runner: Runner, tmp_path: Path) -> None:
    assert runner.run(tmp_path, ["a=1"], full_disk=True) == 0
    assert runner.run(tmp_path, ["b=2"]) == 0
    check_history(tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("passage", range(1, 40))
@pytest.mark.parametrize("point", BLOCK_POINTS)
def test_killed_everywhere(runner: Runner, tmp_path: Path, point: str, passage: int) -> None:
    for start in range(3):
        txs = [f"a{start}x{i}={i}" for i in range(20)]
        assert runner.run(tmp_path, txs, fault=f"{point}:{passage}") in (KILLED, 0)
    assert runner.run(tmp_path, ["after=1"]) == 0
    check_history(tmp_path)
