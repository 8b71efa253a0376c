"""What every consensus engine must do, with a real application; its calls are checked by the ABCI automaton.

An engine takes part by its name in `consensus.registry` and its settings below.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from althing.consensus.engine import CommittedBlock, Engine, EngineError, Genesis, Phase, PoolRefusedError
from althing.consensus.grammar import Call, RecordingApplication, check_trace
from althing.consensus.registry import ENGINES, make_engine
from althing.light.headers import verify_adjacent, verify_commit
from althing.protocol.block import ConsensusParams, Timestamp, results_hash
from althing.protocol.errors import UnavailableError
from althing.testing.kvstore import KeyValueApplication

SETTINGS: dict[str, dict[str, Any]] = {
    "solo": {"min_block_interval_ms": 0, "idle_block_s": 1, "retry_ms": 5},
    "cometbft": {"idle_block_s": 1, "retry_ms": 5, "restarts_max": 2},
}
TIMEOUT_S = 60
GENESIS = Genesis("contract", Timestamp(1_700_000_000, 0), b"{}", ConsensusParams(block_gas_max=1000))


@dataclass
class Bench:
    """One chain's directory, engine after engine."""

    name: str
    directory: Path
    genesis: Genesis = GENESIS
    retain_blocks: int = 0
    runs: list[list[Call]] = field(default_factory=list)

    def engine(self, **settings: Any) -> Engine:
        return make_engine(self.name, self.genesis, self.directory / "engine", {**SETTINGS[self.name], **settings})

    def app(self) -> KeyValueApplication:
        return KeyValueApplication(self.directory / "app", retain_blocks=self.retain_blocks)

    @asynccontextmanager
    async def running(self, app: KeyValueApplication | None = None, **settings: Any) -> AsyncIterator[Engine]:
        engine = self.engine(**settings)
        calls: list[Call] = []
        self.runs.append(calls)
        await engine.start(RecordingApplication(app or self.app(), calls.append))
        try:
            yield engine
        finally:
            await engine.stop()


@pytest.fixture(params=[pytest.param(n, marks=[pytest.mark.needs_engine] * (n == "cometbft")) for n in ENGINES])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(request.param, tmp_path)


@pytest.fixture(autouse=True)
def _legal_calls(bench: Bench) -> Any:
    yield
    for calls in bench.runs:
        check_trace(calls, initial_height=bench.genesis.initial_height)


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), TIMEOUT_S))


async def advance(engine: Engine, height: int) -> None:
    """Work until the chain is at a height, instead of waiting for heartbeats."""
    number = 0
    while engine.latest_height < height:
        number += 1
        await engine.submit(b"work%d=%d" % (height, number))
        await engine.wait_height(engine.latest_height + 1)


async def block_with(engine: Engine, tx: bytes, from_height: int = 1) -> CommittedBlock:
    async for committed in engine.committed(from_height):
        if tx in committed.block.txs:
            return committed
    raise AssertionError("the engine ended first")


def test_a_transaction_becomes_a_block_and_state(bench: Bench) -> None:
    app = bench.app()

    async def story() -> None:
        async with bench.running(app) as engine:
            assert (await engine.submit(b"sea=blue")).code == 0
            committed = await block_with(engine, b"sea=blue")
            assert committed.results.tx_results[0].code == 0
            assert app.items["sea"] == "blue"
            assert engine.results(committed.height) == committed.results
            assert engine.block(committed.height) == committed.block
            assert engine.commit(committed.height) == committed.commit
            status = engine.status()
            assert status.phase is Phase.RUNNING
            assert status.latest_height == engine.latest_height >= committed.height

    run(story)


def test_the_next_header_proves_state_and_results(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running() as engine:
            await engine.submit(b"sea=blue")
            committed = await block_with(engine, b"sea=blue")
            await engine.wait_height(committed.height + 1)
            proof = engine.block(committed.height + 1).header
            assert proof.app_hash == committed.results.app_hash != committed.header.app_hash
            assert proof.last_results_hash == results_hash([r.hashed for r in committed.results.tx_results])

    run(story)


def test_headers_convince_a_light_client(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running() as engine:
            for number in range(5):
                await engine.submit(b"n=%d" % number)
                await block_with(engine, b"n=%d" % number)
            await engine.wait_height(engine.latest_height + 1)
            first = engine.signed_header(1)
            verify_commit("contract", first.header, first.commit, engine.validators(1))
            assert first.header.time == bench.genesis.time
            for height in range(2, engine.latest_height + 1):
                before, after = engine.block(height - 1).header, engine.signed_header(height)
                verify_adjacent(before, after, engine.validators(height), freshness=None)
                assert after.header.last_block_id == engine.commit(height - 1).block_id
                assert after.header.last_commit_hash == engine.block(height).last_commit.hash()
                assert after.header.consensus_hash == engine.consensus_params(height).hash()

    run(story)


def test_an_idle_chain_has_a_heartbeat(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running() as engine:
            await engine.wait_height(3)
            assert engine.block(3).txs == ()
            assert engine.block(3).header.app_hash == engine.block(2).header.app_hash

    run(story)


def test_refused_transactions_stay_out(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running() as engine:
            refused = await engine.submit(b"no pair")
            assert (refused.code, refused.codespace) == (1, "kv")
            assert engine.status().pool_count == 0
            assert (await engine.submit(b"no pair")).code == 1, "asking again is allowed"
            with pytest.raises(PoolRefusedError) as error:
                await engine.submit(b"gas:1001=x")
            assert error.value.code == "pool.gas"

    run(story)


def test_duplicates_are_refused(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running() as engine:
            twice = await asyncio.gather(engine.submit(b"a=1"), engine.submit(b"a=1"), return_exceptions=True)
            assert sorted(type(answer).__name__ for answer in twice) == ["CheckTxResponse", "PoolRefusedError"]
            await block_with(engine, b"a=1")
            with pytest.raises(PoolRefusedError) as error:
                await engine.submit(b"a=1")
            assert error.value.code == "pool.duplicate"

    run(story)


def test_the_pool_is_bounded(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running(pool_count_max=5, tx_bytes_max=100) as engine:
            answers = await asyncio.gather(
                *(engine.submit(b"k%d=v" % number) for number in range(50)), return_exceptions=True
            )
            full = [answer for answer in answers if isinstance(answer, UnavailableError)]
            assert full
            assert {error.code for error in full} == {"pool.full"}
            with pytest.raises(PoolRefusedError) as error:
                await engine.submit(b"k=" + b"v" * 99)
            assert error.value.code == "pool.tx_too_large"

    run(story)


def test_every_transaction_lands_once_in_order_of_arrival(bench: Bench) -> None:
    sent = [b"key%d=%d" % (number, number) for number in range(300)]

    async def story() -> None:
        async with bench.running() as engine:
            await asyncio.gather(*map(engine.submit, sent))
            seen: list[bytes] = []
            async for committed in engine.committed(1):
                seen += committed.block.txs
                if len(seen) >= len(sent):
                    break
            assert seen == sent

    run(story)


def test_blocks_keep_their_limits(bench: Bench) -> None:
    params = ConsensusParams(block_bytes_max=1300, block_gas_max=7, evidence_bytes_max=0)
    bench.genesis = Genesis("contract", Timestamp(1_700_000_000, 0), b"{}", params)
    sent = [b"key%d=%s" % (number, b"x" * 100) for number in range(20)]

    async def story() -> None:
        async with bench.running() as engine:
            await asyncio.gather(*map(engine.submit, sent))
            left = set(sent)
            async for committed in engine.committed(1):
                assert len(committed.block.encode()) <= 1300
                assert len(committed.block.txs) <= 7
                left -= set(committed.block.txs)
                if not left:
                    break

    run(story)


def test_what_expires_in_the_pool_is_removed(bench: Bench) -> None:
    """Only seven fit a block by gas; the one that expires meanwhile is dropped by its recheck, not executed."""

    async def story() -> None:
        async with bench.running() as engine:
            await engine.submit(b"gas:1000=first")
            await asyncio.gather(
                *(engine.submit(b"gas:1000=%d" % number) for number in range(3)),
                engine.submit(b"until:2:late=1"),
            )
            await engine.submit(b"after=1")
            await block_with(engine, b"after=1")
            every = [tx for height in range(1, engine.latest_height + 1) for tx in engine.block(height).txs]
            late = [h for h in range(1, engine.latest_height + 1) if b"until:2:late=1" in engine.block(h).txs]
            assert all(height <= 2 for height in late)
            assert b"after=1" in every
            assert engine.status().pool_count == 0

    run(story)


def test_restart_continues_the_chain(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running() as engine:
            await engine.submit(b"a=1")
            await block_with(engine, b"a=1")
            height, block = engine.latest_height, engine.block(engine.latest_height)
        app = bench.app()
        async with bench.running(app) as engine:
            assert engine.latest_height >= height
            assert engine.block(height) == block
            await engine.submit(b"b=2")
            await block_with(engine, b"b=2", height)
            assert app.items["a"] == "1"
            assert app.items["b"] == "2"

    run(story)


def test_an_application_that_lost_its_state_gets_every_block_again(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running() as engine:
            for number in range(5):
                await engine.submit(b"n%d=1" % number)
                await block_with(engine, b"n%d=1" % number)
        lost = KeyValueApplication(bench.directory / "fresh")
        async with bench.running(lost) as engine:
            assert len(lost.items) == 6
            await engine.submit(b"more=1")
            await block_with(engine, b"more=1")

    run(story)


def test_an_application_of_another_chain_is_refused(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running() as engine:
            await engine.submit(b"a=1")
            await block_with(engine, b"a=1")
        other = Bench(bench.name, bench.directory / "other")
        async with other.running() as engine:
            await engine.submit(b"b=1")
            await advance(engine, 5)
        with pytest.raises(EngineError) as error:
            await bench.engine().start(KeyValueApplication(other.directory / "app"))
        assert error.value.code in ("engine.foreign_chain", "engine.app_ahead")
        again = bench.engine()
        await again.start(bench.app())
        await again.stop()

    run(story)


def test_blocks_of_another_genesis_are_refused(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running() as engine:
            await engine.wait_height(1)
        for changed in (
            Genesis("renamed", bench.genesis.time, b"{}", bench.genesis.consensus_params),
            Genesis("contract", Timestamp(1, 0), b"{}", bench.genesis.consensus_params),
            Genesis("contract", bench.genesis.time, b"{ }", bench.genesis.consensus_params),
        ):
            engine = make_engine(bench.name, changed, bench.directory / "engine", SETTINGS[bench.name])
            with pytest.raises(EngineError) as error:
                await engine.start(bench.app())
            assert error.value.code == "engine.foreign_chain"

    run(story)


def test_a_second_engine_on_the_directory_is_refused(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running() as engine:
            with pytest.raises(EngineError) as error:
                await bench.engine().start(bench.app())
            assert error.value.code == "engine.locked"
            await engine.submit(b"still=here")
            await block_with(engine, b"still=here")

    run(story)


def test_subscribers_see_every_block_once_and_resume(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running() as engine:
            heights: list[int] = []

            async def follow() -> None:
                async for committed in engine.committed(1):
                    heights.append(committed.height)

            follower = asyncio.create_task(follow())
            for number in range(120):  # more than an engine keeps at hand
                await engine.submit(b"n%d=1" % number)
                if number % 10 == 0:
                    await block_with(engine, b"n%d=1" % number, max(engine.latest_height - 3, 1))
            await block_with(engine, b"n119=1")
            resumed = [c.height async for c in _until(engine, 5, engine.latest_height)]
            assert resumed == list(range(5, resumed[-1] + 1))
        await follower
        assert heights == list(range(1, heights[-1] + 1))
        assert len(heights) > 15

    run(story)


async def _until(engine: Engine, first: int, last: int) -> AsyncIterator[CommittedBlock]:
    async for committed in engine.committed(first):
        yield committed
        if committed.height >= last:
            return


def test_unknown_heights(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running() as engine:
            await engine.wait_height(1)
            for read in (engine.block, engine.commit, engine.results, engine.signed_header, engine.validators):
                for height in (0, -1, engine.latest_height + 50):
                    with pytest.raises(EngineError) as error:
                        read(height)
                    assert error.value.code == "engine.unknown_height"
            assert engine.validators(engine.latest_height + 1)

    run(story)


def test_pruning_keeps_what_the_application_retains(bench: Bench) -> None:
    bench.retain_blocks = 4

    async def story() -> None:
        async with bench.running() as engine:
            for number in range(12):
                await engine.submit(b"n%d=1" % number)
                await block_with(engine, b"n%d=1" % number, max(engine.latest_height - 1, 1))
            await engine.wait_height(14)
            base = engine.status().base_height
            assert 1 < base <= engine.latest_height - 3
            with pytest.raises(EngineError) as error:
                engine.block(base - 1)
            assert error.value.code == "engine.pruned"
            assert engine.block(base).header.height == base
        async with bench.running() as engine:
            with pytest.raises(EngineError) as error:
                async for _ in engine.committed(1):
                    pass
            assert error.value.code == "engine.pruned"
            await engine.submit(b"on=1")
            await block_with(engine, b"on=1", engine.latest_height)

    run(story)


def test_consensus_calls_come_from_one_thread_and_checks_from_another(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running() as engine:
            await engine.submit(b"a=1")
            await block_with(engine, b"a=1")

    run(story)
    consensus = {call.thread for call in bench.runs[0] if call.method not in ("check_tx", "info", "query")}
    checks = {call.thread for call in bench.runs[0] if call.method == "check_tx"}
    assert len(consensus) == len(checks) == 1
    assert consensus.isdisjoint(checks)
    assert threading.get_ident() not in consensus | checks


def test_an_application_that_cannot_commit_for_now_stalls_the_engine_and_loses_nothing(bench: Bench) -> None:
    class Full(KeyValueApplication):
        failing = False

        def commit(self) -> Any:
            if self.failing:
                raise UnavailableError("state.disk_full", "no space left")
            return super().commit()

    app = Full(bench.directory / "app")

    async def story() -> None:
        async with bench.running(app) as engine:
            await engine.wait_height(1)
            app.failing = True
            await engine.submit(b"a=1")
            while engine.status().phase is not Phase.STALLED:
                await asyncio.sleep(0.001)
            with pytest.raises(UnavailableError) as error:
                await engine.submit(b"b=1")
            assert error.value.code == "state.disk_full"
            app.failing = False
            await block_with(engine, b"a=1")
            await engine.submit(b"b=1")
            await block_with(engine, b"b=1")
            assert engine.status().phase is Phase.RUNNING
            assert engine.status().error == ""

    run(story)


def test_stopping_while_stalled_is_possible_and_a_restart_goes_on(bench: Bench) -> None:
    class Full(KeyValueApplication):
        def commit(self) -> Any:
            if any(key == "a" for key, _ in self._next.items):  # type: ignore[union-attr]
                raise UnavailableError("state.disk_full", "no space left")
            return super().commit()

    async def story() -> None:
        async with bench.running(Full(bench.directory / "app")) as engine:
            await engine.submit(b"a=1")
            while engine.status().phase is not Phase.STALLED:
                await asyncio.sleep(0.001)
        app = bench.app()
        async with bench.running(app):
            assert app.items["a"] == "1", "the block was stored, so it is executed again"

    run(story)


def test_an_application_that_fails_halts_the_engine_visibly(bench: Bench) -> None:
    class Broken(KeyValueApplication):
        def finalize_block(self, request: Any, /) -> Any:
            if request.txs:
                raise RuntimeError("bug in the application")
            return super().finalize_block(request)

    async def story() -> None:
        async with bench.running(Broken(bench.directory / "app")) as engine:
            await engine.wait_height(1)
            await engine.submit(b"a=1")
            with pytest.raises(EngineError) as error:
                await engine.wait_height(1000)
            assert "bug in the application" in error.value.message
            with pytest.raises(EngineError):
                [block async for block in engine.committed(1)]
            with pytest.raises(UnavailableError) as refused:
                await engine.submit(b"b=1")
            assert refused.value.code == "engine.halted"
            assert engine.status().phase is Phase.HALTED
            assert engine.block(1), "what is stored can be read"
        async with bench.running() as engine:
            await engine.submit(b"b=1")
            await block_with(engine, b"b=1")

    run(story)


def test_a_check_that_fails_is_told_to_its_sender_only(bench: Bench) -> None:
    class Broken(KeyValueApplication):
        def check_tx(self, request: Any, /) -> Any:
            if request.tx == b"bad=1":
                raise RuntimeError("bug in the check")
            return super().check_tx(request)

    async def story() -> None:
        async with bench.running(Broken(bench.directory / "app")) as engine:
            with pytest.raises(RuntimeError):
                await engine.submit(b"bad=1")
            await engine.submit(b"good=1")
            await block_with(engine, b"good=1")

    run(story)


def test_work_the_application_will_not_propose_does_not_spin(bench: Bench) -> None:
    class Choosy(KeyValueApplication):
        def prepare_proposal(self, request: Any, /) -> Any:
            response = super().prepare_proposal(request)
            return type(response)(tuple(tx for tx in response.txs if not tx.startswith(b"later")))

    async def story() -> None:
        async with bench.running(Choosy(bench.directory / "app")) as engine:
            await engine.submit(b"later=1")
            await engine.submit(b"now=1")
            await block_with(engine, b"now=1")
            await engine.wait_height(engine.latest_height + 2)
            assert engine.status().pool_count == 1
            assert len([call for call in bench.runs[0] if call.method == "prepare_proposal"]) < 20

    run(story)


@pytest.mark.parametrize("bench", ["solo"], indirect=True)
def test_a_refused_proposal_is_dropped_and_the_chain_goes_on(bench: Bench) -> None:
    # CometBFT proposes for ever what its application prepares and then refuses.
    async def story() -> None:
        async with bench.running() as engine:
            await engine.submit(b"refuse-block=1")
            await engine.wait_height(2)
            await engine.submit(b"fine=1")
            await block_with(engine, b"fine=1")
            assert engine.status().pool_count == 0
            verify_commit("contract", engine.block(2).header, engine.commit(2), engine.validators(2))

    run(story)


def test_validator_updates_take_effect_two_heights_later(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running() as engine:
            await engine.wait_height(1)
            own = engine.validators(1).validators[0]
            tx = b"validator:%s=%d" % (own.public_key.hex().encode(), 77)
            await engine.submit(tx)
            height = (await block_with(engine, tx)).height
            await advance(engine, height + 3)
            powers = [engine.validators(height + offset).total_power for offset in range(4)]
            assert powers == [own.power, own.power, 77, 77]
            verify_adjacent(
                engine.block(height + 1).header,
                engine.signed_header(height + 2),
                engine.validators(height + 2),
                freshness=None,
            )

    run(story)


def test_a_second_small_validator_is_absent_from_commits_that_still_verify(bench: Bench) -> None:
    async def story() -> None:
        async with bench.running() as engine:
            tx = b"validator:%s=1" % (b"5" * 64)
            await engine.submit(tx)
            height = (await block_with(engine, tx)).height
            await advance(engine, height + 4)
            assert len(engine.commit(height + 2).signatures) == 2
            verify_commit(
                "contract", engine.block(height + 3).header, engine.commit(height + 3), engine.validators(height + 3)
            )
        async with bench.running() as engine:
            await advance(engine, height + 5)

    run(story)


def test_initial_height(bench: Bench) -> None:
    bench.genesis = Genesis("contract", Timestamp(1_700_000_000, 0), b"{}", initial_height=1000)

    async def story() -> None:
        async with bench.running() as engine:
            await engine.submit(b"a=1")
            assert (await block_with(engine, b"a=1")).height >= 1000
        async with bench.running(KeyValueApplication(bench.directory / "fresh")) as engine:
            await engine.submit(b"b=1")
            await block_with(engine, b"b=1")
            with pytest.raises(EngineError):
                engine.block(999)

    run(story)
