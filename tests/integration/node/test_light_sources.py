"""What the light client's sources make of nodes that answer many pages, too much, something else or nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from althing.client.lightsource import ApiSource, BadSourceError, NoBlockError, RpcSource, Source
from althing.light.blocks import LightBlock
from althing.light.verification import verify_first
from althing.protocol.block import (
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    Header,
    SignedHeader,
    Timestamp,
    Validator,
    ValidatorSet,
    precommit_sign_bytes,
)
from althing.protocol.block.jsonform import json_of_signed_header, json_of_validators
from althing.protocol.errors import AlthingError, UnavailableError
from althing.protocol.signatures import PrivateKey, Suite
from althing.service.listener import bind_first
from althing.service.webserver import WebServer

HASH = b"\x11" * 32


def big_block(count: int) -> LightBlock:
    keys = [PrivateKey(Suite.ED25519, sha256(b"%d" % number).digest()) for number in range(count)]
    members = ValidatorSet.of(Validator(key.public, 10 + number % 7) for number, key in enumerate(keys))
    time = Timestamp(1_700_000_000, 5)
    header = Header(
        app_version=1,
        chain_id="many",
        height=7,
        time=time,
        last_block_id=BlockId(HASH, 1, HASH),
        last_commit_hash=HASH,
        data_hash=HASH,
        validators_hash=members.hash(),
        next_validators_hash=HASH,
        consensus_hash=HASH,
        app_hash=HASH,
        last_results_hash=HASH,
        evidence_hash=HASH,
        proposer_address=members.validators[0].address,
    )
    block_id = BlockId(header.hash(), 1, HASH)
    message = precommit_sign_bytes("many", 7, 0, block_id, time)
    by_public = {key.public: key for key in keys}
    entries = tuple(
        CommitSig(BlockIdFlag.COMMIT, v.address, time, by_public[v.public_key].sign(message))
        for v in members.validators
    )
    return LightBlock(SignedHeader(header, Commit(7, 0, block_id, entries)), members)


BLOCK = big_block(230)
ALL = json_of_validators(BLOCK.validators.validators)


def result(value: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "result": value}


def honest(method: str, params: dict[str, str]) -> Any:
    if method == "commit":
        return result({"signed_header": json_of_signed_header(BLOCK.signed), "canonical": True})
    first = (int(params["page"]) - 1) * int(params["per_page"])
    page = ALL[first : first + int(params["per_page"])]
    return result({"block_height": "7", "validators": page, "count": str(len(page)), "total": str(len(ALL))})


@asynccontextmanager
async def node(answer: Callable[[str, dict[str, str]], Any]) -> AsyncIterator[str]:
    async def rpc(request: Request) -> Response:
        body = await request.json()
        found = answer(body["method"], body["params"])
        return Response(found if isinstance(found, bytes) else json.dumps(found).encode())

    async def light(request: Request) -> Response:
        found = answer("light", dict(request.path_params))
        return Response(found if isinstance(found, bytes) else json.dumps(found).encode())

    app = Starlette(routes=[Route("/", rpc, methods=["POST"]), Route("/v1/light/{height}", light)])
    bound = bind_first("127.0.0.1", [0])
    server = WebServer(app, bound, tls=None, connections_max=10, idle_s=5, graceful_s=1)
    await server.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        await server.stop()


def ask(answer: Callable[[str, dict[str, str]], Any], make: Callable[[str], Source], height: int = 7) -> LightBlock:
    async def story() -> LightBlock:
        async with node(answer) as url:
            source = make(url)
            try:
                return await source.light_block(height)
            finally:
                await source.aclose()

    return asyncio.run(asyncio.wait_for(story(), 30))


def test_many_validators_come_in_pages() -> None:
    found = ask(honest, RpcSource)
    assert found == BLOCK
    verify_first("many", found)


def error(text: str) -> Callable[[str, dict[str, str]], Any]:
    return lambda _method, _params: {"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "x", "data": text}}


def instead(method: str, value: Any) -> Callable[[str, dict[str, str]], Any]:
    return lambda asked, params: value if asked == method else honest(asked, params)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error("height 7 must be less than or equal to the current blockchain height 5"), NoBlockError),
        (error("height 7 is not available, lowest height is 9"), NoBlockError),
        (error("node is busy"), UnavailableError),
        (lambda _m, _p: b"<html>", BadSourceError),
        (lambda _m, _p: [1, 2], BadSourceError),
        (lambda _m, _p: b"[" * 100_000, BadSourceError),
        (lambda _m, _p: b" " * (17 * 1024 * 1024), BadSourceError),
        (instead("commit", result({"signed_header": None})), BadSourceError),
        (instead("validators", result({"validators": [], "total": "230"})), BadSourceError),
        (instead("validators", result({"validators": ALL[:1], "total": "99999999"})), BadSourceError),
        (instead("validators", result({"validators": ALL[:60], "total": "230"})), BadSourceError),
        (instead("validators", result({"validators": ALL[:60], "total": "x"})), BadSourceError),
    ],
)
def test_a_cometbft_node_that_does_not_give_the_block(
    answer: Callable[[str, dict[str, str]], Any], expected: type[AlthingError]
) -> None:
    with pytest.raises(expected):
        ask(answer, RpcSource)


def test_another_height_than_asked() -> None:
    with pytest.raises(BadSourceError):
        ask(honest, RpcSource, 8)


@pytest.mark.parametrize(
    "answer",
    [
        b"{}",
        {"header": "zz", "commit": "", "validators": []},
        {"header": BLOCK.header.encode().hex(), "commit": BLOCK.commit.encode().hex(), "validators": [1]},
        {"header": BLOCK.header.encode().hex(), "commit": BLOCK.commit.encode().hex(), "validators": []},
        {"header": [], "commit": None},
    ],
)
def test_an_althing_node_that_answers_something_else(answer: Any) -> None:
    with pytest.raises(BadSourceError):
        ask(lambda _m, _p: answer, ApiSource)


def test_nobody_there() -> None:
    async def story() -> None:
        for make in (RpcSource, ApiSource):
            source = make("http://127.0.0.1:1")
            with pytest.raises(UnavailableError):
                await source.light_block(0)
            await source.aclose()

    asyncio.run(story())
