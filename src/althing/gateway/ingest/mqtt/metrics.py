"""Counters of the MQTT server, plain integers that a telemetry layer reads."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MqttMetrics"]


@dataclass(slots=True)
class MqttMetrics:
    """Totals since start, except the gauges named so."""

    connections: int = 0  # gauge: open sockets
    connections_total: int = 0
    connections_refused: int = 0  # CONNECT answered with an error, or over the limit
    sessions: int = 0  # gauge: connected or waiting
    subscriptions: int = 0  # gauge
    retained: int = 0  # gauge: messages
    queued: int = 0  # gauge: QoS 1 and 2 messages that wait for a client or its acknowledgement
    bytes_in: int = 0
    bytes_out: int = 0
    messages_in: int = 0  # PUBLISH packets received
    messages_out: int = 0  # PUBLISH packets sent
    ingested: int = 0  # accepted by the intake
    refused: int = 0  # refused by the intake or by the access rules
    busy_retries: int = 0  # messages the intake had no room for, tried again later
    dropped_qos0: int = 0  # from clients while overloaded, or to clients that do not read
    dropped_queue_full: int = 0
    dropped_expired: int = 0
    dropped_too_large: int = 0  # beyond a client's Maximum Packet Size
    wills: int = 0
    takeovers: int = 0
    protocol_errors: int = 0
    keep_alive_timeouts: int = 0
    write_stalls: int = 0
    store_commits: int = 0
    store_failures: int = 0
