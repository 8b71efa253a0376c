"""A CometBFT home backed up while it validates: restored, it takes its place again and signs nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from althing.cli.main import app
from althing.consensus.cometbft.paths import CometHome
from althing.node.home import Home
from althing.node.offline import replay_offline
from althing.testing.networks import client_of, create, founded, reach, running, running_network

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(400)]


def invoke(*words: str) -> Any:
    done = CliRunner().invoke(app, ["node", *words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_validator_comes_back_from_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTHING_NODE_COMETBFT_IDLE_BLOCK_S", "1")
    monkeypatch.setenv("ALTHING_PASSPHRASE", "a long enough one")
    made = founded(tmp_path / "bak", "127.0.66.", ("acme", "bolt"), 4)
    *_, last = made.nodes
    home, copy = made.home(last), tmp_path / "copy"
    with running_network(made) as run, client_of(made, run, made.nodes[0]) as client:
        for number in range(6):
            create(client, number)
        invoke("backup", "--home", str(home.path), "-o", str(copy), "--with-keys")
        assert not (home.blocks_dir / ".backup").exists()
        later = create(client, 6)  # it goes on
        assert run._children[last.name].alive
        run._children[last.name].stop()
        # Its disk is lost but for what the validator signed last.
        signed = CometHome(home.blocks_dir).sign_state_file
        without = invoke("restore", str(copy), "--home", str(tmp_path / "without"), "--with-keys")
        assert without["left_out"] == ["node/priv_validator_key.json"]
        assert not Home(tmp_path / "without").validator_key_file.exists()
        again = Home(tmp_path / "again")
        words = ("restore", str(copy), "--home", str(again.path), "--with-keys", "--sign-state", str(signed))
        done = invoke(*words, "--trust", str(made.home(made.nodes[0]).trust_file))
        assert done["left_out"] == []
        assert again.validator_key_file.read_bytes() == home.validator_key_file.read_bytes()
        restored = CometHome(again.blocks_dir).sign_state_file
        assert restored.read_bytes() == signed.read_bytes()
        height = create(client, 7)
        with running(again) as process:
            reach(process, max(later, height))
            assert process.node.status().base_height == 1
    assert replay_offline(again).height >= height
