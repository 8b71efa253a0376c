"""A chain of the embedded engine goes on under CometBFT: same name, same state, and its old readings still proved."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from althing.cli.main import app
from althing.client import Client, load_signer
from althing.consensus.engine import EngineError
from althing.light.blocks import LightBlock
from althing.light.following import follow_each
from althing.light.headers import Freshness
from althing.light.verifier import verify_proof
from althing.node import carrying
from althing.node.home import Home
from althing.node.network import load_network
from althing.node.offline import offline_proofs, stored_blocks
from althing.node.trustway import Pin
from althing.protocol.trust import parse_trust
from althing.testing.networks import create, moved, running_network

from .world import Running, new_home, running_world

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(500)]


def invoke(*words: str, code: int = 0) -> Any:
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_a_chain_is_carried_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTHING_NODE_COMETBFT_IDLE_BLOCK_S", "1")
    solo = new_home(tmp_path / "solo")
    stream = "pump-1/temperature"
    with running_world(solo) as world:
        for value in range(3):
            world.anchor([(path, [20.5 + value]) for path in sorted(world.numbers)])
        client = world.chain
        old_height = create(client, 0)
        assert old_height > 3
    trust = parse_trust(solo.trust_file.read_bytes())
    with offline_proofs(solo) as builder:
        old_proof = builder.proof(stream, 0)
        first = builder.trust()
    verify_proof(old_proof, trust)

    folder = tmp_path / "net"
    words = ("network", "carry", "--home", str(solo.path), "--org", "bolt,corp,dune", "-o", str(folder))
    assert CliRunner().invoke(app, words, input="another\n").exit_code == 1
    done = invoke(*words, "--yes")
    last = done["height"]
    assert last >= first.height
    assert [node["organisation"] for node in done["nodes"]] == ["acme", "bolt", "corp", "dune"]
    assert invoke(*words, "--yes", code=1)["error"]["code"] == "home.exists"

    made = moved(folder, load_network(folder), "127.0.67.")
    with running_network(made) as run:
        for node in made.nodes:
            home = made.home(node)
            assert parse_trust(home.trust_file.read_bytes()) == trust
            # A client that trusts the first block of the embedded engine follows into the new one.
            signer = load_signer(solo.admin_key_file)
            with Client(run.apis[node.name], trust=home.trust_file, signer=signer) as reader:
                assert reader.get("status")["genesis_hash"] == trust.genesis_hash.hex()
                assert reader.get(f"blocks/{last + 1}")["app_hash"] == done["app_hash"]
                assert reader.stream(stream)[0].gateway == world.gateway.address
                assert reader.parameters().governors_threshold == 3
        with Client(run.apis[made.nodes[1].name], trust=solo.trust_file, signer=signer) as chain:
            assert create(chain, 1) > last
        with Client(run.apis[made.nodes[0].name], trust=solo.trust_file) as reader:
            served = reader.get(f"light/{last}")
            assert served["height"] == last
    # Old proofs, new proofs of old readings for the old trust file and for a new one, all offline.
    verify_proof(old_proof, trust)
    for place in (solo, made.home(made.nodes[0])):
        with offline_proofs(place) as builder:
            newest = builder.trust()
            assert newest.height > last
            tied = builder.proof(stream, 1, Pin.of(trust), height=newest.height)
            assert verify_proof(tied, trust).height == newest.height
            verify_proof(builder.proof(stream, 2, Pin.of(newest)), newest)
            verify_proof(builder.tied(old_proof, Pin.of(newest)), newest)
    # Every header follows from the one before it by CometBFT's own rules, across the change of engines.
    with stored_blocks(solo) as blocks:
        light = [LightBlock(blocks.signed_header(at), blocks.validators(at)) for at in range(1, last + 3)]
        ages = Freshness(light[-1].header.time, 2**62)
        following = follow_each(light[0], light[-1], ages)
        wanted = next(following)
        for expected in range(2, last + 2):
            assert wanted == expected
            with suppress(StopIteration):  # with the last, which was the target
                wanted = following.send(light[wanted - 1])
        assert light[last - 1].header.next_validators_hash == light[last].header.validators_hash
        assert len(light[last].validators.validators) == 4
    # The embedded engine never signs for it again.
    old = Home(tmp_path / "old")
    (old.path / "node").mkdir(parents=True)
    for name in ("genesis.cbor", "trust.json"):
        (old.path / name).write_bytes((solo.path / name).read_bytes())
    for path in (solo.node_key_file, solo.validator_key_file):
        (old.path / "node" / path.name).write_bytes(path.read_bytes())
        (old.path / "node" / path.name).chmod(0o600)
    (solo.path / "node" / "solo-blocks").rename(old.blocks_dir)
    with pytest.raises(EngineError) as error, Running(old):
        pass
    assert error.value.code == "engine.validators"


def test_wrong_members_are_refused(tmp_path: Path) -> None:
    solo = new_home(tmp_path / "solo")
    words = ("network", "carry", "--home", str(solo.path), "-o", str(tmp_path / "net"), "--yes")
    assert invoke(*words, "--org", "bolt", code=1)["error"]["code"] == "home.carry"  # it has never run
    with Running(solo):
        pass
    assert invoke(*words, "--org", "acme", code=1)["error"]["code"] == "network.members"
    assert invoke(*words, "--org", "bolt,corp", "--validators", "2", code=1)["error"]["code"] == "network.members"
    with Running(solo) as process:
        assert process.node.ready  # and nothing was changed


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solo = new_home(tmp_path / "solo")
    with Running(solo):
        pass
    words = ("network", "carry", "--home", str(solo.path), "--org", "bolt", "--validators", "2", "--yes")
    out = ("-o", str(tmp_path / "net"))

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("_last_block", "_settle", "save_network"):
        with monkeypatch.context() as patch:
            patch.setattr(carrying, step, dies)
            assert CliRunner().invoke(app, [*words, *out]).exit_code != 0
    done = invoke(*words, *out)
    assert [node["name"] for node in done["nodes"]] == ["acme-node-1", "bolt-node-1"]
    carried = solo.carried()
    assert carried is not None
    assert (carried.height, carried.app_hash.hex()) == (done["height"], done["app_hash"])
    # Who joins it is told what it is, and by what.
    genesis, peer = str(solo.genesis_file), "a" * 40 + "@10.0.0.1:26656"
    join = ("node", "join", "--genesis", genesis, "--peer", peer, "--home", str(tmp_path / "late"))
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**carried.document(), "genesis_hash": "00" * 32}))
    for wrong in (other, solo.genesis_file):
        assert invoke(*join, "--carried", str(wrong), code=1)["error"]["code"] == "home.genesis"
    invoke(*join, "--carried", str(solo.carried_file))
    assert Home(tmp_path / "late").carried() == carried
