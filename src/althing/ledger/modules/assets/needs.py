"""What `assets` asks of others."""

from __future__ import annotations

from typing import Protocol

from althing.ledger.runtime.context import Context
from althing.ledger.runtime.overlay import State
from althing.protocol.messages.identity import Account, Role

__all__ = ["Accounts"]


class Accounts(Protocol):
    """Accounts and who may act for an organisation (`identity`)."""

    def account(self, state: State, address: bytes) -> Account | None: ...

    def require(self, ctx: Context, organisation: bytes, role: Role) -> None:
        """Refuse with `auth.organisation` unless a signer may act for the organisation."""
        ...
