"""CometBFT or its application dies, at any point: the pair goes on, nothing is lost, nothing happens twice.

Every call sequence is recorded and judged by ABCI's grammar, run by run.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from althing.consensus.cometbft.engine import CometEngine
from althing.consensus.cometbft.settings import CometSettings
from althing.consensus.cometbft.trace import read_trace
from althing.consensus.engine import Engine, EngineError, Genesis, Phase
from althing.consensus.grammar import check_trace
from althing.light.headers import verify_commit
from althing.protocol.block import ConsensusParams, Timestamp
from althing.testing.kvstore import KeyValueApplication

pytestmark = pytest.mark.needs_engine

GENESIS = Genesis("pair", Timestamp(1_700_000_000, 0), b"{}", ConsensusParams())
WAIT_S = 90
CRASH_POINTS = 14  # of CometBFT's `fail.Fail()`, counted from the first block a run makes


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), WAIT_S))


@asynccontextmanager
async def running(directory: Path, **settings: Any) -> AsyncIterator[tuple[CometEngine, KeyValueApplication]]:
    app = KeyValueApplication(directory / "app")
    chosen = {"idle_block_s": 1, "trace_file": directory / "trace.jsonl", **settings}
    engine = CometEngine(GENESIS, CometSettings(directory / "engine", **chosen))
    await engine.start(app)
    try:
        yield engine, app
    finally:
        await engine.stop()


def judge(directory: Path) -> int:
    """The number of runs, all of them legal."""
    runs = read_trace(directory / "trace.jsonl")
    for calls in runs:
        check_trace(calls)
    return len(runs)


async def holds(engine: Engine, txs: list[bytes]) -> list[bytes]:
    """Follow the chain until all of these are in it; everything it holds, in order."""
    seen: list[bytes] = []
    async for committed in engine.committed(1):
        seen += committed.block.txs
        if set(txs) <= set(seen):
            return seen
    raise AssertionError("the engine ended first")


def test_cometbft_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    sent = [b"key%d=%d" % (number, number) for number in range(60)]

    async def story() -> None:
        async with running(tmp_path) as (engine, app):
            for number, tx in enumerate(sent):
                assert (await engine.submit(tx)).code == 0
                if number % 20 == 10:
                    assert engine._process is not None
                    os.kill(engine._process.pid, signal.SIGKILL)
            seen = await holds(engine, sent)
            assert sorted(seen) == sorted(sent), "each once"
            assert {f"key{n}" for n in range(60)} <= app.items.keys()
            for height in range(1, engine.latest_height + 1):
                signed = engine.signed_header(height)
                verify_commit("pair", signed.header, signed.commit, engine.validators(height))

    run(story)
    assert judge(tmp_path) == 4


@pytest.mark.parametrize("point", [0, 3, 6, 7, 8, 10, CRASH_POINTS - 1])
def test_cometbft_dies_at_its_own_crash_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: int) -> None:
    """`FAIL_TEST_INDEX` ends the stock program at its n-th crash point; the restarts are without it."""

    async def story() -> None:
        monkeypatch.setenv("FAIL_TEST_INDEX", str(point))
        engine = CometEngine(
            GENESIS,
            CometSettings(tmp_path / "engine", idle_block_s=1, trace_file=tmp_path / "trace.jsonl", restarts_max=20),
        )
        app = KeyValueApplication(tmp_path / "app")
        starting = asyncio.create_task(engine.start(app))
        try:
            while engine._process is None and not starting.done():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            monkeypatch.delenv("FAIL_TEST_INDEX")
            try:
                await starting
            except EngineError:  # it died before it came up: an operator starts it again
                engine = CometEngine(
                    GENESIS, CometSettings(tmp_path / "engine", idle_block_s=1, trace_file=tmp_path / "trace.jsonl")
                )
                await engine.start(KeyValueApplication(tmp_path / "app"))
            await engine.submit(b"a=1")
            seen = await holds(engine, [b"a=1"])
            assert seen.count(b"a=1") == 1
        finally:
            await engine.stop()

    run(story)
    assert judge(tmp_path) >= 2


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


APPLICATION = """
import asyncio, sys
from pathlib import Path
from althing.consensus.cometbft.engine import CometEngine
from althing.consensus.cometbft.settings import CometSettings
from althing.consensus.engine import Genesis
from althing.protocol.block import ConsensusParams, Timestamp
from althing.service.faultpoints import arm_from_environment
from althing.testing.kvstore import KeyValueApplication

async def main(directory: Path) -> None:
    genesis = Genesis("pair", Timestamp(1_700_000_000, 0), b"{}", ConsensusParams())
    settings = CometSettings(directory / "engine", idle_block_s=1, trace_file=directory / "trace.jsonl")
    engine = CometEngine(genesis, settings)
    await engine.start(KeyValueApplication(directory / "app"))
    print(engine._process.pid, flush=True)
    await engine.submit(b"a=1")
    await engine.wait_height(1000)

arm_from_environment()
asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("point", ["kv.commit", "kv.committed"])
def test_the_application_killed_in_its_commit_takes_cometbft_with_it_and_both_go_on(tmp_path: Path, point: str) -> None:
    environment = dict(os.environ, ALTHING_FAULT=f"{point}:3")
    child = subprocess.run(
        [sys.executable, "-c", APPLICATION, str(tmp_path)],
        env=environment,
        stdout=subprocess.PIPE,
        timeout=WAIT_S,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    pid = int(next(line for line in child.stdout.splitlines() if line.isdigit()))

    async def story() -> None:
        async with running(tmp_path) as (engine, app):
            assert not alive(pid), "CometBFT ends itself without its application"
            await engine.submit(b"b=1")
            seen = await holds(engine, [b"b=1"])
            assert app.items["b"] == "1"
            assert seen.count(b"b=1") == 1
            assert seen.count(b"a=1") <= 1

    run(story)
    judge(tmp_path)


def test_a_program_that_cannot_run_is_told_with_its_own_words(tmp_path: Path) -> None:
    broken = tmp_path / "cometbft"
    broken.write_text("#!/bin/sh\necho 'ERROR: failed to create node: the stars are wrong'\nexit 0\n")
    broken.chmod(0o755)

    async def story() -> None:
        with pytest.raises(EngineError) as error:
            async with running(tmp_path, binary=broken):
                pass
        assert error.value.code == "engine.process"
        assert "the stars are wrong" in error.value.message

    run(story)


def test_ending_again_and_again_without_a_block_halts(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, restarts_max=1, idle_block_s=60) as (engine, _):
            await engine.wait_height(1)
            while engine.status().phase is not Phase.HALTED:
                process = engine._process
                if process is not None and process.pid and Path(f"/proc/{process.pid}").exists():
                    os.kill(process.pid, signal.SIGKILL)
                await asyncio.sleep(0.02)
            with pytest.raises(EngineError) as error:
                await engine.wait_height(1000)
            assert error.value.code == "engine.process"

    run(story)


def test_headers_are_kept_beside_and_after_the_engine(tmp_path: Path) -> None:
    from althing.consensus.cometbft.headers import HeaderStore

    async def story() -> int:
        async with running(tmp_path) as (engine, _):
            for number in range(5):
                await engine.submit(b"n%d=1" % number)
                await engine.wait_height(engine.latest_height + 1)
            return engine.latest_height

    height = asyncio.run(asyncio.wait_for(story(), WAIT_S))
    store = HeaderStore(tmp_path / "engine" / "headers", readonly=True)
    try:
        assert store.latest_height >= height
        for at in range(1, store.latest_height + 1):
            signed, validators = store.signed_header(at), store.validators(at)
            assert signed is not None
            assert validators is not None
            verify_commit("pair", signed.header, signed.commit, validators)
    finally:
        store.close()


def test_keys_and_what_was_signed_are_never_made_anew(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as (engine, _):
            await engine.wait_height(2)
        home = tmp_path / "engine"
        assert (home / "config" / "node_key.json").stat().st_mode & 0o077 == 0
        assert (home / "priv_validator_key.json").stat().st_mode & 0o077 == 0
        assert (home / "run").stat().st_mode & 0o077 == 0
        state = home / "data" / "priv_validator_state.json"
        assert int(json.loads(state.read_text())["height"]) >= 2
        state.unlink()
        with pytest.raises(EngineError) as error:
            async with running(tmp_path):
                pass
        assert error.value.code == "engine.key"

    run(story)
