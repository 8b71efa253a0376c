"""A node, a client and a gateway of one home, in one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2

from althing.client.client import AsyncClient, load_signer
from althing.client.keyfile import generate_key, save_key
from althing.client.sending import Signer
from althing.gateway.config import GatewayConfig, ListenerConfig
from althing.gateway.daemon import Addresses, Gateway
from althing.node.config import ApiConfig, NodeConfig
from althing.node.daemon import NodeProcess
from althing.node.home import Home, create_home
from althing.protocol.messages.identity import AccountKind, Key
from althing.protocol.readings import Quantity, StreamSchema
from althing.protocol.signatures import PrivateKey, Suite
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
async def site(
    tmp_path: Path,
    *extra_nodes: str,
    before: Callable[[str], AbstractAsyncContextManager[str]] | None = None,
    honest: bool = True,
    check_s: float = 60.0,
    mqtt: bool = False,
) -> AsyncIterator[Site]:
    """`before`, given the node's address, puts another node in front of it in the gateway's list; without `honest` that
    one is alone there."""
    home = create_home(tmp_path / "home", chain_id="test", organisation="acme", time_s=int(time.time()) - 60)
    save_key(home.gateway_dir / "gateway_key.json", GATEWAY_KEY)
    node = NodeProcess(home, NODE)
    url = await node.start()
    try:
        async with AsyncExitStack() as stack:
            chain = await stack.enter_async_context(
                await AsyncClient.connect(url, trust=home.trust_file, signer=load_signer(home.admin_key_file))
            )
            if before is not None:
                extra_nodes = (await stack.enter_async_context(before(url)), *extra_nodes)
            own = Key(GATEWAY_KEY.suite, GATEWAY_KEY.public)
            await chain.create_account(
                "gateway-1", AccountKind.GATEWAY, [own], holder=Signer(own.address, (GATEWAY_KEY,))
            )
            await chain.register_device("legacy", key=None, gateway=own.address)
            await chain.register_device("signer", key=Key(DEVICE_KEY.suite, DEVICE_KEY.public))
            await chain.define_stream("legacy/senml", own.address, SENML)
            await chain.define_stream("signer/senml", own.address, SENML)
            config = GatewayConfig(
                nodes=(*extra_nodes, url) if honest else extra_nodes,
                registry_check_s=check_s,
                verify_processes=0,
                mqtt=ListenerConfig(enabled=mqtt),
                http=ListenerConfig(port=0),
                batch=replace(FAST, age_s=0.1, patience_s=5.0),
            )
            gateway = Gateway(home.path, config)
            addresses = await gateway.start()
            stack.push_async_callback(gateway.stop)
            yield Site(home, node, chain, gateway, addresses)
    finally:
        await node.stop()


def run(test: object) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test  # type: ignore[misc]

    asyncio.run(bounded())
