"""A gateway against a real node over loopback: registry by REST and events, anchors, archive, proofs that verify."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2

from althing.client.client import AsyncClient, load_signer
from althing.client.keyfile import generate_key, save_key
from althing.client.sending import Signer
from althing.gateway.config import GatewayConfig, ListenerConfig
from althing.gateway.daemon import Addresses, Gateway
from althing.gateway.ledger_rest import RestLedger
from althing.light.verifier import verify_proof
from althing.node.config import ApiConfig, NodeConfig
from althing.node.daemon import NodeProcess
from althing.node.home import Home, create_home
from althing.protocol.batch import Origin
from althing.protocol.message import sign_message
from althing.protocol.messages.devices import DeviceState
from althing.protocol.messages.identity import AccountKind, Key
from althing.protocol.readings import Quantity, StreamSchema
from althing.protocol.signatures import PrivateKey, Suite
from althing.protocol.trust import parse_trust
from althing.testing.gateway_rig import FAST

GATEWAY_KEY = generate_key()
DEVICE_KEY = PrivateKey(Suite.ES256, b"\x05" * 32)
SENML = StreamSchema((Quantity("t", "Cel"),), content_type="application/senml+json")
NODE = NodeConfig(api=ApiConfig(port=0))


@dataclass
class Site:
    home: Home
    node: NodeProcess
    chain: AsyncClient
    gateway: Gateway
    addresses: Addresses

    async def post(self, path: str, body: bytes, **headers: str) -> httpx2.Response:
        assert self.addresses.http is not None
        device = path.partition("/")[0]
        token = self.gateway.tokens.add(device)
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.addresses.http[1]}") as http:
            shown = {"authorization": f"Bearer {token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
            return await http.post(f"/v1/messages/{path}", content=body, headers=shown)


@asynccontextmanager
async def site(tmp_path: Path, *extra_nodes: str) -> AsyncIterator[Site]:
    home = create_home(tmp_path / "home", chain_id="test", organisation="acme", time_s=int(time.time()) - 60)
    save_key(home.gateway_dir / "gateway_key.json", GATEWAY_KEY)
    node = NodeProcess(home, NODE)
    url = await node.start()
    gateway = None
    try:
        async with await AsyncClient.connect(
            url, trust=home.trust_file, signer=load_signer(home.admin_key_file)
        ) as chain:
            own = Key(GATEWAY_KEY.suite, GATEWAY_KEY.public)
            await chain.create_account(
                "gateway-1", AccountKind.GATEWAY, [own], holder=Signer(own.address, (GATEWAY_KEY,))
            )
            await chain.register_device("legacy", key=None, gateway=own.address)
            await chain.register_device("signer", key=Key(DEVICE_KEY.suite, DEVICE_KEY.public))
            await chain.define_stream("legacy/senml", own.address, SENML)
            await chain.define_stream("signer/senml", own.address, SENML)
            config = GatewayConfig(
                nodes=(*extra_nodes, url),
                verify_processes=0,
                mqtt=ListenerConfig(enabled=False),
                http=ListenerConfig(port=0),
                batch=replace(FAST, age_s=0.1, patience_s=5.0),
            )
            gateway = Gateway(home.path, config)
            addresses = await gateway.start()
            yield Site(home, node, chain, gateway, addresses)
    finally:
        if gateway is not None:
            await gateway.stop()
        await node.stop()


def run(test: object) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test  # type: ignore[misc]

    asyncio.run(bounded())


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
                head = await RestLedger([here.node.url]).gateway_head(here.gateway.registry.gateway)
                assert 2 <= head.next_number <= 6
                verify_proof(await here.chain.proof("legacy/senml", 5), parse_trust(here.home.trust_file.read_bytes()))
            finally:
                await here.gateway.stop()
                await here.node.stop()

    run(test())
