"""Messages and records of `identity`: accounts, their keys, rotation and suspension."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final

from althing.protocol.address import address_of_key, address_under
from althing.protocol.limits import ACCOUNT_KEYS_MAX
from althing.protocol.record import (
    ADDRESS,
    BOOL,
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
from althing.protocol.signatures import Suite, check_public_key

__all__ = [
    "KEY",
    "MESSAGES",
    "STATUS",
    "Account",
    "AccountKind",
    "AccountStatus",
    "CreateAccount",
    "Key",
    "KeyEntry",
    "Role",
    "RotateKeys",
    "SetAccountStatus",
    "SetAttribute",
]


class AccountKind(IntEnum):
    """What an account stands for."""

    ORGANISATION = 0
    PERSON = 1
    SERVICE = 2
    GATEWAY = 3
    NODE = 4
    DEVICE = 5
    READER = 6


class AccountStatus(IntEnum):
    ACTIVE = 0
    SUSPENDED = 1
    CLOSED = 2


class Role(IntEnum):
    """What an account may do in its organisation's name; the organisation's own account may do all of it."""

    ADMIN = 0  # accounts, keys and everything below
    DEVICES = 1  # devices and streams


def _suite(value: object) -> Suite:
    if type(value) is not int or value not in (Suite.ED25519, Suite.ES256):
        raise ValueError("not a suite known here (-8 EdDSA, -7 ES256)")
    return Suite(value)


SUITE: Final = Form(int, _suite)
PUBLIC_KEY: Final = blob(32, 33)
ROLE: Final = Form(int, lambda item: Role(integer(0, 1).unpack(item)))
KIND: Final = Form(int, lambda item: AccountKind(integer(0, 6).unpack(item)))
STATUS: Final = Form(int, lambda item: AccountStatus(integer(0, 2).unpack(item)))


@dataclass(frozen=True, slots=True)
class Key(Record):
    """A public key of a suite: 32 bytes (Ed25519) or 33 bytes (P-256, compressed)."""

    suite: Suite = of(SUITE)
    public: bytes = of(PUBLIC_KEY)

    def check(self) -> None:
        """Refuse weak or malformed keys (CoseError `key.*`)."""
        check_public_key(self.suite, self.public)

    @property
    def address(self) -> bytes:
        """Of an account that this key signs into being."""
        return address_of_key(self.suite, self.public)

    def address_under(self, owner: bytes) -> bytes:
        """Of an account that `owner` creates without this key's signature."""
        return address_under(owner, self.suite, self.public)


KEY: Final = record(Key)
KEYS: Final = array(KEY, ACCOUNT_KEYS_MAX)


@dataclass(frozen=True, slots=True)
class KeyEntry(Record):
    """A key in an account's record. Valid in ledger time [valid_from, valid_to); `revoked_at` marks a compromised key."""

    key: Key = of(KEY)
    valid_from: int = of(UINT)
    valid_to: int | None = of(optional(UINT))
    revoked_at: int | None = of(optional(UINT))

    def active_at(self, time_s: int) -> bool:
        if self.revoked_at is not None and time_s >= self.revoked_at:
            return False
        return self.valid_from <= time_s and (self.valid_to is None or time_s < self.valid_to)


@dataclass(frozen=True, slots=True)
class Account(Record):
    """State of an account. `threshold` active keys must sign (m of n); 0 for an account that cannot sign."""

    version: int = of(integer(1, 1))
    kind: AccountKind = of(KIND)
    organisation: bytes = of(ADDRESS)  # its own address for an organisation
    name: str = of(NAME)
    status: AccountStatus = of(STATUS)
    threshold: int = of(integer(0, ACCOUNT_KEYS_MAX))
    roles: tuple[Role, ...] = of(array(ROLE, 8))
    keys: tuple[KeyEntry, ...] = of(array(record(KeyEntry), ACCOUNT_KEYS_MAX))


@dataclass(frozen=True, slots=True)
class CreateAccount(Record):
    """An organisation's administrator creates an account in it.

    Its address is that of its first key when that address co-signs; else it is derived from the organisation too.
    """

    TYPE: ClassVar[str] = "identity.create_account"
    organisation: bytes = of(ADDRESS)
    kind: AccountKind = of(KIND)
    name: str = of(NAME)
    roles: tuple[Role, ...] = of(array(ROLE, 8))
    threshold: int = of(integer(1, ACCOUNT_KEYS_MAX))
    keys: tuple[Key, ...] = of(array(KEY, ACCOUNT_KEYS_MAX, 1))


@dataclass(frozen=True, slots=True)
class RotateKeys(Record):
    """Add keys and end others; signed by the account itself or its administrator. `end` are key ids, ended at once."""

    TYPE: ClassVar[str] = "identity.rotate_keys"
    account: bytes = of(ADDRESS)
    add: tuple[Key, ...] = of(array(KEY, ACCOUNT_KEYS_MAX))
    valid_from: int | None = of(optional(UINT))  # ledger seconds; None is now
    end: tuple[bytes, ...] = of(array(blob(8, 8), ACCOUNT_KEYS_MAX))
    compromised: bool = of(BOOL)  # True: proofs no longer accept what is anchored from now on under the ended keys
    threshold: int | None = of(optional(integer(1, ACCOUNT_KEYS_MAX)))


@dataclass(frozen=True, slots=True)
class SetAccountStatus(Record):
    """Suspend, reactivate or close an account; signed by its organisation's administrator, closing by itself too."""

    TYPE: ClassVar[str] = "identity.set_status"
    account: bytes = of(ADDRESS)
    status: AccountStatus = of(STATUS)


@dataclass(frozen=True, slots=True)
class SetAttribute(Record):
    """An account's own register `name` gets `value` (None removes it). Registers appear as services in its DID document."""

    TYPE: ClassVar[str] = "identity.set_attribute"
    account: bytes = of(ADDRESS)
    name: str = of(NAME)
    value: str | None = of(optional(text(1, 1024)))


MESSAGES: Final = (CreateAccount, RotateKeys, SetAccountStatus, SetAttribute)
