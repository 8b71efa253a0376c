"""Consensus parameters that the application changes hold from the next block on, in CometBFT and in our own limits."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from althing.consensus.abci import FinalizeBlockRequest, FinalizeBlockResponse
from althing.consensus.cometbft.engine import CometEngine
from althing.consensus.cometbft.settings import CometSettings
from althing.consensus.engine import Genesis, PoolRefusedError
from althing.protocol.block import ConsensusParams, Timestamp
from althing.testing.kvstore import KeyValueApplication

pytestmark = pytest.mark.needs_engine

PARAMS = ConsensusParams(block_gas_max=1000)


class Changing(KeyValueApplication):
    """`limit=<gas>` sets the gas of a block."""

    def finalize_block(self, request: FinalizeBlockRequest, /) -> FinalizeBlockResponse:
        response = super().finalize_block(request)
        for tx in request.txs:
            if tx.startswith(b"limit="):
                changed = replace(PARAMS, block_gas_max=int(tx[6:]), app_version=7)
                response = replace(response, consensus_param_updates=changed)
        return response


def test_a_change_of_parameters(tmp_path: Path) -> None:
    genesis = Genesis("params", Timestamp(1_700_000_000, 0), b"{}", PARAMS)

    async def story() -> None:
        for run in range(2):
            engine = CometEngine(genesis, CometSettings(tmp_path / "engine", idle_block_s=1))
            await engine.start(Changing(tmp_path / "app"))
            try:
                if run == 0:
                    assert (await engine.submit(b"gas:900=a")).code == 0
                    await engine.submit(b"limit=100")
                    async for committed in engine.committed(1):
                        if b"limit=100" in committed.block.txs:
                            height = committed.height
                            changed = committed.results.consensus_param_updates
                            break
                    assert changed is not None
                    assert (changed.block_gas_max, changed.app_version) == (100, 7)
                    assert engine.consensus_params(height).block_gas_max == 1000
                    assert engine.consensus_params(height + 1) == changed
                    await engine.wait_height(height + 1)
                    header = engine.signed_header(height + 1).header
                    assert (header.consensus_hash, header.app_version) == (changed.hash(), 7)
                # After a restart they still hold.
                with pytest.raises(PoolRefusedError) as error:
                    await engine.submit(b"gas:101=b%d" % run)
                assert error.value.code == "pool.gas"
            finally:
                await engine.stop()

    asyncio.run(asyncio.wait_for(story(), 60))
