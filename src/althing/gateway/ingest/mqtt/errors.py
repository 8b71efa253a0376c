"""What can be wrong with a packet or a listener, each with its MQTT 5 reason code.

MqttPacketError     mqtt.*       bytes from a client break the standard or a limit; `reason` closes the connection
ListenerError       listener.*   the listener's settings are not acceptable
SessionStoreError   mqtt_store.* the session store cannot be opened or written
"""

from __future__ import annotations

from althing.gateway.ingest.mqtt.reasons import Reason
from althing.protocol.errors import AlthingError, ProtocolError, UnavailableError

__all__ = ["ListenerError", "MqttPacketError", "SessionStoreError"]


class MqttPacketError(ProtocolError):
    """A packet is malformed, breaks the protocol, or exceeds a limit (MQTT 5 §4.13)."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"mqtt.{reason.name.lower()}", message)
        self.reason = reason


class ListenerError(AlthingError):
    """A listener refuses to start with these settings."""


class SessionStoreError(UnavailableError):
    """The session store is locked, foreign, full or broken; nothing was recorded."""
