"""The chain as a whole: status, genesis, trust, parameters, and headers for light clients."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from althing import __version__
from althing.node.api.context import Api, Context
from althing.node.api.problems import NotThereError
from althing.node.api.render import plain, time_of_ns
from althing.protocol.address import format_address
from althing.protocol.trust import format_trust

__all__ = [
    "CBOR",
    "Height",
    "LightBlock",
    "LightValidator",
    "ParametersAnswer",
    "ScheduledUpgrade",
    "Status",
    "genesis",
    "light",
    "parameters",
    "router",
    "status",
    "trust",
    "wants_json",
]

router = APIRouter(prefix="/v1", tags=["chain"])

CBOR = "application/cbor"
Height = Annotated[int, Path(ge=0, lt=2**62)]


class ScheduledUpgrade(BaseModel):
    """What governance has scheduled, and whether this node can follow it."""

    height: int = Field(description="The first height under the new rules")
    app_version: int
    info: str
    prepared: bool = Field(description="This node's program knows those rules; otherwise it halts before the height")


class Status(BaseModel):
    """Where the node stands."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "chain_id": "demo-1",
                    "genesis_hash": "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
                    "height": 42,
                    "block_hash": "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
                    "block_time": "2026-01-31T12:00:00.25Z",
                    "app_hash": "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
                    "state_height": 42,
                    "engine": "solo",
                    "phase": "running",
                    "version": "0.1.0",
                    "node": "al1pevt0ee5yaaq0l5z75arg0p9gsk52vz9afuxej",
                    "pool_count": 0,
                    "base_height": 1,
                    "conditions": [],
                    "upgrade": None,
                }
            ]
        }
    )

    chain_id: str = Field(examples=["demo-1"])
    genesis_hash: str
    height: int = Field(description="Latest committed block")
    block_hash: str
    block_time: str = Field(examples=["2026-01-31T12:00:00.25Z"])
    app_hash: str = Field(description="State root after the latest block; it stands in the next header")
    state_height: int
    engine: str = Field(examples=["solo"])
    phase: str = Field(description="running, replaying, stalled, halted or stopped")
    version: str
    node: str = Field(description="Address of the node's account")
    pool_count: int = Field(description="Transactions admitted and not in a block")
    base_height: int = Field(description="Oldest block kept")
    conditions: list[str] = Field(
        description="What holds of a node with peers: behind (catching up), alone (no peer), other-chain (met one)"
    )
    upgrade: ScheduledUpgrade | None = Field(description="The upgrade that is scheduled, if any")


class LightValidator(BaseModel):
    public_key: str
    power: int


class LightBlock(BaseModel):
    """What a light client needs of a height."""

    height: int
    header: str = Field(description="CometBFT's protobuf encoding of the header, hexadecimal")
    commit: str = Field(description="CometBFT's protobuf encoding of the commit for it, hexadecimal")
    validators: list[LightValidator]


class ParametersAnswer(BaseModel):
    """Rules that governance may change."""

    version: int
    governors_threshold: int
    tx_lifetime_max_s: int
    quota_window_s: int
    gas_price_min: int
    block_gas_max: int
    tx_bytes_max: int


@router.get("/status", response_model=Status)
async def status(api: Context) -> Status:
    """Where the node stands."""
    found = api.node.status()
    upgrade = await api.reads.state(lambda: _upgrade(api))
    return Status(
        chain_id=found.chain_id,
        genesis_hash=api.node.ledger.genesis_hash.hex(),
        height=found.latest_height,
        block_hash=found.latest_block_hash.hex(),
        block_time=time_of_ns(found.latest_block_time.ns),
        app_hash=found.app_hash.hex(),
        state_height=api.node.ledger.height,
        engine=found.engine,
        phase=found.phase.value,
        version=__version__,
        node=format_address(api.node.address),
        pool_count=api.node.submission.pending,
        base_height=found.base_height,
        conditions=list(found.conditions),
        upgrade=upgrade,
    )


def _upgrade(api: Api) -> ScheduledUpgrade | None:
    if api.node.ledger.store.latest_version is None:
        return None  # it joins by state sync and has no state yet
    due = api.node.view().upgrade()
    if due is None:
        return None
    prepared = api.node.ledger.rulebook.knows(due.app_version)
    return ScheduledUpgrade(height=due.height, app_version=due.app_version, info=due.info, prepared=prepared)


@router.get(
    "/genesis",
    response_class=Response,
    responses={
        200: {
            "content": {
                CBOR: {"schema": {"type": "string", "format": "binary"}},
                "application/json": {"schema": {"type": "object"}},
            },
            "description": "The canonical record in CBOR; with Accept: application/json a readable form",
        }
    },
)
async def genesis(request: Request, api: Context) -> Response:
    """What the chain began with."""
    record = api.node.genesis
    if wants_json(request):
        return JSONResponse(plain(record), headers={"Vary": "Accept"})
    return Response(record.to_bytes(), media_type=CBOR, headers={"Vary": "Accept"})


@router.get(
    "/trust",
    response_class=Response,
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}, "description": "A trust file"}},
)
async def trust(
    api: Context, height: Annotated[int | None, Query(ge=1, lt=2**62, description="Default: the latest")] = None
) -> Response:
    """What to pin for offline verification, as of a block. Compare it with another source before you rely on it."""
    text = format_trust(await api.reads.state(api.node.proofs.trust, height))
    return Response(text, media_type="application/json")


@router.get("/light/{height}", response_model=LightBlock)
async def light(api: Context, height: Height) -> LightBlock:
    """Header, commit and validators of a height; 0 is the latest."""
    return await api.reads.state(_light, api, height)


@router.get("/parameters", response_model=ParametersAnswer)
async def parameters(api: Context) -> ParametersAnswer:
    """The rules in force."""
    found = await api.reads.state(lambda: api.node.view().parameters())
    return ParametersAnswer(**plain(found))


def wants_json(request: Request) -> bool:
    """True when JSON is asked for by name, and CBOR is not."""
    accept = request.headers.get("accept", "")
    return "application/json" in accept and CBOR not in accept


def _light(api: Api, height: int) -> LightBlock:
    at = height or api.node.engine.latest_height
    if not at:
        raise NotThereError("query.no_block", "there is no block yet", hint="wait a moment")
    signed = api.node.engine.signed_header(at)
    members = api.node.engine.validators(at).validators
    return LightBlock(
        height=at,
        header=signed.header.encode().hex(),
        commit=signed.commit.encode().hex(),
        validators=[LightValidator(public_key=v.public_key.hex(), power=v.power) for v in members],
    )
