"""Anchored batches, newest first, from the node's index of anchors."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from althing.node.api.context import Api, Context
from althing.node.api.limits import ENTRIES_MAX, PAGE_DEFAULT
from althing.node.api.paging import Cursor, Limit, parse_cursor, write_cursor
from althing.node.api.render import time_of_ns
from althing.node.indexer import IndexedBatch
from althing.protocol.address import format_address, parse_address
from althing.protocol.messages.streams import Anchor, AnchorEntry
from althing.protocol.transaction import parse_transaction

__all__ = ["BatchAnswer", "BatchEntry", "BatchSummary", "BatchesPage", "batch", "batches", "router"]

router = APIRouter(prefix="/v1", tags=["batches"])


class BatchSummary(BaseModel):
    """An anchored batch."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "gateway": "al1stecpf6y4j4dm8musms7c2j3hy2sa52cgxy4es",
                    "number": 7,
                    "root": "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
                    "size": 250,
                    "streams": 3,
                    "height": 42,
                    "time": "2026-01-31T12:00:00.25Z",
                    "locators": [
                        "althing:batch/al1stecpf6y4j4dm8musms7c2j3hy2sa52cgxy4es/5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f"
                    ],
                    "transaction": "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
                }
            ]
        }
    )

    gateway: str
    number: int = Field(description="Counts the gateway's anchors from 0")
    root: str
    size: int = Field(description="Messages in it")
    streams: int = Field(description="Streams in it")
    height: int
    time: str
    locators: list[str] = Field(description="Where segments with its leaves may be found")
    transaction: str


class BatchesPage(BaseModel):
    batches: list[BatchSummary]
    next: str | None


class BatchEntry(BaseModel):
    stream: str
    number: int
    first: int
    count: int


class BatchAnswer(BatchSummary):
    entries: list[BatchEntry] = Field(description=f"The first {ENTRIES_MAX} rows of its table")


@router.get("/batches", response_model=BatchesPage)
async def batches(
    api: Context,
    gateway: Annotated[str | None, Query(max_length=41, description="Address of the gateway")] = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> BatchesPage:
    """Anchored batches, newest first."""
    return await api.reads.state(_page, api, gateway, limit, parse_cursor("batches", cursor, int, int))


@router.get("/batches/{root}", response_model=BatchAnswer)
async def batch(api: Context, root: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> BatchAnswer:
    """One batch with the streams in it."""
    return await api.reads.state(_batch, api, bytes.fromhex(root))


def _page(api: Api, gateway: str | None, limit: int, position: list[Any] | None) -> BatchesPage:
    api.indexer.current()
    of = None if gateway is None else parse_address(gateway)
    before = None if position is None else (int(position[0]), int(position[1]))
    found = api.indexer.batches(of, before, limit + 1)
    after = None
    if len(found) > limit:
        last = found[limit - 1]
        after = write_cursor("batches", last.height, last.order if of is None else last.number)
    return BatchesPage(batches=[BatchSummary(**_fields(one)) for one in found[:limit]], next=after)


def _fields(one: IndexedBatch) -> dict[str, Any]:
    return {
        "gateway": format_address(one.gateway),
        "number": one.number,
        "root": one.root.hex(),
        "size": one.size,
        "streams": one.streams,
        "height": one.height,
        "time": time_of_ns(one.time_ns),
        "locators": list(one.locators),
        "transaction": one.tx_id.hex(),
    }


def _batch(api: Api, root: bytes) -> BatchAnswer:
    api.indexer.current()
    one = api.indexer.batch(root)
    data = api.contents.inner(one.height, one.bundle)[one.index]
    messages = parse_transaction(data, api.node.ledger.genesis_hash).transaction.messages
    rows: tuple[AnchorEntry, ...] = ()
    for message in messages:
        if isinstance(message, Anchor) and (message.gateway, message.number) == (one.gateway, one.number):
            rows = message.entries[:ENTRIES_MAX]
    view = api.node.view()
    entries = [
        BatchEntry(stream=view.stream_by_number(e.stream).path, number=e.stream, first=e.first, count=e.count)
        for e in rows
    ]
    return BatchAnswer(**_fields(one), entries=entries)
