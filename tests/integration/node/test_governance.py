"""Governors propose and vote through a real node: by the commands, the SDK and the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
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
from althing.protocol.errors import AlthingError
from althing.protocol.messages.governance import AdmitOrganisation, GenesisOrganisation, Quota, SetOrganisation
from althing.protocol.messages.identity import Key

from .world import Running, key, new_home

BOLT = key("bolt")
BOLT_KEY = Key(BOLT.suite, BOLT.public)


class Council:
    """Acme, whose home it is, and bolt govern."""

    def __init__(self, process: NodeProcess, place: Path) -> None:
        self.process = process
        self.place = place
        self.home = process.home
        self.bolt_file = place / "bolt.json"
        save_key(self.bolt_file, BOLT)
        bolt = Signer(BOLT_KEY.address, (BOLT,))
        with Client(process.url, signer=load_signer(self.home.admin_key_file)) as chain:
            founder = GenesisOrganisation("bolt", True, 1, (BOLT_KEY,), Quota(10**9, 10**12))
            acme = load_signer(self.home.admin_key_file)
            chain.send(AdmitOrganisation(founder), signers=(acme, bolt))

    def run(self, *words: str, code: int = 0) -> Any:
        done = CliRunner().invoke(app, [*words, "--home", str(self.home.path), "--node", self.process.url, "--json"])
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    def propose(self, decisions: Any, *options: str, code: int = 0) -> Any:
        path = self.place / "decisions.json"
        path.write_text(json.dumps(decisions))
        return self.run("gov", "propose", str(path), "--title", "a title", *options, code=code)


@pytest.fixture(scope="module")
def council(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Council]:
    place = tmp_path_factory.mktemp("council")
    with Running(new_home(place / "home")) as process:
        yield Council(process, place)


def test_from_proposal_to_effect(council: Council) -> None:
    decided = council.propose([{"type": "governance.set_parameters", "governors_threshold": 2}])
    assert decided["executed"], "one governor sufficed so far"
    bolt = format_address(BOLT_KEY.address)
    found = council.propose(
        [
            {"type": "governance.set_organisation", "organisation": bolt, "quota": {"bytes": 10**8, "gas": 10**10}},
            {
                "type": "governance.admit_node",
                "organisation": bolt,
                "name": "bolt-1",
                "key": {"suite": "Ed25519", "public": key("bolt node").public.hex()},
            },
        ]
    )
    assert not found["executed"]
    number = found["proposal"]
    shown = council.run("gov", "show", str(number))
    assert [one["type"] for one in shown["decisions"]] == ["governance.set_organisation", "governance.admit_node"]
    assert shown["decisions"][0]["quota"] == {"bytes": 10**8, "gas": 10**10}
    assert [one["number"] for one in council.run("gov", "list")] == [number]
    with Client(council.process.url) as reader:
        assert reader.proposal(number).content.hex() == shown["content"]
        assert reader.parameters().governors_threshold == 2
    voted = council.run("gov", "vote", str(number), "--key", str(council.bolt_file))
    assert voted["outcome"] == "executed"
    assert council.run("gov", "list") == []
    members = council.process.node.view().organisations()
    assert {member.name: member.quota.bytes for member in members}["bolt"] == 10**8
    assert council.run("gov", "show", str(number), code=1)["error"]["code"] == "query.proposal"


def test_against_and_withdrawn(council: Council) -> None:
    decisions = [{"type": "governance.schedule_upgrade", "upgrade": {"height": 10**6, "app_version": 2, "info": ""}}]
    number = council.propose(decisions)["proposal"]
    voted = council.run("gov", "vote", str(number), "--against", "--key", str(council.bolt_file))
    assert voted["outcome"] == "rejected"
    number = council.propose(decisions, "--days", "0.5")["proposal"]
    assert council.run("gov", "withdraw", str(number), "--key", str(council.bolt_file), code=1)["error"]["code"] == (
        "auth.account"
    )
    council.run("gov", "withdraw", str(number))
    with Client(council.process.url, signer=load_signer(council.home.admin_key_file)) as chain:
        with pytest.raises(AlthingError, match="no open proposal"):
            chain.vote(number)
        answer = chain.get("validators")
    assert [one["power"] for one in answer["validators"]] == [10]
    assert (answer["convicted"], answer["deferred"]) == ([], [])


@pytest.mark.parametrize(
    "decisions",
    [
        {},
        [{"type": "governance.crown"}],
        [{"type": "governance.expel_organisation"}],
        [{"type": "governance.expel_organisation", "organisation": "al1nonsense"}],
        [{"type": "governance.expel_organisation", "organisation": 7}],
        [{"type": "governance.expel_organisation", "organisation": "00"}],
        [{"type": "governance.expel_organisation", "organisation": "00" * 20, "why": "x"}],
        [{"type": "governance.set_node", "node": "00" * 20, "status": "gone"}],
        [{"type": "governance.set_parameters", "gravity": 1}],
        [{"type": "governance.set_parameters", "tx_bytes_max": "many"}],
        [{"type": "governance.set_validator", "validator": 3}],
    ],
)
def test_bad_decisions_are_refused_before_they_are_sent(council: Council, decisions: Any) -> None:
    assert council.propose(decisions, code=1)["error"]["code"] == "cli.decisions"


def test_a_suspended_governor(council: Council) -> None:
    with Client(council.process.url, signer=load_signer(council.home.admin_key_file)) as chain:
        message = SetOrganisation(BOLT_KEY.address, None, True, None)
        with pytest.raises(AlthingError) as refused:
            chain.send(message)
        assert refused.value.code == "auth.governors"
        done = chain.propose("suspend", [message], expires=chain_time(chain) + 600)
        with pytest.raises(AlthingError) as refused:
            chain.send(message, signers=(load_signer(council.bolt_file), load_signer(council.home.admin_key_file)))
        assert refused.value.code == "governance.threshold"
        chain.withdraw(int(done.receipt.events[0].values[0]))


def chain_time(chain: Client) -> int:
    return int(datetime.fromisoformat(chain.get("status")["block_time"]).timestamp())
