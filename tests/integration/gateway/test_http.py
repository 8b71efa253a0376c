"""The HTTP listener's own ways: many messages in a body, limits, health and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from althing.gateway.access import Access
from althing.gateway.ingest.http import HttpConfig, HttpServer
from althing.gateway.reports import GatewayReports
from althing.gateway.tokens import TokenStore
from althing.protocol.message import sign_message
from althing.protocol.readings import Quantity, StreamSchema
from althing.protocol.signatures import PrivateKey, Suite
from althing.testing.gateway_rig import GENESIS, Rig, new_ledger, running

KEY = PrivateKey(Suite.ED25519, b"\x05" * 32)
SENML = StreamSchema((Quantity("t", "Cel"),), content_type="application/senml+json")


@asynccontextmanager
async def serving(tmp_path: Path, **config: Any) -> AsyncIterator[tuple[Rig, httpx2.AsyncClient]]:
    ledger = new_ledger()
    ledger.add_device("d")
    ledger.add_device("signer", KEY)
    ledger.add_stream("d/raw")
    ledger.add_stream("d/senml", SENML)
    ledger.add_stream("signer/raw")
    async with running(tmp_path, ledger) as rig:
        tokens = TokenStore(tmp_path / "tokens.json")
        checker = rig.pipeline._checker
        reports = GatewayReports(rig.registry, rig.spool, rig.pipeline, checker, rig.anchoring, rig.held, 60)
        access = Access(rig.registry, tokens, None, open_=True)
        server = HttpServer(HttpConfig(port=0, **config), rig.pipeline, access, reports)
        _, port = await server.start()
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            yield rig, http
        await server.stop()


def test_a_sequence_of_all_kinds(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as (rig, http):
            signed = sign_message(KEY, GENESIS, "test", "signer/raw", 1, b"x")
            wrapped = b"\x58" + bytes((len(signed),)) + signed
            body = signed + wrapped + b"\x41z" + b"\xff"
            answer = await http.post(
                "/v1/messages/signer/raw", content=body, headers={"content-type": "application/cbor-seq"}
            )
            assert answer.status_code == 207
            first, again, unsigned, damaged = answer.json()["items"]
            assert first == {"sequence": 0, "duplicate": False}
            assert again == {"sequence": 0, "duplicate": True}
            assert unsigned["code"] == "cose.tag"
            assert damaged["code"] == "message.unsigned"
            await rig.settled()
            assert [leaf.body for leaf in rig.ledger.leaves("signer/raw")] == [signed]

    asyncio.run(test())


def test_a_thousand_lines_are_one_commit(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as (rig, http):
            lines = b"".join(b'[{"n":"t","v":%d}]\n' % n for n in range(1000))
            answer = await http.post(
                "/v1/messages/d/senml", content=lines, headers={"content-type": "application/x-ndjson"}
            )
            assert answer.status_code == 200
            assert [item["sequence"] for item in answer.json()["items"]] == list(range(1000))
            assert rig.spool.groups_total <= 2

    asyncio.run(test())


def test_limits(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path, body_bytes_max=1000, items_max=3) as (rig, http):
            ndjson = {"content-type": "application/x-ndjson"}
            assert (await http.post("/v1/messages/d/raw", content=b"x" * 1001)).status_code == 413

            async def chunks() -> AsyncIterator[bytes]:
                for _ in range(50):
                    yield b"x" * 100

            assert (await http.post("/v1/messages/d/raw", content=chunks())).status_code == 413
            assert (await http.post("/v1/messages/d/raw", content=b"\n\n", headers=ndjson)).status_code == 422
            assert (await http.post("/v1/messages/d/raw", content=b"1\n2\n3\n4\n", headers=ndjson)).status_code == 422
            long_key = {"idempotency-key": "k" * 201}
            assert (await http.post("/v1/messages/d/raw", content=b"x", headers=long_key)).status_code == 422
            assert (await http.get("/v1/messages/d/raw")).status_code == 405
            assert (await http.post("/v1/messages/d/none", content=b"x")).status_code == 404
            assert rig.spool.accepted_total == 0

    asyncio.run(test())


def test_reports(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as (rig, http):
            assert (await http.post("/v1/messages/d/senml", content=b"[{")).status_code == 422
            assert (await http.post("/v1/messages/d/raw", content=b"x")).status_code == 200
            await rig.settled()
            status = (await http.get("/v1/status")).json()
            assert (status["ready"], status["accepted"], status["refused"], status["anchored"]) == (True, 1, 1, 1)
            (refusal,) = (await http.get("/v1/refusals?limit=5")).json()["refusals"]
            assert (refusal["code"], refusal["device"], refusal["bytes"]) == ("payload.json", "d", 2)
            metrics = (await http.get("/metrics")).text
            assert "althing_gateway_accepted_total 1.0" in metrics
            assert "althing_gateway_pending_messages 0.0" in metrics
            assert (await http.get("/healthz")).status_code == 200
            assert (await http.get("/readyz")).status_code == 200
            rig.registry._age_max_ns = -1
            ready = await http.get("/readyz")
            assert (ready.status_code, ready.json()["reasons"]) == (503, ["registry.too_old"])
            busy = await http.post("/v1/messages/d/raw", content=b"x")
            assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")

    asyncio.run(test())


def test_a_page_that_points_its_name_at_this_machine_gets_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path, host_names=("gateway.local",)) as (rig, http):
            for host in ("127.0.0.1:1", "LOCALHOST", "gateway.local:8080"):
                assert (await http.get("/v1/status", headers={"host": host})).status_code == 200
            for path in ("/v1/status", "/healthz", "/v1/refusals"):
                answer = await http.get(path, headers={"host": "evil.example"})
                assert (answer.status_code, answer.json()["code"]) == (421, "http.host")
            refused = await http.post("/v1/messages/d/raw", content=b"x", headers={"host": "evil.example:8080"})
            assert refused.status_code == 421
            assert refused.json()["hint"]
            await rig.settled()
            assert rig.spool.pending.messages == 0

    asyncio.run(test())
