"""Nodes that lie to a gateway: noticed by proof, left for an honest one, and nothing wrong is ever believed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import cbor2
import pytest

from althing.gateway.ledger_nodes import NodeLedger
from althing.light.verifier import verify_proof
from althing.protocol.messages.devices import DeviceState
from althing.protocol.receipt import Receipt
from althing.protocol.transaction import parse_transaction
from althing.protocol.trust import parse_trust

from .liar import Liar
from .place import DEVICE_KEY, Site, run, site

BODY = b'[{"n":"t","v":1}]'


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def ledger(here: Site) -> NodeLedger:
    found = here.gateway.ledger
    assert isinstance(found, NodeLedger)
    return found


def another_key(method: str, path: str, body: bytes) -> bytes:
    """In every account with the device's key stands another one."""
    if (method, path) != ("POST", "/v1/state"):
        return body
    answer = cbor2.loads(body)
    for item in answer[4]:
        if item[0] is not None and DEVICE_KEY.public in item[0]:
            item[0] = item[0].replace(DEVICE_KEY.public, DEVICE_KEY.public[:-1] + b"\x00")
    return cbor2.dumps(answer)


def test_a_doctored_key_is_noticed_and_another_node_asked(tmp_path: Path) -> None:
    async def test() -> None:
        liar = Liar(another_key)
        async with site(tmp_path, before=liar) as here:
            assert "POST /v1/state" in liar.asked
            await until(lambda: here.gateway.registry.connected)
            (entry,) = here.gateway.registry.devices["signer"].keys
            assert entry.key.public == DEVICE_KEY.public
            assert ledger(here).node == here.node.url
            assert ledger(here).lies_total >= 1
            assert b"althing_gateway_lies_total" in here.gateway.reports.metrics()

    run(test())


def test_with_a_liar_alone_nothing_is_accepted(tmp_path: Path) -> None:
    async def test() -> None:
        async with site(tmp_path, before=Liar(another_key), honest=False) as here:
            await until(lambda: ledger(here).lies_total > 1)
            assert not here.gateway.registry.devices
            assert (await here.post("legacy/senml", BODY)).status_code == 503

    run(test())


def test_a_stream_left_out_of_the_list_is_found_by_its_first_message(tmp_path: Path) -> None:
    def alter(method: str, path: str, body: bytes) -> bytes:
        if (method, path) != ("GET", "/v1/streams"):
            return body
        page = json.loads(body)
        page["streams"] = [one for one in page["streams"] if one["stream"] != "legacy/senml"]
        page["streams"].append({"stream": "no/such"})
        return json.dumps(page).encode()

    async def test() -> None:
        async with site(tmp_path, before=Liar(alter)) as here:
            await until(lambda: here.gateway.registry.connected)
            assert set(here.gateway.registry.streams) == {"signer/senml"}
            assert (await here.post("legacy/senml", BODY)).status_code == 200
            assert await here.gateway.drain(20)

    run(test())


def test_a_suspension_kept_back_is_found(tmp_path: Path) -> None:
    async def test() -> None:
        liar = Liar(events=lambda event: b":\n\n" if b"event: devices." in event else event)
        async with site(tmp_path, before=liar, check_s=0.2) as here:
            await until(lambda: "GET /v1/events" in liar.asked)
            done = await here.chain.set_device_state("legacy", DeviceState.SUSPENDED, "test")
            await here.chain.set_attribute("note", "a block more")
            await until(lambda: not here.gateway.registry.devices["legacy"].active)
            assert here.gateway.registry.height >= done.height - 1
            assert (await here.post("legacy/senml", BODY)).status_code == 403

    run(test())


def test_a_receipt_that_was_made_up_is_not_believed(tmp_path: Path) -> None:
    def alter(method: str, path: str, body: bytes) -> bytes:
        if (method, path) != ("POST", "/v1/transactions"):
            return body
        (data,) = cbor2.loads(body)
        signed = parse_transaction(data, genesis[0])
        receipt = Receipt(1, signed.id, "", 0, ())
        return cbor2.dumps([[signed.id, "", "", 3, receipt.to_bytes()]])

    genesis: list[bytes] = []

    async def test() -> None:
        liar = Liar(alter, swallows="/v1/transactions")
        async with site(tmp_path, before=liar) as here:
            genesis.append(here.gateway.registry.genesis_hash)
            assert (await here.post("legacy/senml", BODY)).status_code == 200
            assert await here.gateway.drain(20)
            assert "POST /v1/transactions" in liar.asked
            assert ledger(here).lies_total >= 1
            proof = await here.chain.proof("legacy/senml", 0)
            assert verify_proof(proof, parse_trust(here.home.trust_file.read_bytes())).sequence == 0

    run(test())


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429])
def test_a_node_that_refuses_everything_does_not_stop_the_others(tmp_path: Path, status: int) -> None:
    async def test() -> None:
        liar = Liar(refuses=lambda method, path: status)
        async with site(tmp_path, before=liar) as here:
            assert liar.asked
            await until(lambda: here.gateway.registry.connected)
            assert (await here.post("legacy/senml", BODY)).status_code == 200
            assert await here.gateway.drain(20)
            assert here.gateway.anchoring.alarm == ""

    run(test())


@pytest.mark.parametrize("code", ["quota.bytes", "streams.not_writer", "tx.pending"])
def test_a_refusal_that_was_made_up_is_not_believed(tmp_path: Path, code: str) -> None:
    def alter(method: str, path: str, body: bytes) -> bytes:
        if (method, path) != ("POST", "/v1/transactions"):
            return body
        (data,) = cbor2.loads(body)
        return cbor2.dumps([[parse_transaction(data, genesis[0]).id, code, "no"]])

    genesis: list[bytes] = []

    async def test() -> None:
        liar = Liar(alter, swallows="/v1/transactions")
        async with site(tmp_path, before=liar) as here:
            genesis.append(here.gateway.registry.genesis_hash)
            assert (await here.post("legacy/senml", BODY)).status_code == 200
            assert await here.gateway.drain(20)
            assert liar.asked.count("POST /v1/transactions") == 1
            assert here.gateway.anchoring.alarm == ""

    run(test())


def test_a_proof_that_one_node_does_not_have_is_asked_of_the_next(tmp_path: Path) -> None:
    async def test() -> None:
        liar = Liar(refuses=lambda method, path: 404 if path.startswith("/v1/proofs") else 0)
        async with site(tmp_path, before=liar) as here:
            assert (await here.post("legacy/senml", BODY)).status_code == 200
            assert await here.gateway.drain(20)
            assert any(path.startswith("GET /v1/proofs") for path in liar.asked)

    run(test())
