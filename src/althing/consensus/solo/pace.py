"""When the next block is due, and which kind. Pure: times are monotonic nanoseconds given by the caller."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["Due", "Kind", "Situation", "next_block"]


_BURST_INTERVALS: Final = 10
_PROOF_INTERVALS: Final = 2  # whoever sends one transaction after the other needs more than one from each to the next


class Kind(Enum):
    """Why a block is made."""

    WORK = "work"
    PROOF = "proof"
    HEARTBEAT = "heartbeat"


@dataclass(frozen=True, slots=True)
class Situation:
    """What the decision depends on. `block_full`: the waiting transactions fill a block."""

    now_ns: int
    waiting: int
    block_full: bool
    unproven: bool
    last_block_ns: int
    last_work_ns: int
    prior_work_ns: int  # the block with work before the last one
    last_work_txs: int
    interval_ns: int
    idle_ns: int
    lag_ns: int  # how far block time is behind the clock


@dataclass(frozen=True, slots=True)
class Due:
    """A block of `kind` is due after `wait_ns` (0: now), unless the situation changes first."""

    kind: Kind
    wait_ns: int


def next_block(situation: Situation) -> Due:
    """1. Work starts at once; under load (several waiting, or several in the last block) an interval after the last
       start, so that blocks fill. A full block never waits.
    2. Without work, what no header proves yet is proved at once; after blocks in quick succession two intervals later, since
       then more work is likely, which proves it, too, and need not wait for a block without content.
    3. Otherwise a heartbeat keeps block time near the clock: a block shows when the one before it was made, so an idle
       chain lags up to two idle times. One that lags more was stopped, and catches up at once.
    """
    s = situation
    if s.waiting:  # 1
        under_load = s.waiting > 1 or s.last_work_txs > 1
        if not under_load or s.block_full:
            return Due(Kind.WORK, 0)
        return Due(Kind.WORK, max(0, s.last_work_ns + s.interval_ns - s.now_ns))
    if s.unproven:  # 2
        burst = s.last_work_ns - s.prior_work_ns < _BURST_INTERVALS * s.interval_ns
        return Due(Kind.PROOF, max(0, s.last_block_ns + _PROOF_INTERVALS * s.interval_ns - s.now_ns) if burst else 0)
    if s.lag_ns > 2 * s.idle_ns:  # 3
        return Due(Kind.HEARTBEAT, 0)
    return Due(Kind.HEARTBEAT, max(0, s.last_block_ns + s.idle_ns - s.now_ns))
