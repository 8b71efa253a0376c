"""State of `identity`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.ledger.runtime.overlay import Table
from althing.protocol.messages.identity import Account, Key
from althing.protocol.record import UINT, Record, of, record, text

__all__ = ["ACCOUNTS", "ATTRIBUTES", "ATTRIBUTE_COUNTS", "NODES", "REVOKED", "Attribute", "Count", "Revocation"]


@dataclass(frozen=True, slots=True)
class Attribute(Record):
    """A register of an account."""

    value: str = of(text(1, 1024))


@dataclass(frozen=True, slots=True)
class Count(Record):
    """How many there are, where a limit or a last one matters."""

    value: int = of(UINT)


@dataclass(frozen=True, slots=True)
class Revocation(Record):
    """A compromised key that has left its account's record: it is never taken into it again."""

    key: Key = of(record(Key))
    revoked_at: int = of(UINT)


ACCOUNTS: Final = Table("identity/account/", Account)  # own key: address
ATTRIBUTES: Final = Table("identity/attribute/", Attribute)  # own key: address ‖ name
ATTRIBUTE_COUNTS: Final = Table("identity/attributes/", Count)  # own key: address
NODES: Final = Table("identity/nodes/", Count)  # own key: organisation's address
REVOKED: Final = Table("identity/revoked/", Revocation)  # own key: address ‖ key id
