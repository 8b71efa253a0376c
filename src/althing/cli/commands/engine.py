"""althing engine: the distributed engine's program on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from althing.cli.help import examples
from althing.cli.options import JsonOption, guarded
from althing.cli.output import emit
from althing.consensus.cometbft.binary import PINNED_VERSION, describe_binary, find_binary

__all__ = ["app", "info"]

app = typer.Typer(name="engine", help="The distributed engine's program (CometBFT).", no_args_is_help=True)


@app.command("info", **examples("althing engine info", "althing engine info --binary /usr/local/bin/cometbft --json"))
@guarded
def info(
    binary: Annotated[
        Path | None, typer.Option("--binary", help="Look at this program instead of the one that would be used.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show which CometBFT would be used: version, path, SHA-256."""
    found = describe_binary(find_binary(binary))
    pinned = found.version == PINNED_VERSION
    document = {"version": found.version, "pinned": PINNED_VERSION, "path": str(found.path), "sha256": found.sha256}
    remark = "" if pinned else f"\nAlthing is tested with {PINNED_VERSION}"
    emit(
        document,
        f"CometBFT {found.version}\npath     {found.path}\nSHA-256  {found.sha256}{remark}",
        as_json=as_json,
    )
