"""Accounts, organisations and DID documents."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from althing.node.api.context import Api, Context
from althing.node.api.diddocument import did_document
from althing.node.api.problems import NotThereError
from althing.node.api.render import enum_name, suite_name, time_of_s
from althing.protocol.address import did, format_address, key_id, parse_address, parse_did
from althing.protocol.messages.identity import KeyEntry

__all__ = [
    "AccountAnswer",
    "Address",
    "KeyAnswer",
    "OrganisationAnswer",
    "OrganisationsAnswer",
    "account",
    "keys_json",
    "organisations",
    "resolve_did",
    "router",
]

router = APIRouter(prefix="/v1", tags=["accounts"])

Address = Annotated[str, Path(min_length=41, max_length=41, examples=["al1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnxyxc7c"])]


class KeyAnswer(BaseModel):
    """A key of an account, valid in ledger time [valid_from, valid_to)."""

    suite: str = Field(description="Ed25519 or ES256 (P-256 with SHA-256)")
    public: str
    kid: str
    valid_from: str
    valid_to: str | None
    revoked_at: str | None = Field(description="Set when it was ended as compromised")


class AccountAnswer(BaseModel):
    address: str
    did: str
    kind: str = Field(description="organisation, person, service, gateway, node or device")
    organisation: str
    name: str
    status: str = Field(description="active, suspended or closed")
    threshold: int
    roles: list[str]
    keys: list[KeyAnswer]
    attributes: dict[str, str]


class OrganisationAnswer(BaseModel):
    address: str
    did: str
    name: str
    governor: bool
    suspended: bool
    quota: dict[str, int]


class OrganisationsAnswer(BaseModel):
    organisations: list[OrganisationAnswer]


@router.get("/accounts/{address}", response_model=AccountAnswer)
async def account(api: Context, address: Address) -> AccountAnswer:
    """An account with its keys and attributes."""
    return await api.reads.state(_account, api, parse_address(address))


@router.get("/organisations", response_model=OrganisationsAnswer)
async def organisations(api: Context) -> OrganisationsAnswer:
    """All members of the chain."""
    return await api.reads.state(_organisations, api)


@router.get("/did/{did}", response_class=JSONResponse, responses={200: {"description": "W3C DID Core document"}})
async def resolve_did(api: Context, did: Annotated[str, Path(max_length=128)]) -> JSONResponse:
    """The DID document of an account (W3C DID Core)."""
    document = await api.reads.state(_document, api, did)
    return JSONResponse(document, media_type="application/did+ld+json")


def _account(api: Api, address: bytes) -> AccountAnswer:
    view = api.node.view()
    found = view.account(address)
    return AccountAnswer(
        address=format_address(address),
        did=did(api.node.genesis.chain_id, address),
        kind=enum_name(found.kind),
        organisation=format_address(found.organisation),
        name=found.name,
        status=enum_name(found.status),
        threshold=found.threshold,
        roles=[enum_name(role) for role in found.roles],
        keys=keys_json(found.keys),
        attributes=dict(view.attributes(address)),
    )


def keys_json(entries: tuple[KeyEntry, ...]) -> list[KeyAnswer]:
    """An account's keys, those that have ended too."""
    return [
        KeyAnswer(
            suite=suite_name(entry.key.suite),
            public=entry.key.public.hex(),
            kid=key_id(entry.key.suite, entry.key.public).hex(),
            valid_from=time_of_s(entry.valid_from),
            valid_to=None if entry.valid_to is None else time_of_s(entry.valid_to),
            revoked_at=None if entry.revoked_at is None else time_of_s(entry.revoked_at),
        )
        for entry in entries
    ]


def _organisations(api: Api) -> OrganisationsAnswer:
    chain = api.node.genesis.chain_id
    found = [
        OrganisationAnswer(
            address=format_address(o.address),
            did=did(chain, o.address),
            name=o.name,
            governor=o.governor,
            suspended=o.suspended,
            quota={"bytes": o.quota.bytes, "gas": o.quota.gas},
        )
        for o in api.node.view().organisations()
    ]
    return OrganisationsAnswer(organisations=found)


def _document(api: Api, text: str) -> dict[str, Any]:
    chain, address = parse_did(text)
    if chain != api.node.genesis.chain_id:
        raise NotThereError("query.did", f"this node is of chain {api.node.genesis.chain_id}, not {chain}")
    view = api.node.view()
    time_s = api.node.status().latest_block_time.ns // 1_000_000_000
    return did_document(chain, address, view.account(address), view.attributes(address), time_s)
