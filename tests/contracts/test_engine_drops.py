"""What an engine drops from its pool it tells; see `test_engine` for the rest of the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from althing.consensus.abci import (
    CheckTxKind,
    CheckTxRequest,
    CheckTxResponse,
    PrepareProposalRequest,
    PrepareProposalResponse,
)
from althing.testing.kvstore import KeyValueApplication

from .test_engine import Bench, _legal_calls, bench, block_with, run  # noqa: F401 -- fixtures


def test_what_leaves_the_pool_without_a_block_is_told(bench: Bench) -> None:  # noqa: F811
    """Else nobody could know that it will not come any more. What a block takes, or a first check refuses, is no drop."""

    class Choosy(KeyValueApplication):
        def prepare_proposal(self, request: PrepareProposalRequest, /) -> PrepareProposalResponse:
            txs = tuple(tx for tx in request.txs if not tx.startswith(b"shaky"))
            return super().prepare_proposal(replace(request, txs=txs))

        def check_tx(self, request: CheckTxRequest, /) -> CheckTxResponse:
            if request.kind is CheckTxKind.RECHECK and request.tx.startswith(b"shaky"):
                return CheckTxResponse(code=1, codespace="kv")
            return super().check_tx(request)

    async def story() -> None:
        dropped: list[bytes] = []
        enough = asyncio.Event()

        def told(keys: Sequence[bytes]) -> None:
            assert asyncio.get_running_loop()
            dropped.extend(keys)
            if len(dropped) >= 2:
                enough.set()

        async with bench.running(Choosy(bench.directory / "app")) as engine:
            engine.watch_drops(told)
            assert (await engine.submit(b"no pair")).code == 1
            for tx in (b"shaky1=1", b"steady=1", b"shaky2=1"):
                assert (await engine.submit(tx)).code == 0
            await enough.wait()
            await block_with(engine, b"steady=1")
            assert sorted(dropped) == sorted(sha256(tx).digest() for tx in (b"shaky1=1", b"shaky2=1"))
            assert engine.status().pool_count == 0
            assert (await engine.submit(b"shaky1=1")).code == 0, "it may come again"

    run(story)
