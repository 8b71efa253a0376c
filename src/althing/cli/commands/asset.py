"""althing asset: units of account, amounts and escrow."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from althing.cli.amounts import amount_of, parts, written
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
from althing.protocol.address import format_address, parse_address
from althing.protocol.messages.assets import (
    Burn,
    DefineUnit,
    FreezeBalance,
    FreezeUnit,
    Lock,
    Mint,
    Settle,
    Transfer,
)

__all__ = ["app", "balance", "burn", "define", "freeze", "list_units", "lock", "mint", "settle", "show", "transfer"]

app = typer.Typer(
    name="asset",
    help="Units of account: define, mint, transfer, burn, freeze, lock, settle, balance, show, list.",
    no_args_is_help=True,
)

Symbol = Annotated[str, typer.Argument(help="Symbol of the unit.")]
Amount = Annotated[str, typer.Argument(help="Amount, with at most the unit's decimals: 12.50")]
Recipient = Annotated[str, typer.Argument(help="Address of who gets it, al1…")]
Memo = Annotated[str, typer.Option("--memo", help="What it is for; everybody can read it.")]

_AL = "al1h4hleqnzdmlegavq75x3evhu3rfzmz97rlll8r"


@app.command(
    "define",
    **examples(
        "althing asset define coin --title 'Coin of acme' --decimals 2 --cap 1000000", "althing asset define kwh"
    ),
)
@guarded
def define(
    symbol: Symbol,
    title: Annotated[str, typer.Option("--title", help="What it is.")] = "",
    decimals: Annotated[int, typer.Option("--decimals", min=0, max=9, help="Digits behind the point.")] = 0,
    cap: Annotated[str, typer.Option("--cap", help="Never more than this; default: no cap.")] = "",
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Issue a unit of account in the organisation's name. Its cap can never be changed."""
    signer = admin_signer(home, key)
    with open_client(home, node, signer=signer) as client:
        organisation = client.account(signer.address).organisation
        limit = parts(cap, decimals) if cap else None
        done = client.send(DefineUnit(organisation, symbol, title, decimals, limit))
    emit({"unit": symbol, "height": done.height}, f"unit {symbol} since block {done.height}", as_json=as_json)


@app.command("mint", **examples(f"althing asset mint coin 250.00 {_AL}"))
@guarded
def mint(
    symbol: Symbol,
    amount: Amount,
    recipient: Recipient,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an amount of a unit that the organisation issues."""
    with open_client(home, node, signer=admin_signer(home, key)) as client:
        done = client.send(Mint(symbol, parse_address(recipient), amount_of(client, symbol, amount)))
    emit({"height": done.height}, f"minted in block {done.height}", as_json=as_json)


@app.command("transfer", **examples(f"althing asset transfer coin 12.50 {_AL} --memo 'March' --key alice.json"))
@guarded
def transfer(
    symbol: Symbol,
    amount: Amount,
    recipient: Recipient,
    memo: Memo = "",
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give an amount to another account."""
    signer = admin_signer(home, key)
    with open_client(home, node, signer=signer) as client:
        value = amount_of(client, symbol, amount)
        done = client.send(Transfer(symbol, signer.address, parse_address(recipient), value, memo))
    emit({"height": done.height}, f"transferred in block {done.height}", as_json=as_json)


@app.command("burn", **examples("althing asset burn coin 1.00"))
@guarded
def burn(
    symbol: Symbol,
    amount: Amount,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Destroy an amount of one's own."""
    signer = admin_signer(home, key)
    with open_client(home, node, signer=signer) as client:
        done = client.send(Burn(symbol, signer.address, amount_of(client, symbol, amount)))
    emit({"height": done.height}, f"burned in block {done.height}", as_json=as_json)


@app.command(
    "freeze",
    **examples(
        f"althing asset freeze coin --account {_AL}", "althing asset freeze coin", "althing asset freeze coin --thaw"
    ),
)
@guarded
def freeze(
    symbol: Symbol,
    account: Annotated[str, typer.Option("--account", help="Only this account's; default: the whole unit.")] = "",
    thaw: Annotated[bool, typer.Option("--thaw", help="Allow movements again.")] = False,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop all movements of a unit that the organisation issues, or those of one account."""
    message = FreezeBalance(symbol, parse_address(account), not thaw) if account else FreezeUnit(symbol, not thaw)
    with open_client(home, node, signer=admin_signer(home, key)) as client:
        done = client.send(message)
    word = "free" if thaw else "frozen"
    emit({"frozen": not thaw, "height": done.height}, f"{word} since block {done.height}", as_json=as_json)


@app.command("lock", **examples(f"althing asset lock coin 40.00 {_AL} --days 14 --memo 'on delivery'"))
@guarded
def lock(
    symbol: Symbol,
    amount: Amount,
    recipient: Recipient,
    days: Annotated[float, typer.Option("--days", min=0.001, max=3650, help="After this it may go back.")] = 30,
    arbiter: Annotated[list[str] | None, typer.Option("--arbiter", help="Address of who decides; several.")] = None,
    needed: Annotated[int, typer.Option("--needed", min=1, max=8, help="How many arbiters must sign.")] = 1,
    memo: Memo = "",
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lock an amount for somebody: released by you or arbiters, returned by him or arbiters, or after the time."""
    signer = admin_signer(home, key)
    arbiters = tuple(sorted({parse_address(one) for one in arbiter or ()}))
    timeout = int(time.time() + days * 86_400)
    with open_client(home, node, signer=signer) as client:
        value = amount_of(client, symbol, amount)
        to, count = parse_address(recipient), needed if arbiters else 0
        done = client.send(Lock(symbol, signer.address, to, value, arbiters, count, timeout, memo))
    number = next(event.values[0] for event in done.receipt.events if event.name == "assets.locked")
    emit({"escrow": number, "height": done.height}, f"escrow {number} since block {done.height}", as_json=as_json)


@app.command("settle", **examples("althing asset settle 3", "althing asset settle 3 --return --key bob.json"))
@guarded
def settle(
    number: Annotated[int, typer.Argument(help="Number of the escrow.", min=0, max=2**62)],
    back: Annotated[bool, typer.Option("--return", help="Back to the sender.")] = False,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Release a locked amount to its recipient, or return it."""
    with open_client(home, node, signer=admin_signer(home, key)) as client:
        done = client.send(Settle(number, not back))
    emit({"released": not back, "height": done.height}, f"settled in block {done.height}", as_json=as_json)


@app.command("balance", **examples(f"althing asset balance {_AL}"))
@guarded
def balance(
    address: Annotated[str, typer.Argument(help="Address of the account, al1…")],
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show what an account has."""
    with open_client(home, node) as client:
        found = client.get(f"accounts/{format_address(parse_address(address))}/balances")["balances"]
        rows = [{"unit": s, "amount": written(int(v), client.unit(s).decimals)} for s, v in found.items()]
    emit(rows, table(("unit", "amount"), rows, empty="nothing"), as_json=as_json)


@app.command("show", **examples("althing asset show coin", "althing asset show coin --json"))
@guarded
def show(symbol: Symbol, home: HomeOption = DEFAULT_HOME, node: NodeOption = "", as_json: JsonOption = False) -> None:
    """Show a unit: who issues it, how much of it there is, its cap. Proved against the chain's validators."""
    with open_client(home, node) as client:
        found = client.unit(symbol)
    document = {
        "unit": found.symbol,
        "title": found.title,
        "issuer": format_address(found.issuer) if any(found.issuer) else None,
        "decimals": found.decimals,
        "supply": written(found.supply, found.decimals),
        "cap": None if found.cap is None else written(found.cap, found.decimals),
        "frozen": found.frozen,
    }
    shown = {
        **document,
        "issuer": document["issuer"] or "nobody: it is the chain's own",
        "cap": document["cap"] or "none",
        "frozen": "yes" if found.frozen else "no",
    }
    emit(document, "\n".join(f"{name:9} {value}" for name, value in shown.items()), as_json=as_json)


@app.command("list", **examples("althing asset list", "althing asset list --json"))
@guarded
def list_units(home: HomeOption = DEFAULT_HOME, node: NodeOption = "", as_json: JsonOption = False) -> None:
    """List the units of account, at most a thousand."""
    with open_client(home, node) as client:
        found = client.get("units", limit=1000)["units"]
    rows = [{**one, "supply": written(int(one["supply"]), one["decimals"])} for one in found]
    emit(found, table(("symbol", "title", "supply", "issuer"), rows, empty="there are no units"), as_json=as_json)
