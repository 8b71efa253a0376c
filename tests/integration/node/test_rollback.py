"""A stopped node goes back some heights; its blocks, executed again, give the same roots, and the chain goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from althing.cli.main import app
from althing.client.client import load_signer
from althing.client.sending import Signer
from althing.client.sync import Client
from althing.ledger.app import Ledger
from althing.ledger.runtime.replay import EXECUTED, EXECUTED_IDS
from althing.node.home import Home, HomeError
from althing.node.rollback import roll_back
from althing.protocol.errors import StateError
from althing.protocol.messages.identity import AccountKind, Key
from althing.storage.lmdb import LmdbBackend

from .world import Running, key, new_home


def create(client: Client, number: int) -> int:
    own = key(f"member {number}")
    public = Key(own.suite, own.public)
    holder = Signer(public.address, (own,))
    return client.create_account(f"member-{number}", AccountKind.PERSON, [public], holder=holder).height


def roots(home: Home) -> dict[int, bytes]:
    backend = LmdbBackend(home.state_dir, readonly=True)
    try:
        store = Ledger(backend, home.genesis()).store
        oldest, latest = store.oldest_version, store.latest_version
        assert oldest is not None
        assert latest is not None
        return {version: store.root(version) for version in range(oldest, latest + 1)}
    finally:
        backend.close()


def executed(home: Home) -> tuple[set[bytes], set[bytes]]:
    backend = LmdbBackend(home.state_dir, readonly=True)
    try:
        with backend.read() as snapshot:
            return {k for k, _ in snapshot.scan(EXECUTED)}, {k for k, _ in snapshot.scan(EXECUTED_IDS)}
    finally:
        backend.close()


@pytest.fixture
def stopped(tmp_path: Path) -> Home:
    home = new_home(tmp_path / "home")
    with Running(home) as process, Client(process.url, signer=load_signer(home.admin_key_file)) as client:
        for number in range(5):
            create(client, number)
    return home


def test_blocks_are_executed_again_with_the_same_roots(stopped: Home) -> None:
    before, ids = roots(stopped), executed(stopped)
    latest = max(before)
    done = roll_back(stopped)
    assert (done.before, done.height, done.blocks_dropped) == (latest, latest - 1, False)
    assert done.app_hash == before[latest - 1]
    done = roll_back(stopped, 2)
    assert (done.before, done.height) == (latest - 1, 2)
    back = roots(stopped)
    assert max(back) == 2
    assert len(executed(stopped)[0]) < len(ids[0])
    with Running(stopped) as process, Client(process.url, signer=load_signer(stopped.admin_key_file)) as client:
        height = create(client, 9)
        assert height > latest
        assert client.account(Key(key("member 4").suite, key("member 4").public).address).name == "member-4"
        for at in range(1, latest + 1):
            assert process.node.engine.signed_header(at).header.height == at
    after = roots(stopped)
    assert {version: after[version] for version in before} == before
    assert executed(stopped)[0] > ids[0]
    assert CliRunner().invoke(app, ["node", "replay", "--home", str(stopped.path)]).exit_code == 0


def test_a_damaged_state_is_left_behind(stopped: Home) -> None:
    """The state of the last blocks is not what the chain says: going back passes those heights over."""
    latest = max(roots(stopped))
    backend = LmdbBackend(stopped.state_dir)
    ledger = Ledger(backend, stopped.genesis())
    ledger.rollback(latest - 3)
    for height in range(latest - 2, latest + 1):  # as a program with other rules would have left it
        ledger.store.commit(ledger.store.stage(height, {b"wrong": bytes([height])}))
    backend.close()
    with pytest.raises(HomeError, match="not the one that the chain names") as error:
        roll_back(stopped)
    assert error.value.code == "home.rollback"
    assert roll_back(stopped, latest - 3).height == latest - 3
    with Running(stopped) as process:
        assert process.node.ledger.height >= latest


def test_refused(stopped: Home) -> None:
    latest = max(roots(stopped))
    for height in (0, latest + 1):
        with pytest.raises(HomeError) as error:
            roll_back(stopped, height)
        assert error.value.code == "home.rollback"
    backend = LmdbBackend(stopped.state_dir)
    Ledger(backend, stopped.genesis()).store.prune(2)
    backend.close()
    with pytest.raises(StateError) as pruned:
        roll_back(stopped, 1)
    assert pruned.value.code == "state.pruned"
    with Running(stopped):
        done = CliRunner().invoke(app, ["node", "rollback", "--home", str(stopped.path), "--yes", "--json"])
        assert done.exit_code == 1
        assert json.loads(done.stdout)["error"]["code"] == "engine.locked"


def test_the_command_asks_first(stopped: Home) -> None:
    words = ["node", "rollback", "--home", str(stopped.path), "--to", "2"]
    before = roots(stopped)
    assert CliRunner().invoke(app, words, input="").exit_code == 1
    assert CliRunner().invoke(app, words, input="another\n").exit_code == 1
    assert roots(stopped) == before
    done = CliRunner().invoke(app, [*words, "--json"], input="test-1\n")
    assert done.exit_code == 0, done.output
    assert max(roots(stopped)) == 2
