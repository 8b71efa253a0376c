"""State of `staking`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.ledger.runtime.overlay import Table
from althing.protocol.messages.staking import Stake, StakingParameters, Unbonding
from althing.protocol.record import ADDRESS, BOOL, NAME, UINT, Record, of

__all__ = [
    "AGENDA",
    "CHAIN",
    "HOLDERS",
    "PARAMETERS",
    "STAKES",
    "UNBONDINGS",
    "Holder",
    "StakedChain",
    "StakingAgenda",
    "own_unbonding",
]


@dataclass(frozen=True, slots=True)
class StakedChain(Record):
    """What a public chain never changes: the unit that is bonded, and for how long evidence may come."""

    unit: str = of(NAME)
    evidence_age_s: int = of(UINT)
    evidence_age_blocks: int = of(UINT)


@dataclass(frozen=True, slots=True)
class Holder(Record):
    """The organisation whose validator has a key."""

    organisation: bytes = of(ADDRESS)


@dataclass(frozen=True, slots=True)
class StakingAgenda(Record):
    """What the end of a block has to do: elect validators anew, and release what is due first."""

    stale: bool = of(BOOL)
    due: int = of(UINT)  # ledger time of the first release; 0 while nothing is unbonding
    height: int = of(UINT)  # where that began to unbond
    next: int = of(UINT)  # number of the next unbonding


CHAIN: Final = Table("staking/chain", StakedChain)
PARAMETERS: Final = Table("staking/parameters", StakingParameters)
AGENDA: Final = Table("staking/agenda", StakingAgenda)
STAKES: Final = Table("staking/stake/", Stake)  # own key: organisation's address
HOLDERS: Final = Table("staking/validator/", Holder)  # own key: public key
UNBONDINGS: Final = Table("staking/unbonding/", Unbonding)  # own key: due time and number, 8 bytes big-endian each


def own_unbonding(due: int, number: int) -> bytes:
    """What is due first stands first."""
    return due.to_bytes(8, "big") + number.to_bytes(8, "big")
