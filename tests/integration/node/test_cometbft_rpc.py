"""CometBFT's JSON-RPC on the API: its forms, its words for missing heights, its bounds, and who may ask."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx2
import pytest

from althing.client.lightsource import RpcSource
from althing.node.api.allowance import Allowance
from althing.node.api.gate import Gate
from althing.protocol.block.jsonform import signed_header_of_json, validators_of_json
from althing.service.hostnames import HostNames

from .world import World


def rpc(world: World, method: str, params: Any = None, *, path: str = "/", number: Any = 7) -> dict[str, Any]:
    body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    answer = httpx2.post(world.process.url + path, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["jsonrpc"] == "2.0"
    assert found["id"] == number
    return found


def error_of(world: World, method: str, params: Any = None) -> tuple[int, str]:
    error = rpc(world, method, params)["error"]
    return error["code"], error.get("data", "")


def test_commit_and_validators_are_those_of_the_chain(world: World) -> None:
    engine = world.process.node.engine
    for path in ("/", "/cometbft", "/cometbft/"):
        result = rpc(world, "commit", {"height": "3"}, path=path)["result"]
        assert result["canonical"] is True
        assert signed_header_of_json(result["signed_header"]) == engine.signed_header(3)
    assert rpc(world, "header", ["3"])["result"]["header"] == result["signed_header"]["header"]
    found = rpc(world, "validators", {"height": 3, "page": "1", "per_page": "100"})["result"]
    assert validators_of_json(found["validators"]) == list(engine.validators(3).validators)
    assert (found["block_height"], found["count"], found["total"]) == ("3", "1", "1")
    assert found["validators"][0]["proposer_priority"] == "0"
    params = rpc(world, "consensus_params", {"height": "3"})["result"]
    assert params["consensus_params"]["version"] == {"app": "1"}
    assert params["consensus_params"]["block"] == {"max_bytes": "22020096", "max_gas": "-1"}
    assert rpc(world, "health")["result"] == {}


def test_our_light_client_s_source_reads_it(world: World) -> None:
    async def read() -> None:
        source = RpcSource(world.process.url)
        try:
            block = await source.light_block(2)
            assert block.signed == world.process.node.engine.signed_header(2)
            assert (await source.light_block(0)).height >= 2
        finally:
            await source.aclose()

    asyncio.run(read())


def test_status_says_where_the_node_stands(world: World) -> None:
    found = rpc(world, "status")["result"]
    latest = int(found["sync_info"]["latest_block_height"])
    assert found["node_info"]["network"] == world.process.node.genesis.chain_id
    assert (
        found["sync_info"]["latest_block_hash"]
        == world.process.node.engine.signed_header(latest).header.hash().hex().upper()
    )
    assert found["sync_info"]["earliest_block_height"] == "1"
    assert found["sync_info"]["catching_up"] is False
    assert found["validator_info"]["voting_power"] == "10"


def test_missing_heights_are_told_in_cometbft_s_words(world: World) -> None:
    """Its light client knows `ErrHeightTooHigh` and `ErrLightBlockNotFound` from these texts alone."""
    latest = world.process.node.engine.latest_height
    for method in ("commit", "validators", "consensus_params", "header"):
        code, text = error_of(world, method, {"height": str(latest + 1000)})
        assert code == -32603
        assert "must be less than or equal to the current blockchain height" in text
        assert error_of(world, method, {"height": "0"})[1] == "height must be greater than 0, but got 0"
        assert error_of(world, method, {"height": "-1"})[1] == "height must be greater than 0, but got -1"
    # Validators and parameters of the next block are known.
    assert "result" in rpc(world, "validators", {"height": str(world.process.node.engine.latest_height + 1)})


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("no_such_method", {}, -32601),
        ("broadcast_tx_sync", {"tx": "AA=="}, -32601),
        ("unsafe_flush_mempool", {}, -32601),
        ("commit", {"height": "three"}, -32602),
        ("commit", {"height": 2**80}, -32602),
        ("commit", {"height": True}, -32602),
        ("commit", {"height": "٣"}, -32602),
        ("commit", "3", -32602),
        ("commit", ["1", "2"], -32602),
        ("validators", {"height": "1", "page": "2"}, -32603),
        ("validators", {"height": "1", "page": "0"}, -32603),
        ("broadcast_evidence", {}, -32602),
    ],
)
def test_what_is_not_asked_properly_is_refused(world: World, method: str, params: Any, code: int) -> None:
    assert error_of(world, method, params)[0] == code


def test_requests_come_singly_or_in_bounded_batches(world: World) -> None:
    one = {"jsonrpc": "2.0", "id": 1, "method": "health"}
    answers = httpx2.post(
        world.process.url + "/", json=[one, {**one, "id": "two"}, {"jsonrpc": "2.0", "method": "health"}]
    ).json()
    assert [answer["id"] for answer in answers] == [1, "two"]
    assert httpx2.post(world.process.url + "/", json=[one] * 11).json()["error"]["code"] == -32600
    assert httpx2.post(world.process.url + "/", json=[]).json()["error"]["code"] == -32600
    assert httpx2.post(world.process.url + "/", content=b"{").json()["error"]["code"] == -32700
    assert httpx2.post(world.process.url + "/", content=b"[" * 100_000).json()["error"]["code"] == -32700
    assert httpx2.post(world.process.url + "/", json=7).json()["error"]["code"] == -32600
    assert httpx2.post(world.process.url + "/", json={"method": "health"}).status_code == 204
    got = httpx2.get(world.process.url + "/cometbft/commit", params={"height": '"2"'})
    assert got.json()["result"] == rpc(world, "commit", {"height": "2"})["result"]
    assert httpx2.get(world.process.url + "/cometbft/commit", params={"height": "99999999"}).status_code == 500
    assert (
        httpx2.get(world.process.url + "/").headers["content-type"].startswith("text/html")
    )  # the page is still there


def test_evidence_is_taken_in_small_portions_and_not_by_one_signer(world: World) -> None:
    told = [error_of(world, "broadcast_evidence", {"evidence": {"type": "x", "value": {}}})[1] for _ in range(12)]
    assert "engine.evidence" in told[0]
    assert "too much evidence" in told[-1]
    allowance = Allowance()
    assert sum(allowance.take() for _ in range(100)) == 10


@pytest.mark.parametrize(
    ("method", "path", "authorization", "status"),
    [
        ("POST", "/", "", 401),
        ("POST", "/cometbft", "", 401),
        ("GET", "/cometbft/commit", "", 401),
        ("POST", "/", "Bearer secret", 200),
        ("POST", "/cometbft", "Basic " + base64.b64encode(b"node:secret").decode(), 200),
        ("POST", "/cometbft", "Basic " + base64.b64encode(b"node:other").decode(), 401),
        ("POST", "/cometbft", "Basic !", 401),
        # A browser would send Basic by itself, to pages of others too: it opens nothing but these reads.
        ("GET", "/v1/status", "Basic " + base64.b64encode(b"node:secret").decode(), 401),
        ("GET", "/", "", 200),
    ],
)
def test_a_token_guards_it_also_as_the_password_in_an_address(
    method: str, path: str, authorization: str, status: int
) -> None:
    async def answer(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    gate = Gate(answer, hosts=HostNames("0.0.0.0"), token="secret", open_page=True, observe=lambda *_: None)

    async def ask() -> int:
        transport = httpx2.ASGITransport(app=gate)
        async with httpx2.AsyncClient(transport=transport, base_url="http://node") as client:
            headers = {"Authorization": authorization} if authorization else {}
            return (await client.request(method, path, headers=headers)).status_code

    assert asyncio.run(ask()) == status
