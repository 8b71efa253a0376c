"""Blocks: the newest first, and one with its header, commit and transaction ids."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from althing.node.api.context import Api, Context
from althing.node.api.limits import PAGE_DEFAULT
from althing.node.api.paging import Cursor, Limit, parse_cursor, write_cursor
from althing.node.api.render import time_of_ns
from althing.node.api.routes.chain import Height
from althing.protocol.block import BlockId, Commit, Header

__all__ = ["BlockAnswer", "BlockSummary", "BlocksPage", "CommitAnswer", "CommitSignature", "block", "blocks", "router"]

router = APIRouter(prefix="/v1", tags=["blocks"])


class BlockSummary(BaseModel):
    """A block in a list."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "height": 42,
                    "hash": "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
                    "time": "2026-01-31T12:00:00.25Z",
                    "app_hash": "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
                    "proposer": "0211346d0f608a87356dfb9e09240a08f6e8c342",
                    "transactions": 3,
                    "bytes": 2180,
                }
            ]
        }
    )

    height: int
    hash: str
    time: str
    app_hash: str = Field(description="State root after the block before")
    proposer: str = Field(description="Address of the validator that proposed it, in hexadecimal as CometBFT has it")
    transactions: int
    bytes: int = Field(description="Size of the encoded block")


class BlocksPage(BaseModel):
    blocks: list[BlockSummary]
    next: str | None


class CommitSignature(BaseModel):
    flag: str
    address: str
    time: str
    signature: str


class CommitAnswer(BaseModel):
    height: int
    round: int
    block_hash: str
    signatures: list[CommitSignature]


class BlockAnswer(BlockSummary):
    """A block with all fields of its header (CometBFT's names)."""

    chain_id: str
    block_version: int
    app_version: int
    last_block_hash: str
    last_commit_hash: str
    data_hash: str
    validators_hash: str
    next_validators_hash: str
    consensus_hash: str
    last_results_hash: str
    evidence_hash: str
    commit: CommitAnswer
    transaction_ids: list[str]


@router.get("/blocks", response_model=BlocksPage)
async def blocks(api: Context, limit: Limit = PAGE_DEFAULT, cursor: Cursor = None) -> BlocksPage:
    """Blocks, newest first."""
    return await api.reads.state(_page, api, limit, parse_cursor("blocks", cursor, int))


@router.get("/blocks/{height}", response_model=BlockAnswer)
async def block(api: Context, height: Height) -> BlockAnswer:
    """One block; 0 is the latest."""
    return await api.reads.state(_block, api, height)


def _page(api: Api, limit: int, position: list[Any] | None) -> BlocksPage:
    status = api.node.status()
    top = status.latest_height if position is None else min(position[0], status.latest_height + 1) - 1
    bottom = max(status.base_height, top - limit + 1, 1)
    found = [_summary(api, height) for height in range(top, bottom - 1, -1)]
    more = bool(found) and bottom > max(status.base_height, 1)
    return BlocksPage(blocks=found, next=write_cursor("blocks", bottom) if more else None)


def _summary(api: Api, height: int) -> BlockSummary:
    return BlockSummary(**_summary_fields(api, api.node.engine.signed_header(height).header))


def _summary_fields(api: Api, header: Header) -> dict[str, Any]:
    count, size = api.contents.measure(header.height)
    return {
        "height": header.height,
        "hash": header.hash().hex(),
        "time": time_of_ns(header.time.ns),
        "app_hash": header.app_hash.hex(),
        "proposer": header.proposer_address.hex(),
        "transactions": count,
        "bytes": size,
    }


def _block(api: Api, height: int) -> BlockAnswer:
    engine = api.node.engine
    at = height or engine.latest_height
    signed = engine.signed_header(at)
    header = signed.header
    hashes = {
        name: getattr(header, name).hex()
        for name in (
            "last_commit_hash",
            "data_hash",
            "validators_hash",
            "next_validators_hash",
            "consensus_hash",
            "last_results_hash",
            "evidence_hash",
        )
    }
    return BlockAnswer(
        **_summary_fields(api, header),
        **hashes,
        chain_id=header.chain_id,
        block_version=header.block_version,
        app_version=header.app_version,
        last_block_hash=_hash_of(header.last_block_id),
        commit=_commit(signed.commit),
        transaction_ids=[tx_id.hex() for tx_id in api.contents.ids(at)],
    )


def _hash_of(block_id: BlockId) -> str:
    return block_id.hash.hex()


def _commit(commit: Commit) -> CommitAnswer:
    signatures = [
        CommitSignature(
            flag=entry.flag.name.lower(),
            address=entry.address.hex(),
            time=time_of_ns(entry.timestamp.ns),
            signature=entry.signature.hex(),
        )
        for entry in commit.signatures
    ]
    return CommitAnswer(
        height=commit.height, round=commit.round, block_hash=commit.block_id.hash.hex(), signatures=signatures
    )
