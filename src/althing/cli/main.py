"""The command `althing`: nouns, then verbs."""

from __future__ import annotations

from typing import Annotated

import typer

from althing import __version__
from althing.cli.commands import (
    account,
    asset,
    chain,
    demo,
    device,
    engine,
    gateway,
    gov,
    key,
    light,
    network,
    node,
    proof,
    reader,
    segment,
    stream,
    trust,
    tx,
    validator,
)
from althing.cli.connection import CaOption, TokenFileOption, reached_by
from althing.cli.help import examples

__all__ = ["app", "main"]

app = typer.Typer(
    name="althing",
    help="A Blockchain of Things: devices' data on a ledger, with proofs that verify offline. Begin with: althing demo",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(
    "demo",
    **examples("althing demo", "althing demo --loop", "althing demo --headless --seconds 20 --json"),
)(demo.demo)
for module in (
    account,
    asset,
    chain,
    device,
    engine,
    gateway,
    gov,
    key,
    light,
    network,
    node,
    proof,
    reader,
    segment,
    stream,
    trust,
    tx,
    validator,
):
    app.add_typer(module.app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"althing {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    ca: CaOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Exit codes: 0 success, 1 refused or a failed check, 2 wrong use, 3 not available now."""
    reached_by(ca, token_file)


def main() -> None:
    """Entry point of the installed command."""
    app()
