"""Units of account through a real node: by the commands, the SDK and the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from althing.cli.main import app
from althing.client.client import load_signer
from althing.client.keyfile import save_key
from althing.client.sending import Signer
from althing.client.sync import Client
from althing.node.daemon import NodeProcess
from althing.protocol.address import format_address
from althing.protocol.messages.identity import AccountKind, Key

from .world import Running, key, new_home

ALICE = key("alice")
ALICE_KEY = Key(ALICE.suite, ALICE.public)
ADDRESS = format_address(ALICE_KEY.address)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    place: Path = tmp_path_factory.mktemp("market")
    save_key(place / "alice.json", ALICE)
    with Running(new_home(place / "home")) as process:
        with Client(process.url, signer=load_signer(process.home.admin_key_file)) as chain:
            chain.create_account("alice", AccountKind.PERSON, [ALICE_KEY], holder=Signer(ALICE_KEY.address, (ALICE,)))
        yield process


def run(process: NodeProcess, *words: str, code: int = 0) -> Any:
    done = CliRunner().invoke(app, ["asset", *words, "--home", str(process.home.path), "--node", process.url, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_a_unit_from_definition_to_escrow(process: NodeProcess) -> None:
    alice = ("--key", str(process.home.path.parent / "alice.json"))
    admin = format_address(load_signer(process.home.admin_key_file).address)
    assert run(process, "list") == []
    run(process, "define", "coin", "--title", "Coin", "--decimals", "2", "--cap", "100")
    run(process, "mint", "coin", "50.25", ADDRESS)
    assert run(process, "mint", "coin", "50.00", ADDRESS, code=1)["error"]["code"] == "assets.cap"
    assert run(process, "mint", "coin", "1.005", ADDRESS, code=1)["error"]["code"] == "cli.amount"
    run(process, "transfer", "coin", "10.5", admin, *alice)
    assert run(process, "balance", ADDRESS) == [{"unit": "coin", "amount": "39.75"}]
    number = run(process, "lock", "coin", "9.75", admin, *alice)["escrow"]
    with Client(process.url) as reader:
        assert reader.get(f"escrows/{number}")["amount"] == "975"
        assert (reader.unit("coin").supply, reader.balance(ALICE_KEY.address, "coin").amount) == (5025, 3000)
        assert reader.get("units/coin")["supply"] == "5025"
    assert run(process, "settle", str(number), code=1)["error"]["code"] == "assets.settle"
    run(process, "settle", str(number), *alice)
    run(process, "freeze", "coin", "--account", ADDRESS)
    assert run(process, "burn", "coin", "1", *alice, code=1)["error"]["code"] == "assets.frozen"
    run(process, "freeze", "coin", "--account", ADDRESS, "--thaw")
    run(process, "burn", "coin", "30", *alice)
    assert run(process, "balance", ADDRESS) == []
    assert [one["supply"] for one in run(process, "list")] == ["2025"]
