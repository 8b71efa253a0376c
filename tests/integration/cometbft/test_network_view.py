"""The network as a node shows it: four validators, and what is seen of one that stops; the metrics of engine and ledger."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from althing.cli.demo.network import NetworkRun
from althing.cli.main import app
from althing.client import Client, load_signer
from althing.node.network import Network, found_network
from althing.protocol.block import validator_address
from althing.protocol.messages.identity import SetAttribute

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(600)]

ORGANISATIONS = ("acme", "bolt", "corp", "dune")
WAIT_S = 120


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Network, NetworkRun]]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ALTHING_NODE_COMETBFT_IDLE_BLOCK_S", "1")
        folder = tmp_path_factory.mktemp("view") / "net"
        made = found_network(
            folder, chain_id="view", organisations=ORGANISATIONS, validators=4, time_s=int(time.time())
        )
        run = NetworkRun(made, lambda _: None)
        try:
            run.start()
            yield made, run
        finally:
            run.stop()


def until(api: str, holds: Callable[[dict[str, Any]], bool], **params: Any) -> dict[str, Any]:
    """Ask until it is so."""
    pause = threading.Event()
    for _ in range(WAIT_S * 4):
        found = httpx2.get(f"{api}/v1/network", params=params, timeout=20, trust_env=False)
        assert found.status_code == 200, found.text
        if holds(found.json()):
            return dict(found.json())
        pause.wait(0.25)
    raise AssertionError(f"it never came to that: {json.dumps(found.json())}")


def scrape(api: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Samples by name and labels."""
    text = httpx2.get(f"{api}/metrics", timeout=20, trust_env=False).text
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_four_validators_as_one_of_them_shows_them(network: tuple[Network, NetworkRun]) -> None:
    made, run = network
    first = made.nodes[0]
    api = run.apis[first.name]
    view = until(
        api,
        lambda v: (
            v["window"]["blocks"] >= 8
            and len([p for p in v["peers"] if p["connected"]]) == 3
            and v["sync"]["peers_height"] is not None
        ),
        window=8,
    )
    assert view["chain_id"] == "view"
    node = view["node"]
    assert (node["name"], node["organisation"], node["engine"]) == ("acme-node-1", "acme", "cometbft")
    assert node["peer_id"] == first.peer_id
    assert node["engine_version"].count(".") == 2
    genesis = made.home(first).genesis()
    founders = {validator_address(v.public).hex(): v.organisation for v in genesis.validators}
    assert {v["address"]: v["organisation_name"] for v in view["validators"]} == founders
    peers = {peer["id"]: peer for peer in view["peers"]}
    assert set(peers) == {other.peer_id for other in made.nodes[1:]}
    by_name = {other.name: other for other in made.nodes}
    for validator in view["validators"]:
        assert (validator["power"], validator["blocks"], len(validator["marks"])) == (10, 8, 8)
        assert validator["signed"] + validator["missed"] == 8
        assert validator["this_node"] == (validator["organisation_name"] == "acme")
        if not validator["this_node"]:
            peer = peers[validator["peer"]]
            assert by_name[peer["name"]].organisation == validator["organisation_name"]
    assert sum(v["proposed"] for v in view["validators"]) == 8
    blocks = view["recent_blocks"]
    assert all(block["signed"] >= 3 for block in blocks)  # more than two thirds; the slowest may be late
    assert sum(block["signed"] for block in blocks) == sum(v["signed"] for v in view["validators"])
    for validator in view["validators"]:
        assert validator["proposed"] == sum(block["proposer"] == validator["address"] for block in blocks)
    assert [b["height"] for b in view["recent_blocks"]] == [
        *range(view["window"]["last"], view["window"]["first"] - 1, -1)
    ]
    for peer in peers.values():
        assert peer["address_kind"] == "loopback"
        assert peer["direction"] in ("inbound", "outbound")
        assert peer["version"] == node["engine_version"]
        assert peer["last_seen"] >= peer["connected_since"]
    assert view["sync"]["phase"] == "running"
    assert not view["sync"]["conditions"]
    assert view["sync"]["peers_height"] >= view["sync"]["height"] - 5

    # Every node tells the same of the chain, whatever it sees of its peers.
    other = until(run.apis[made.nodes[2].name], lambda v: v["window"]["last"] >= view["window"]["last"], window=8)
    assert {v["address"] for v in other["validators"]} == set(founders)
    with Client(api, trust=made.home(first).trust_file) as client:
        assert client.network(window=3)["window"]["blocks"] == 3
    told = CliRunner().invoke(app, ["network", "status", "--home", str(made.home(first).path), "--window", "5"])
    assert told.exit_code == 0, told.output
    assert "acme (this node)" in told.stdout
    assert "peers: 3 connected" in told.stdout


def test_metrics_of_engine_and_ledger_come_from_one_place(network: tuple[Network, NetworkRun]) -> None:
    _, run = network
    for api in run.apis.values():
        found = scrape(api)
        assert found["althing_node_engine_metrics_up"] == {(): 1.0}
        (height,) = found["cometbft_consensus_height"].values()
        assert abs(height - found["althing_node_height"][()]) <= 5  # two moments of a moving chain
        assert len(found["althing_node_validator_signed_ratio"]) == 4
        assert set(found["althing_node_condition"].values()) == {0.0}
        assert found["althing_node_process_resident_memory_bytes"][()] > 10e6
        (memory,) = found["cometbft_process_resident_memory_bytes"].values()
        assert memory > 10e6
        assert not any(name.startswith(("go_", "process_", "promhttp_")) for name in found)


@pytest.mark.parametrize("file", ["deploy/grafana/althing.json", "docs/operate/monitoring.md"])
def test_every_metric_that_is_asked_for_exists(network: tuple[Network, NetworkRun], root: Path, file: str) -> None:
    made, run = network
    home = made.home(made.nodes[0])
    api = run.apis[made.nodes[0].name]
    with Client(api, trust=home.trust_file, signer=load_signer(home.admin_key_file)) as client:
        # A counter begins when it counts.
        client.send(SetAttribute(load_signer(home.admin_key_file).address, "seen", file))
    found = {name for other in run.apis.values() for name in scrape(other)}
    found |= {name.removesuffix("_bucket") for name in found}  # a histogram by its own name
    asked = set(re.findall(r"\b(?:althing|cometbft)_[a-z0-9_]*[a-z0-9]\b", (root / file).read_text(encoding="utf-8")))
    assert len(asked) > 15
    assert asked - found == set()


def test_the_dashboard_is_whole(root: Path) -> None:
    """Panels do not overlap, each asks for something, and all of them of the jobs and instances that are chosen."""
    board = json.loads((root / "deploy/grafana/althing.json").read_text(encoding="utf-8"))
    places: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & places, panel["title"]
        places |= cells
        if panel["type"] == "row":
            continue
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            metrics = re.findall(r"(?:althing|cometbft)_\w+", target["expr"])
            assert metrics, target
            assert target["expr"].count('{job=~"$job",instance=~"$instance"') == len(metrics), target
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_a_validator_that_stops_is_seen_to_miss_and_to_be_gone(network: tuple[Network, NetworkRun]) -> None:
    made, run = network
    api, last = run.apis[made.nodes[0].name], made.nodes[3]
    run._children[last.name].stop()  # `health` would start it again
    view = until(
        api,
        lambda v: (
            [p["connected"] for p in v["peers"] if p["id"] == last.peer_id] == [False]
            and next(one for one in v["validators"] if one["organisation_name"] == "dune")["marks"].endswith("mmmm")
        ),
        window=10,
    )
    gone = next(peer for peer in view["peers"] if peer["id"] == last.peer_id)
    assert (gone["name"], gone["connected_since"]) == ("dune-node-1", None)
    assert gone["last_seen"] is not None
    shares = {v["organisation_name"]: v["signed_share"] for v in view["validators"]}
    assert shares["dune"] < 1
    assert all(shares[name] >= shares["dune"] for name in ORGANISATIONS)
    # Its turns to propose pass to the next: rounds above 0 tell of it.
    until(api, lambda v: any(block["round"] > 0 for block in v["recent_blocks"]))
    ratios = {
        dict(labels)["organisation"]: v for labels, v in scrape(api)["althing_node_validator_signed_ratio"].items()
    }
    assert ratios["dune"] < 1


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the engine's process by /proc")
def test_an_engine_that_is_down_is_told_and_the_rest_is_still_answered(network: tuple[Network, NetworkRun]) -> None:
    """CometBFT is stopped (SIGSTOP), as a hanging one is: bounded waiting, and a metric that says so."""
    made, run = network
    node = made.nodes[1]
    api = run.apis[node.name]
    child = run._children[node.name]._process.pid
    engine = next(pid for pid in _children(child) if Path(f"/proc/{pid}/comm").read_text().strip() == "cometbft")
    os.kill(engine, signal.SIGSTOP)
    try:
        began = time.monotonic()
        found = scrape(api)
        assert found["althing_node_engine_metrics_up"] == {(): 0.0}
        assert "cometbft_consensus_height" not in found
        assert found["althing_node_height"][()] > 0
        assert time.monotonic() - began < 30
    finally:
        os.kill(engine, signal.SIGCONT)


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]
