"""What `identity` asks of others."""

from __future__ import annotations

from typing import Protocol

from althing.ledger.runtime.context import Context
from althing.ledger.runtime.overlay import State

__all__ = ["Organisations"]


class Organisations(Protocol):
    """Standing of organisations (`governance`)."""

    def active(self, state: State, organisation: bytes) -> bool:
        """True for a member that is not suspended."""
        ...

    def require_operable(self, ctx: Context) -> None:
        """Refuse a change after which nobody could decide, or nobody could bundle a decision."""
        ...

    def barred(self, ctx: Context, node: bytes) -> bool:
        """True for a node that the governors have suspended."""
        ...
