"""A stopped CometBFT home: its chain is executed again from genesis, and it goes back some heights and catches up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from althing.cli.main import app
from althing.consensus.cometbft.paths import CometHome
from althing.node.home import Home
from althing.node.offline import replay_offline
from althing.testing.networks import client_of, create, founded, reach, running, running_network

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(400)]


def invoke(home: Home, *words: str) -> dict[str, object]:
    done = CliRunner().invoke(app, ["node", *words, "--home", str(home.path), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_replay_and_rollback_of_a_node_among_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTHING_NODE_COMETBFT_IDLE_BLOCK_S", "1")
    made = founded(tmp_path / "back", "127.0.62.", ("acme", "bolt"), 4)
    *_, last = made.nodes
    home = made.home(last)
    with running_network(made) as run:
        with client_of(made, run, made.nodes[0]) as client:
            height = max(create(client, number) for number in range(8))
            run._children[last.name].stop()  # three of four go on

            # Everything again, from CometBFT's own store.
            seen: list[int] = []
            done = replay_offline(home, told=seen.append)
            assert seen == list(range(1, done.height + 1))
            assert done.height >= height
            assert done.transactions == 8
            assert invoke(home, "replay")["app_hash"] == done.app_hash.hex()
            sign_state = CometHome(home.blocks_dir).sign_state_file.read_bytes()

            # Back by one, then by more; what was signed stays.
            by_one = invoke(home, "rollback", "--yes")
            assert by_one["blocks_dropped"]
            back = invoke(home, "rollback", "--to", "3", "--yes")
            assert (back["before"], back["height"]) == (by_one["height"], 3)
            assert replay_offline(home).height == 3
            assert CometHome(home.blocks_dir).sign_state_file.read_bytes() == sign_state
            later = create(client, 20)
        peer = made.nodes[0]
        with running(home) as again:
            reach(again, later)
            root = again.node.ledger.store.root(later)
            with client_of(made, run, peer) as reader:
                other = reader.get(f"blocks/{later + 1}")
            assert other["app_hash"] == root.hex()
            running_word = CliRunner().invoke(app, ["node", "rollback", "--home", str(home.path), "--yes", "--json"])
            assert json.loads(running_word.stdout)["error"]["code"] == "engine.locked"


def test_one_validator_alone_executes_its_own_blocks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTHING_NODE_COMETBFT_IDLE_BLOCK_S", "1")
    made = founded(tmp_path / "sole", "127.0.63.", ("acme",), 1)
    (node,) = made.nodes
    home = made.home(node)
    with running_network(made) as run, client_of(made, run, node) as client:
        height = max(create(client, number) for number in range(3))
    first = replay_offline(home)
    back = invoke(home, "rollback", "--to", "2", "--yes")
    assert not back["blocks_dropped"]  # nobody else has them
    with running(home) as again:
        reach(again, height)
        assert again.node.ledger.store.root(first.height) == first.app_hash
        assert again.node.engine.signed_header(first.height).header.height == first.height
