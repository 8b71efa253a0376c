"""What every listener of the gateway does alike, over real sockets: a whole gateway on a fake ledger, HTTP and MQTT.

A new listener adds a `Sender` here and passes the same tests.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import httpx2
import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from althing.client.keyfile import save_key
from althing.gateway.config import GatewayConfig, ListenerConfig
from althing.gateway.daemon import Addresses, Gateway, Outside
from althing.protocol.batch import Origin
from althing.protocol.genesis import genesis_hash
from althing.protocol.message import CONTENT_TYPE_COSE, sign_message
from althing.protocol.messages.devices import DeviceState
from althing.protocol.readings import Quantity, StreamSchema
from althing.protocol.signatures import PrivateKey, Suite
from althing.testing.gateway_fakes import FakeArchive, FakeLedger, FakeProofCheck
from althing.testing.gateway_rig import FAST, GATEWAY_KEY
from althing.testing.harness import LedgerHarness

KEY = PrivateKey(Suite.ED25519, b"\x05" * 32)
SENML = StreamSchema((Quantity("t", "Cel"),), content_type="application/senml+json")


class Sender(Protocol):
    """A device's client. Answers: "accepted", "denied", "busy" (no answer yet), or the code of the refusal."""

    async def send(self, stream: str, body: bytes, *, content_type: str = "", key: str = "") -> str: ...

    async def close(self) -> None: ...


class HttpSender:
    def __init__(self, addresses: Addresses, device: str, token: str) -> None:
        assert addresses.http is not None
        self._device = device
        self._http = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{addresses.http[1]}", headers={"authorization": f"Bearer {token}".strip()}
        )

    async def send(self, stream: str, body: bytes, *, content_type: str = "", key: str = "") -> str:
        headers = {"content-type": content_type} if content_type else {}
        headers |= {"idempotency-key": key} if key else {}
        device, _, name = stream.partition("/")
        answer = await self._http.post(f"/v1/messages/{device}/{name}", content=body, headers=headers)
        if answer.status_code == 401:
            return "denied"
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1
            return "busy"
        (item,) = answer.json()["items"]
        assert (answer.status_code == 200) == ("sequence" in item)
        return "accepted" if "sequence" in item else str(item["code"])

    async def close(self) -> None:
        await self._http.aclose()


class MqttSender:
    def __init__(self, addresses: Addresses, device: str, token: str) -> None:
        assert addresses.mqtt is not None
        self._port = addresses.mqtt[1]
        self._device, self._token = device, token
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._client: paho.Client | None = None

    def _connect(self) -> str:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, self._device, protocol=paho.MQTTv5)
        client.username_pw_set(self._device, self._token)
        connected: queue.SimpleQueue[bool] = queue.SimpleQueue()
        client.on_connect = lambda _c, _u, _f, reason, _p: connected.put(not reason.is_failure)
        client.on_publish = lambda _c, _u, _m, reason, properties: self._answers.put(
            str(getattr(properties, "ReasonString", "?")).partition(":")[0] if reason.is_failure else "accepted"
        )
        client.connect("127.0.0.1", self._port)
        client.loop_start()
        if connected.get(timeout=10):
            self._client = client
            return ""
        client.loop_stop()
        return "denied"

    async def send(self, stream: str, body: bytes, *, content_type: str = "", key: str = "") -> str:
        return await asyncio.to_thread(self._send, stream, body, content_type, key)

    def _send(self, stream: str, body: bytes, content_type: str, key: str) -> str:
        if self._client is None or not self._client.is_connected():
            if self._client is not None:
                self._client.loop_stop()
                self._client = None
            denied = self._connect()
            if denied:
                return denied
        assert self._client is not None
        properties = Properties(PacketTypes.PUBLISH)
        if content_type:
            properties.ContentType = content_type
        if key:
            properties.UserProperty = [("Idempotency-Key", key)]
        self._client.publish(f"althing/v1/{stream}", body, qos=1, properties=properties)
        try:
            return self._answers.get(timeout=1)
        except queue.Empty:
            return "busy"

    async def close(self) -> None:
        if self._client is not None:
            await asyncio.to_thread(self._client.disconnect)
            await asyncio.to_thread(self._client.loop_stop)


SENDERS: dict[str, Callable[[Addresses, str, str], Sender]] = {"http": HttpSender, "mqtt": MqttSender}


@dataclass
class Site:
    gateway: Gateway
    ledger: FakeLedger
    addresses: Addresses
    kind: str

    def sender(self, device: str, token: str | None = None) -> Sender:
        own = self.gateway.tokens.add(device) if token is None else token
        return SENDERS[self.kind](self.addresses, device, own)

    def signed(self, counter: int, payload: bytes) -> bytes:
        return sign_message(KEY, self.ledger.genesis_hash, self.ledger.chain_id, "signer/data", counter, payload)


@asynccontextmanager
async def site(tmp_path: Path, kind: str, ledger: FakeLedger | None = None) -> AsyncIterator[Site]:
    home = tmp_path / "home"
    if not home.exists():
        (home / "gateway").mkdir(parents=True)
        save_key(home / "gateway" / "gateway_key.json", GATEWAY_KEY)
        (home / "genesis.cbor").write_bytes(LedgerHarness().genesis.to_bytes())
    own = ledger or new_ledger()
    config = GatewayConfig(
        verify_processes=0, mqtt=ListenerConfig(port=0), http=ListenerConfig(port=0), batch=replace(FAST, age_s=0.02)
    )
    gateway = Gateway(home, config, Outside(own, own.archive, FakeProofCheck()))
    addresses = await gateway.start()
    try:
        yield Site(gateway, own, addresses, kind)
    finally:
        await gateway.stop()


def new_ledger() -> FakeLedger:
    genesis = LedgerHarness().genesis
    ledger = FakeLedger(GATEWAY_KEY, FakeArchive(), genesis.chain_id, genesis_hash(genesis))
    ledger.add_device("legacy")
    ledger.add_device("signer", KEY)
    ledger.add_stream("legacy/raw")
    ledger.add_stream("legacy/senml", SENML)
    ledger.add_stream("signer/data")
    return ledger


def run(test: Awaitable[Any]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await test

    asyncio.run(bounded())


@pytest.fixture(params=sorted(SENDERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_accepted_is_anchored_as_sent(tmp_path: Path, kind: str) -> None:
    async def test() -> None:
        async with site(tmp_path, kind) as here:
            legacy, signer = here.sender("legacy"), here.sender("signer")
            message = here.signed(1, b"\x00payload")
            assert await legacy.send("legacy/raw", b"\x00\xff\r\n") == "accepted"
            assert await legacy.send("legacy/senml", b'[{"n":"t","v":1}]') == "accepted"
            assert await legacy.send("legacy/raw", b"text", content_type="text/plain") == "accepted"
            assert await signer.send("signer/data", message, content_type=CONTENT_TYPE_COSE) == "accepted"
            assert await here.gateway.drain(10)
            first, second = here.ledger.leaves("legacy/raw")
            assert (first.body, first.content_type) == (b"\x00\xff\r\n", "application/octet-stream")
            assert (second.sequence, second.content_type) == (1, "text/plain")
            (senml,) = here.ledger.leaves("legacy/senml")
            assert (senml.content_type, senml.origin) == ("application/senml+json", Origin.GATEWAY)
            (leaf,) = here.ledger.leaves("signer/data")
            assert (leaf.body, leaf.origin) == (message, Origin.DEVICE)
            await legacy.close()
            await signer.close()

    run(test())


def test_refused_is_told_recorded_and_stops_nobody(tmp_path: Path, kind: str) -> None:
    async def test() -> None:
        async with site(tmp_path, kind) as here:
            legacy, signer = here.sender("legacy"), here.sender("signer")
            assert await legacy.send("legacy/senml", b"[{") == "payload.json"
            assert await legacy.send("legacy/senml", b"{}", content_type="image/png") == "payload.content_type"
            assert await legacy.send("legacy/none", b"x") == "stream.unknown"
            assert await legacy.send("signer/data", here.signed(1, b"x")) == "auth.wrong_device"
            assert await signer.send("signer/data", b"plain", content_type="text/plain") == "message.unsigned"
            assert await legacy.send("legacy/senml", b'[{"n":"t","v":1}]') == "accepted"
            assert await here.gateway.drain(10)
            codes = [refusal.code for refusal in here.ledger.archive.refusals]
            assert codes == [
                "payload.json",
                "payload.content_type",
                "stream.unknown",
                "auth.wrong_device",
                "message.unsigned",
            ]
            assert {refusal.transport for refusal in here.ledger.archive.refusals} == {kind}
            await legacy.close()
            await signer.close()

    run(test())


def test_the_same_message_again_is_one_message(tmp_path: Path, kind: str) -> None:
    async def test() -> None:
        ledger = new_ledger()
        async with site(tmp_path, kind, ledger) as here:
            legacy, signer = here.sender("legacy"), here.sender("signer")
            for _ in range(3):
                assert await signer.send("signer/data", here.signed(7, b"x")) == "accepted"
                assert await legacy.send("legacy/raw", b"once", key="order-1") == "accepted"
            assert await signer.send("signer/data", here.signed(7, b"y")) == "message.counter_reused"
            assert await legacy.send("legacy/raw", b"other", key="order-1") == "message.key_reused"
            await legacy.close()
            await signer.close()
        # Neither a restart nor the release of the spool forgets them.
        async with site(tmp_path, kind, ledger) as here:
            legacy, signer = here.sender("legacy"), here.sender("signer")
            assert await signer.send("signer/data", here.signed(7, b"x")) == "accepted"
            assert await legacy.send("legacy/raw", b"once", key="order-1") == "accepted"
            assert await here.gateway.drain(10)
            await legacy.close()
            await signer.close()
        assert len(ledger.leaves("signer/data")) == 1
        assert len(ledger.leaves("legacy/raw")) == 1

    run(test())


def test_only_with_the_devices_token(tmp_path: Path, kind: str) -> None:
    async def test() -> None:
        async with site(tmp_path, kind) as here:
            for token in ("", "alt_wrong"):
                stranger = here.sender("legacy", token)
                assert await stranger.send("legacy/raw", b"x") == "denied"
                await stranger.close()
            assert not here.gateway.spool.pending.records

    run(test())


def test_suspension_reaches_open_connections(tmp_path: Path, kind: str) -> None:
    async def test() -> None:
        async with site(tmp_path, kind) as here:
            legacy = here.sender("legacy")
            assert await legacy.send("legacy/raw", b"x") == "accepted"
            here.ledger.set_state("legacy", DeviceState.SUSPENDED)
            while here.gateway.registry.devices["legacy"].active:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            # An MQTT client is disconnected and not let in again; HTTP is told each time.
            assert await legacy.send("legacy/raw", b"x") in ("denied", "busy", "device.inactive")
            assert here.gateway.spool.accepted_total == 1
            await legacy.close()

    run(test())


def test_slow_is_not_lost(tmp_path: Path, kind: str) -> None:
    """While nobody can decide, nothing is acknowledged; afterwards the message is there once."""

    async def test() -> None:
        async with site(tmp_path, kind) as here:
            legacy = here.sender("legacy")
            assert await legacy.send("legacy/raw", b"first") == "accepted"
            usable = here.gateway.registry._age_max_ns
            here.gateway.registry._age_max_ns = -1
            assert await legacy.send("legacy/raw", b"second", key="k") == "busy"
            here.gateway.registry._age_max_ns = usable
            if isinstance(legacy, MqttSender):
                # The server kept it, unacknowledged, and tried again.
                assert await asyncio.to_thread(legacy._answers.get, timeout=10) == "accepted"
            else:
                assert await legacy.send("legacy/raw", b"second", key="k") == "accepted"
            assert await here.gateway.drain(10)
            assert [leaf.body for leaf in here.ledger.leaves("legacy/raw")] == [b"first", b"second"]
            await legacy.close()

    run(test())
