"""CometBFT's own light client verifies running nodes through their API, as its state sync does."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from althing.node.config import ApiConfig, NodeConfig, SoloConfig
from althing.node.daemon import NodeProcess
from althing.node.home import create_home

pytestmark = [pytest.mark.needs_go, pytest.mark.timeout(900)]

SOURCE = Path(__file__).with_name("cometbft")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("cometbft") / "cometbft-remote"
    subprocess.run(["go", "build", "-mod=readonly", "-o", str(binary), "."], cwd=SOURCE, check=True)
    return binary


async def follow(program: Path, question: dict[str, Any]) -> dict[str, Any]:
    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(program), "remote"],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )

    done = await asyncio.to_thread(run)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_verifies_a_running_solo_node(program: Path, tmp_path: Path) -> None:
    home = create_home(tmp_path / "home", chain_id="light-1", organisation="acme", time_s=int(time.time()))

    async def story() -> None:
        process = NodeProcess(home, NodeConfig(api=ApiConfig(port=0), solo=SoloConfig(idle_block_s=1)))
        url = await process.start()
        try:
            engine = process.node.engine
            await engine.wait_height(5)
            first = engine.signed_header(1).header
            question = {
                "chain_id": "light-1",
                "nodes": [url, url + "/cometbft"],  # the same node twice: what is tested is the provider
                "height": 1,
                "hash": first.hash().hex(),
                "target": 4,
            }
            found = await follow(program, question)
            header = engine.signed_header(4).header
            assert found["hash"] == header.hash().hex()
            assert found["app_hash"] == header.app_hash.hex()
            assert found["validators"] == 1
            assert found["proposer"] == header.proposer_address.hex()
            assert found["max_bytes"] == engine.consensus_params(4).block_bytes_max
            assert found["network"] == "light-1"
            assert found["later"] == "height requested is too high"
        finally:
            await process.stop()

    asyncio.run(asyncio.wait_for(story(), 200))
