"""althing network: found a network of several nodes, run all of them on this machine, and see how one stands."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from althing.cli.demo.network import NetworkRun
from althing.cli.founding import (
    BondOption,
    GasPriceOption,
    KindOption,
    ReaderOption,
    SupplyOption,
    UnitOption,
    founding_of,
)
from althing.cli.help import examples
from althing.cli.networktext import network_text
from althing.cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    NodeOption,
    YesOption,
    confirm,
    guarded,
    open_client,
)
from althing.cli.output import emit, note, working
from althing.node.carrying import carry
from althing.node.home import Home
from althing.node.network import found_network, load_network
from althing.protocol.genesis import genesis_hash

__all__ = ["app", "carry_over", "init", "status", "up"]

app = typer.Typer(name="network", help="Networks of several nodes: init, carry, up, status.", no_args_is_help=True)

_REPORT_S = 5.0


@app.command(
    "init",
    **examples(
        "althing network init --validators 4 --org acme,bolt,corp,dune -o net",
        "althing network init --kind public --validators 2 --org acme,bolt --unit thing --bond 1000 -o net",
        "althing network init --kind private --validators 3 --org acme --reader auditor=auditor.json -o net",
    ),
)
@guarded
def init(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make; one home per node in it.")],
    validators: Annotated[int, typer.Option("--validators", min=1, max=100, help="How many nodes.")] = 4,
    org: Annotated[
        str, typer.Option("--org", help="Organisations, comma-separated; nodes are dealt to them in turn.")
    ] = "acme,bolt,corp,dune",
    chain: Annotated[str, typer.Option("--chain", help="Chain id: a-z 0-9 -")] = "network",
    kind: KindOption = "consortium",
    reader: ReaderOption = None,
    unit: UnitOption = "thing",
    supply: SupplyOption = 1_000_000,
    bond: BondOption = 1_000,
    gas_price: GasPriceOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Found a chain of several organisations: genesis, keys and settings, one folder per node."""
    names = [name.strip() for name in org.split(",") if name.strip()]
    network = found_network(
        output,
        chain_id=chain,
        organisations=names,
        validators=validators,
        time_s=int(time.time()),
        founding=founding_of(kind, reader, unit, supply, bond, gas_price),
    )
    digest = genesis_hash(network.home(network.nodes[0]).genesis()).hex()
    nodes = [{"name": n.name, "organisation": n.organisation, "home": str(output / n.home)} for n in network.nodes]
    lines = [f"{kind} chain {chain} founded in {output}: {len(nodes)} nodes of {len(names)} organisations"]
    lines += [f"  {node['name']:20} {node['home']}" for node in nodes]
    lines += [f"genesis {digest}", f"next: althing network up {output}"]
    emit({"chain_id": chain, "kind": kind, "genesis_hash": digest, "nodes": nodes}, "\n".join(lines), as_json=as_json)


@app.command(
    "carry",
    **examples(
        "althing network carry --home my-chain --org bolt,corp,dune --validators 4 -o net",
        "althing network carry --home my-chain --org bolt,corp,dune -o net --yes --json",
    ),
)
@guarded
def carry_over(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the new nodes' homes.")],
    org: Annotated[str, typer.Option("--org", help="Organisations that come in, comma-separated; all govern.")],
    validators: Annotated[int, typer.Option("--validators", min=2, max=100, help="How many nodes, all validate.")] = 4,
    home: HomeOption = DEFAULT_HOME,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Carry the chain of a stopped home with the embedded engine over to CometBFT. The chain, its history and proofs stay."""
    names = [name.strip() for name in org.split(",") if name.strip()]
    confirm(
        home,
        f"The chain of {home} will be signed by {validators} validators, and never again by this node alone.",
        yes=yes,
    )
    with working("carrying the chain over", as_json=as_json):
        network = carry(Home(home), output, organisations=names, validators=validators)
    carried = Home(home).carried()
    assert carried is not None, "it was just written"
    nodes = [{"name": n.name, "organisation": n.organisation, "home": str(network.home(n).path)} for n in network.nodes]
    lines = [f"chain {network.chain_id} goes on from height {carried.height + 1} with {len(nodes)} validators"]
    lines += [f"  {node['name']:20} {node['home']}" for node in nodes]
    lines += [f"app hash {carried.app_hash.hex()}", f"next: althing network up {output}"]
    document = {
        "chain_id": network.chain_id,
        "height": carried.height,
        "header_hash": carried.header_hash.hex(),
        "app_hash": carried.app_hash.hex(),
        "nodes": nodes,
    }
    emit(document, "\n".join(lines), as_json=as_json)


@app.command("up", **examples("althing network up net", "althing network up net --seconds 30 --json"))
@guarded
def up(
    folder: Annotated[Path, typer.Argument(help="Folder that `althing network init` made.")],
    seconds: Annotated[int, typer.Option("--seconds", min=0, help="Stop by itself after so long; 0: Ctrl-C.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Run all nodes of a network on this machine: print their addresses, follow their health, until Ctrl-C."""
    run = NetworkRun(load_network(folder), note)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        note(f"starting the nodes of {folder}; their logs are in {folder / 'logs'}")
        apis = run.start()
        for name, api in apis.items():
            note(f"  {name:20} {api}")
        _line({"event": "ready", "nodes": [{"name": name, "api": api} for name, api in apis.items()]}, as_json)
        _follow(run, stop, seconds, as_json)
    finally:
        note("stopping")
        run.stop()


@app.command(
    "status",
    **examples(
        "althing network status",
        "althing network status --home net/acme-node-1",
        "althing network status --window 1000 --json",
    ),
)
@guarded
def status(
    window: Annotated[
        int, typer.Option("--window", min=1, max=1000, help="How many of the latest blocks to look at.")
    ] = 100,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show the network as a running node sees it: validators and what they sign, proposers, peers, versions, progress."""
    with open_client(home, node) as client:
        document = client.network(window=window)
    emit(document, network_text(document, time.time()), as_json=as_json)


def _follow(run: NetworkRun, stop: threading.Event, seconds: int, as_json: bool) -> None:
    began, said = time.monotonic(), ""
    while not stop.is_set():
        left = seconds - (time.monotonic() - began) if seconds else _REPORT_S
        if left <= 0:
            return
        found = run.health()
        text = ", ".join(node.text() for node in found)
        if text != said:
            note(text)
        said = text
        nodes = [
            {"name": n.name, "height": n.height, "phase": n.phase, "conditions": list(n.conditions)} for n in found
        ]
        _line({"event": "health", "nodes": nodes}, as_json)
        stop.wait(min(_REPORT_S, left))


def _line(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()
