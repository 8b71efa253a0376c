"""State of `governance`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.ledger.runtime.overlay import Table
from althing.protocol.messages.governance import VALIDATORS_MAX, Organisation, Parameters, QuotaUse, Upgrade, Validator
from althing.protocol.messages.proposals import PROPOSALS_MAX, Proposal
from althing.protocol.record import (
    ADDRESS,
    CHAIN_ID,
    HASH,
    NAME,
    UINT,
    Form,
    Record,
    array,
    blob,
    integer,
    of,
    optional,
    record,
)

__all__ = [
    "AGENDA",
    "BARRED",
    "CHAIN",
    "CONDUCT",
    "DEPARTED",
    "DEPARTURES",
    "DEPARTURES_MAX",
    "KIND",
    "NAMES",
    "OFFENCES",
    "ORGANISATIONS",
    "PARAMETERS",
    "PROPOSALS",
    "QUOTA_USE",
    "UPGRADE",
    "VALIDATORS",
    "VERSIONS",
    "Agenda",
    "AgendaItem",
    "Barred",
    "Chain",
    "Conduct",
    "Departed",
    "Departure",
    "Departures",
    "Kind",
    "Offence",
    "Owner",
    "Versions",
]

DEPARTURES_MAX: Final = 200  # by decision; evidence may add as many as there are validators


@dataclass(frozen=True, slots=True)
class Chain(Record):
    """Which chain this state belongs to."""

    chain_id: str = of(CHAIN_ID)
    genesis_hash: bytes = of(HASH)
    initial_height: int = of(UINT)


@dataclass(frozen=True, slots=True)
class Kind(Record):
    """The kind of chain where it is not a consortium: `private` or `public`."""

    name: str = of(NAME)


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


@dataclass(frozen=True, slots=True)
class AgendaItem(Record):
    """An open proposal: its number, who proposed it, and when it expires."""

    number: int = of(UINT)
    organisation: bytes = of(ADDRESS)
    expires: int = of(UINT)


@dataclass(frozen=True, slots=True)
class Agenda(Record):
    """The number of the next proposal, and those that are open, in order of number."""

    next: int = of(UINT)
    open: tuple[AgendaItem, ...] = of(array(record(AgendaItem), PROPOSALS_MAX))


@dataclass(frozen=True, slots=True)
class Barred(Record):
    """A node that the governors have suspended or expelled: its organisation cannot wake it."""

    since: int = of(UINT)


@dataclass(frozen=True, slots=True)
class Departed(Record):
    """A validator's key that left the set, kept for as long as evidence of it may arrive."""

    public: bytes = of(blob(32, 32))
    organisation: bytes = of(ADDRESS)
    successor: bytes | None = of(optional(blob(32, 32)))  # the key that took its place


@dataclass(frozen=True, slots=True)
class Departure(Record):
    """When a validator's key left: block and ledger time."""

    validator: bytes = of(ADDRESS)
    height: int = of(UINT)
    time: int = of(UINT)


@dataclass(frozen=True, slots=True)
class Departures(Record):
    """Keys that left, in the order in which they did."""

    left: tuple[Departure, ...] = of(array(record(Departure), DEPARTURES_MAX + VALIDATORS_MAX))


@dataclass(frozen=True, slots=True)
class Offence(Record):
    """What a validator's key was convicted of. The key never validates again."""

    public: bytes = of(blob(32, 32))
    organisation: bytes = of(ADDRESS)
    kind: int = of(UINT)  # the engine's: 1 double vote, 2 attack on light clients
    height: int = of(UINT)  # where it was done
    judged_at: int = of(UINT)  # height of the block that carried the evidence


@dataclass(frozen=True, slots=True)
class Conduct(Record):
    """Power suspended by evidence since governors last decided on validators, and keys whose suspension waits for them."""

    suspended_power: int = of(UINT)
    deferred: tuple[bytes, ...] = of(array(blob(32, 32), VALIDATORS_MAX))


CHAIN: Final = Table("governance/chain", Chain)
KIND: Final = Table("governance/kind", Kind)
PARAMETERS: Final = Table("governance/parameters", Parameters)
VERSIONS: Final = Table("governance/versions", Versions)
UPGRADE: Final = Table("governance/upgrade", Upgrade)
ORGANISATIONS: Final = Table("governance/organisation/", Organisation)  # own key: address
NAMES: Final = Table("governance/name/", Owner)  # own key: name
VALIDATORS: Final = Table("governance/validator/", Validator)  # own key: public key
QUOTA_USE: Final = Table("governance/quota/", QuotaUse)  # own key: organisation's address
AGENDA: Final = Table("governance/agenda", Agenda)
PROPOSALS: Final = Table("governance/proposal/", Proposal)  # own key: number, 8 bytes big-endian
BARRED: Final = Table("governance/barred/", Barred)  # own key: node's address
DEPARTED: Final = Table("governance/departed/", Departed)  # own key: the engine's address of the validator
DEPARTURES: Final = Table("governance/departures", Departures)
OFFENCES: Final = Table("governance/offence/", Offence)  # own key: the engine's address of the validator
CONDUCT: Final = Table("governance/conduct", Conduct)
