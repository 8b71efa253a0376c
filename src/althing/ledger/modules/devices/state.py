"""State of `devices`."""

from __future__ import annotations

from typing import Final

from althing.ledger.runtime.overlay import Table
from althing.protocol.messages.devices import Device

__all__ = ["DEVICES"]

DEVICES: Final = Table("devices/device/", Device)  # own key: name
