"""althing trust: the file a verifier pins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from althing.cli.help import examples
from althing.cli.options import DEFAULT_HOME, HomeOption, JsonOption, guarded, open_client
from althing.cli.output import emit
from althing.protocol.trust import format_trust, parse_trust

__all__ = ["app", "show"]

app = typer.Typer(name="trust", help="Trust files: what a verifier believes in.", no_args_is_help=True)


@app.command("show", **examples("althing trust show", "althing trust show -o trust.json"))
@guarded
def show(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write the file.")] = None,
    height: Annotated[int | None, typer.Option("--height", min=1, help="Block to pin; default: the latest.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show a trust file for the chain as this home sees it now. Give it to those who will verify."""
    with open_client(home) as client:
        document = client.get("trust", **({} if height is None else {"height": height}))
        text = format_trust(parse_trust(json.dumps(document).encode()))
    if output is not None:
        output.write_text(text, encoding="ascii")
    emit(document, text.rstrip(), as_json=as_json)
