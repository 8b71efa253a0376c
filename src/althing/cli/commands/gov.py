"""althing gov: proposals of the governors and their votes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from althing.cli.decisions import read_decisions
from althing.cli.help import examples
from althing.cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    KeyOption,
    NodeOption,
    admin_signer,
    guarded,
    open_client,
)
from althing.cli.output import emit, table
from althing.protocol.messages.staking import StakingParameters

__all__ = ["app", "list_proposals", "propose", "show", "vote", "withdraw"]

app = typer.Typer(name="gov", help="Governance: propose, vote, show, list, withdraw.", no_args_is_help=True)

Number = Annotated[int, typer.Argument(help="Number of the proposal.", min=0, max=2**62)]


@app.command(
    "propose",
    **examples(
        "althing gov propose decisions.json --title 'Dune joins'",
        "althing gov propose decisions.json --title 'A new key' --days 2 --key acme.json",
    ),
)
@guarded
def propose(
    decisions: Annotated[Path, typer.Argument(help="JSON list of decisions; see docs/operate/governance.md.")],
    title: Annotated[str, typer.Option("--title", help="What it is about, in a line.")],
    days: Annotated[float, typer.Option("--days", min=0.001, max=90, help="How long votes are taken.")] = 7,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose decisions, which take effect together once enough governors agree. Proposing is agreeing."""
    with open_client(home, node, signer=admin_signer(home, key)) as client:
        messages = read_decisions(
            decisions, lambda kind: client.staking() if kind is StakingParameters else client.parameters()
        )
        done = client.propose(title, messages, expires=int(time.time() + days * 86_400))
    number = next(e.values[0] for e in done.receipt.events if e.name == "governance.proposed")
    executed = any(e.name == "governance.executed" for e in done.receipt.events)
    document = {"proposal": number, "executed": executed, "height": done.height}
    emit(
        document,
        f"proposal {number} {'has taken effect' if executed else 'is open'} since block {done.height}",
        as_json=as_json,
    )


@app.command("vote", **examples("althing gov vote 3", "althing gov vote 3 --against --key bolt.json"))
@guarded
def vote(
    number: Number,
    against: Annotated[bool, typer.Option("--against", help="Disagree.")] = False,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Agree with a proposal or disagree. The vote names the content that this machine has verified. It can be changed."""
    with open_client(home, node, signer=admin_signer(home, key)) as client:
        done = client.vote(number, agree=not against)
    names = [event.name for event in done.receipt.events]
    outcome = next((word for word in ("executed", "rejected") if f"governance.{word}" in names), "open")
    document = {"proposal": number, "agree": not against, "outcome": outcome, "height": done.height}
    emit(document, f"voted in block {done.height}; proposal {number}: {outcome}", as_json=as_json)


@app.command("withdraw", **examples("althing gov withdraw 3"))
@guarded
def withdraw(
    number: Number,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back a proposal of one's own."""
    with open_client(home, node, signer=admin_signer(home, key)) as client:
        done = client.withdraw(number)
    emit({"proposal": number, "height": done.height}, f"withdrawn in block {done.height}", as_json=as_json)


@app.command("show", **examples("althing gov show 3", "althing gov show 3 --json"))
@guarded
def show(number: Number, home: HomeOption = DEFAULT_HOME, node: NodeOption = "", as_json: JsonOption = False) -> None:
    """Show a proposal with its decisions and votes."""
    with open_client(home, node) as client:
        document = client.get(f"proposals/{number}")
    emit(document, json.dumps(document, indent=2, ensure_ascii=False), as_json=as_json)


@app.command("list", **examples("althing gov list", "althing gov list --json"))
@guarded
def list_proposals(home: HomeOption = DEFAULT_HOME, node: NodeOption = "", as_json: JsonOption = False) -> None:
    """List the proposals that are open."""
    with open_client(home, node) as client:
        found = client.get("proposals")["proposals"]
    rows = [{**one, "agree": len(one["agree"]), "against": len(one["disagree"])} for one in found]
    emit(found, table(("number", "title", "agree", "against", "expires"), rows, empty="none is open"), as_json=as_json)
