"""Options of commands that found a chain: its kind, the readers of a private one, the money of a public one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from althing.client import load_key
from althing.client.errors import ClientError
from althing.node.kinds import Founding, Money
from althing.protocol.address import is_name
from althing.protocol.messages.identity import Key

__all__ = [
    "BondOption",
    "GasPriceOption",
    "KindOption",
    "ReaderOption",
    "SupplyOption",
    "UnitOption",
    "founding_of",
]

_USUAL = Money()

KindOption = Annotated[str, typer.Option("--kind", help="consortium, private or public.")]
ReaderOption = Annotated[
    list[str] | None, typer.Option("--reader", help="Private: who may read, as name=key file; repeat it.")
]
UnitOption = Annotated[str, typer.Option("--unit", help="Public: symbol of the unit that is bonded.")]
SupplyOption = Annotated[int, typer.Option("--supply", min=1, help="Public: whole units of each founder.")]
BondOption = Annotated[int, typer.Option("--bond", min=1, help="Public: whole units of them that a founder bonds.")]
GasPriceOption = Annotated[
    int, typer.Option("--gas-price", min=0, help="Public: least fee per unit of gas, in the unit's smallest part.")
]


def founding_of(kind: str, reader: Sequence[str] | None, unit: str, supply: int, bond: int, gas_price: int) -> Founding:
    """What the options say."""
    readers = {}
    for text in reader or ():
        name, found, path = text.partition("=")
        if not found or not is_name(name):
            raise ClientError("cli.reader", f"{text!r} is not name=key file", hint="--reader auditor=auditor.json")
        held = load_key(Path(path))
        readers[name] = Key(held.suite, held.public)
    money = Money(
        symbol=unit,
        balance=supply,
        bond=bond,
        bond_min=min(bond, _USUAL.bond_min),
        gas_price_min=gas_price,
    )
    return Founding(kind, readers or None, money)
