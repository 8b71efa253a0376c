"""Public and private chains through a real node: by the commands and the SDK."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from althing.cli.main import app
from althing.client.client import load_signer
from althing.client.errors import RefusedTransactionError
from althing.client.keyfile import save_key
from althing.client.sending import Signer
from althing.client.sync import Client
from althing.node.daemon import NodeProcess
from althing.node.home import create_home
from althing.node.kinds import Founding, FoundingError
from althing.protocol.address import format_address
from althing.protocol.messages.identity import AccountKind, Key
from althing.protocol.readticket import make_read_ticket
from althing.testing.harness import Actor

from .world import Running, key

BOLT = key("bolt")
BOLT_ADDRESS = Key(BOLT.suite, BOLT.public).address


@pytest.fixture(scope="module")
def commons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    place: Path = tmp_path_factory.mktemp("commons")
    save_key(place / "bolt.json", BOLT)
    founding = Founding("public")
    home = create_home(
        place / "home", chain_id="commons", organisation="acme", time_s=int(time.time()), founding=founding
    )
    with Running(home) as process:
        yield process


def run(process: NodeProcess, *words: str, code: int = 0) -> Any:
    done = CliRunner().invoke(app, [*words, "--home", str(process.home.path), "--node", process.url, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_an_organisation_joins_bonds_and_takes_its_bond_back(commons: NodeProcess) -> None:
    bolt = ("--key", str(commons.home.path.parent / "bolt.json"))
    unit = run(commons, "asset", "show", "thing")
    assert (unit["issuer"], unit["supply"]) == (None, unit["cap"])
    before = run(commons, "validator", "status")
    assert (before["kind"], before["unit"], before["validators"][0]["power"]) == ("public", "thing", 1000)
    member = ("--member", str(commons.home.path.parent / "bolt.json"))
    assert run(commons, "validator", "join", "bolt", "99", *member, code=1)["error"]["code"] == "staking.bond_min"
    address = run(commons, "validator", "join", "bolt", "250.5", *member)["organisation"]
    assert address == format_address(BOLT_ADDRESS)
    # It pays fees as everybody: first it needs something to pay with.
    assert run(commons, "validator", "bond", "1", *bolt, code=1)["error"]["code"] == "tx.fee_unpaid"
    run(commons, "asset", "transfer", "thing", "50", address)
    run(commons, "validator", "bond", "10", *bolt)
    stakes = {one["organisation"]: one for one in run(commons, "validator", "status")["stakes"]}
    assert (stakes[address]["bond"], stakes[address]["power"]) == ("260500000", 0), "it has named no validator"
    left = run(commons, "validator", "unbond", "60.5", *bolt)
    assert not left["left"]
    assert run(commons, "validator", "unbond", "150", *bolt, code=1)["error"]["code"] == "staking.bond_min"
    assert run(commons, "validator", "unjail", *bolt, code=1)["error"]["code"] == "staking.jailed"
    with Client(commons.url, signer=load_signer(commons.home.admin_key_file)) as chain:
        stake = chain.stake(BOLT_ADDRESS)
        assert (stake.bond, stake.unbonding, stake.joined) == (200_000_000, 60_500_000, True)
        shown = chain.get(f"stakes/{address}")
        assert [(part["recipient"], part["amount"]) for part in shown["parts"]] == [(address, "60500000")]
        assert chain.get("kind")["staking"]["bond_min"] == "100000000"
        assert chain.staking().unbonding_s == 7 * 86_400


def test_fees_are_paid_as_the_chain_asks(commons: NodeProcess) -> None:
    signer = load_signer(commons.home.admin_key_file)
    own = key("alice")
    alice = Key(own.suite, own.public)
    with Client(commons.url, signer=signer) as chain:
        supply = chain.unit("thing").supply
        chain.create_account("alice", AccountKind.PERSON, [alice], holder=Signer(alice.address, (own,)))
        burned = supply - chain.unit("thing").supply
        assert 0 < burned < 500_000, "half of what the gas of one small transaction costs"
        with Client(commons.url, signer=Signer(alice.address, (own,))) as poor:
            with pytest.raises(RefusedTransactionError) as refused:
                poor.set_attribute("a", "b")
            assert refused.value.code == "tx.fee_unpaid"


def test_governors_change_the_rules_of_bonds(commons: NodeProcess, tmp_path: Path) -> None:
    file = tmp_path / "decisions.json"
    file.write_text(json.dumps([{"type": "staking.set_parameters", "unbonding_s": 1000}]))
    words = ("gov", "propose", str(file), "--title", "Sooner")
    assert run(commons, *words, code=1)["error"]["code"] == "staking.periods"
    file.write_text(json.dumps([{"type": "staking.set_parameters", "unbonding_s": 200_000}]))
    assert run(commons, *words)["executed"]
    assert run(commons, "validator", "status")["kind"] == "public"
    with Client(commons.url) as chain:
        assert chain.staking().unbonding_s == 200_000


def test_founders_that_do_not_fit_are_told(tmp_path: Path) -> None:
    def init(*words: str) -> Any:
        done = CliRunner().invoke(app, ["network", "init", "-o", str(tmp_path / "net"), *words, "--json"])
        assert done.exit_code == 1, done.output
        return json.loads(done.stdout)["error"]["code"]

    assert init("--kind", "open") == "network.kind"
    assert init("--kind", "private", "--org", "acme,bolt", "--validators", "2") == "network.kind"
    assert init("--kind", "public", "--org", "acme", "--validators", "2") == "network.kind"
    assert init("--reader", "auditor") == "cli.reader"
    with pytest.raises(FoundingError, match=r"network\.kind"):
        Founding("consortium", {"auditor": Key(BOLT.suite, BOLT.public)}).check(("acme",), 1)
    assert not (tmp_path / "net").exists()


# --- private ----------------------------------------------------------------------------------------------------------


def test_a_private_chain_answers_those_it_lists(tmp_path: Path) -> None:
    auditor, stranger = key("auditor"), key("stranger")
    for name, own in (("auditor", auditor), ("stranger", stranger)):
        save_key(tmp_path / f"{name}.json", own)
    founding = Founding("private", {"auditor": Key(auditor.suite, auditor.public)})
    home = create_home(
        tmp_path / "home", chain_id="quiet", organisation="acme", time_s=int(time.time()), founding=founding
    )
    with Running(home) as process:

        def ticket(name: str) -> str:
            file = tmp_path / f"{name}.ticket"
            words = ["--key", str(tmp_path / f"{name}.json"), "-o", str(file), "--home", str(home.path)]
            assert CliRunner().invoke(app, ["reader", "ticket", *words]).exit_code == 0
            assert file.stat().st_mode & 0o077 == 0
            return file.read_text().strip()

        def asked(path: str, credential: str = "") -> tuple[int, str]:
            headers = {"Authorization": f"Bearer {credential}"} if credential else {}
            answer = httpx2.get(process.url + path, headers=headers, trust_env=False)
            return answer.status_code, answer.json().get("code", "") if answer.status_code >= 400 else ""

        for path in ("/healthz", "/v1/status", "/v1/trust"):
            assert asked(path) == (200, "")
        read = ticket("auditor")
        for path in ("/v1/organisations", "/v1/kind", "/v1/blocks", "/v1/openapi.json", "/cometbft/status"):
            assert asked(path) == (401, "api.reader")
            assert asked(path, ticket("stranger")) == (401, "api.reader")
            assert asked(path, read[:-2] + "AA") == (401, "api.reader")
            assert asked(path, "x" * 40) == (401, "api.reader")
            assert asked(path, read) == (200, "")
        assert run(process, "validator", "status")["kind"] == "private", "the organisation's own commands work"

        # A reader sends nothing; one that is struck off reads nothing from the next block on.
        address = Key(auditor.suite, auditor.public).address
        reader = Signer(address, (auditor,))
        with Client(process.url, trust=home.trust_file, signer=reader, token=read) as reading:
            assert reading.account(address).kind is AccountKind.READER
            with pytest.raises(RefusedTransactionError) as refused:
                reading.set_attribute("a", "b")
            assert refused.value.code == "tx.reader"
        later = {"name": "insurer", "key": {"suite": "Ed25519", "public": stranger.public.hex()}}
        decisions = [
            {"type": "governance.admit_reader", "reader": later},
            {"type": "governance.set_reader", "reader": format_address(address), "status": "suspended"},
        ]
        file = tmp_path / "decisions.json"
        file.write_text(json.dumps(decisions))
        assert run(process, "gov", "propose", str(file), "--title", "Another reader")["executed"]
        assert asked("/v1/organisations", read) == (401, "api.reader")
        other = Actor(stranger, Key(stranger.suite, stranger.public).address_under(bytes(20)))
        now = int(time.time())
        own = make_read_ticket(stranger, other.address, process.node.ledger.genesis_hash, now, now + 60)
        assert asked("/v1/organisations", own) == (200, "")
        late = make_read_ticket(stranger, other.address, process.node.ledger.genesis_hash, now - 100, now - 1)
        elsewhere = make_read_ticket(stranger, other.address, bytes(32), now, now + 60)
        for bad in (late, elsewhere):
            assert asked("/v1/organisations", bad) == (401, "api.reader")
        file.write_text(json.dumps([{"type": "governance.admit_organisation", "organisation": ORGANISATION}]))
        refusal = run(process, "gov", "propose", str(file), "--title", "A member", code=1)["error"]["code"]
        assert refusal == "governance.kind"


ORGANISATION = {
    "name": "bolt",
    "governor": False,
    "threshold": 1,
    "keys": [{"suite": "Ed25519", "public": BOLT.public.hex()}],
    "quota": {"bytes": 1000, "gas": 1000},
}
