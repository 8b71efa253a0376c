"""A gateway against a real node over loopback: registry by REST and events, anchors, archive, proofs that verify."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from althing.gateway.ledger_nodes import NodeLedger
from althing.light.verifier import verify_proof
from althing.node.config import ApiConfig
from althing.node.daemon import NodeProcess
from althing.protocol.batch import Origin
from althing.protocol.message import sign_message
from althing.protocol.messages.devices import DeviceState
from althing.protocol.trust import parse_trust

from .place import DEVICE_KEY, NODE, SENML, run, site


def test_reading_to_proof(tmp_path: Path) -> None:
    async def test() -> None:
        # The first node named is not there: the next one serves.
        async with site(tmp_path, "http://127.0.0.1:9") as here:
            lines = b'[{"n":"t","v":1}]\n[{\n[{"n":"t","v":2}]\n'
            answer = await here.post(
                "legacy/senml", lines, content_type="application/x-ndjson", idempotency_key="day-1"
            )
            assert answer.status_code == 207
            first, bad, second = answer.json()["items"]
            assert (first["sequence"], bad["code"], second["sequence"]) == (0, "payload.json", 1)
            again = await here.post("legacy/senml", lines, content_type="application/x-ndjson", idempotency_key="day-1")
            assert [item.get("duplicate") for item in again.json()["items"]] == [True, None, True]
            genesis_hash = here.gateway.registry.genesis_hash
            message = sign_message(DEVICE_KEY, genesis_hash, "test", "signer/senml", 7, b'[{"n":"t","v":3.5}]')
            assert (await here.post("signer/senml", message)).status_code == 200
            assert await here.gateway.drain(20)
            assert here.gateway.anchoring.alarm == ""
            trust = parse_trust(here.home.trust_file.read_bytes())
            for path, sequence, origin in (("legacy/senml", 1, Origin.GATEWAY), ("signer/senml", 0, Origin.DEVICE)):
                verified = verify_proof(await here.chain.proof(path, sequence), trust)
                assert (verified.stream, verified.sequence, verified.origin) == (path, sequence, origin)
            assert verified.leaf.body == message
            status = here.gateway.reports.status()
            assert (status["pending"]["messages"], status["anchored"], status["refused"]) == (0, 3, 2)

    run(test())


def test_what_the_ledger_decides_reaches_the_gateway(tmp_path: Path) -> None:
    async def test() -> None:
        async with site(tmp_path) as here:
            registry = here.gateway.registry
            body = b'[{"n":"t","v":1}]'
            assert (await here.post("legacy/senml", body)).status_code == 200
            done = await here.chain.set_device_state("legacy", DeviceState.SUSPENDED, "test")
            while registry.height < done.height:
                await asyncio.sleep(0.01)
            refused = await here.post("legacy/senml", body)
            assert (refused.status_code, refused.json()["items"][0]["code"]) == (403, "device.inactive")
            done = await here.chain.update_stream("signer/senml", replace(SENML, content_type="text/plain"))
            while registry.height < done.height:
                await asyncio.sleep(0.01)
            assert registry.streams["signer/senml"].definition.schema_version == 1
            await here.chain.register_device("late", key=None)
            await here.chain.define_stream("late/senml", registry.gateway, SENML)
            assert (await here.post("late/senml", body)).status_code == 200
            assert await here.gateway.drain(20)

    run(test())


def test_an_outage_of_the_node(tmp_path: Path) -> None:
    async def test() -> None:
        async with site(tmp_path) as here:
            body = b'[{"n":"t","v":1}]'
            assert (await here.post("legacy/senml", body)).status_code == 200
            assert await here.gateway.drain(20)
            port = int(here.node.url.rpartition(":")[2])
            await here.node.stop()
            for _ in range(5):
                assert (await here.post("legacy/senml", body)).status_code == 200
            assert not await here.gateway.drain(0.5)
            assert here.gateway.spool.pending.messages == 5
            here.node = NodeProcess(here.home, replace(NODE, api=ApiConfig(port=port)))
            await here.node.start()
            try:
                assert await here.gateway.drain(30)
                trust = parse_trust(here.home.trust_file.read_bytes())
                head = await NodeLedger([here.node.url], trust).gateway_head(here.gateway.registry.gateway)
                assert 2 <= head.next_number <= 6
                verify_proof(await here.chain.proof("legacy/senml", 5), trust)
            finally:
                await here.gateway.stop()
                await here.node.stop()

    run(test())
