"""althing node: found a chain or join one, run its node, ask it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Annotated

import typer

from althing.cli.help import examples
from althing.cli.options import DEFAULT_HOME, HomeOption, JsonOption, NodeOption, guarded, open_client
from althing.cli.output import emit, working
from althing.cli.running import announce, run_daemon
from althing.node.config import read_config
from althing.node.daemon import run_node
from althing.node.home import Home, HomeError, create_home
from althing.node.joining import join_home
from althing.node.offline import replay_offline
from althing.node.resetting import reset_home
from althing.node.rollback import roll_back
from althing.protocol.genesis import genesis_hash
from althing.service.telemetry import configure_logs

__all__ = ["app", "init", "join", "replay", "reset", "rollback", "start", "status"]

app = typer.Typer(name="node", help="Nodes: init, join, start, status, replay, rollback, reset.", no_args_is_help=True)

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


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


@app.command(
    "join",
    **examples(
        "althing node join --genesis genesis.cbor --peer 5f0c…@10.0.0.1:26656 --home my-node",
        "althing node join --genesis genesis.cbor --peer 5f0c…@10.0.0.1:26656 --trust trust.json --state-sync"
        " --rpc https://a.example:8420 --rpc https://b.example:8420",
    ),
)
@guarded
def join(
    genesis: Annotated[Path, typer.Option("--genesis", help="The chain's genesis.cbor, from another node's home.")],
    peer: Annotated[list[str], typer.Option("--peer", help="<node id>@host:port of a node; repeat it.")],
    trust: Annotated[Path | None, typer.Option("--trust", help="Trust file from a source you believe.")] = None,
    state_sync: Annotated[
        bool, typer.Option("--state-sync", help="Take a snapshot of the state instead of executing every block.")
    ] = False,
    rpc: Annotated[
        list[str] | None, typer.Option("--rpc", help="API address of a node to compare headers with; twice or more.")
    ] = None,
    p2p_listen: Annotated[
        str, typer.Option("--p2p-listen", help="Where peers connect, tcp://host:port.")
    ] = "tcp://127.0.0.1:0",
    external_address: Annotated[str, typer.Option("--external-address", help="host:port that peers dial.")] = "",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Make a home for a node that joins a chain which others run."""
    servers = rpc or []
    if state_sync != bool(servers) or len(servers) == 1:
        raise HomeError("home.state_sync", "state sync needs --state-sync and --rpc twice or more")
    made = join_home(
        home,
        genesis=_read(genesis),
        peers=peer,
        trust=None if trust is None else _read(trust),
        state_sync=servers,
        p2p_listen=p2p_listen,
        external_address=external_address,
    )
    found = made.home.genesis()
    document = {
        "home": str(home),
        "chain_id": found.chain_id,
        "genesis_hash": genesis_hash(found).hex(),
        "peer_id": made.peer_id,
        "node_address": made.node_address,
        "node_key": made.node_public.hex(),
        "validator_key": made.validator_public.hex(),
    }
    lines = [f"{home} joins chain {found.chain_id}", f"genesis        {document['genesis_hash']}"]
    lines += [f"{name:14} {document[name]}" for name in ("peer_id", "node_address", "node_key", "validator_key")]
    lines += [f"next: althing node start --home {home}"]
    emit(document, "\n".join(lines), as_json=as_json)


def _read(path: Path) -> bytes:
    """A file named on the command line."""
    try:
        return path.read_bytes()
    except OSError as exc:
        raise HomeError("home.file", f"{path} cannot be read: {exc.strerror}") from exc


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


@app.command("reset", **examples("althing node reset --home my-node", "althing node reset --home my-node --yes"))
@guarded
def reset(
    home: HomeOption = DEFAULT_HOME,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Set a stopped node's data aside, so that it joins its chain anew. Keys stay, and nothing is deleted."""
    _confirm(home, f"Data of {home} will be set aside.", yes=yes)
    aside = reset_home(Home(home))
    emit(
        {"home": str(home), "set_aside": str(aside)},
        f"set aside in {aside}; delete it when the node has caught up\nnext: althing node start --home {home}",
        as_json=as_json,
    )


def _confirm(home: Path, what: str, *, yes: bool) -> None:
    """Have the chain named, or HomeError `home.not_confirmed`; nothing is asked where nobody is there to answer."""
    chain = Home(home).genesis().chain_id
    if yes:
        return
    try:
        answer = input(f"{what} Name the chain to go on: ")
    except EOFError:
        raise HomeError(
            "home.not_confirmed", "nothing was done: nobody is there to answer", hint="in scripts: --yes"
        ) from None
    if answer != chain:
        raise HomeError("home.not_confirmed", f"nothing was done: that is not {chain}")


@app.command(
    "rollback",
    **examples("althing node rollback --home my-node", "althing node rollback --home my-node --to 1200 --yes"),
)
@guarded
def rollback(
    home: HomeOption = DEFAULT_HOME,
    to: Annotated[int | None, typer.Option("--to", min=1, help="Height to go back to; default: one block.")] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take a stopped node back to an earlier height: blocks after it are executed again, or fetched from the others."""
    what = "by one block" if to is None else f"to height {to}"
    _confirm(home, f"The node of {home} will go back {what}.", yes=yes)
    binary = read_config(home).cometbft.binary
    with working("going back", as_json=as_json):
        done = roll_back(Home(home), to, binary=binary)
    then = "blocks after it come from the other nodes" if done.blocks_dropped else "blocks after it are executed again"
    emit(
        {
            "before": done.before,
            "height": done.height,
            "app_hash": done.app_hash.hex(),
            "blocks_dropped": done.blocks_dropped,
        },
        f"from height {done.before} back to {done.height}, app hash {done.app_hash.hex()}\n"
        f"at the next start {then}\nnext: althing node start --home {home}",
        as_json=as_json,
    )


@app.command("replay", **examples("althing node replay --home my-chain", "althing node replay --json"))
@guarded
def replay(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Execute a stopped home's chain again from genesis, and compare every state root and result with its headers."""
    with working("executing the chain again", as_json=as_json):
        done = replay_offline(Home(home), binary=read_config(home).cometbft.binary)
    emit(
        {
            "height": done.height,
            "blocks": done.blocks,
            "transactions": done.transactions,
            "app_hash": done.app_hash.hex(),
        },
        f"{done.blocks} blocks with {done.transactions} transactions give what their headers say\n"
        f"height {done.height}, app hash {done.app_hash.hex()}",
        as_json=as_json,
    )


@app.command("status", **examples("althing node status", "althing node status --node http://127.0.0.1:8420"))
@guarded
def status(home: HomeOption = DEFAULT_HOME, node: NodeOption = "", as_json: JsonOption = False) -> None:
    """Ask the node how it is."""
    with open_client(home, node) as client:
        document = client.get("status")
    emit(document, json.dumps(document, indent=2), as_json=as_json)
