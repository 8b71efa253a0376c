"""What every engine tells of the network around it and of itself."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from althing.protocol.errors import UnavailableError

from .test_engine import TIMEOUT_S, Bench, _legal_calls, bench, run  # noqa: F401 -- fixtures


def test_the_network_around_it_is_told_also_when_it_is_stopped(bench: Bench) -> None:  # noqa: F811
    async def story() -> None:
        async with bench.running() as engine:
            await engine.wait_height(1)
            for _ in range(TIMEOUT_S * 20):
                found = await asyncio.to_thread(engine.network)
                if found.version:
                    break
                await asyncio.sleep(0.05)
            assert found.version
            assert found.peers == ()
        assert engine.network().peers == ()

    run(story)


def test_its_own_metrics_are_prometheus_text_or_an_error(bench: Bench) -> None:  # noqa: F811
    async def story() -> None:
        async with bench.running() as engine:
            await engine.wait_height(1)
            text = (await asyncio.to_thread(engine.metrics)).decode()
            names = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
            if bench.name == "solo":
                assert not names  # it measures in the node's own registry
            else:
                assert {"cometbft_consensus_height", "cometbft_process_resident_memory_bytes"} <= names
                assert all(name.startswith("cometbft_") for name in names)
        if bench.name != "solo":
            await asyncio.sleep(1.1)  # an answer is used again for a second
            with pytest.raises(UnavailableError, match="does not serve its metrics"):
                await asyncio.to_thread(engine.metrics)

    run(story)
