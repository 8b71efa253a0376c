"""MQTT 5, 3.1.1 and 3.1 server for devices: ingests `althing/v1/<device>/<stream>`, brokers the rest."""

from __future__ import annotations

from althing.gateway.ingest.mqtt.config import MqttConfig
from althing.gateway.ingest.mqtt.errors import ListenerError, MqttPacketError, SessionStoreError
from althing.gateway.ingest.mqtt.metrics import MqttMetrics
from althing.gateway.ingest.mqtt.ports import (
    AccessRules,
    Authenticator,
    Credentials,
    Denied,
    DeviceAccess,
    OpenAccess,
    OpenAuthenticator,
    RefusalLog,
    StaticTokens,
)
from althing.gateway.ingest.mqtt.reasons import Reason
from althing.gateway.ingest.mqtt.server import MqttServer
from althing.gateway.ingest.mqtt.store import MemorySessionStore, SessionStore
from althing.gateway.ingest.mqtt.store_lmdb import LmdbSessionStore

__all__ = [
    "AccessRules",
    "Authenticator",
    "Credentials",
    "Denied",
    "DeviceAccess",
    "ListenerError",
    "LmdbSessionStore",
    "MemorySessionStore",
    "MqttConfig",
    "MqttMetrics",
    "MqttPacketError",
    "MqttServer",
    "OpenAccess",
    "OpenAuthenticator",
    "Reason",
    "RefusalLog",
    "SessionStore",
    "SessionStoreError",
    "StaticTokens",
]
