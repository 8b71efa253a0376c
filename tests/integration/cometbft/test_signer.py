"""A validator whose key a remote signer holds: the chain goes on through the signer's deaths, and nothing is signed twice."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from althing.consensus.abci import ValidatorUpdate
from althing.consensus.cometbft.binary import find_binary
from althing.consensus.cometbft.engine import CometEngine
from althing.consensus.cometbft.settings import CometSettings
from althing.consensus.engine import EngineError, Genesis
from althing.consensus.solo.signer import load_or_create_key
from althing.light.headers import verify_commit
from althing.protocol.block import ConsensusParams, Timestamp
from althing.testing.kvstore import KeyValueApplication

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(300)]

WAIT_S = 200
CHAIN = "signed"
FRESH = '{"height": "0", "round": 0, "step": 0}'


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), WAIT_S))


@pytest.fixture
def program() -> Path:
    """Built beside the engine: in the environment by set-up, or in the wheel."""
    found = find_binary().with_name("althing-signer")
    if not found.is_file():
        found = Path(sys.prefix) / "engine" / "althing-signer"
    if not found.is_file():
        pytest.skip("the signer is not built (make setup-engine)")
    return found


class RemoteSigner:
    """Key and state in a folder of their own, and the process that signs with them."""

    def __init__(self, program: Path, folder: Path, listen: str, chain: str = CHAIN) -> None:
        folder.mkdir(exist_ok=True)
        self.key_file, self.state_file = folder / "priv_validator_key.json", folder / "priv_validator_state.json"
        self.key = load_or_create_key(self.key_file)
        if not self.state_file.exists():
            self.state_file.write_text(FRESH)
            self.state_file.chmod(0o600)
        self._log = folder / "log"
        files = ["-key", str(self.key_file), "-state", str(self.state_file)]
        self.command = [str(program), "-connect", listen, "-chain", chain, *files]

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        with self._log.open("ab") as log, subprocess.Popen(self.command, stderr=log) as process:
            try:
                yield process
            finally:
                process.kill()

    def said(self) -> str:
        return self._log.read_text()

    @property
    def last(self) -> tuple[int, int, int]:
        state = json.loads(self.state_file.read_bytes())
        return int(state["height"]), int(state.get("round", 0)), int(state["step"])

    def genesis(self) -> Genesis:
        genesis = Genesis(CHAIN, Timestamp(1_700_000_000, 0), b"{}", ConsensusParams())
        return replace(genesis, validators=(ValidatorUpdate(self.key.public, 10),))


def engine_at(signer: RemoteSigner, folder: Path, listen: str) -> CometEngine:
    return CometEngine(signer.genesis(), CometSettings(folder / "engine", idle_block_s=1, signer_listen=listen))


@asynccontextmanager
async def engine_of(signer: RemoteSigner, folder: Path, listen: str) -> AsyncIterator[CometEngine]:
    engine = engine_at(signer, folder, listen)
    await engine.start(KeyValueApplication(folder / "app"))
    try:
        yield engine
    finally:
        await engine.stop()


async def holds(engine: CometEngine, tx: bytes) -> None:
    async for committed in engine.committed(1):
        if tx in committed.block.txs:
            return
    raise AssertionError("the engine ended first")


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_the_signer_dies_and_comes_back(program: Path, tmp_path: Path, free_port: Callable[[], int], kind: str) -> None:
    listen = f"unix://{tmp_path}/signer.sock" if kind == "unix" else f"tcp://127.0.0.1:{free_port()}"
    signer = RemoteSigner(program, tmp_path / "elsewhere", listen)
    marks: list[tuple[int, int, int]] = []

    async def submitted(engine: CometEngine, tx: bytes) -> None:
        await engine.submit(tx)
        await holds(engine, tx)
        marks.append(signer.last)

    async def story() -> None:
        engine = engine_at(signer, tmp_path, listen)
        starting = asyncio.create_task(engine.start(KeyValueApplication(tmp_path / "app")))
        try:
            with signer.running():  # it comes after its node, which waits for it
                await starting
                assert engine.status().validator_address == signer.key.address
                assert not (tmp_path / "engine" / "priv_validator_key.json").exists()
                await submitted(engine, b"a=1")
            for number in range(3):
                # Killed by now: nobody signs, so nothing is final.
                waiting = asyncio.create_task(submitted(engine, b"b=%d" % number))
                done, _ = await asyncio.wait({waiting}, timeout=1)
                assert not done, "a block without the validator's signature"
                marks.append(signer.last)
                with signer.running():
                    await waiting
            for height in range(1, engine.latest_height + 1):
                signed = engine.signed_header(height)
                verify_commit(CHAIN, signed.header, signed.commit, engine.validators(height))
        finally:
            await engine.stop()

    run(story)
    assert marks == sorted(marks), "what was signed last only ever grows"


def test_a_node_that_forgot_gets_no_second_signature(
    program: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """The chain's data is lost and the node begins at height 1 again: the signer remembers, and refuses."""
    listen = f"tcp://127.0.0.1:{free_port()}"
    signer = RemoteSigner(program, tmp_path / "elsewhere", listen)

    async def story() -> None:
        with signer.running():
            async with engine_of(signer, tmp_path, listen) as engine:
                await engine.submit(b"a=1")
                await holds(engine, b"a=1")
            before = signer.last
            assert before[0] >= 1
            shutil.rmtree(tmp_path / "engine")
            shutil.rmtree(tmp_path / "app")
            async with engine_of(signer, tmp_path, listen) as engine:
                await engine.submit(b"a=2")
                waiting = asyncio.create_task(holds(engine, b"a=2"))
                while "height regression" not in signer.said():
                    assert not waiting.done()
                    await asyncio.sleep(0.05)
                assert engine.latest_height == 0
                waiting.cancel()
                await asyncio.wait({waiting})
            assert signer.last == before

    run(story)


def test_no_signer_and_one_of_another_chain_are_told(
    program: Path, tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("althing.consensus.cometbft.engine._PATIENT_RETRIES", 0)
    listen = f"tcp://127.0.0.1:{free_port()}"
    foreign = RemoteSigner(program, tmp_path / "elsewhere", listen, chain="another")

    async def story() -> None:
        for folder, signing in (("absent", nullcontext()), ("foreign", foreign.running())):
            engine = engine_at(foreign, tmp_path / folder, listen)
            with signing, pytest.raises(EngineError) as error:
                await engine.start(KeyValueApplication(tmp_path / folder / "app"))
            assert error.value.code == "engine.signer"
        assert "chainID: another" in foreign.said()

    run(story)


def test_the_signer_refuses_what_is_not_safe(program: Path, tmp_path: Path) -> None:
    signer = RemoteSigner(program, tmp_path / "keys", f"unix://{tmp_path}/nobody.sock")

    def refused() -> str:
        done = subprocess.run(signer.command, capture_output=True, text=True, timeout=WAIT_S, check=False)
        assert done.returncode == 1
        return done.stderr

    signer.key_file.chmod(0o640)
    assert "readable by others" in refused()
    signer.key_file.chmod(0o600)
    with signer.running() as first:
        while "signer started" not in signer.said():
            assert first.poll() is None
        assert "another signer uses" in refused()
    signer.state_file.unlink()
    assert "no such file" in refused()
