"""The one place where modules meet: which there are, in which order, and who serves whose needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.ledger.modules.devices.module import DevicesModule
from althing.ledger.modules.governance.module import GovernanceModule
from althing.ledger.modules.identity.module import IdentityModule
from althing.ledger.modules.streams.module import StreamsModule
from althing.ledger.runtime.fees import Fees
from althing.ledger.runtime.module import Handler, Module

__all__ = ["APP_VERSION", "Modules", "assemble"]

APP_VERSION: Final = 1
"""The newest rules this program knows. Governance schedules the height from which blocks follow them."""


@dataclass(frozen=True, slots=True)
class Modules:
    """The modules of this program, all handlers by message type, and the newest rules they know."""

    app_version: int
    governance: GovernanceModule
    identity: IdentityModule
    devices: DevicesModule
    streams: StreamsModule
    ordered: tuple[Module, ...]
    handlers: dict[type, Handler]
    fees: Fees | None = None


def assemble() -> Modules:
    """Wire the modules."""
    governance = GovernanceModule()
    identity = IdentityModule(organisations=governance)
    governance.accounts = identity
    devices = DevicesModule(accounts=identity)
    streams = StreamsModule(accounts=identity, devices=devices)
    ordered: tuple[Module, ...] = (governance, identity, devices, streams)
    handlers = {kind: handler for module in ordered for kind, handler in module.handlers.items()}
    return Modules(APP_VERSION, governance, identity, devices, streams, ordered, handlers)
