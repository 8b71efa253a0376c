"""althing node: found a chain or join one, run its node, ask it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from althing.cli.connection import named_certificates
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
from althing.cli.output import emit, working
from althing.cli.running import announce, run_daemon
from althing.node.backup import back_up
from althing.node.config import read_config
from althing.node.daemon import run_node
from althing.node.home import Home, HomeError, create_home
from althing.node.joining import join_home
from althing.node.offline import replay_offline
from althing.node.resetting import reset_home
from althing.node.restore import restore
from althing.node.rollback import roll_back
from althing.protocol.genesis import genesis_hash
from althing.service.telemetry import configure_logs

__all__ = ["app", "backup", "init", "join", "replay", "reset", "restore_backup", "rollback", "start", "status"]

app = typer.Typer(
    name="node",
    help="Nodes: init, join, start, status, backup, restore, replay, rollback, reset.",
    no_args_is_help=True,
)


@app.command(
    "init",
    **examples(
        "althing node init --chain my-chain --org acme --home my-chain",
        "althing node init --kind private --org acme --reader auditor=auditor.json --home my-chain",
    ),
)
@guarded
def init(
    chain: Annotated[str, typer.Option("--chain", help="Chain id: a-z 0-9 -")] = "local",
    organisation: Annotated[str, typer.Option("--org", help="Name of the founding organisation.")] = "acme",
    kind: KindOption = "consortium",
    reader: ReaderOption = None,
    unit: UnitOption = "thing",
    supply: SupplyOption = 1_000_000,
    bond: BondOption = 1_000,
    gas_price: GasPriceOption = 1,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Found a chain of one organisation in a new home."""
    founding = founding_of(kind, reader, unit, supply, bond, gas_price)
    made = create_home(home, chain_id=chain, organisation=organisation, time_s=int(time.time()), founding=founding)
    digest = genesis_hash(made.genesis()).hex()
    emit(
        {"home": str(home), "chain_id": chain, "kind": kind, "genesis_hash": digest},
        f"chain {chain} founded in {home}\ngenesis {digest}\nnext: althing node start --home {home}",
        as_json=as_json,
    )


@app.command(
    "join",
    **examples(
        "althing node join --genesis genesis.cbor --peer 5f0c…@10.0.0.1:26656 --home my-node",
        "althing node join --genesis genesis.cbor --peer 5f0c…@10.0.0.1:26656 --trust trust.json --state-sync"
        " --rpc https://a.example:8420 --rpc https://b.example:8420",
        "althing --ca nodes.pem node join --genesis genesis.cbor --peer 5f0c…@10.0.0.1:26656 --trust trust.json --state-sync"
        " --rpc https://node:$TOKEN@10.0.0.1:8420 --rpc https://node:$TOKEN@10.0.0.2:8420",
    ),
)
@guarded
def join(
    genesis: Annotated[Path, typer.Option("--genesis", help="The chain's genesis.cbor, from another node's home.")],
    peer: Annotated[list[str], typer.Option("--peer", help="<node id>@host:port of a node; repeat it.")],
    trust: Annotated[Path | None, typer.Option("--trust", help="Trust file from a source you believe.")] = None,
    carried: Annotated[
        Path | None, typer.Option("--carried", help="carried.json of another node's home, where it has one.")
    ] = None,
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
    ca = named_certificates() if servers else None
    made = join_home(
        home,
        genesis=_read(genesis),
        peers=peer,
        trust=None if trust is None else _read(trust),
        carried=None if carried is None else _read(carried),
        state_sync=servers,
        ca=None if ca is None else _read(ca),
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
    confirm(home, f"Data of {home} will be set aside.", yes=yes)
    aside = reset_home(Home(home))
    emit(
        {"home": str(home), "set_aside": str(aside)},
        f"set aside in {aside}; delete it when the node has caught up\nnext: althing node start --home {home}",
        as_json=as_json,
    )


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
    confirm(home, f"The node of {home} will go back {what}.", yes=yes)
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


@app.command(
    "backup",
    **examples(
        "althing node backup --home my-node -o /backup/my-node-1",
        "althing node backup --home my-node -o /backup/my-node-1 --with-keys --no-archive",
    ),
)
@guarded
def backup(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")],
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="Private keys too, encrypted with ALTHING_PASSPHRASE.")
    ] = False,
    archive: Annotated[bool, typer.Option("--archive/--no-archive", help="The archive's segments too.")] = True,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Back a home up, also while its node runs. Interrupted, the same command goes on."""
    with working("backing up", as_json=as_json) as progress:
        task = progress.add_task("", total=None)
        made = back_up(
            Home(home),
            output,
            passphrase=_passphrase() if with_keys else None,
            archive=archive,
            told=lambda _: progress.advance(task),
        )
    emit(
        {
            "folder": str(output),
            "chain_id": made.chain_id,
            "files": len(made.files),
            "bytes": made.bytes,
            "keys": made.keys,
        },
        f"{len(made.files)} files, {made.bytes} bytes of chain {made.chain_id} in {output}\n"
        + ("keys are in it, encrypted" if made.keys else "no keys are in it: --with-keys puts them in, encrypted")
        + f"\nnext: keep a copy elsewhere; try it: althing node restore {output} --home TRY",
        as_json=as_json,
    )


@app.command(
    "restore",
    **examples(
        "althing node restore /backup/my-node-1 --home my-node",
        "althing node restore /backup/my-node-1 --home my-node --with-keys --sign-state old/priv_validator_state.json",
    ),
)
@guarded
def restore_backup(
    folder: Annotated[Path, typer.Argument(help="Folder that `althing node backup` made.")],
    trust: Annotated[Path | None, typer.Option("--trust", help="Trust file; default: the backup's own.")] = None,
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="Put its keys back; ALTHING_PASSPHRASE opens them.")
    ] = False,
    sign_state: Annotated[
        Path | None, typer.Option("--sign-state", help="What the validator signed last, saved from its old home.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Make a new home from a backup, after every part of it was verified. Interrupted, the same command goes on."""
    with working("verifying and restoring", as_json=as_json) as progress:
        task = progress.add_task("", total=None)
        done = restore(
            folder,
            Home(home),
            trust=None if trust is None else _read(trust),
            passphrase=_passphrase() if with_keys else None,
            sign_state=None if sign_state is None else _read(sign_state),
            told=lambda _: progress.advance(task),
        )
    lines = [
        f"chain {done.chain_id} restored in {home}",
        f"height {done.height}, app hash {done.app_hash.hex()}: computed anew, and named by a header that follows from "
        f"the trusted one of height {done.trusted_height}",
    ]
    if done.left_out:
        lines += [
            "left out: the validator's key, since others validate too and what it signed last is not known here",
            "  --sign-state with the old home's file puts it back; else the members admit a new key",
        ]
    lines += [f"next: althing node start --home {home}"]
    document = {
        "home": str(home),
        "chain_id": done.chain_id,
        "height": done.height,
        "app_hash": done.app_hash.hex(),
        "trusted_height": done.trusted_height,
        "keys": list(done.keys),
        "left_out": list(done.left_out),
    }
    emit(document, "\n".join(lines), as_json=as_json)


def _passphrase() -> str:
    found = os.environ.get("ALTHING_PASSPHRASE", "")
    if not found and sys.stdin.isatty():
        found = typer.prompt("Passphrase", hide_input=True, err=True)
    if not found:
        raise HomeError("home.passphrase", "keys need a passphrase", hint="set ALTHING_PASSPHRASE")
    return found


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
