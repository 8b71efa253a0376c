"""A chain executed again from its genesis gives what its headers say, or says where it does not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from althing.cli.main import app
from althing.consensus.abci import Misbehavior
from althing.ledger.app import Ledger
from althing.node.home import Home
from althing.node.offline import replay_offline
from althing.node.replaying import Replay, ReplayError, replay
from althing.protocol.block import Block
from althing.storage.memory import MemoryBackend

from .world import new_home, running_world


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, list[Block], bytes]:
    """A home with anchored batches; its blocks, and the root after the last."""
    home = new_home(tmp_path_factory.mktemp("replay") / "home")
    with running_world(home) as world:
        for value in range(4):
            world.anchor([(path, [20.5 + value, 1.0]) for path in sorted(world.numbers)])
        engine = world.process.node.engine
        blocks = [engine.block(height) for height in range(1, engine.latest_height + 1)]
    return home, blocks, blocks[-1].header.app_hash


class _Chain:
    def __init__(self, blocks: list[Block]) -> None:
        self._blocks = blocks
        self.latest_height = len(blocks)

    def block(self, height: int) -> Block:
        return self._blocks[height - 1]

    def misbehavior(self, _block: Block) -> tuple[Misbehavior, ...]:
        return ()


def test_a_stopped_home_is_executed_again(stopped: tuple[Home, list[Block], bytes]) -> None:
    home, blocks, _ = stopped
    seen: list[int] = []
    done = replay_offline(home, told=seen.append)
    assert done.blocks == done.height == len(seen) >= len(blocks)
    assert done.transactions > 5
    result = CliRunner().invoke(app, ["node", "replay", "--home", str(home.path), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["app_hash"] == done.app_hash.hex()
    assert not list((home.path / "node").glob("replay-*"))


def run(home: Home, blocks: list[Block]) -> Replay:
    return replay(home.genesis(), _Chain(blocks), MemoryBackend())


@pytest.mark.parametrize("field", ["app_hash", "last_results_hash"])
def test_a_header_that_says_otherwise_is_found(stopped: tuple[Home, list[Block], bytes], field: str) -> None:
    home, blocks, _ = stopped
    at = len(blocks) - 1
    last = replace(blocks[at], header=replace(blocks[at].header, **{field: bytes(32)}))
    with pytest.raises(ReplayError, match=f"block {at} gives the") as error:
        run(home, [*blocks[:at], last])
    assert error.value.code == "replay.diverged"


def test_another_program_is_found(stopped: tuple[Home, list[Block], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that leaves out what a block holds."""
    home, blocks, _ = stopped
    execute = Ledger.finalize
    monkeypatch.setattr(Ledger, "finalize", lambda self, h, t, b, _items, *rest: execute(self, h, t, b, (), *rest))
    with pytest.raises(ReplayError) as error:
        run(home, blocks)
    assert error.value.code == "replay.diverged"


def test_blocks_that_do_not_follow_are_found(stopped: tuple[Home, list[Block], bytes]) -> None:
    home, blocks, _ = stopped
    with pytest.raises(ReplayError) as error:
        run(home, [blocks[0], blocks[2]])
    assert error.value.code == "replay.broken"
