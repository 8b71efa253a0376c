"""What a gateway tells about itself: status, readiness, recent refusals, Prometheus metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from althing.gateway.anchoring import Anchoring
from althing.gateway.guard.checker import SignatureChecker
from althing.gateway.held import HeldMessages
from althing.gateway.ingest.mqtt.metrics import MqttMetrics
from althing.gateway.intake import Pipeline
from althing.gateway.registry import Registry
from althing.gateway.spool.spool import Spool
from althing.protocol.address import format_address

__all__ = ["GatewayReports"]

_GAUGES: Final = ("connections", "sessions", "subscriptions", "retained", "queued")  # of MqttMetrics


class GatewayReports(Collector):
    """Reads the parts when asked; implements the HTTP listener's `Reports`."""

    def __init__(
        self,
        registry: Registry,
        spool: Spool,
        pipeline: Pipeline,
        checker: SignatureChecker,
        anchoring: Anchoring,
        held: HeldMessages,
        alarm_s: float,
    ) -> None:
        self._registry = registry
        self._spool = spool
        self._pipeline = pipeline
        self._checker = checker
        self._anchoring = anchoring
        self._held = held
        self._alarm_s = alarm_s
        self.mqtt: MqttMetrics | None = None
        self.lies: Callable[[], int] = lambda: 0
        self.failed: Callable[[], bool] = lambda: False  # a task of the gateway has ended
        self._collectors = CollectorRegistry(auto_describe=False)
        self._collectors.register(self)

    def status(self) -> dict[str, Any]:
        registry, spool, anchoring = self._registry, self._spool, self._anchoring
        pending = spool.pending
        frozen = spool.state.frozen
        return {
            "chain_id": registry.chain_id,
            "gateway": format_address(registry.gateway),
            "ready": not self.not_ready(),
            "reasons": self.not_ready(),
            "ledger": {"connected": registry.connected, "height": registry.height, "age_s": registry.age_s},
            "devices": len(registry.devices),
            "streams": len(registry.streams),
            "accepted": spool.accepted_total,
            "duplicates": self._pipeline.duplicates_total,
            "refused": spool.refused_total,
            "busy": self._pipeline.busy_total,
            "pending": {
                "messages": pending.messages,
                "bytes": pending.bytes,
                "oldest_s": max(0, (time.time_ns() - pending.oldest_ns) // 10**9) if pending.oldest_ns else 0,
            },
            "batch": None
            if frozen is None
            else {"number": frozen.number, "root": frozen.root.hex(), "messages": frozen.size},
            "batches": anchoring.batches_total,
            "anchored": anchoring.anchored_total,
            "last_batch": {"root": anchoring.last_root.hex(), "height": anchoring.last_height},
            "held": [
                {"stream": held.path, "code": held.code, "operator": held.operator} for held in self._held.streams
            ],
            "held_messages": self._held.count,
            "alarm": anchoring.alarm,
        }

    def not_ready(self) -> list[str]:
        reasons = ["gateway.failed"] if self.failed() else []
        if not self._registry.usable:
            reasons.append("registry.too_old" if self._registry.age_s >= 0 else "registry.empty")
        if self._spool.failure:
            reasons.append(self._spool.failure)
        elif not self._spool.room:
            reasons.append("spool.full")
        if self._anchoring.alarm:
            reasons.append(self._anchoring.alarm.partition(":")[0])
        elif self._anchoring.stuck_s > self._alarm_s:
            reasons.append("anchor.slow")
        if self._held.count:
            reasons.append("anchor.held")
        return reasons

    def refusals(self, limit: int) -> list[dict[str, Any]]:
        newest = list(self._spool.refusals)[-limit:]
        return [
            {
                "time": datetime.fromtimestamp(one.arrival_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
                + f".{one.arrival_ns % 10**9:09d}Z",
                "device": one.device,
                "stream": one.stream,
                "transport": one.transport,
                "code": one.code,
                "reason": one.reason,
                "hash": one.body_hash.hex(),
                "bytes": one.body_bytes,
            }
            for one in reversed(newest)
        ]

    def metrics(self) -> bytes:
        return generate_latest(self._collectors)

    def declared_type(self, device: str, stream: str) -> str:
        return self._pipeline.declared_type(device, stream)

    def collect(self) -> Iterator[Metric]:
        spool, anchoring, registry = self._spool, self._anchoring, self._registry
        pending = spool.pending
        counters = {
            "accepted": ("Messages made durable", spool.accepted_total),
            "refused": ("Messages refused", spool.refused_total),
            "busy": ("Messages answered Busy", self._pipeline.busy_total),
            "duplicates": ("Messages accepted before", self._pipeline.duplicates_total),
            "spool_groups": ("Group commits of the spool", spool.groups_total),
            "batches": ("Batches anchored and proved", anchoring.batches_total),
            "anchored": ("Messages anchored and proved", anchoring.anchored_total),
            "lies": ("Answers of nodes that proved false", self.lies()),
            "anchor_submissions": ("Anchor transactions submitted", anchoring.submissions_total),
        }
        gauges = {
            "pending_messages": ("Messages in the spool that are not anchored", pending.messages),
            "pending_bytes": ("Bytes in the spool that are not anchored", pending.bytes),
            "pending_age_seconds": (
                "Age of the oldest message that is not anchored",
                max(0.0, time.time() - pending.oldest_ns / 1e9) if pending.oldest_ns else 0.0,
            ),
            "batch_age_seconds": ("For how long the batch under way has been so", anchoring.stuck_s),
            "unverified_messages": ("Messages that wait for a signature check", self._checker.waiting),
            "held_messages": ("Accepted messages that cannot be anchored", self._held.count),
            "ledger_connected": ("1 while the event stream of a node is open", int(registry.connected)),
            "ledger_height": ("Height the registry has seen", registry.height),
            "registry_age_seconds": ("Since the registry was last known to be current", registry.age_s),
            "ready": ("1 while messages are taken", int(not self.not_ready())),
        }
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(f"althing_gateway_{name}", text, value=value)
        for name, (text, number) in gauges.items():
            yield GaugeMetricFamily(f"althing_gateway_{name}", text, value=number)
        if self.mqtt is not None:
            for own in fields(self.mqtt):
                name, value = own.name, getattr(self.mqtt, own.name)
                family = GaugeMetricFamily if name in _GAUGES else CounterMetricFamily
                yield family(f"althing_mqtt_{name.removesuffix('_total')}", f"MQTT server: {name}", value=value)
