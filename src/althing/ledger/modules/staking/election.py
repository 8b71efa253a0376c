"""Which validators there are by bond, and with which power: pure arithmetic over whole numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from althing.protocol.messages.governance import Validator
from althing.protocol.messages.staking import POWER_MAX

__all__ = ["Candidate", "elect", "power_of"]

_SHARE_FROM: Final = 4  # as the guard: fewer validators cannot all stay below a third


@dataclass(frozen=True, slots=True)
class Candidate:
    """An organisation that may validate: its bond in units of power, at least 1 of them."""

    public: bytes
    organisation: bytes
    bond: int
    power: int


def elect(
    present: Mapping[bytes, Validator],
    candidates: Sequence[Candidate],
    *,
    fixed: frozenset[bytes],
    seats: int,
    changes_max: int,
    leaves_max: int,
) -> tuple[tuple[Validator, ...], bool]:
    """What changes, and whether more is left for later blocks.

    1. The candidates with the greatest bonds win `seats`; of equals those that validate already, then the lower
       address. `fixed` validators keep seat and power.
    2. At most `changes_max` enter and as many leave, `leaves_max` at most; the set never becomes empty.
    3. Power is that of the bond; of four validators or more, none that bonds has a third of all or more.
    """
    # 1
    ranked = sorted(candidates, key=lambda one: (-one.bond, one.public not in present, one.organisation))
    ranked = [one for one in ranked if one.public not in fixed]
    kept = {public: member for public, member in present.items() if public in fixed}
    winners = {one.public: one for one in ranked[: max(0, seats - len(kept))]}
    # 2
    entering = [public for public in winners if public not in present]
    leaving = sorted(public for public in present if public not in winners and public not in fixed)
    if not winners and not kept:
        leaving = leaving[:-1]  # until somebody bonds
    out = min(len(leaving), changes_max, leaves_max)
    staying = len(present) - out
    enter = min(len(entering), changes_max, max(0, seats - staying))
    gone, new = leaving[:out], entering[:enter]
    powers = {public: winners[public].power for public in winners if public in present or public in new}
    for public, member in present.items():
        if public not in winners and public not in gone:
            powers[public] = member.power
    # 3
    _cap(powers, frozenset(powers) - frozenset(winners))
    changes = [Validator(public, 0, present[public].organisation) for public in gone]
    for public, power in powers.items():
        before = present.get(public)
        if public in winners and (before is None or before.power != power):
            changes.append(Validator(public, power, winners[public].organisation))
    return tuple(changes), len(gone) < len(leaving) or len(new) < len(entering)


def _cap(powers: dict[bytes, int], fixed: frozenset[bytes]) -> None:
    if len(powers) < _SHARE_FROM:
        return
    total = sum(powers.values())
    while True:
        above = [public for public, power in powers.items() if public not in fixed and 3 * power >= total]
        if not above:
            return
        # The greatest first. Each step makes it smaller than a third of what is then left, so this ends.
        largest = max(above, key=lambda public: (powers[public], public))
        less = max(1, (total - powers[largest] - 1) // 2)
        if less >= powers[largest]:
            return
        total += less - powers[largest]
        powers[largest] = less


def power_of(bond: int, unit: int) -> int:
    """Power of a bond."""
    return min(bond // unit, POWER_MAX)
