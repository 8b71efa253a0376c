"""State of `governance`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.ledger.runtime.overlay import Table
from althing.protocol.messages.governance import Organisation, Parameters, QuotaUse, Upgrade, Validator
from althing.protocol.record import ADDRESS, CHAIN_ID, HASH, NAME, UINT, Form, Record, array, integer, of

__all__ = [
    "CHAIN",
    "NAMES",
    "ORGANISATIONS",
    "PARAMETERS",
    "QUOTA_USE",
    "UPGRADE",
    "VALIDATORS",
    "VERSIONS",
    "Chain",
    "Owner",
    "Versions",
]


@dataclass(frozen=True, slots=True)
class Chain(Record):
    """Which chain this state belongs to."""

    chain_id: str = of(CHAIN_ID)
    genesis_hash: bytes = of(HASH)
    initial_height: int = of(UINT)


@dataclass(frozen=True, slots=True)
class Owner(Record):
    """The organisation that has a name."""

    organisation: bytes = of(ADDRESS)


def _pair(item: object) -> tuple[str, int]:
    match item:
        case [str() as name, int() as version]:
            return NAME.unpack(name), UINT.unpack(version)
    raise ValueError("not [module, version]")


@dataclass(frozen=True, slots=True)
class Versions(Record):
    """The app version in force and each module's state version, by name in ascending order."""

    app_version: int = of(integer(1, 2**31))
    modules: tuple[tuple[str, int], ...] = of(array(Form(list, _pair), 64))


CHAIN: Final = Table("governance/chain", Chain)
PARAMETERS: Final = Table("governance/parameters", Parameters)
VERSIONS: Final = Table("governance/versions", Versions)
UPGRADE: Final = Table("governance/upgrade", Upgrade)
ORGANISATIONS: Final = Table("governance/organisation/", Organisation)  # own key: address
NAMES: Final = Table("governance/name/", Owner)  # own key: name
VALIDATORS: Final = Table("governance/validator/", Validator)  # own key: public key
QUOTA_USE: Final = Table("governance/quota/", QuotaUse)  # own key: organisation's address
