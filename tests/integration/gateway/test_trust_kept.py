"""What a gateway trusts after a restart: the newest header it verified, for as long as the trusting period lasts."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from althing.gateway.config import GatewayConfig, GatewayPaths, read_config
from althing.gateway.daemon import Gateway
from althing.gateway.errors import LedgerError
from althing.gateway.ledger_nodes import NodeLedger
from althing.node.daemon import NodeProcess
from althing.node.home import create_home
from althing.protocol.trust import Trust, parse_trust

from .place import NODE, run, site

DAY_S = 24 * 3600


@asynccontextmanager
async def chain_of(tmp_path: Path, days: int) -> AsyncIterator[tuple[str, Trust]]:
    """A node whose trust file pins a block that is so old; the blocks after it are of today."""
    began = int(time.time()) - days * DAY_S
    home = create_home(tmp_path / "home", chain_id="test", organisation="acme", time_s=began)
    node = NodeProcess(home, NODE)
    url = await node.start()
    try:
        yield url, parse_trust(home.trust_file.read_bytes())
    finally:
        await node.stop()


async def follow(url: str, trust: Trust, kept: Path | None, days: int) -> Trust:
    """What is trusted after a look at the chain, or LedgerError."""
    ledger = NodeLedger([url], trust, kept=kept, trusting_period_s=days * DAY_S)
    try:
        await ledger.status()
        return ledger.trust
    finally:
        await ledger.close()


async def refused(url: str, trust: Trust, kept: Path | None, days: int) -> str:
    with pytest.raises(LedgerError) as raised:
        await follow(url, trust, kept, days)
    return raised.value.code


def test_nothing_follows_from_what_is_too_old(tmp_path: Path) -> None:
    async def test() -> None:
        async with chain_of(tmp_path, 10) as (url, trust):
            assert await refused(url, trust, None, 9) == "ledger.expired"
            assert (await follow(url, trust, None, 11)).height > trust.height
            assert (await follow(url, trust, None, 0)).height > trust.height

    run(test())


def test_the_newest_header_is_kept(tmp_path: Path) -> None:
    async def test() -> None:
        kept = tmp_path / "light"
        async with chain_of(tmp_path, 10) as (url, trust):
            newest = await follow(url, trust, kept, 0)
            ledger = NodeLedger([url], trust, kept=kept)
            assert ledger.trust == newest  # before anybody is asked
            await ledger.close()
            # The block of the trust file is too old, the one on the disk is not.
            again = await follow(url, trust, kept, 9)
            assert again.height >= newest.height > trust.height
            # Another trust file is the user's word: trust begins with it.
            assert (await follow(url, newest, kept, 9)).height >= newest.height
            assert await refused(url, trust, kept, 9) == "ledger.expired"

    run(test())


def test_a_gateway_keeps_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with site(tmp_path) as here:
            pinned = parse_trust(here.home.trust_file.read_bytes())
            await here.gateway.stop()
            again = Gateway(here.home.path, here.gateway.config)
            ledger = again._nodes(pinned)
            assert ledger.trust.height > pinned.height
            await ledger.close()

    run(test())


def test_the_homes_own_node_is_trusted_for_ever(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text('{"api": "http://127.0.0.1:8420"}')
    assert read_config(GatewayPaths(tmp_path)).trusting_period_days == 0
    (tmp_path / "config.toml").write_text('[gateway]\nnodes = ["http://127.0.0.1:8420"]\n')
    assert read_config(GatewayPaths(tmp_path)).trusting_period_days == GatewayConfig().trusting_period_days > 0
