"""althing tx: transactions and their receipts."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from althing.cli.options import DEFAULT_HOME, HomeOption, JsonOption, NodeOption, guarded, open_client
from althing.cli.output import emit, table

__all__ = ["app", "list_transactions", "show"]

app = typer.Typer(name="tx", help="Transactions and receipts.", no_args_is_help=True)


@app.command("list")
@guarded
def list_transactions(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 20,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the latest transactions."""
    with open_client(home, node) as client:
        found = client.get("transactions", limit=limit)["transactions"]
    rows = [{**item, "messages": ", ".join(item["messages"]), "code": item["code"] or "ok"} for item in found]
    emit(found, table(("height", "id", "code", "messages"), rows, empty="no transactions yet"), as_json=as_json)


@app.command("show")
@guarded
def show(
    identifier: Annotated[str, typer.Argument(help="Transaction id, 64 hexadecimal digits.")],
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show a transaction with its receipt."""
    with open_client(home, node) as client:
        document = client.get(f"transactions/{identifier}")
    emit(document, json.dumps(document, indent=2, ensure_ascii=False), as_json=as_json)
