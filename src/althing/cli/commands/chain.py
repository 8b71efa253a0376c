"""althing chain: where the chain stands, its blocks and events."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from althing.cli.help import examples
from althing.cli.options import DEFAULT_HOME, HomeOption, JsonOption, NodeOption, guarded, open_client
from althing.cli.output import emit, table

__all__ = ["app", "blocks", "events", "status"]

app = typer.Typer(name="chain", help="The chain: status, blocks, events.", no_args_is_help=True)


@app.command("status", **examples("althing chain status"))
@guarded
def status(home: HomeOption = DEFAULT_HOME, node: NodeOption = "", as_json: JsonOption = False) -> None:
    """Show where the chain stands."""
    with open_client(home, node) as client:
        document = client.get("status")
    emit(document, "\n".join(f"{name:14} {value}" for name, value in document.items()), as_json=as_json)


@app.command("blocks", **examples("althing chain blocks --limit 5"))
@guarded
def blocks(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")] = 20,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the latest blocks."""
    with open_client(home, node) as client:
        found = client.get("blocks", limit=limit)["blocks"]
    emit(found, table(("height", "time", "transactions", "hash"), found, empty="no blocks yet"), as_json=as_json)


@app.command("events", **examples("althing chain events --name streams.", "althing chain events --after 120:3 --json"))
@guarded
def events(
    after: Annotated[
        str, typer.Option("--after", help="Cursor of the last event seen, height:index; 0:0 is the beginning.")
    ] = "0:0",
    name: Annotated[str, typer.Option("--name", help="Only events whose name begins with this, e.g. streams.")] = "",
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as one JSON document a line.")] = False,
) -> None:
    """Follow the chain's events, one a line, until interrupted. Resumes by cursor without loss or repetition."""
    height, _, index = after.partition(":")
    try:
        cursor = (int(height), int(index or 0))
    except ValueError as error:
        raise typer.BadParameter("a cursor is height:index", param_hint="--after") from error
    with open_client(home, node) as client:
        try:
            for event in client.events(cursor, name=name):
                document = {"cursor": f"{event.height}:{event.index}", "name": event.name, "data": event.data}
                text = (
                    json.dumps(document)
                    if as_json
                    else f"{document['cursor']:>12}  {event.name:24} {json.dumps(event.data)}"
                )
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
        except KeyboardInterrupt:
            return
