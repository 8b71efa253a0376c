"""CometBFT's own code prints the vectors again, and judges chains that solo made."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from althing.consensus.engine import Engine, Genesis
from althing.consensus.registry import make_engine
from althing.protocol.block import Block, Commit, SignedHeader, Timestamp, Validator
from althing.protocol.block.jsonform import json_of_signed_header, json_of_validators
from althing.testing.kvstore import KeyValueApplication

pytestmark = [pytest.mark.needs_go, pytest.mark.timeout(900)]

SOURCE = Path(__file__).with_name("cometbft")
VECTORS = Path(__file__).parent.parent / "vectors"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("cometbft") / "cometbft-vectors"
    subprocess.run(["go", "build", "-mod=readonly", "-o", str(binary), "."], cwd=SOURCE, check=True)
    return binary


def test_vectors_are_what_cometbft_prints(program: Path, tmp_path: Path) -> None:
    subprocess.run([str(program), "vectors", str(tmp_path)], check=True)
    printed = sorted(path.name for path in tmp_path.iterdir())
    assert printed == sorted(path.name for path in VECTORS.glob("cometbft_*.json"))
    for name in printed:
        assert (tmp_path / name).read_text() == (VECTORS / name).read_text(), name


def judge(program: Path, chain: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    document = json.dumps({"chain_id": "interop", "blocks": chain})
    return subprocess.run([str(program), "judge"], input=document, capture_output=True, text=True, check=False)


def exported(engine: Engine, height: int) -> dict[str, Any]:
    validators = engine.validators(height).validators
    return {
        "block": engine.block(height).encode().hex(),
        "commit": engine.commit(height).encode().hex(),
        "validators": [{"public_key": v.public_key.hex(), "power": v.power} for v in validators],
    }


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """With empty blocks, one of several parts, a change of power, a second validator, and a restart in between."""
    directory = tmp_path_factory.mktemp("chain")
    genesis = Genesis("interop", Timestamp.from_ns(time.time_ns()), b"{}")

    async def work(engine: Engine, *txs: bytes) -> None:
        for tx in txs:
            await engine.submit(tx)
            async for committed in engine.committed(1):
                if tx in committed.block.txs:
                    break
        await engine.wait_height(engine.latest_height + 1)

    async def story() -> list[dict[str, Any]]:
        engine = make_engine("solo", genesis, directory / "engine", {"idle_block_s": 1})
        await engine.start(KeyValueApplication(directory / "app"))
        await work(engine, b"a=1", b"big=" + b"x" * 200_000)
        own = engine.validators(1).validators[0].public_key.hex().encode()
        await work(engine, b"validator:" + own + b"=500", b"validator:" + b"5e" * 32 + b"=3")
        await engine.stop()
        engine = make_engine("solo", genesis, directory / "engine", {"idle_block_s": 1})
        await engine.start(KeyValueApplication(directory / "app"))
        await work(engine, b"b=2", b"c=3", b"d=4")
        found = [exported(engine, height) for height in range(1, engine.latest_height + 1)]
        await engine.stop()
        return found

    return asyncio.run(asyncio.wait_for(story(), 60))


def test_cometbft_accepts_what_solo_makes(program: Path, chain: list[dict[str, Any]]) -> None:
    verdict = judge(program, chain)
    assert verdict.returncode == 0, verdict.stderr
    assert json.loads(verdict.stdout) == {"blocks": len(chain), "verdict": "accepted"}
    assert {len(block["validators"]) for block in chain} == {1, 2}


def follow(program: Path, chain: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """CometBFT's light client over the light blocks of a chain, in the JSON of its RPC as we write it."""
    blocks = []
    for exported_block in chain:
        header = Block.decode(bytes.fromhex(exported_block["block"])).header
        signed = SignedHeader(header, Commit.decode(bytes.fromhex(exported_block["commit"])))
        members = [Validator(bytes.fromhex(v["public_key"]), v["power"]) for v in exported_block["validators"]]
        described = json_of_validators(members)
        proposer = next(v for v in described if bytes.fromhex(v["address"]) == header.proposer_address)
        validator_set = {"validators": described, "proposer": proposer}
        blocks.append({"signed_header": json_of_signed_header(signed), "validator_set": validator_set})
    document = json.dumps({"chain_id": "interop", "blocks": blocks})
    return subprocess.run([str(program), "follow"], input=document, capture_output=True, text=True, check=False)


def test_cometbft_s_light_client_follows_solo(program: Path, chain: list[dict[str, Any]]) -> None:
    verdict = follow(program, chain)
    assert verdict.returncode == 0, verdict.stderr
    assert json.loads(verdict.stdout) == {"blocks": len(chain), "verdict": "accepted"}
    changed = [dict(block) for block in chain]
    changed[3]["validators"] = [{**changed[3]["validators"][0], "power": 999}, *changed[3]["validators"][1:]]
    assert follow(program, changed).returncode == 1


@pytest.mark.parametrize("field", ["block", "commit"])
def test_cometbft_refuses_a_changed_byte(program: Path, chain: list[dict[str, Any]], field: str) -> None:
    """The judge is not a rubber stamp."""
    changed = [dict(block) for block in chain]
    text = changed[4][field]
    middle = len(text) // 2
    changed[4][field] = text[:middle] + ("0" if text[middle] != "0" else "1") + text[middle + 1 :]
    assert judge(program, changed).returncode == 1
