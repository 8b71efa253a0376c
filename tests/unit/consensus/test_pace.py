from __future__ import annotations

from dataclasses import replace

from althing.consensus.solo.pace import Due, Kind, Situation, next_block

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
)


def test_heartbeat_comes_when_the_idle_time_is_over() -> None:
    assert next_block(QUIET) == Due(Kind.HEARTBEAT, 29_990 * MS)
    assert next_block(replace(QUIET, now_ns=30_990 * MS)) == Due(Kind.HEARTBEAT, 0)
    assert next_block(replace(QUIET, now_ns=99_999 * MS)) == Due(Kind.HEARTBEAT, 0)


def test_what_is_unproven_is_proved_at_once() -> None:
    assert next_block(replace(QUIET, unproven=True)) == Due(Kind.PROOF, 0)


def test_after_quick_blocks_the_proof_leaves_room_for_more_work() -> None:
    quick = replace(QUIET, unproven=True, prior_work_ns=491 * MS)
    assert next_block(quick) == Due(Kind.PROOF, 40 * MS)
    assert next_block(replace(quick, now_ns=1_040 * MS)) == Due(Kind.PROOF, 0)
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
