"""Whatever a node answers: the gateway asks again, and never goes on as if nothing had happened."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from althing.client.errors import NodeError
from althing.client.transport import Transport
from althing.gateway.daemon import Addresses, Gateway, run_gateway
from althing.gateway.errors import TaskError

from .liar import Liar
from .place import SENML, run, site

BODY = b'[{"n":"t","v":1}]'


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"not gzip"),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-12] + bytes(12)),
        ("deflate", b"\xff" * 100),
    ],
)
def test_a_damaged_encoding_is_the_nodes_error(encoding: str, body: bytes) -> None:
    async def ask(transport: Transport) -> None:
        with pytest.raises(NodeError, match="encoding"):
            await transport.get_json("/v1/status")
        with pytest.raises(NodeError, match="encoding"):
            await follow(transport)

    run(answered(encoding, body, ask))


@pytest.mark.parametrize("body", [b"[" * 200_000, b"{", b"\xff"])
def test_what_is_not_json_is_the_nodes_error(body: bytes) -> None:
    async def ask(transport: Transport) -> None:
        with pytest.raises(NodeError, match="JSON"):
            await transport.get_json("/v1/status")

    run(answered("identity", body, ask))


async def follow(transport: Transport) -> None:
    async with transport.stream("/v1/events", {}, {}) as response:
        async for _ in response.aiter_bytes():
            pass


async def answered(encoding: str, body: bytes, ask: Callable[[Transport], Awaitable[None]]) -> None:
    """`ask` a server that answers all with this."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    transport = Transport([f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"])
    try:
        await ask(transport)
    finally:
        await transport.aclose()
        server.close()


@pytest.mark.parametrize("status", [401, 404])
def test_a_node_that_refuses_for_a_while_is_asked_again(tmp_path: Path, status: int) -> None:
    async def test() -> None:
        refusing = [0]
        liar = Liar(refuses=lambda method, path: refusing[0])
        async with site(tmp_path, before=liar, honest=False) as here:
            registry = here.gateway.registry
            await until(lambda: registry.connected)
            refusing[0] = status
            liar.drop()
            await until(lambda: not registry.connected)
            await asyncio.sleep(0.3)  # a try or two
            refusing[0] = 0
            await until(lambda: registry.connected)
            assert here.gateway.reports.not_ready() == []
            assert (await here.post("legacy/senml", BODY)).status_code == 200
            assert await here.gateway.drain(20)

    run(test())


def test_an_event_of_another_form_is_a_lie(tmp_path: Path) -> None:
    def alter(event: bytes) -> bytes:
        id_line = event.partition(b"\n")[0]
        return event if b"event: block" in event else id_line + b'\nevent: streams.defined\ndata: {"values":[7]}\n\n'

    async def test() -> None:
        async with site(tmp_path, before=Liar(events=alter)) as here:
            await until(lambda: here.gateway.registry.connected)
            await here.chain.set_attribute("note", "an event")
            await until(lambda: here.gateway.ledger.lies_total)
            await until(lambda: here.gateway.registry.connected)
            assert here.gateway.reports.not_ready() == []

    run(test())


def test_a_task_that_ends_by_a_bug_ends_the_process(tmp_path: Path) -> None:
    async def test() -> None:
        async with site(tmp_path) as here:
            await here.gateway.stop()
            started: list[Gateway] = []

            def bug(path: str) -> None:
                raise ZeroDivisionError(path)

            def ready(gateway: Gateway, addresses: Addresses) -> None:
                gateway.registry.on_stream.append(bug)
                started.append(gateway)

            process = asyncio.create_task(run_gateway(here.home.path, here.gateway.config, on_ready=ready))
            await until(lambda: started)
            assert started[0].reports.not_ready() == []
            await here.chain.define_stream("legacy/other", started[0].registry.gateway, SENML)
            with pytest.raises(TaskError, match="'registry'") as found:
                await process
            assert found.value.code == "gateway.failed"
            assert not started[0].registry.connected
            assert "gateway.failed" in started[0].reports.not_ready()

    run(test())


@pytest.mark.parametrize("name", ["web", "mqtt", "mqtt-time", "mqtt-retry"])
def test_a_listener_that_ends_ends_the_process(tmp_path: Path, name: str) -> None:
    async def test() -> None:
        async with site(tmp_path, mqtt=True) as here:
            await here.gateway.stop()
            started: list[Gateway] = []
            others = asyncio.all_tasks()
            process = asyncio.create_task(
                run_gateway(here.home.path, here.gateway.config, on_ready=lambda gateway, _: started.append(gateway))
            )
            await until(lambda: started)
            assert started[0].reports.not_ready() == []
            (task,) = [one for one in asyncio.all_tasks() - others if one.get_name() == name]
            task.cancel()
            with pytest.raises(TaskError, match=f"'{name}'"):
                await process
            assert "gateway.failed" in started[0].reports.not_ready()

    run(test())


def test_a_gateway_that_waits_for_a_silent_node_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("althing.gateway.daemon._REGISTRY_WAIT_S", 3600.0)

    async def test() -> None:
        async with site(tmp_path) as here:
            await here.gateway.stop()
            here.gateway.paths.registry.unlink()
            asked, stop = asyncio.Event(), asyncio.Event()

            async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                asked.set()
                await reader.read()
                writer.close()

            server = await asyncio.start_server(silent, "127.0.0.1", 0)
            config = replace(here.gateway.config, nodes=(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",))
            started: list[Gateway] = []
            waits = run_gateway(here.home.path, config, on_ready=lambda gateway, _: started.append(gateway), stop=stop)
            process = asyncio.create_task(waits)
            await asked.wait()
            assert not process.done()
            stop.set()
            await process
            assert not started
            server.close()

            # Everything it held is free again.
            here.gateway = Gateway(here.home.path, here.gateway.config)
            here.addresses = await here.gateway.start()
            assert (await here.post("legacy/senml", BODY)).status_code == 200
            assert await here.gateway.drain(20)
            await here.gateway.stop()

    run(test())
