"""althing tx: transactions and their receipts."""

from __future__ import annotations

import json
import re
from typing import Annotated

import typer

from althing.cli.help import examples
from althing.cli.options import DEFAULT_HOME, HomeOption, JsonOption, NodeOption, guarded, open_client
from althing.cli.output import emit, table
from althing.client.errors import ClientError
from althing.protocol.refusals import meaning_of

__all__ = ["app", "list_transactions", "show"]

app = typer.Typer(name="tx", help="Transactions and receipts.", no_args_is_help=True)


@app.command("list", **examples("althing tx list --limit 5", "althing tx list --json"))
@guarded
def list_transactions(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")] = 20,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the latest transactions."""
    with open_client(home, node) as client:
        found = client.get("transactions", limit=limit)["transactions"]
    rows = [{**item, "messages": ", ".join(item["messages"]), "code": item["code"] or "ok"} for item in found]
    emit(found, table(("height", "id", "code", "messages"), rows, empty="no transactions yet"), as_json=as_json)


@app.command("show", **examples("althing tx show 5dcbd0d47541483b526f0623475f8c2c2b71ff0d27fa7da5fdf416a9be46139d"))
@guarded
def show(
    identifier: Annotated[str, typer.Argument(help="Transaction id, 64 hexadecimal digits.")],
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show a transaction with its receipt."""
    if not re.fullmatch("[0-9a-f]{64}", identifier):
        raise ClientError("api.parameter", "an id has 64 hexadecimal digits", hint="they are listed: althing tx list")
    with open_client(home, node) as client:
        document = client.get(f"transactions/{identifier}")
    text = json.dumps(document, indent=2, ensure_ascii=False)
    if code := document["receipt"]["code"]:
        meaning = meaning_of(code)
        document["receipt"] |= {"message": meaning.sentence, "hint": meaning.hint}
        text += f"\nrefused: {meaning.sentence} [{code}]" + (f"\n  {meaning.hint}" if meaning.hint else "")
    emit(document, text, as_json=as_json)
