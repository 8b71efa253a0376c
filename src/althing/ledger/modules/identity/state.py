"""State of `identity`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.ledger.runtime.overlay import Table
from althing.protocol.messages.identity import Account
from althing.protocol.record import Record, of, text

__all__ = ["ACCOUNTS", "ATTRIBUTES", "Attribute"]


@dataclass(frozen=True, slots=True)
class Attribute(Record):
    """A register of an account."""

    value: str = of(text(1, 1024))


ACCOUNTS: Final = Table("identity/account/", Account)  # own key: address
ATTRIBUTES: Final = Table("identity/attribute/", Attribute)  # own key: address ‖ name
