"""Four validators of four organisations on this machine: one ledger, whichever node is asked, and one node may die."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from althing.cli.demo.network import NetworkRun
from althing.client import Client, Signer, load_signer
from althing.consensus.cometbft.trace import read_trace
from althing.consensus.grammar import check_trace
from althing.node.home import HomeError
from althing.node.network import Network, found_network, load_network
from althing.node.offline import offline_proofs
from althing.protocol.genesis import genesis_hash
from althing.protocol.messages.identity import AccountKind, Key
from althing.protocol.signatures import PrivateKey, Suite

ORGANISATIONS = ("acme", "bolt", "corp", "dune")
WAIT_S = 120
TIME_S = int(time.time())  # ledger time begins there, and transactions expire by it


def found(folder: Path) -> Network:
    return found_network(folder, chain_id="four", organisations=ORGANISATIONS, validators=4, time_s=TIME_S)


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Network, NetworkRun]]:
    monkeypatch.setenv("ALTHING_NODE_COMETBFT_TRACE_FILE", "trace.jsonl")
    monkeypatch.setenv("ALTHING_NODE_COMETBFT_IDLE_BLOCK_S", "2")
    made = found(tmp_path / "net")
    run = NetworkRun(made, lambda _: None)
    try:
        run.start()
        yield made, run
    finally:
        run.stop()


def same_state(run: NetworkRun, height: int) -> str:
    """Wait until all four stand at one height, at least this one: their app hash."""
    pause = threading.Event()
    for _ in range(WAIT_S * 5):
        health = run.health()
        at = {node.height for node in health}
        if len(at) == 1 and None not in at and max(h for h in at if h is not None) >= height:
            hashes = {node.app_hash for node in health}
            assert len(hashes) == 1, f"the nodes disagree at {at}"
            return hashes.pop()
        pause.wait(0.2)
    raise AssertionError(f"the nodes never stood at one height: {[node.text() for node in run.health()]}")


def member(number: int) -> Signer:
    own = PrivateKey(Suite.ED25519, bytes([number + 1] * 32))
    return Signer(Key(own.suite, own.public).address, (own,))


def create(client: Client, number: int) -> int:
    """A member's account, at the address of its own key; the height of its block."""
    holder = member(number)
    (own,) = holder.keys
    keys = [Key(own.suite, own.public)]
    return client.create_account(f"member-{number}", AccountKind.PERSON, keys, holder=holder).height


@pytest.mark.needs_engine
@pytest.mark.timeout(600)
def test_two_nodes_take_transactions_four_agree_and_one_may_die(network: tuple[Network, NetworkRun]) -> None:
    made, run = network
    first, second, _, last = made.nodes
    assert {genesis_hash(made.home(node).genesis()) for node in made.nodes} == {
        genesis_hash(made.home(first).genesis())
    }
    clients = [
        Client(
            run.apis[node.name], trust=made.home(node).trust_file, signer=load_signer(made.home(node).admin_key_file)
        )
        for node in (first, second)
    ]
    try:
        heights = [create(clients[number % 2], number) for number in range(6)]
        before = same_state(run, max(heights))
        # What one node took, the other proves.
        assert clients[0].account(member(1).address).name == "member-1"
        assert clients[1].account(member(0).address).name == "member-0"

        run._children[last.name]._process.kill()
        after = same_state(run, create(clients[0], 6))
        assert after != before
    finally:
        for client in clients:
            client.close()
    run.stop()
    for node in made.nodes:
        runs = read_trace(made.home(node).path / "trace.jsonl")
        for calls in runs:
            check_trace(calls)
        assert len(runs) == (2 if node.name == last.name else 1)
        # Each node's own files prove the chain without any of them running.
        with offline_proofs(made.home(node)) as builder:
            trust = builder.trust(heights[0])
            assert len(trust.validators.validators) == 4


def test_a_network_is_founded_once_and_found_again(tmp_path: Path) -> None:
    made = found(tmp_path / "net")
    assert load_network(tmp_path / "net") == made
    assert [node.name for node in made.nodes] == [f"{name}-node-1" for name in ORGANISATIONS]
    genesis = made.home(made.nodes[0]).genesis()
    assert genesis.parameters.governors_threshold == 3
    assert len({v.public for v in genesis.validators}) == 4
    for node in made.nodes:
        home = made.home(node)
        assert home.admin_key_file.stat().st_mode & 0o077 == 0
        assert home.validator_key_file.stat().st_mode & 0o077 == 0
        assert len(made.peers_of(node)) == 3
        assert all(peer.partition("@")[0] != node.peer_id for peer in made.peers_of(node))
    with pytest.raises(HomeError) as error:
        found(tmp_path / "net")
    assert error.value.code == "home.exists"


def test_validators_are_dealt_to_organisations_in_turn(tmp_path: Path) -> None:
    made = found_network(tmp_path / "net", chain_id="five", organisations=("acme", "bolt"), validators=5, time_s=TIME_S)
    assert [node.name for node in made.nodes] == [
        "acme-node-1",
        "bolt-node-1",
        "acme-node-2",
        "bolt-node-2",
        "acme-node-3",
    ]
    wallets = [node.name for node in made.nodes if made.home(node).admin_key_file.exists()]
    assert wallets == ["acme-node-1", "bolt-node-1"]


@pytest.mark.parametrize(
    ("organisations", "validators"), [((), 1), (("a", "a"), 2), (("acme", "bolt"), 1), (("a",), 101)]
)
def test_what_cannot_be_a_network(tmp_path: Path, organisations: tuple[str, ...], validators: int) -> None:
    with pytest.raises(HomeError) as error:
        found_network(
            tmp_path / "net", chain_id="odd", organisations=organisations, validators=validators, time_s=TIME_S
        )
    assert error.value.code == "network.members"


@pytest.mark.parametrize("text", ["", "{}", json.dumps({"format": "althing-network/2"}), "[]"])
def test_a_damaged_or_missing_network_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(HomeError) as error:
        load_network(tmp_path)
    assert error.value.code == "network.missing"
    (tmp_path / "network.json").write_text(text)
    with pytest.raises(HomeError) as error:
        load_network(tmp_path)
    assert error.value.code == "network.damaged"
