"""althing reader: who reads a private chain, and tickets to read it with."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from althing.cli.help import examples
from althing.cli.options import DEFAULT_HOME, HomeOption, JsonOption, KeyOption, admin_signer, guarded
from althing.cli.output import emit
from althing.node.home import HomeError
from althing.protocol.address import parse_address
from althing.protocol.genesis import genesis_hash
from althing.protocol.messages.governance import Genesis
from althing.protocol.readticket import TICKET_S_MAX, make_read_ticket
from althing.protocol.trust import parse_trust

__all__ = ["app", "ticket"]

app = typer.Typer(name="reader", help="Readers of a private chain: ticket.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """A group of its own, although it has one command."""


@app.command(
    "ticket",
    **examples(
        "althing reader ticket --key auditor.json --trust trust.json -o ticket",
        "althing reader ticket --hours 24 -o ticket",
    ),
)
@guarded
def ticket(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write it to, mode 0600.")],
    key: KeyOption = None,
    trust: Annotated[Path | None, typer.Option("--trust", help="Trust file of the chain; default: the home's.")] = None,
    account: Annotated[str, typer.Option("--account", help="Its address, where it is not that of the key.")] = "",
    hours: Annotated[int, typer.Option("--hours", min=1, max=24, help="How long it is valid.")] = 1,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Make a ticket with which a reader, or an account of the organisation, asks nodes of a private chain."""
    signer = admin_signer(home, key)
    if trust is not None:
        chain = parse_trust(trust.read_bytes()).genesis_hash
    else:
        file = home / "genesis.cbor"
        if not file.exists():
            raise HomeError(
                "home.missing", f"{home} is no home: which chain is it for?", hint="--trust trust.json, or --home"
            )
        chain = genesis_hash(Genesis.from_bytes(file.read_bytes()))
    now = int(time.time())
    until = now + min(hours * 3600, TICKET_S_MAX)
    own = parse_address(account) if account else signer.address
    text = make_read_ticket(signer.keys[0], own, chain, now, until)
    with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as written:
        written.write(text + "\n")
    emit({"file": str(output), "expires": until}, f"{output}: valid for {hours} h", as_json=as_json)
