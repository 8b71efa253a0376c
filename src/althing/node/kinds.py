"""Kinds of chain as they are founded here: consortium, private, public; with usual values for what founders do not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from althing.protocol.address import is_name
from althing.protocol.errors import AlthingError
from althing.protocol.messages.governance import ChainKind, GenesisReader, PrivateChain
from althing.protocol.messages.identity import Key
from althing.protocol.messages.staking import GenesisAllocation, PublicChain, StakingParameters

__all__ = ["CONSORTIUM", "KINDS", "Founding", "FoundingError", "Money"]

KINDS: Final = ("consortium", "private", "public")

_DAY_S: Final = 86_400
_EVIDENCE_AGE_S: Final = 2 * _DAY_S
_EVIDENCE_AGE_BLOCKS: Final = (
    2 * 1440
)  # the same at a heartbeat a minute: an idle chain releases bonds as fast as a busy one
_POWER: Final = 10  # of each founding validator where bonds do not say


class FoundingError(AlthingError):
    """A chain of this kind cannot be founded so: `network.kind`."""


@dataclass(frozen=True, slots=True)
class Money:
    """A public chain's unit, what each founder has and bonds of it in whole units, and the least fee per unit of gas."""

    symbol: str = "thing"
    decimals: int = 6
    balance: int = 1_000_000
    bond: int = 1_000
    bond_min: int = 100
    validators_max: int = 21
    unbonding_days: int = 7
    gas_price_min: int = 1


@dataclass(frozen=True, slots=True)
class Founding:
    """What kind of chain is founded. FoundingError `network.kind` where its founders do not fit."""

    kind: str = "consortium"
    readers: Mapping[str, Key] | None = None
    money: Money = Money()

    def check(self, organisations: Sequence[str], validators: int) -> None:
        if self.kind not in KINDS:
            raise FoundingError("network.kind", f"{self.kind!r} is no kind of chain", hint=", ".join(KINDS))
        if self.readers and self.kind != "private":
            raise FoundingError("network.kind", "only a private chain lists its readers: everybody reads the others")
        if self.kind == "private" and len(organisations) != 1:
            raise FoundingError("network.kind", "one organisation founds a private chain, and writes it")
        if self.kind == "public":
            if len(organisations) != validators:
                raise FoundingError("network.kind", "each founder of a public chain has one validator")
            money = self.money
            if not is_name(money.symbol) or not money.bond_min <= money.bond or validators > money.validators_max:
                raise FoundingError(
                    "network.kind",
                    "the unit's symbol is a name, a founder's bond at least the least, and founders at most validators_max",
                )

    @property
    def power(self) -> int:
        """Of each founding validator: at a bond of one unit a unit of power."""
        return self.money.bond if self.kind == "public" else _POWER

    @property
    def gas_price_min(self) -> int:
        return self.money.gas_price_min if self.kind == "public" else 0

    def chain_kind(self, organisations: Sequence[str]) -> ChainKind | None:
        """What genesis says of it; None for a consortium."""
        if self.kind == "private":
            readers = (self.readers or {}).items()
            return PrivateChain(tuple(GenesisReader(name, key) for name, key in sorted(readers)))
        if self.kind == "consortium":
            return None
        money = self.money
        one = 10**money.decimals
        rules = StakingParameters(
            version=1,
            bond_min=money.bond_min * one,
            power_unit=one,
            validators_max=money.validators_max,
            changes_max=5,
            unbonding_s=money.unbonding_days * _DAY_S,
            trusting_period_s=_EVIDENCE_AGE_S,
            slash_ppm=50_000,
            jail_s=3600,
            fee_burn_ppm=500_000,
            quota_bytes=2**28,
            quota_gas=2**40,
        )
        return PublicChain(
            symbol=money.symbol,
            title=f"Unit of this chain, {money.symbol}",
            decimals=money.decimals,
            evidence_age_s=_EVIDENCE_AGE_S,
            evidence_age_blocks=_EVIDENCE_AGE_BLOCKS,
            parameters=rules,
            allocations=tuple(
                GenesisAllocation(name, (money.balance - money.bond) * one, money.bond * one) for name in organisations
            ),
        )


CONSORTIUM: Final = Founding()
