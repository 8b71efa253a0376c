"""althing node: found a chain, run its node, ask it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated

import typer

from althing.cli.help import examples
from althing.cli.options import DEFAULT_HOME, HomeOption, JsonOption, NodeOption, guarded, open_client
from althing.cli.output import emit
from althing.cli.running import announce, run_daemon
from althing.node.daemon import run_node
from althing.node.home import create_home
from althing.protocol.genesis import genesis_hash
from althing.service.telemetry import configure_logs

__all__ = ["app", "init", "start", "status"]

app = typer.Typer(name="node", help="Nodes: init, start, status.", no_args_is_help=True)


@app.command("init", **examples("althing node init --chain my-chain --org acme --home my-chain"))
@guarded
def init(
    chain: Annotated[str, typer.Option("--chain", help="Chain id: a-z 0-9 -")] = "local",
    organisation: Annotated[str, typer.Option("--org", help="Name of the founding organisation.")] = "acme",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Found a chain of one organisation in a new home."""
    made = create_home(home, chain_id=chain, organisation=organisation, time_s=int(time.time()))
    digest = genesis_hash(made.genesis()).hex()
    emit(
        {"home": str(home), "chain_id": chain, "genesis_hash": digest},
        f"chain {chain} founded in {home}\ngenesis {digest}\nnext: althing node start --home {home}",
        as_json=as_json,
    )


@app.command("start", **examples("althing node start", "althing node start --home my-chain"))
@guarded
def start(
    home: HomeOption = DEFAULT_HOME,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Run the node until interrupted. Prints one JSON line when it serves; logs go to standard error."""
    configure_logs()

    async def main(stop: asyncio.Event) -> None:
        await run_node(home, ready=lambda process: announce("ready", api=process.url), stop=stop)

    run_daemon(main, with_parent=with_parent)


@app.command("status", **examples("althing node status", "althing node status --node http://127.0.0.1:8420"))
@guarded
def status(home: HomeOption = DEFAULT_HOME, node: NodeOption = "", as_json: JsonOption = False) -> None:
    """Ask the node how it is."""
    with open_client(home, node) as client:
        document = client.get("status")
    emit(document, json.dumps(document, indent=2), as_json=as_json)
