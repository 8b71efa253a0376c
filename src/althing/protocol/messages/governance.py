"""Messages and records of `governance`: organisations, roles, validators, parameters, quotas and upgrades."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

from althing.protocol.codec import Item
from althing.protocol.errors import EncodingError
from althing.protocol.limits import ACCOUNT_KEYS_MAX, TX_BYTES_MAX
from althing.protocol.messages.identity import KEY, STATUS, AccountStatus, Key
from althing.protocol.messages.staking import PublicChain
from althing.protocol.record import (
    ADDRESS,
    BOOL,
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
    text,
)

__all__ = [
    "GAS_PRICE_MAX",
    "MESSAGES",
    "ORGANISATIONS_MAX",
    "VALIDATORS_MAX",
    "AdmitNode",
    "AdmitOrganisation",
    "AdmitReader",
    "ChainKind",
    "ExpelOrganisation",
    "Genesis",
    "GenesisNode",
    "GenesisOrganisation",
    "GenesisReader",
    "GenesisValidator",
    "Organisation",
    "Parameters",
    "PrivateChain",
    "Quota",
    "QuotaUse",
    "RotateValidator",
    "ScheduleUpgrade",
    "SetNode",
    "SetOrganisation",
    "SetParameters",
    "SetReader",
    "SetValidator",
    "Upgrade",
    "Validator",
]

ORGANISATIONS_MAX: Final = 1000
VALIDATORS_MAX: Final = 100
READERS_MAX: Final = 1000
GAS_PRICE_MAX: Final = (
    2**31
)  # with the least gas of any transaction the fee stays far below 63 bits: no price locks all out


@dataclass(frozen=True, slots=True)
class Quota(Record):
    """What an organisation's transactions may use in each window of `Parameters.quota_window_s`."""

    bytes: int = of(UINT)
    gas: int = of(UINT)


@dataclass(frozen=True, slots=True)
class QuotaUse(Record):
    """What an organisation has used in the window that began at `window` × quota_window_s."""

    window: int = of(UINT)
    bytes: int = of(UINT)
    gas: int = of(UINT)


@dataclass(frozen=True, slots=True)
class Organisation(Record):
    """A member. `governor` organisations decide together on governance (Parameters.governors_threshold of them)."""

    version: int = of(integer(1, 1))
    address: bytes = of(ADDRESS)
    name: str = of(NAME)
    governor: bool = of(BOOL)
    suspended: bool = of(BOOL)
    quota: Quota = of(record(Quota))


@dataclass(frozen=True, slots=True)
class Validator(Record):
    """A block signer: Ed25519 public key, power, and the organisation that runs it."""

    public: bytes = of(blob(32, 32))
    power: int = of(integer(0, 2**40))
    organisation: bytes = of(ADDRESS)


@dataclass(frozen=True, slots=True)
class Parameters(Record):
    """Rules that governance may change. Times in seconds of ledger time, sizes in bytes."""

    version: int = of(integer(1, 1))
    governors_threshold: int = of(integer(1, ORGANISATIONS_MAX))
    tx_lifetime_max_s: int = of(integer(10, 86_400))
    quota_window_s: int = of(integer(1, 86_400))
    gas_price_min: int = of(integer(0, GAS_PRICE_MAX))
    block_gas_max: int = of(integer(1_000_000, 2**50))
    tx_bytes_max: int = of(integer(1024, TX_BYTES_MAX))


@dataclass(frozen=True, slots=True)
class Upgrade(Record):
    """From `height` on, blocks follow the rules of `app_version`."""

    height: int = of(integer(1, 2**62))
    app_version: int = of(integer(1, 2**31))
    info: str = of(text(0, 256))


@dataclass(frozen=True, slots=True)
class GenesisOrganisation(Record):
    """A member, its keys and its quota. At genesis its address is that of its first key."""

    name: str = of(NAME)
    governor: bool = of(BOOL)
    threshold: int = of(integer(1, ACCOUNT_KEYS_MAX))
    keys: tuple[Key, ...] = of(array(KEY, ACCOUNT_KEYS_MAX, 1))
    quota: Quota = of(record(Quota))

    @property
    def address(self) -> bytes:
        return self.keys[0].address


@dataclass(frozen=True, slots=True)
class GenesisValidator(Record):
    """A founding validator, named with its organisation."""

    public: bytes = of(blob(32, 32))
    power: int = of(integer(1, 2**40))
    organisation: str = of(NAME)


@dataclass(frozen=True, slots=True)
class GenesisNode(Record):
    """A founding node account: without one nobody could bundle the first transaction."""

    name: str = of(NAME)
    organisation: str = of(NAME)
    key: Key = of(KEY)


@dataclass(frozen=True, slots=True)
class GenesisReader(Record):
    """Who may read a private chain from its beginning."""

    name: str = of(NAME)
    key: Key = of(KEY)


@dataclass(frozen=True, slots=True)
class PrivateChain(Record):
    """A chain that one organisation writes and those listed read."""

    readers: tuple[GenesisReader, ...] = of(array(record(GenesisReader), READERS_MAX))


ChainKind = PublicChain | PrivateChain
_KINDS: Final[dict[str, type[ChainKind]]] = {"public": PublicChain, "private": PrivateChain}


def _pack_kind(kind: Any) -> Item:
    for name, cls in _KINDS.items():
        if type(kind) is cls:
            return [name, kind.to_item()]
    raise ValueError("not a kind of chain")


def _unpack_kind(item: Item) -> ChainKind:
    match item:
        case [str() as name, list() as fields] if name in _KINDS:
            return _KINDS[name].from_item(fields)
    raise ValueError("not [kind, fields]")


@dataclass(frozen=True, slots=True)
class Genesis(Record):
    """What a chain begins with. Its hash names the chain for ever (docs/spec/genesis.md).

    Version 1, of a consortium, ends with the nodes; version 2 names the kind of chain after them.
    """

    version: int = of(integer(1, 2))
    chain_id: str = of(CHAIN_ID)
    time: int = of(UINT)  # seconds
    initial_height: int = of(integer(1, 2**62))
    app_version: int = of(integer(1, 2**31))
    salt: bytes = of(blob(16, 16))  # two chains founded by equal members in the same second differ
    parameters: Parameters = of(record(Parameters))
    organisations: tuple[GenesisOrganisation, ...] = of(array(record(GenesisOrganisation), ORGANISATIONS_MAX, 1))
    validators: tuple[GenesisValidator, ...] = of(array(record(GenesisValidator), VALIDATORS_MAX, 1))
    nodes: tuple[GenesisNode, ...] = of(array(record(GenesisNode), ORGANISATIONS_MAX, 1))
    kind: ChainKind | None = field(default=None, metadata={"form": optional(Form(_pack_kind, _unpack_kind))})

    def to_item(self) -> Item:
        item = Record.to_item(self)
        assert isinstance(item, list)
        if (self.version == 1) != (self.kind is None):
            raise EncodingError("record.field", "Genesis.kind: version 2 names it, version 1 does not")
        return item if self.version == 2 else item[:-1]

    @classmethod
    def from_item(cls, item: Item) -> Self:
        if type(item) is not list or len(item) != (11 if item[:1] == [2] else 10):
            code = "record.field" if type(item) is list and item[:1] == [2] and len(item) == 10 else "record.form"
            raise EncodingError(code, "Genesis is an array of 10; of version 2, of 11")
        found = super(Genesis, cls).from_item(item if len(item) == 11 else [*item, None])
        if (found.version == 1) != (found.kind is None):
            raise EncodingError("record.field", "Genesis.kind: version 2 names it, version 1 does not")
        return found


@dataclass(frozen=True, slots=True)
class AdmitOrganisation(Record):
    """Governors admit a member. Name and address must be new; `SetOrganisation` changes a member's standing."""

    TYPE: ClassVar[str] = "governance.admit_organisation"
    organisation: GenesisOrganisation = of(record(GenesisOrganisation))


@dataclass(frozen=True, slots=True)
class SetOrganisation(Record):
    """Governors change a member's standing: governor mark, suspension, quota. None leaves a field."""

    TYPE: ClassVar[str] = "governance.set_organisation"
    organisation: bytes = of(ADDRESS)
    governor: bool | None = of(optional(BOOL))
    suspended: bool | None = of(optional(BOOL))
    quota: Quota | None = of(optional(record(Quota)))


@dataclass(frozen=True, slots=True)
class SetParameters(Record):
    """Governors replace the parameters, naming the hash of those they replace, so two changes cannot cross."""

    TYPE: ClassVar[str] = "governance.set_parameters"
    replaces: bytes = of(HASH)
    parameters: Parameters = of(record(Parameters))


@dataclass(frozen=True, slots=True)
class SetValidator(Record):
    """Governors add a validator, change its power, or remove it (power 0)."""

    TYPE: ClassVar[str] = "governance.set_validator"
    validator: Validator = of(record(Validator))


@dataclass(frozen=True, slots=True)
class ScheduleUpgrade(Record):
    """Governors schedule an upgrade, or cancel the scheduled one (None)."""

    TYPE: ClassVar[str] = "governance.schedule_upgrade"
    upgrade: Upgrade | None = of(optional(record(Upgrade)))


@dataclass(frozen=True, slots=True)
class ExpelOrganisation(Record):
    """Governors end a membership for good, with its validators and open proposals. Name and account stay taken."""

    TYPE: ClassVar[str] = "governance.expel_organisation"
    organisation: bytes = of(ADDRESS)


@dataclass(frozen=True, slots=True)
class AdmitNode(Record):
    """Governors admit a node of a member's: an account of kind node, made without the member's own signature."""

    TYPE: ClassVar[str] = "governance.admit_node"
    organisation: bytes = of(ADDRESS)
    name: str = of(NAME)
    key: Key = of(KEY)


@dataclass(frozen=True, slots=True)
class SetNode(Record):
    """Governors suspend a node, readmit it, or expel it (closed). What they suspend its organisation cannot wake."""

    TYPE: ClassVar[str] = "governance.set_node"
    node: bytes = of(ADDRESS)
    status: AccountStatus = of(STATUS)


@dataclass(frozen=True, slots=True)
class RotateValidator(Record):
    """Governors replace a validator's key; power and organisation stay, and evidence of the old key finds the new one."""

    TYPE: ClassVar[str] = "governance.rotate_validator"
    public: bytes = of(blob(32, 32))
    successor: bytes = of(blob(32, 32))


@dataclass(frozen=True, slots=True)
class AdmitReader(Record):
    """Governors of a private chain list a reader: an account that signs in to read, and can send nothing."""

    TYPE: ClassVar[str] = "governance.admit_reader"
    reader: GenesisReader = of(record(GenesisReader))


@dataclass(frozen=True, slots=True)
class SetReader(Record):
    """Governors suspend a reader, list it again, or strike it off (closed)."""

    TYPE: ClassVar[str] = "governance.set_reader"
    reader: bytes = of(ADDRESS)
    status: AccountStatus = of(STATUS)


MESSAGES: Final = (
    AdmitOrganisation,
    SetOrganisation,
    SetParameters,
    SetValidator,
    ScheduleUpgrade,
    ExpelOrganisation,
    AdmitNode,
    SetNode,
    RotateValidator,
    AdmitReader,
    SetReader,
)
"""All of them are decisions: governors sign them together, or vote on a proposal that lists them."""
