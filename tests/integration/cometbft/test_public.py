"""A public chain on CometBFT: a stranger's node joins, bonds, validates, votes twice, and loses seat and units."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey
from typer.testing import CliRunner

from althing.cli.demo.network import NetworkRun
from althing.cli.main import app
from althing.client import Client, load_signer
from althing.client.keyfile import generate_key, save_key
from althing.consensus.solo.signer import ValidatorKey, load_or_create_key
from althing.node.daemon import NodeProcess
from althing.node.home import Home
from althing.node.network import load_network
from althing.protocol.address import format_address
from althing.protocol.block import BlockId, Timestamp, precommit_sign_bytes, validator_address
from althing.protocol.block.jsonform import json_of_time

from .test_joining import WAIT_S, reach, running

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(400)]


def cli(*words: str) -> Any:
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    # A node that runs in this process writes its log between.
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith(("{", "["))))


def until(what: Callable[[], bool], why: str) -> None:
    pause = threading.Event()
    for _ in range(WAIT_S * 10):
        if what():
            return
        pause.wait(0.1)
    raise AssertionError(why)


def double_vote(process: NodeProcess, key: ValidatorKey, height: int) -> dict[str, Any]:
    """Two precommits of one validator for one height and round, as CometBFT's RPC takes them as evidence."""
    engine = process.node.engine
    members = engine.validators(height)
    address = validator_address(key.public)
    index = next(i for i, member in enumerate(members.validators) if member.address == address)
    at: Timestamp = engine.signed_header(height).header.time
    votes = []
    for block_id in (BlockId(bytes([1]) * 32, 1, bytes(32)), BlockId(bytes([2]) * 32, 1, bytes(32))):
        signed = precommit_sign_bytes(engine.status().chain_id, height, 0, block_id, at)
        votes.append(
            {
                "type": 2,
                "height": str(height),
                "round": 0,
                "block_id": {"hash": block_id.hash.hex().upper(), "parts": {"total": 1, "hash": "00" * 32}},
                "timestamp": json_of_time(at),
                "validator_address": address.hex().upper(),
                "validator_index": index,
                "signature": b64encode(SigningKey(key.secret[:32]).sign(signed).signature).decode(),
            }
        )
    return {
        "type": "tendermint/DuplicateVoteEvidence",
        "value": {
            "vote_a": votes[0],
            "vote_b": votes[1],
            "TotalVotingPower": str(members.total_power),
            "ValidatorPower": str(members.validators[index].power),
            "Timestamp": json_of_time(at),
        },
    }


def test_a_stranger_joins_bonds_validates_and_pays_for_voting_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTHING_NODE_COMETBFT_IDLE_BLOCK_S", "1")
    folder = tmp_path / "net"
    cli(
        "network",
        "init",
        "--kind",
        "public",
        "--org",
        "acme",
        "--validators",
        "1",
        "--chain",
        "commons",
        "-o",
        str(folder),
    )
    for path in (folder / "network.json", *folder.glob("*/config.toml")):
        path.write_text(path.read_text().replace("127.0.1.", "127.0.67."))
    made = load_network(folder)
    founder = made.home(made.nodes[0])
    run = NetworkRun(made, lambda _: None)
    try:
        (api,) = run.start().values()
        own = tmp_path / "bolt.json"
        save_key(own, generate_key())
        place = ("--home", str(founder.path), "--node", api)
        address = cli("validator", "join", "bolt", "100", "--member", str(own), *place)["organisation"]
        cli("asset", "transfer", "thing", "1000", address, *place)

        home = Home(tmp_path / "bolt")
        joined = cli(
            "node",
            "join",
            "--genesis",
            str(founder.genesis_file),
            "--peer",
            made.nodes[0].peer,
            "--home",
            str(home.path),
        )
        text = (home.path / "config.toml").read_text()
        (home.path / "config.toml").write_text(text + "[node.api]\nport = 0\n")
        with running(home) as process, Client(api, trust=founder.trust_file) as chain:
            public = load_or_create_key(home.validator_key_file).public
            assert public.hex() in json.dumps(joined)
            cli("validator", "bond", "300", "--validator-key", public.hex(), "--key", str(own), *place)
            stakes = {one["organisation"]: one for one in cli("validator", "status", *place)["stakes"]}
            assert stakes[address]["power"] == 400

            # Two blocks later it signs: with less than two thirds without it, the chain would stand still otherwise.
            reach(process, chain.get("status")["height"])
            engine = process.node.engine
            key = validator_address(public)

            def signs() -> bool:
                height = engine.latest_height
                return any(one.address == key for one in engine.signed_header(height).commit.signatures)

            until(signs, "the new validator does not sign")

            height = engine.latest_height
            key_of_it = load_or_create_key(home.validator_key_file)
            before = int(chain.get("units/thing")["supply"])
            engine.submit_evidence(double_vote(process, key_of_it, height))
            until(
                lambda: chain.get(f"stakes/{address}")["jailed_until"] is not None,
                "evidence has not reached the ledger",
            )
            stake = chain.get(f"stakes/{address}")
            assert (stake["power"], stake["bond"]) == (0, "380000000"), "a twentieth of the bond"
            assert int(chain.get("units/thing")["supply"]) == before - 20_000_000
            found = chain.get("validators")
            assert [one["power"] for one in found["validators"]] == [1000]
            assert [one["public"] for one in found["convicted"]] == [public.hex()]

            # The chain goes on without it, and both have executed the same.
            later = chain.get("status")["height"] + 3
            until(lambda: chain.get("status")["height"] >= later, "the chain stands still")
            reach(process, later)
            until(lambda: not signs(), "the convicted validator still signs")
            mine = process.node.ledger.store.root(later).hex()
            theirs = engine.signed_header(later + 1).header.app_hash.hex() if engine.latest_height > later else mine
            assert mine == theirs
            assert format_address(load_signer(own).address) == address
    finally:
        run.stop()
