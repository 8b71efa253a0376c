"""Whether a CONNECT is admitted, and on which terms (MQTT 5 §3.1.4, §3.2.2.3)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from althing.gateway.ingest.mqtt.broker import owner_of
from althing.gateway.ingest.mqtt.config import MqttConfig
from althing.gateway.ingest.mqtt.hub import Hub
from althing.gateway.ingest.mqtt.inbox import target_of
from althing.gateway.ingest.mqtt.packets import V5, V31, Connect
from althing.gateway.ingest.mqtt.ports import Denied
from althing.gateway.ingest.mqtt.properties import Prop
from althing.gateway.ingest.mqtt.reasons import Reason
from althing.gateway.ingest.port import Principal

__all__ = ["Admission", "admit", "check_connect"]


@dataclass(frozen=True, slots=True)
class Admission:
    """The terms of a connection, and the CONNACK properties that state them."""

    client_id: str
    expiry_s: int
    keep_alive_s: int
    properties: list[tuple[int, int | str | bytes]]


def check_connect(connect: Connect, config: MqttConfig) -> Reason | None:
    """What needs no knowledge of the client: why the CONNECT is refused, or None."""
    if connect.auth_method is not None:
        return Reason.BAD_AUTHENTICATION_METHOD  # no enhanced authentication here (§4.12)
    if len(connect.client_id.encode()) > config.client_id_bytes_max:
        return Reason.CLIENT_IDENTIFIER_NOT_VALID
    if not connect.client_id and (connect.level == V31 or (connect.level != V5 and not connect.clean_start)):
        return Reason.CLIENT_IDENTIFIER_NOT_VALID  # [MQTT 3.1.1: 3.1.3-8]
    will = connect.will
    if will is not None and (
        not will.topic
        or "+" in will.topic
        or "#" in will.topic
        or will.topic.count("/") >= config.topic_levels_max
        or len(will.topic.encode()) > config.topic_bytes_max
    ):
        return Reason.TOPIC_NAME_INVALID
    return None


def admit(connect: Connect, principal: Principal, hub: Hub) -> Admission | Denied:
    """1. the session is its own; 2. the will is allowed; 3. there is room; 4. terms."""
    config = hub.config
    # 1.
    known = hub.broker.find(connect.client_id) if connect.client_id else None
    if known is not None and known.owner != owner_of(principal):
        return Denied(Reason.NOT_AUTHORISED, "this client identifier belongs to another device")
    # 2.
    will = connect.will
    if will is not None:
        target = target_of(will.topic)
        if target.refusal is not None:
            return Denied(Reason.TOPIC_NAME_INVALID, target.refusal.reason)
        if (target.device and target.device != principal.device) or not hub.access.may_publish(principal, will.topic):
            return Denied(Reason.NOT_AUTHORISED, "not allowed to publish to the will's topic")
    # 3.
    if known is None and not hub.broker.has_room:
        return Denied(Reason.QUOTA_EXCEEDED, "too many sessions")
    # 4.
    client_id = connect.client_id or f"althing-{secrets.token_hex(12)}"
    if connect.level != V5:
        expiry_s = 0 if connect.clean_start else config.legacy_session_expiry_s
        return Admission(client_id, expiry_s, connect.keep_alive_s, [])
    expiry_s = min(connect.expiry_s or 0, config.session_expiry_s_max)
    keep_alive_s = connect.keep_alive_s
    properties: list[tuple[int, int | str | bytes]] = []
    if expiry_s != (connect.expiry_s or 0):
        properties.append((Prop.SESSION_EXPIRY, expiry_s))
    properties.append((Prop.RECEIVE_MAXIMUM, config.receive_maximum))
    properties.append((Prop.MAXIMUM_PACKET_SIZE, config.packet_bytes_max))
    if client_id != connect.client_id:
        properties.append((Prop.ASSIGNED_CLIENT_ID, client_id))
    if config.topic_alias_max:
        properties.append((Prop.TOPIC_ALIAS_MAXIMUM, config.topic_alias_max))
    if not 0 < keep_alive_s <= config.keep_alive_s_max:
        keep_alive_s = config.keep_alive_s_max
        properties.append((Prop.SERVER_KEEP_ALIVE, keep_alive_s))
    if connect.response_information and config.response_information:
        properties.append((Prop.RESPONSE_INFO, config.response_information.replace("{client_id}", client_id)))
    return Admission(client_id, expiry_s, keep_alive_s, properties)
