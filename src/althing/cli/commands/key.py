"""althing key: private keys in files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from althing.cli.help import examples
from althing.cli.options import JsonOption, guarded
from althing.cli.output import emit
from althing.client import generate_key, load_key, save_key
from althing.client.errors import ClientError
from althing.protocol.address import address_of_key, format_address, key_id
from althing.protocol.signatures import PrivateKey, Suite

__all__ = ["app", "new", "show"]

app = typer.Typer(
    name="key", help="Key files, mode 0600, encrypted with ALTHING_PASSPHRASE when it is set.", no_args_is_help=True
)

_SUITES = {"ed25519": Suite.ED25519, "p256": Suite.ES256}


@app.command(
    "new",
    **examples(
        "althing key new alice.json", "ALTHING_PASSPHRASE='long and secret' althing key new alice.json --suite p256"
    ),
)
@guarded
def new(
    file: Annotated[Path, typer.Argument(help="File to write; never overwritten.")],
    suite: Annotated[str, typer.Option("--suite", help="ed25519 or p256.")] = "ed25519",
    as_json: JsonOption = False,
) -> None:
    """Make a key and write its file."""
    if suite not in _SUITES:
        raise ClientError("cli.suite", f"{suite!r} is not a suite", hint="ed25519 or p256")
    key = generate_key(_SUITES[suite])
    save_key(file, key, passphrase=os.environ.get("ALTHING_PASSPHRASE"))
    _show(file, key, as_json)


@app.command("show", **examples("althing key show alice.json"))
@guarded
def show(file: Annotated[Path, typer.Argument(help="Key file.")], as_json: JsonOption = False) -> None:
    """Show a key's public part and address; the secret stays in the file."""
    _show(file, load_key(file, passphrase=os.environ.get("ALTHING_PASSPHRASE")), as_json)


def _show(file: Path, key: PrivateKey, as_json: bool) -> None:
    document = {
        "file": str(file),
        "suite": key.suite.name.lower(),
        "public": key.public.hex(),
        "kid": key_id(key.suite, key.public).hex(),
        "address": format_address(address_of_key(key.suite, key.public)),
    }
    emit(document, "\n".join(f"{name:8} {value}" for name, value in document.items()), as_json=as_json)
