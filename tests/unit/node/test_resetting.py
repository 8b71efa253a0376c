"""Resetting a node: everything but keys and what it signed is set aside, and never while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from althing.cli.main import app
from althing.consensus.cometbft.paths import CometHome, lock_directory, unlock_directory
from althing.consensus.engine import EngineError
from althing.ledger.app import Ledger
from althing.node.home import Home, HomeError, create_home
from althing.node.joining import join_home
from althing.node.resetting import reset_home
from althing.protocol.errors import StateError
from althing.storage.registry import open_backend
from althing.testing.harness import LedgerHarness

CHAIN = LedgerHarness()
PEER = "a" * 40 + "@10.0.0.1:26656"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """As a node that ran has left it."""
    made = join_home(tmp_path / "home", genesis=CHAIN.genesis.to_bytes(), peers=[PEER], trust=None).home
    comet = CometHome(made.blocks_dir)
    for folder in (
        comet.data_dir / "blockstore.db",
        comet.headers_dir,
        made.snapshots_dir,
        made.path / "node" / "index",
    ):
        folder.mkdir(parents=True)
        (folder / "content").write_text("x")
    comet.sign_state_file.write_text('{"height": "77"}')
    backend = open_backend("lmdb", made.state_dir)
    Ledger(backend, CHAIN.genesis).init_chain()
    backend.close()
    return made


def test_data_is_set_aside_and_keys_stay(home: Home) -> None:
    comet = CometHome(home.blocks_dir)
    keys = [home.node_key_file, home.validator_key_file, comet.node_key_file, comet.sign_state_file, home.genesis_file]
    before = [path.read_bytes() for path in keys]
    aside = reset_home(home)
    assert [path.read_bytes() for path in keys] == before
    assert sorted(path.name for path in aside.iterdir()) == ["blockstore.db", "headers", "index", "snapshots", "state"]
    assert not home.state_dir.exists()
    assert [path.name for path in comet.data_dir.iterdir()] == ["priv_validator_state.json"]
    backend = open_backend("lmdb", aside / "state", readonly=True)
    assert Ledger(backend, CHAIN.genesis).store.latest_version == 0  # whole, and usable
    backend.close()
    assert reset_home(home).name == "before-reset-2"


def test_a_node_that_runs_is_not_touched(home: Home) -> None:
    handle = lock_directory(home.blocks_dir)
    with pytest.raises(EngineError) as error:
        reset_home(home)
    assert error.value.code == "engine.locked"
    unlock_directory(handle)
    backend = open_backend("lmdb", home.state_dir)
    with pytest.raises(StateError) as locked:
        reset_home(home)
    assert locked.value.code == "state.locked"
    backend.close()
    assert not list((home.path / "node").glob("before-*"))


def test_the_only_copy_of_a_chain_is_kept(tmp_path: Path) -> None:
    made = create_home(tmp_path / "solo", chain_id="solo", organisation="acme", time_s=1_700_000_000)
    with pytest.raises(HomeError) as error:
        reset_home(made)
    assert error.value.code == "home.only_copy"


def test_the_command_asks_for_the_chain_s_name(home: Home) -> None:
    run = CliRunner()
    refused = run.invoke(app, ["node", "reset", "--home", str(home.path)], input="another\n")
    assert refused.exit_code != 0
    assert home.state_dir.exists()
    done = run.invoke(app, ["node", "reset", "--home", str(home.path)], input="test\n")
    assert done.exit_code == 0, done.output
    assert not home.state_dir.exists()
