"""What `identity` asks of others."""

from __future__ import annotations

from typing import Protocol

from althing.ledger.runtime.overlay import State

__all__ = ["Organisations"]


class Organisations(Protocol):
    """Standing of organisations (`governance`)."""

    def active(self, state: State, organisation: bytes) -> bool:
        """True for a member that is not suspended."""
        ...
