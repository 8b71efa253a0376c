"""althing account: accounts of an organisation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

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
from althing.cli.output import emit
from althing.client import Signer, load_key
from althing.client.errors import ClientError
from althing.protocol.address import format_address, parse_address
from althing.protocol.messages.identity import AccountKind, Key, Role

__all__ = ["app", "create", "show"]

app = typer.Typer(name="account", help="Accounts: create, show.", no_args_is_help=True)

_KINDS = {
    kind.name.lower(): kind for kind in (AccountKind.PERSON, AccountKind.SERVICE, AccountKind.GATEWAY, AccountKind.NODE)
}


@app.command(
    "create",
    **examples("althing key new alice.json", "althing account create alice --public-of alice.json --role devices"),
)
@guarded
def create(
    name: Annotated[str, typer.Argument(help="Name of the account.")],
    key_file: Annotated[Path, typer.Option("--public-of", help="Key file whose public key the account gets.")],
    kind: Annotated[str, typer.Option("--kind", help="person, service, gateway or node.")] = "person",
    role: Annotated[list[str] | None, typer.Option("--role", help="admin, devices.")] = None,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an account in the organisation."""
    if kind not in _KINDS:
        raise ClientError("cli.kind", f"{kind!r} is not a kind", hint=", ".join(_KINDS))
    roles = {member.name.lower(): member for member in Role}
    if unknown := set(role or ()) - roles.keys():
        raise ClientError("cli.role", f"{sorted(unknown)} are not roles", hint=", ".join(roles))
    held = load_key(key_file)
    public = Key(held.suite, held.public)
    with open_client(home, node, signer=admin_signer(home, key)) as client:
        done = client.create_account(
            name, _KINDS[kind], [public], roles=[roles[r] for r in role or ()], holder=Signer(public.address, (held,))
        )
    document = {"name": name, "address": format_address(public.address), "height": done.height}
    emit(document, f"account {name} is {document['address']} since block {done.height}", as_json=as_json)


@app.command(
    "show", **examples("althing key show alice.json", "althing account show al1h4hleqnzdmlegavq75x3evhu3rfzmz97rlll8r")
)
@guarded
def show(
    address: Annotated[str, typer.Argument(help="Address, al1…")],
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show an account's record and keys."""
    with open_client(home, node) as client:
        document = client.get(f"accounts/{format_address(parse_address(address))}")
    emit(document, json.dumps(document, indent=2, ensure_ascii=False), as_json=as_json)
