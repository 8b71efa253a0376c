"""Bonds on a public chain: its rules, who has bonded what, and the kind of any chain."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from althing.node.api.context import Api, Context
from althing.node.api.limits import PAGE_DEFAULT
from althing.node.api.paging import Cursor, Limit, parse_cursor, write_cursor
from althing.node.api.render import plain, time_of_s
from althing.node.api.routes.accounts import Address
from althing.protocol.address import format_address, parse_address
from althing.protocol.messages.staking import Stake

__all__ = [
    "KindAnswer",
    "StakeAnswer",
    "StakesPage",
    "UnbondingAnswer",
    "kind",
    "router",
    "stake",
    "stakes",
]

router = APIRouter(prefix="/v1", tags=["staking"])


class KindAnswer(BaseModel):
    kind: str = Field(description="consortium, private or public")
    unit: str | None = Field(description="Of a public chain: the unit that is bonded and that fees are paid in")
    evidence_age_s: int | None
    evidence_age_blocks: int | None
    staking: dict[str, Any] | None = Field(description="Rules of bonds; amounts as text, in the unit's smallest part")


class UnbondingAnswer(BaseModel):
    recipient: str
    amount: str
    due: str = Field(description="Not before this, and not before evidence is too old by blocks")


class StakeAnswer(BaseModel):
    organisation: str
    joined: bool = Field(description="Its membership rests on the bond")
    bond: str = Field(description="In the unit's smallest part")
    unbonding: str
    validator: str | None = Field(description="Public key of its validator")
    power: int = Field(description="Of that validator two heights on; 0: it does not validate")
    jailed_until: str | None
    parts: list[UnbondingAnswer]


class StakesPage(BaseModel):
    stakes: list[StakeAnswer]
    next: str | None


@router.get("/kind", response_model=KindAnswer)
async def kind(api: Context) -> KindAnswer:
    """The kind of chain, and the rules of bonds of a public one."""
    return await api.reads.state(_kind, api)


@router.get("/stakes", response_model=StakesPage)
async def stakes(api: Context, limit: Limit = PAGE_DEFAULT, cursor: Cursor = None) -> StakesPage:
    """Who has bonded what, by organisation's address."""
    return await api.reads.state(_stakes, api, limit, parse_cursor("stakes", cursor, str))


@router.get("/stakes/{address}", response_model=StakeAnswer)
async def stake(api: Context, address: Address) -> StakeAnswer:
    """What an organisation has bonded."""
    organisation = parse_address(address)
    return await api.reads.state(lambda: _stake(api, api.node.view().stake(organisation)))


def _kind(api: Api) -> KindAnswer:
    view = api.node.view()
    chain = view.staked_chain()
    if chain is None:
        return KindAnswer(kind=view.kind(), unit=None, evidence_age_s=None, evidence_age_blocks=None, staking=None)
    rules: dict[str, Any] = plain(view.staking())
    for amount in ("bond_min", "power_unit"):
        rules[amount] = str(rules[amount])
    return KindAnswer(
        kind=view.kind(),
        unit=chain.unit,
        evidence_age_s=chain.evidence_age_s,
        evidence_age_blocks=chain.evidence_age_blocks,
        staking=rules,
    )


def _stakes(api: Api, limit: int, position: list[Any] | None) -> StakesPage:
    after = None if position is None else parse_address(str(position[0]))
    found = api.node.view().stakes(after, limit + 1)
    shown = found[:limit]
    more = len(found) > limit
    return StakesPage(
        stakes=[_stake(api, one) for one in shown],
        next=write_cursor("stakes", format_address(shown[-1].organisation)) if more else None,
    )


def _stake(api: Api, found: Stake) -> StakeAnswer:
    view = api.node.view()
    powers = {one.public: one.power for one in view.validators()}
    return StakeAnswer(
        organisation=format_address(found.organisation),
        joined=found.joined,
        bond=str(found.bond),
        unbonding=str(found.unbonding),
        validator=None if found.validator is None else found.validator.hex(),
        power=powers.get(found.validator, 0) if found.validator is not None else 0,
        jailed_until=None if found.jailed_until is None else time_of_s(found.jailed_until),
        parts=[
            UnbondingAnswer(recipient=format_address(one.recipient), amount=str(one.amount), due=time_of_s(due))
            for due, one in (view.unbondings(found.organisation) if found.unbondings else ())
        ],
    )
