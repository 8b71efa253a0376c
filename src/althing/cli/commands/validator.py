"""althing validator: validators of any chain; on a public one bonds decide who they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from althing.cli.amounts import amount_of, written
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
from althing.client import Client, Signer
from althing.client.errors import ClientError
from althing.protocol.address import format_address, parse_address
from althing.protocol.messages.identity import Key
from althing.protocol.messages.staking import Bond, Join, SetValidatorKey, Unbond, Unjail

__all__ = ["app", "bond", "join", "key", "status", "unbond", "unjail"]

app = typer.Typer(
    name="validator", help="Validators and bonds: join, bond, key, unbond, unjail, status.", no_args_is_help=True
)

Amount = Annotated[str, typer.Argument(help="Amount of the chain's unit: 250 or 12.5")]
_AL = "al1h4hleqnzdmlegavq75x3evhu3rfzmz97rlll8r"
_HEX = "7d8c0d7a5a0e3a1cf10ec03e4dcb7f9d5b2a26de5bd0e5eaf5dd2ab8a7a1c1b4"


def _unit(client: Client) -> str:
    found = client.get("kind")
    if found["unit"] is None:
        raise ClientError(
            "cli.kind",
            f"nobody bonds on a {found['kind']} chain",
            hint="governors decide on validators: althing gov propose",
        )
    return str(found["unit"])


def _organisation(client: Client, signer: Signer) -> bytes:
    return client.account(signer.address).organisation


def _public(text: str) -> bytes:
    try:
        public = bytes.fromhex(text)
    except ValueError:
        public = b""
    if len(public) != 32:
        raise ClientError("cli.validator_key", f"{text!r} is no Ed25519 key: 64 hexadecimal digits")
    return public


@app.command("join", **examples("althing validator join dune 250 --member dune.json --key friend.json"))
@guarded
def join(
    name: Annotated[str, typer.Argument(help="Name of the organisation that joins.")],
    amount: Amount,
    member: Annotated[Path, typer.Option("--member", help="Key file of the organisation that joins.")],
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an organisation a member of a public chain by bonding for it. Who signs with --key pays, and may be anybody."""
    sponsor, own = admin_signer(home, key), admin_signer(home, member)
    keys = tuple(Key(one.suite, one.public) for one in own.keys)
    with open_client(home, node, signer=sponsor) as client:
        value = amount_of(client, _unit(client), amount)
        done = client.send(Join(sponsor.address, name, 1, keys, value), signers=[sponsor, own])
    document = {"organisation": format_address(own.address), "name": name, "height": done.height}
    emit(document, f"{name} is a member since block {done.height}: {document['organisation']}", as_json=as_json)


@app.command(
    "bond",
    **examples("althing validator bond 250", f"althing validator bond 250 --validator-key {_HEX} --key dune.json"),
)
@guarded
def bond(
    amount: Amount,
    validator_key: Annotated[
        str, typer.Option("--validator-key", help="Name this key for the validator too; `althing node join` prints it.")
    ] = "",
    organisation: Annotated[str, typer.Option("--for", help="Address of another organisation to bond for.")] = "",
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bond an amount: the more an organisation has bonded, the more power its validator has."""
    signer = admin_signer(home, key)
    public = _public(validator_key) if validator_key else None
    with open_client(home, node, signer=signer) as client:
        target = parse_address(organisation) if organisation else _organisation(client, signer)
        messages: list[Bond | SetValidatorKey] = [
            Bond(target, signer.address, amount_of(client, _unit(client), amount))
        ]
        if public is not None:
            messages.append(SetValidatorKey(target, public))
        done = client.send(*messages)
    emit(
        {"organisation": format_address(target), "height": done.height},
        f"bonded in block {done.height}",
        as_json=as_json,
    )


@app.command("key", **examples(f"althing validator key {_HEX} --key dune.json", "althing validator key --none"))
@guarded
def key(
    public: Annotated[str, typer.Argument(help="Public key of the validator, 64 hexadecimal digits.")] = "",
    none: Annotated[bool, typer.Option("--none", help="Stop to validate; the bond stays.")] = False,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Name the key of the organisation's validator, or replace it: once in an unbonding period."""
    if none == bool(public):
        raise ClientError("cli.validator_key", "give a key, or --none")
    signer = admin_signer(home, key)
    wanted = None if none else _public(public)
    with open_client(home, node, signer=signer) as client:
        _unit(client)
        done = client.send(SetValidatorKey(_organisation(client, signer), wanted))
    emit({"validator": public or None, "height": done.height}, f"named in block {done.height}", as_json=as_json)


@app.command("unbond", **examples(f"althing validator unbond 100 --to {_AL}", "althing validator unbond 100"))
@guarded
def unbond(
    amount: Amount,
    to: Annotated[str, typer.Option("--to", help="Address of who gets it; default: the organisation.")] = "",
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take from the bond. The amount is released after the unbonding period; all of it ends a membership by bond."""
    signer = admin_signer(home, key)
    with open_client(home, node, signer=signer) as client:
        value = amount_of(client, _unit(client), amount)
        recipient = parse_address(to) if to else signer.address
        done = client.send(Unbond(signer.address, value, recipient))
    due = next(event.values[3] for event in done.receipt.events if event.name == "staking.unbonding")
    left = any(event.name == "staking.left" for event in done.receipt.events)
    text = f"unbonding since block {done.height}, due at {due} (seconds since 1970)"
    emit(
        {"due": due, "left": left, "height": done.height},
        text + ("; the organisation has left the chain" if left else ""),
        as_json=as_json,
    )


@app.command("unjail", **examples("althing validator unjail --key dune.json"))
@guarded
def unjail(
    home: HomeOption = DEFAULT_HOME, node: NodeOption = "", key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Return from jail, after its time and with a key that evidence does not convict."""
    signer = admin_signer(home, key)
    with open_client(home, node, signer=signer) as client:
        _unit(client)
        done = client.send(Unjail(_organisation(client, signer)))
    emit({"height": done.height}, f"out of jail since block {done.height}", as_json=as_json)


@app.command("status", **examples("althing validator status", "althing validator status --json"))
@guarded
def status(home: HomeOption = DEFAULT_HOME, node: NodeOption = "", as_json: JsonOption = False) -> None:
    """Show validators with their power; on a public chain also who has bonded what, at most a thousand."""
    with open_client(home, node) as client:
        kind = client.get("kind")
        found = client.get("validators")
        stakes = client.get("stakes", limit=1000)["stakes"] if kind["unit"] else []
        decimals = client.unit(kind["unit"]).decimals if kind["unit"] else 0
        names = {one["address"]: one["name"] for one in client.get("organisations")["organisations"]}
    rows: list[dict[str, Any]]
    columns: tuple[str, ...]
    if kind["unit"]:
        rows = [
            {
                "organisation": names.get(one["organisation"], one["organisation"]),
                "power": one["power"],
                "bond": written(int(one["bond"]), decimals),
                "unbonding": written(int(one["unbonding"]), decimals),
                "jailed until": one["jailed_until"] or "",
                "key": (one["validator"] or "")[:16],
            }
            for one in stakes
        ]
        columns = ("organisation", "power", "bond", "unbonding", "jailed until", "key")
    else:
        rows = [
            {
                "organisation": names.get(one["organisation"], one["organisation"]),
                "power": one["power"],
                "key": one["public_key"][:16],
            }
            for one in found["validators"]
        ]
        columns = ("organisation", "power", "key")
    document = {"kind": kind["kind"], "unit": kind["unit"], "stakes": stakes, **found}
    emit(document, table(columns, rows, empty="there are none"), as_json=as_json)
