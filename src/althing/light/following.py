"""From a trusted light block to a later one: by bisection, one by one, or backwards; without I/O.

Each function is a generator: it yields a height it needs, is sent the light block of that height from the source under
examination, and returns the trace: every block verified, from the trusted one to the target. What it is sent is not
trusted. Source: CometBFT v0.39.4 `light/client.go`; docs/spec/light-client.md §4.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from althing.light.blocks import LightBlock
from althing.light.errors import InvalidHeaderError, NotEnoughTrustError
from althing.light.headers import ONE_THIRD, Freshness, TrustLevel
from althing.light.verification import verify, verify_backwards

__all__ = ["FETCHES_MAX", "Following", "Trace", "follow_back", "follow_by_skipping", "follow_each"]

Trace = tuple[LightBlock, ...]
Following = Generator[int, LightBlock, Trace]

FETCHES_MAX: Final = 100_000  # a source that changes all validators at every height must not keep us for ever
# CometBFT's pivot: a little beyond the middle, because blocks kept from the step before lie beyond it too.
_PIVOT_NUMERATOR: Final = 9
_PIVOT_DENOMINATOR: Final = 16


def follow_by_skipping(
    trusted: LightBlock, target: LightBlock, freshness: Freshness, trust_level: TrustLevel = ONE_THIRD
) -> Following:
    """Skip as far as trust reaches, and fetch a header in between where it does not (`verifySkipping`)."""
    trace = [trusted]
    waiting = [target]  # blocks still to be verified, nearer and nearer
    depth = 0
    fetched = 0
    while True:
        verified, candidate = trace[-1], waiting[depth]
        try:
            verify(verified.header, verified.validators, candidate, freshness, trust_level)
        except NotEnoughTrustError:
            if depth == len(waiting) - 1:
                distance = candidate.height - verified.height
                pivot = verified.height + distance * _PIVOT_NUMERATOR // _PIVOT_DENOMINATOR
                fetched = _count(fetched)
                waiting.append(_of_height((yield pivot), pivot))
            depth += 1
            continue
        trace.append(candidate)
        if depth == 0:
            return tuple(trace)
        del waiting[depth:]
        depth = 0


def follow_each(trusted: LightBlock, target: LightBlock, freshness: Freshness) -> Following:
    """Every header from the trusted one to the target (`verifySequential`)."""
    trace = [trusted]
    fetched = 0
    for height in range(trusted.height + 1, target.height + 1):
        block = target
        if height < target.height:
            fetched = _count(fetched)
            block = _of_height((yield height), height)
        verify(trace[-1].header, trace[-1].validators, block, freshness)
        trace.append(block)
    return tuple(trace)


def follow_back(trusted: LightBlock, target: LightBlock) -> Following:
    """From the trusted header down to an older one by the predecessors they name; no signature is looked at.

    The target's own commit and validators are as its hash says only in so far as `LightBlock.check` holds.
    """
    trace = [trusted]
    fetched = 0
    for height in range(trusted.height - 1, target.height - 1, -1):
        block = target
        if height > target.height:
            fetched = _count(fetched)
            block = _of_height((yield height), height)
        verify_backwards(block.header, trace[-1].header)
        trace.append(block)
    return tuple(trace)


def _of_height(block: LightBlock, height: int) -> LightBlock:
    if block.height != height:
        raise InvalidHeaderError("light.height", f"asked for height {height}, the answer is height {block.height}")
    return block


def _count(fetched: int) -> int:
    if fetched == FETCHES_MAX:
        raise InvalidHeaderError(
            "light.distance", f"more than {FETCHES_MAX} headers lie between: begin with a newer one"
        )
    return fetched + 1
