"""A gateway's pipeline on a fake ledger, as tests and benchmarks put it together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from althing.gateway.anchoring import Anchoring, BatchConfig
from althing.gateway.guard.checker import SignatureChecker
from althing.gateway.held import HeldMessages
from althing.gateway.ingest.port import Inbound, Outcome, Principal
from althing.gateway.intake import GuardConfig, Pipeline
from althing.gateway.registry import Registry
from althing.gateway.registry_file import RegistryFile
from althing.gateway.spool.spool import Spool, SpoolConfig
from althing.protocol.signatures import PrivateKey, Suite
from althing.testing.gateway_fakes import FakeArchive, FakeLedger, FakeProofCheck

__all__ = ["FAST", "GATEWAY_KEY", "GENESIS", "Rig", "inbound", "new_ledger", "running"]

GATEWAY_KEY = PrivateKey(Suite.ED25519, b"gateway".ljust(32, b"."))
GENESIS = bytes(32)


def new_ledger() -> FakeLedger:
    return FakeLedger(GATEWAY_KEY, FakeArchive())


@dataclass
class Rig:
    ledger: FakeLedger
    registry: Registry
    spool: Spool
    pipeline: Pipeline
    anchoring: Anchoring
    held: HeldMessages

    async def send(self, device: str, stream: str, body: bytes, **more: Any) -> Outcome:
        """Send one message and wait for its answer."""
        return (await self.send_all([inbound(device, stream, body, **more)]))[0]

    async def send_all(self, items: list[Inbound]) -> list[Outcome]:
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[Outcome]] = [loop.create_future() for _ in items]
        for item, answer in zip(items, answers, strict=True):
            self.pipeline.submit(item, answer.set_result)
        async with asyncio.timeout(10):
            return await asyncio.gather(*answers)

    async def settled(self) -> None:
        """All that was accepted is anchored, archived, proved and let go."""
        assert await self.anchoring.drain(10)


def inbound(device: str, stream: str, body: bytes, *, principal: str | None = None, **more: Any) -> Inbound:
    who = Principal(device if principal is None else principal, "acme", "token")
    return Inbound(who, device, stream, body, **more)


FAST = BatchConfig(age_s=0.01, retry_s=0.01, retry_max_s=0.05, patience_s=0.1)


@asynccontextmanager
async def running(
    folder: Path,
    ledger: FakeLedger,
    *,
    batch: BatchConfig = FAST,
    spool: SpoolConfig | None = None,
    guard: GuardConfig | None = None,
    processes: int = 0,
    anchor: bool = True,
    age_max_s: int = 3600,
) -> AsyncIterator[Rig]:
    """The pipeline, started; stopped in order at the end. `anchor=False` leaves messages in the spool."""
    log = Spool(folder / "spool", GENESIS, spool)
    checker = SignatureChecker(GENESIS, processes=processes)
    file = RegistryFile(folder / "registry.cbor")
    registry = Registry(ledger, ledger.gateway, ledger.chain_id, GENESIS, file, age_max_s=age_max_s)
    pipeline = Pipeline(registry, log, checker, guard)
    held = HeldMessages(folder / "spool")
    anchoring = Anchoring(log, registry, ledger, GATEWAY_KEY, ledger.archive, FakeProofCheck(), held, batch)
    anchoring.on_held = pipeline.hold
    await registry.start()
    assert await registry.wait_loaded(5)
    if anchor:
        anchoring.start()
    try:
        yield Rig(ledger, registry, log, pipeline, anchoring, held)
    finally:
        pipeline.closed = True
        await anchoring.close()
        await checker.close()
        await registry.close()
        await log.close()
