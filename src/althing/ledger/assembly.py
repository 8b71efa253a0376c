"""The one place where modules meet: which there are, in which order, and who serves whose needs, by app version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from althing.ledger.modules.assets.module import AssetsModule
from althing.ledger.modules.devices.module import DevicesModule
from althing.ledger.modules.governance.module import GovernanceModule
from althing.ledger.modules.identity.module import IdentityModule
from althing.ledger.modules.staking.module import StakingModule
from althing.ledger.modules.streams.module import StreamsModule
from althing.ledger.runtime.errors import HaltError
from althing.ledger.runtime.fees import Fees
from althing.ledger.runtime.gas import PRICES, Prices
from althing.ledger.runtime.module import Closing, Handler, Module
from althing.protocol.catalog import MessageBody

__all__ = ["Rulebook", "Rules", "assemble", "version_1"]


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one app version: modules in order, their messages, what gas costs, who takes fees and ends blocks."""

    app_version: int
    governance: GovernanceModule
    identity: IdentityModule
    ordered: tuple[Module, ...]
    prices: Prices = PRICES
    fees: Fees | None = None
    closing: tuple[Closing, ...] = ()
    handlers: Mapping[type, Handler] = field(init=False)
    types: Mapping[str, type[MessageBody]] = field(init=False)

    def __post_init__(self) -> None:
        handlers = {kind: handler for module in self.ordered for kind, handler in module.handlers.items()}
        object.__setattr__(self, "handlers", handlers)
        kinds = [cast("type[MessageBody]", kind) for kind in handlers]
        object.__setattr__(self, "types", {kind.TYPE: kind for kind in kinds})


class Rulebook:
    """All rules that a program knows: each height is executed under those in force at it, so replay gives the same."""

    def __init__(self, *rules: Rules) -> None:
        self._rules = {each.app_version: each for each in rules}
        assert len(self._rules) == len(rules), "one set of rules a version"

    @property
    def newest(self) -> int:
        """The newest version this program knows."""
        return max(self._rules)

    def knows(self, app_version: int) -> bool:
        """True when this program can follow the rules of a version."""
        return app_version in self._rules

    def at(self, app_version: int, where: str, info: str = "") -> Rules:
        """The rules of a version, or HaltError `upgrade.needed`: who follows others than the chain's forks it."""
        found = self._rules.get(app_version)
        if found is None:
            known = ", ".join(map(str, sorted(self._rules)))
            raise HaltError(
                "upgrade.needed",
                f"{where} follows rules {app_version}; this program knows {known}",
                hint=f"install the release that brings them{f' ({info})' if info else ''} and start the node again",
            )
        return found


def version_1() -> Rules:
    """The first rules."""
    governance = GovernanceModule()
    identity = IdentityModule(organisations=governance)
    governance.accounts = identity
    devices = DevicesModule(accounts=identity)
    streams = StreamsModule(accounts=identity, devices=devices)
    assets = AssetsModule(accounts=identity)
    staking = StakingModule(accounts=identity, members=governance, units=assets)
    governance.fees = assets
    governance.bonds = staking
    governance.decide_also(staking.decisions)
    ordered = (governance, identity, devices, streams, assets, staking)
    return Rules(1, governance, identity, ordered, fees=assets, closing=(staking,))


def assemble() -> Rulebook:
    """The rules of every version that this release knows."""
    return Rulebook(version_1())
