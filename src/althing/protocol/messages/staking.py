"""Messages and records of `staking`: bonds on a public chain, and what a public chain begins with (docs/spec/messages.md §7).

Words are those of the field: an organisation *bonds* units, has the more *power* the more it bonds, *unbonds* them, is
*slashed* and *jailed* by evidence, and *unjails* itself. Amounts are whole numbers of the unit's smallest part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from althing.protocol.limits import ACCOUNT_KEYS_MAX, INT_MAX
from althing.protocol.messages.identity import KEY, Key
from althing.protocol.record import (
    ADDRESS,
    BOOL,
    HASH,
    NAME,
    UINT,
    Record,
    array,
    blob,
    integer,
    of,
    optional,
    record,
    text,
)

__all__ = [
    "ALLOCATIONS_MAX",
    "EVIDENCE_AGE_BLOCKS_MAX",
    "EVIDENCE_AGE_S_MAX",
    "MESSAGES",
    "POWER_MAX",
    "PPM",
    "UNBONDINGS_MAX",
    "Bond",
    "GenesisAllocation",
    "Join",
    "PublicChain",
    "SetStaking",
    "SetValidatorKey",
    "Stake",
    "StakingParameters",
    "Unbond",
    "Unbonding",
    "Unjail",
]

PPM: Final = 1_000_000
POWER_MAX: Final = 2**40
VALIDATORS_MAX: Final = 100  # as governance's: the guard holds both
ALLOCATIONS_MAX: Final = 1000
UNBONDINGS_MAX: Final = 16  # of an organisation at a time: evidence looks at all of them
EVIDENCE_AGE_S_MAX: Final = 172_800  # what the engine takes at most: twice it, old keys are known
EVIDENCE_AGE_BLOCKS_MAX: Final = 100_000
_YEAR_S: Final = 366 * 86_400

AMOUNT: Final = integer(1, INT_MAX)
SHARE: Final = integer(0, PPM)
PUBLIC: Final = blob(32, 32)
DURATION: Final = integer(1, _YEAR_S)


@dataclass(frozen=True, slots=True)
class StakingParameters(Record):
    """Rules of bonds that governance may change. Times in seconds of ledger time, shares in parts per million."""

    version: int = of(integer(1, 1))
    bond_min: int = of(AMOUNT)  # of an organisation that joins, and of every validator
    power_unit: int = of(AMOUNT)  # bonded for each unit of power
    validators_max: int = of(integer(1, VALIDATORS_MAX))
    changes_max: int = of(integer(1, VALIDATORS_MAX))  # validators that enter, and that leave, in one block
    unbonding_s: int = of(DURATION)
    trusting_period_s: int = of(DURATION)  # within which light clients may rely on a header
    slash_ppm: int = of(SHARE)
    jail_s: int = of(DURATION)
    fee_burn_ppm: int = of(SHARE)  # of a block's fees; the rest is its proposer's
    quota_bytes: int = of(UINT)  # of an organisation that joins
    quota_gas: int = of(UINT)


@dataclass(frozen=True, slots=True)
class GenesisAllocation(Record):
    """What a founding organisation has of the unit, and what it has bonded."""

    organisation: str = of(NAME)
    balance: int = of(UINT)
    bond: int = of(UINT)


@dataclass(frozen=True, slots=True)
class PublicChain(Record):
    """A chain that anyone joins by bonding its unit, of which there is never more than is allocated here."""

    symbol: str = of(NAME)
    title: str = of(text(0, 256))
    decimals: int = of(integer(0, 9))
    evidence_age_s: int = of(integer(1, EVIDENCE_AGE_S_MAX))
    evidence_age_blocks: int = of(integer(1, EVIDENCE_AGE_BLOCKS_MAX))
    parameters: StakingParameters = of(record(StakingParameters))
    allocations: tuple[GenesisAllocation, ...] = of(array(record(GenesisAllocation), ALLOCATIONS_MAX, 1))


@dataclass(frozen=True, slots=True)
class Stake(Record):
    """What an organisation has bonded, and the validator's key it stands for."""

    version: int = of(integer(1, 1))
    organisation: bytes = of(ADDRESS)
    joined: bool = of(BOOL)  # its membership rests on the bond
    bond: int = of(UINT)
    unbonding: int = of(UINT)  # not released yet
    unbondings: int = of(integer(0, UNBONDINGS_MAX))  # in how many parts
    validator: bytes | None = of(optional(PUBLIC))
    key_since: int = of(UINT)  # seconds
    jailed_until: int | None = of(optional(UINT))  # None: not jailed


@dataclass(frozen=True, slots=True)
class Unbonding(Record):
    """An amount that goes to `recipient` when it is due and evidence from before `height` can no longer come."""

    organisation: bytes = of(ADDRESS)
    recipient: bytes = of(ADDRESS)
    amount: int = of(UINT)
    height: int = of(UINT)


@dataclass(frozen=True, slots=True)
class Join(Record):
    """Anyone makes an organisation a member by bonding for it: the sponsor pays, and may be anybody with an account."""

    TYPE: ClassVar[str] = "staking.join"
    sponsor: bytes = of(ADDRESS)
    name: str = of(NAME)
    threshold: int = of(integer(1, ACCOUNT_KEYS_MAX))
    keys: tuple[Key, ...] = of(array(KEY, ACCOUNT_KEYS_MAX, 1))
    amount: int = of(AMOUNT)


@dataclass(frozen=True, slots=True)
class Bond(Record):
    """An account adds to a member's bond."""

    TYPE: ClassVar[str] = "staking.bond"
    organisation: bytes = of(ADDRESS)
    account: bytes = of(ADDRESS)
    amount: int = of(AMOUNT)


@dataclass(frozen=True, slots=True)
class Unbond(Record):
    """An organisation takes from its bond; the amount is held for the unbonding period. All of it: a member by bond leaves."""

    TYPE: ClassVar[str] = "staking.unbond"
    organisation: bytes = of(ADDRESS)
    amount: int = of(AMOUNT)
    recipient: bytes = of(ADDRESS)


@dataclass(frozen=True, slots=True)
class SetValidatorKey(Record):
    """An organisation names the key of its validator, replaces it, or stops to validate (None)."""

    TYPE: ClassVar[str] = "staking.set_key"
    organisation: bytes = of(ADDRESS)
    validator: bytes | None = of(optional(PUBLIC))


@dataclass(frozen=True, slots=True)
class Unjail(Record):
    """An organisation returns from jail, with a key that evidence does not convict."""

    TYPE: ClassVar[str] = "staking.unjail"
    organisation: bytes = of(ADDRESS)


@dataclass(frozen=True, slots=True)
class SetStaking(Record):
    """Governors replace the rules of bonds, naming the hash of those they replace."""

    TYPE: ClassVar[str] = "staking.set_parameters"
    replaces: bytes = of(HASH)
    parameters: StakingParameters = of(record(StakingParameters))


MESSAGES: Final = (Join, Bond, Unbond, SetValidatorKey, Unjail, SetStaking)
