"""What `streams` asks of others."""

from __future__ import annotations

from typing import Protocol

from althing.ledger.runtime.context import Context
from althing.ledger.runtime.overlay import State
from althing.protocol.messages.devices import Device
from althing.protocol.messages.identity import Account, Role

__all__ = ["Accounts", "Devices"]


class Accounts(Protocol):
    """Accounts and authority (`identity`)."""

    def account(self, state: State, address: bytes) -> Account | None: ...

    def authorised(self, ctx: Context, organisation: bytes, role: Role) -> bool: ...

    def require(self, ctx: Context, organisation: bytes, role: Role) -> None: ...


class Devices(Protocol):
    """The register of devices (`devices`)."""

    def device(self, state: State, name: str) -> Device | None: ...
