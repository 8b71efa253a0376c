from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from althing.consensus.engine import Genesis
from althing.consensus.registry import make_engine
from althing.consensus.solo.pace import Due, Kind, Situation, next_block
from althing.protocol.block import Timestamp
from althing.testing.kvstore import KeyValueApplication

MS = 1_000_000
QUIET = Situation(
    now_ns=1_000 * MS,
    waiting=0,
    block_full=False,
    unproven=False,
    last_block_ns=990 * MS,
    last_work_ns=990 * MS,
    prior_work_ns=0,
    last_work_txs=0,
    interval_ns=50 * MS,
    idle_ns=30_000 * MS,
    lag_ns=45_000 * MS,
)


def test_heartbeat_comes_when_the_idle_time_is_over() -> None:
    assert next_block(QUIET) == Due(Kind.HEARTBEAT, 29_990 * MS)
    assert next_block(replace(QUIET, now_ns=30_990 * MS)) == Due(Kind.HEARTBEAT, 0)
    assert next_block(replace(QUIET, now_ns=99_999 * MS)) == Due(Kind.HEARTBEAT, 0)


def test_a_chain_that_was_stopped_catches_up_with_the_clock_at_once() -> None:
    assert next_block(replace(QUIET, lag_ns=60_000 * MS)).wait_ns
    assert next_block(replace(QUIET, lag_ns=60_001 * MS)) == Due(Kind.HEARTBEAT, 0)
    assert next_block(replace(QUIET, lag_ns=60_001 * MS, waiting=1)) == Due(Kind.WORK, 0)


def test_what_is_unproven_is_proved_at_once() -> None:
    assert next_block(replace(QUIET, unproven=True)) == Due(Kind.PROOF, 0)


def test_after_quick_blocks_the_proof_leaves_room_for_more_work() -> None:
    quick = replace(QUIET, unproven=True, prior_work_ns=491 * MS)
    assert next_block(quick) == Due(Kind.PROOF, 90 * MS)
    assert next_block(replace(quick, now_ns=1_089 * MS)) == Due(Kind.PROOF, 1 * MS)
    assert next_block(replace(quick, now_ns=1_090 * MS)) == Due(Kind.PROOF, 0)
    assert next_block(replace(quick, waiting=1)) == Due(Kind.WORK, 0)
    assert next_block(replace(quick, prior_work_ns=490 * MS)) == Due(Kind.PROOF, 0)
    assert next_block(replace(quick, interval_ns=0)) == Due(Kind.PROOF, 0)


def test_a_single_transaction_never_waits() -> None:
    assert next_block(replace(QUIET, waiting=1, last_work_txs=1)) == Due(Kind.WORK, 0)


def test_waiting_work_is_the_proof_block() -> None:
    assert next_block(replace(QUIET, waiting=1, unproven=True)).kind is Kind.WORK
    assert next_block(replace(QUIET, waiting=9, unproven=True)).kind is Kind.WORK


def test_under_load_blocks_keep_their_distance() -> None:
    assert next_block(replace(QUIET, waiting=2)) == Due(Kind.WORK, 40 * MS)
    assert next_block(replace(QUIET, waiting=1, last_work_txs=2)) == Due(Kind.WORK, 40 * MS)
    assert next_block(replace(QUIET, waiting=2, now_ns=1_041 * MS)) == Due(Kind.WORK, 0)
    assert next_block(replace(QUIET, waiting=2, interval_ns=0)) == Due(Kind.WORK, 0)


def test_a_full_block_does_not_wait() -> None:
    assert next_block(replace(QUIET, waiting=500, block_full=True)) == Due(Kind.WORK, 0)


def test_an_old_chains_time_is_the_clocks_soon_after_its_start(tmp_path: Path) -> None:
    now_s = 1_800_000_000
    genesis = Genesis("pace", Timestamp(1_700_000_000, 0), b"{}")

    async def story() -> None:
        engine = make_engine("solo", genesis, tmp_path / "engine", {"idle_block_s": 60}, clock=lambda: now_s * 10**9)
        await engine.start(KeyValueApplication(tmp_path / "app"))
        try:
            # Genesis time, then when the first block was made; one more proves what genesis wrote.
            await engine.wait_height(2)
            assert engine.signed_header(2).header.time.seconds >= now_s
        finally:
            await engine.stop()

    asyncio.run(asyncio.wait_for(story(), 30))
