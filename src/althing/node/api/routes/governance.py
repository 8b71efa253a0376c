"""Proposals of the governors, and the validators that they decide on."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from althing.node.api.context import Api, Context
from althing.node.api.render import plain, time_of_s
from althing.protocol.address import format_address
from althing.protocol.catalog import body_from_item
from althing.protocol.codec import decode
from althing.protocol.messages.proposals import Proposal

__all__ = [
    "ProposalAnswer",
    "ProposalsAnswer",
    "ValidatorAnswer",
    "ValidatorsAnswer",
    "proposal",
    "proposals",
    "router",
    "validators",
]

router = APIRouter(prefix="/v1", tags=["governance"])


class ProposalAnswer(BaseModel):
    number: int
    organisation: str = Field(description="Who proposed it")
    title: str
    opened_at: str
    expires: str
    expired: bool = Field(description="By the time of the latest block; it is removed with the next proposal or vote")
    content: str = Field(description="Hash that a vote names; compute it from the verified record before you sign")
    decisions: list[dict[str, Any]] = Field(description="Messages in order, each with its type and fields")
    agree: list[str]
    disagree: list[str]


class ProposalsAnswer(BaseModel):
    threshold: int = Field(description="How many governors must agree")
    proposals: list[ProposalAnswer]


class ValidatorAnswer(BaseModel):
    public_key: str
    power: int
    organisation: str


class ValidatorsAnswer(BaseModel):
    """The validators as they will sign two heights on."""

    validators: list[ValidatorAnswer]
    convicted: list[dict[str, Any]] = Field(description="Keys that evidence convicts, which never validate again")
    deferred: list[str] = Field(description="Convicted keys that still validate: governors must decide on them")


@router.get("/proposals", response_model=ProposalsAnswer)
async def proposals(api: Context) -> ProposalsAnswer:
    """All open proposals, at most 64."""
    return await api.reads.state(_proposals, api)


@router.get("/proposals/{number}", response_model=ProposalAnswer)
async def proposal(api: Context, number: Annotated[int, Path(ge=0, lt=2**62)]) -> ProposalAnswer:
    """An open proposal."""
    return await api.reads.state(lambda: _answer(api, api.node.view().proposal(number)))


@router.get("/validators", response_model=ValidatorsAnswer)
async def validators(api: Context) -> ValidatorsAnswer:
    """Validators with power and organisation, and what evidence says of them."""
    return await api.reads.state(_validators, api)


def _proposals(api: Api) -> ProposalsAnswer:
    view = api.node.view()
    return ProposalsAnswer(
        threshold=view.parameters().governors_threshold,
        proposals=[_answer(api, found) for found in view.proposals()],
    )


def _answer(api: Api, found: Proposal) -> ProposalAnswer:
    now = api.node.status().latest_block_time.ns // 1_000_000_000
    bodies = [body_from_item(decode(raw)) for raw in found.messages]
    return ProposalAnswer(
        number=found.number,
        organisation=format_address(found.organisation),
        title=found.title,
        opened_at=time_of_s(found.opened_at),
        expires=time_of_s(found.expires),
        expired=found.expires <= now,
        content=found.content.hex(),
        decisions=[{"type": body.TYPE, **plain(body)} for body in bodies],
        agree=[format_address(one) for one in found.agree],
        disagree=[format_address(one) for one in found.disagree],
    )


def _validators(api: Api) -> ValidatorsAnswer:
    view = api.node.view()
    return ValidatorsAnswer(
        validators=[
            ValidatorAnswer(public_key=v.public.hex(), power=v.power, organisation=format_address(v.organisation))
            for v in view.validators()
        ],
        convicted=[plain(offence) for offence in view.offences()],
        deferred=[public.hex() for public in view.deferred()],
    )
