"""A node says when it is alone, and when it has met a peer of another chain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from althing.consensus.abci import ValidatorUpdate
from althing.consensus.cometbft.engine import CometEngine
from althing.consensus.cometbft.nodekey import node_id
from althing.consensus.cometbft.settings import CometSettings
from althing.consensus.engine import Genesis
from althing.consensus.solo.signer import load_or_create_key
from althing.protocol.block import Timestamp
from althing.testing.kvstore import KeyValueApplication

pytestmark = pytest.mark.needs_engine

WAIT_S = 60


@asynccontextmanager
async def running(directory: Path, genesis: Genesis, **settings: Any) -> AsyncIterator[CometEngine]:
    engine = CometEngine(genesis, CometSettings(directory / "engine", idle_block_s=1, **settings))
    await engine.start(KeyValueApplication(directory / "app"))
    try:
        yield engine
    finally:
        await engine.stop()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


def test_alone(tmp_path: Path) -> None:
    """Power enough to go on without the other, who is away."""
    own = load_or_create_key(tmp_path / "engine" / "priv_validator_key.json")
    members = (ValidatorUpdate(own.public, 10), ValidatorUpdate(b"\x05" * 32, 1))
    genesis = Genesis("two", Timestamp(1_700_000_000, 0), b"{}", validators=members)

    async def story() -> None:
        async with running(tmp_path, genesis) as engine:
            await engine.submit(b"a=1")
            await engine.wait_height(2)
            await until(lambda: engine.status().conditions == ("alone",))

    asyncio.run(asyncio.wait_for(story(), WAIT_S))


def test_one_validator_is_not_alone(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path, Genesis("one", Timestamp(1_700_000_000, 0), b"{}")) as engine:
            await engine.wait_height(3)
            assert engine.status().conditions == ()

    asyncio.run(asyncio.wait_for(story(), WAIT_S))


def test_a_peer_of_another_chain(tmp_path: Path, free_port: Callable[[], int]) -> None:
    here, there, port = tmp_path / "here", tmp_path / "there", free_port()
    peer = f"{node_id(there / 'engine' / 'config' / 'node_key.json')}@127.0.0.1:{port}"
    own, other = (Genesis(name, Timestamp(1_700_000_000, 0), b"{}") for name in ("this-chain", "that-chain"))

    async def story() -> None:
        async with (
            running(there, other, p2p_listen=f"tcp://127.0.0.1:{port}") as far,
            running(here, own, persistent_peers=(peer,)) as near,
        ):
            await until(lambda: "other-chain" in near.status().conditions)
            await near.submit(b"a=1")
            await near.wait_height(near.latest_height + 1)
            await far.wait_height(2)

    asyncio.run(asyncio.wait_for(story(), WAIT_S))
