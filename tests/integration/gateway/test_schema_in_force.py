"""A message is archived under the schema that its anchor names, also when the gateway has not seen the stream since."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest

from althing.gateway.config import GatewayPaths
from althing.gateway.daemon import Gateway
from althing.gateway.errors import LedgerError
from althing.gateway.ledger_nodes import NodeLedger
from althing.gateway.sink import ConfirmedBatch
from althing.protocol.readings import Quantity
from althing.protocol.trust import parse_trust

from .liar import Liar
from .place import SENML, Site, run, site

PATH = "legacy/senml"
BODY = b'[{"n":"t","v":1}]'
KELVIN = replace(SENML, quantities=(Quantity("t", "K"),))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def anchored_not_archived(here: Site) -> None:
    """One message is on the ledger, and the archive takes nothing."""
    tried = asyncio.Event()

    async def write(batch: ConfirmedBatch) -> None:
        tried.set()
        raise OSError(28, "no space left on the archive")

    here.gateway.anchoring._sink.write = write  # type: ignore[method-assign]
    assert (await here.post(PATH, BODY)).status_code == 200
    async with asyncio.timeout(20):
        await tried.wait()


@pytest.mark.parametrize("forgets", [True, False])
def test_an_update_between_anchor_and_archive(tmp_path: Path, forgets: bool) -> None:
    async def test() -> None:
        async with site(tmp_path) as here:
            await anchored_not_archived(here)
            await here.gateway.stop()
            await here.chain.update_stream(PATH, KELVIN)
            if forgets:
                GatewayPaths(here.home.path).registry.unlink()
            here.gateway = Gateway(here.home.path, here.gateway.config)
            here.addresses = await here.gateway.start()
            try:
                assert await here.gateway.drain(30)
                registry = here.gateway.registry
                await until(lambda: registry.streams[PATH].definition.schema_version == 1)
                assert (await here.post(PATH, BODY)).status_code == 200
                assert await here.gateway.drain(30)
                rows = (await here.chain.readings(PATH)).rows
                assert [(row.sequence, row.unit) for row in rows] == [(0, "Cel"), (1, "K")]
            finally:
                await here.gateway.stop()

    run(test())


def doctored(method: str, path: str, body: bytes) -> bytes:
    if "/rows/" not in path:
        return body
    version, row, *rest = cbor2.loads(body)
    return cbor2.dumps([version, row[:-1] + b"\x01", *rest])  # the schema version that it names


def test_a_row_that_is_not_the_ledgers_is_not_believed(tmp_path: Path) -> None:
    async def test() -> None:
        async with site(tmp_path) as here:
            assert (await here.post(PATH, BODY)).status_code == 200
            assert await here.gateway.drain(20)
            trust = parse_trust(here.home.trust_file.read_bytes())
            async with Liar(doctored)(here.node.url) as liar:
                alone = NodeLedger([liar], trust)
                with pytest.raises(LedgerError):
                    await alone.anchored_under(PATH, 0)
                assert alone.lies_total == 1
                await alone.close()
                both = NodeLedger([liar, here.node.url], trust)
                assert (await both.anchored_under(PATH, 0)).schema == SENML
                with pytest.raises(LedgerError):
                    await both.anchored_under(PATH, 1)
                await both.close()

    run(test())


def test_an_event_alone_does_not_say_how_far_the_chain_is(tmp_path: Path) -> None:
    async def test() -> None:
        seen: list[bytes] = []

        def events(event: bytes) -> bytes:
            if b"event: block" not in event:
                return event
            seen.append(event)
            return re.sub(rb"(?m)^id: .*$", b"id: 1000000:0", event)

        liar = Liar(events=events)
        async with site(tmp_path, before=liar, honest=False) as here:
            assert (await here.post(PATH, BODY)).status_code == 200
            assert await here.gateway.drain(20)
            await until(lambda: seen)
            status = await here.chain.get("status")
            assert here.gateway.registry.height <= status["height"]

    run(test())
