"""What `governance` asks of others."""

from __future__ import annotations

from typing import Protocol

from althing.ledger.runtime.context import Context
from althing.protocol.messages.identity import AccountKind, Key, Role

__all__ = ["Accounts"]


class Accounts(Protocol):
    """Making accounts (`identity`)."""

    def create(
        self,
        ctx: Context,
        *,
        address: bytes,
        kind: AccountKind,
        organisation: bytes,
        name: str,
        roles: tuple[Role, ...],
        threshold: int,
        keys: tuple[Key, ...],
    ) -> None: ...
