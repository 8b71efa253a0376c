"""Settings of the MQTT server; every bound stands here with its reason."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

__all__ = ["MqttConfig"]


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """Settings of one MQTT listener. Times in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = 1883  # 0: any free port
    tls: ssl.SSLContext | None = None

    status_stream: str = "status"  # the stream on which a device's will is recorded
    response_information: str = "response/{client_id}"  # answer to Request Response Information; "" gives none
    sys_interval_s: int = 10  # how often $SYS topics are refreshed; 0: never

    connections_max: int = 20_000  # sockets; the operating system's limit must be above
    sessions_max: int = 100_000  # connected and waiting ones together
    connect_timeout_s: int = 10  # from accept to a complete CONNECT: a half-open socket costs nothing for longer
    write_stall_s: int = 30  # a peer that reads nothing for so long is closed
    backlog: int = 1024

    packet_bytes_max: int = 1_048_576  # what one client may make us hold
    client_id_bytes_max: int = 256
    topic_bytes_max: int = 4_096
    topic_levels_max: int = 64  # bounds the walk through the tree of subscriptions
    subscriptions_max: int = 1_000  # of one session
    topic_alias_max: int = 64  # of one connection, each direction
    receive_maximum: int = 256  # QoS 1 and 2 in flight from one MQTT 5 client
    legacy_receive_maximum: int = 1_024  # the same for older clients, which cannot be told: reading pauses there
    undecided_bytes_max: int = 4 * 1_048_576  # of one client's payloads before the intake: reading pauses beyond
    inflight_max: int = 64  # QoS 1 and 2 in flight to one client, unless it asks for fewer

    keep_alive_s_max: int = 3_600  # told to MQTT 5 clients as Server Keep Alive
    session_expiry_s_max: int = 30 * 86_400  # of MQTT 5 sessions; told in CONNACK
    legacy_session_expiry_s: int = 30 * 86_400  # of clean-session-0 sessions, which never say
    restart_will_grace_s: int = 30  # after a restart, so long may a client take to come back before its will is sent

    queue_messages_max: int = 10_000  # waiting for one session; the newest is dropped beyond
    queue_bytes_max: int = 16 * 1_048_576  # the same in payload bytes
    retained_messages_max: int = 100_000
    retained_bytes_max: int = 256 * 1_048_576
    write_buffer_bytes_max: int = 262_144  # unsent to one client; QoS 0 is dropped and the queue waits beyond

    def __post_init__(self) -> None:
        assert 0 < self.queue_messages_max <= 50_000, "packet identifiers bound the queue"
        assert 0 < self.receive_maximum <= 65_535
        assert 0 < self.inflight_max <= 65_535
        assert self.packet_bytes_max >= 1_024
