"""Messages that gateways did not accept, from the refusal log in the archive."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from althing.node.api.context import Api, Context
from althing.node.api.limits import PAGE_DEFAULT
from althing.node.api.paging import Cursor, Limit
from althing.node.api.render import time_of_ns
from althing.protocol.address import format_address

__all__ = ["RefusalAnswer", "RefusalsPage", "refusals", "router"]

router = APIRouter(prefix="/v1", tags=["refusals"])


class RefusalAnswer(BaseModel):
    """A message that a gateway refused."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "time": "2026-01-31T12:00:00.25Z",
                    "gateway": "al1stecpf6y4j4dm8musms7c2j3hy2sa52cgxy4es",
                    "device": "pump-1",
                    "stream": "temperature",
                    "transport": "mqtt",
                    "code": "message.counter_reused",
                    "reason": "counter 17 was used before",
                    "hash": "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
                    "bytes": 180,
                }
            ]
        }
    )

    time: str
    gateway: str
    device: str = Field(description="As the sender named it; may be empty or unknown to the chain")
    stream: str
    transport: str = Field(examples=["mqtt", "http"])
    code: str
    reason: str
    hash: str = Field(description="SHA-256 of the body")
    bytes: int


class RefusalsPage(BaseModel):
    refusals: list[RefusalAnswer]
    next: str | None


@router.get("/refusals", response_model=RefusalsPage)
async def refusals(api: Context, limit: Limit = PAGE_DEFAULT, cursor: Cursor = None) -> RefusalsPage:
    """Refused messages, newest first. They are not on the chain: a gateway's word."""
    return await api.reads.archive(_page, api, limit, cursor)


def _page(api: Api, limit: int, cursor: str | None) -> RefusalsPage:
    page = api.refusals.page(limit=limit, cursor=cursor)
    found = [
        RefusalAnswer(
            time=time_of_ns(one.time_ns),
            gateway=format_address(one.gateway),
            device=one.device,
            stream=one.stream,
            transport=one.transport,
            code=one.code,
            reason=one.reason,
            hash=one.hash.hex(),
            bytes=one.size,
        )
        for one in page.refusals
    ]
    return RefusalsPage(refusals=found, next=page.next)
