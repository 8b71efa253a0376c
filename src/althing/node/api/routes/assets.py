"""Units of account, balances and escrows."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from althing.node.api.context import Api, Context
from althing.node.api.limits import PAGE_DEFAULT
from althing.node.api.paging import Cursor, Limit, parse_cursor, write_cursor
from althing.node.api.render import plain, time_of_s
from althing.node.api.routes.accounts import Address
from althing.protocol.address import format_address, parse_address
from althing.protocol.messages.assets import Unit

__all__ = [
    "BalancesAnswer",
    "EscrowAnswer",
    "UnitAnswer",
    "UnitsPage",
    "balances",
    "escrow",
    "router",
    "unit",
    "units",
]

router = APIRouter(prefix="/v1", tags=["assets"])


class UnitAnswer(BaseModel):
    """Amounts are text, in the unit's smallest part: they may be beyond what a JavaScript number holds."""

    symbol: str
    title: str
    issuer: str
    decimals: int = Field(description="Digits behind the point where amounts are written")
    cap: str | None
    supply: str
    frozen: bool
    defined_at: str


class UnitsPage(BaseModel):
    units: list[UnitAnswer]
    next: str | None


class BalancesAnswer(BaseModel):
    balances: dict[str, str] = Field(description="Amount by unit, in its smallest part; at most 1,000 units")


class EscrowAnswer(BaseModel):
    number: int
    unit: str
    sender: str
    recipient: str
    amount: str
    arbiters: list[str]
    needed: int
    timeout: str
    memo: str


@router.get("/units", response_model=UnitsPage)
async def units(api: Context, limit: Limit = PAGE_DEFAULT, cursor: Cursor = None) -> UnitsPage:
    """Units of account by symbol."""
    return await api.reads.state(_units, api, limit, parse_cursor("units", cursor, str))


@router.get("/units/{symbol}", response_model=UnitAnswer)
async def unit(api: Context, symbol: Annotated[str, Path(max_length=63)]) -> UnitAnswer:
    """A unit of account."""
    return await api.reads.state(lambda: _unit(api.node.view().unit(symbol)))


@router.get("/accounts/{address}/balances", response_model=BalancesAnswer)
async def balances(api: Context, address: Address) -> BalancesAnswer:
    """What an account has."""
    account = parse_address(address)
    found = await api.reads.state(lambda: api.node.view().balances(account))
    return BalancesAnswer(balances={symbol: str(amount) for symbol, amount in found.items()})


@router.get("/escrows/{number}", response_model=EscrowAnswer)
async def escrow(api: Context, number: Annotated[int, Path(ge=0, lt=2**62)]) -> EscrowAnswer:
    """An amount that is locked."""
    found = await api.reads.state(lambda: api.node.view().escrow(number))
    fields: dict[str, Any] = plain(found)
    del fields["version"]
    return EscrowAnswer(**fields | {"amount": str(found.amount), "timeout": time_of_s(found.timeout)})


def _units(api: Api, limit: int, position: list[Any] | None) -> UnitsPage:
    found = api.node.view().units(None if position is None else str(position[0]), limit + 1)
    more = len(found) > limit
    shown = found[:limit]
    return UnitsPage(
        units=[_unit(one) for one in shown], next=write_cursor("units", shown[-1].symbol) if more else None
    )


def _unit(found: Unit) -> UnitAnswer:
    return UnitAnswer(
        symbol=found.symbol,
        title=found.title,
        issuer=format_address(found.issuer),
        decimals=found.decimals,
        cap=None if found.cap is None else str(found.cap),
        supply=str(found.supply),
        frozen=found.frozen,
        defined_at=time_of_s(found.defined_at),
    )
