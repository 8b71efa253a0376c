"""Prometheus metrics of a node, in a registry of its own. Counters grow as blocks commit; states are read when asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

import cbor2
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from althing.consensus.engine import Engine, Phase
from althing.node.application import CommittedContent
from althing.node.node import Node
from althing.node.signing import WINDOW_DEFAULT, attendance_of
from althing.protocol.address import format_address
from althing.protocol.block import validator_address
from althing.protocol.errors import AlthingError, UnavailableError

__all__ = ["CONTENT_TYPE", "NodeMetrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_CODES_MAX: Final = 200  # label values; further codes count as "other", so a hostile sender cannot fill memory
_CODE_AT: Final = 36  # behind the heads of array and version, and the id with its two-byte head
_EMPTY_TEXT: Final = 0x60
_CONDITIONS: Final = ("behind", "alone", "other-chain")
_WRITE_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_BLOCK_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0)
_REQUEST_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class NodeMetrics:
    """`watch` a node, then `exposition` at any time."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the text, and every sample has its start in the process's
        self.registry = CollectorRegistry(auto_describe=True)
        own = {"namespace": "althing_node", "registry": self.registry}
        self._transactions = Counter("transactions", "Executed transactions by receipt code", ["code"], **own)  # type: ignore[arg-type]
        self._bundles = Counter("bundles", "Executed bundles by result", ["result"], **own)  # type: ignore[arg-type]
        self._blocks = Counter("blocks", "Blocks with content committed since start", **own)  # type: ignore[arg-type]
        self._interval = Histogram("block_interval_seconds", "Time between blocks' times", buckets=_BLOCK_S, **own)  # type: ignore[arg-type]
        self._write = Histogram(
            "durable_write_seconds",
            "Writing a block's state durably",
            buckets=_WRITE_S,
            **own,  # type: ignore[arg-type]
        )
        self.requests = Histogram(
            "api_request_seconds",
            "Answering a request",
            ["route", "method", "status"],
            buckets=_REQUEST_S,
            **own,  # type: ignore[arg-type]
        )
        self._engine_answers = Gauge("engine_metrics_up", "1 while the engine tells its own metrics", **own)  # type: ignore[arg-type]
        ProcessCollector(namespace=own["namespace"], registry=self.registry)  # type: ignore[arg-type]
        self.event_clients = 0
        self._engine: Engine | None = None
        self._codes: set[str] = set()
        self._last_ns = 0
        self._lock = threading.Lock()

    def watch(self, node: Node) -> None:
        """Count the node's blocks from now on, and read its states at each exposition."""
        self._engine = node.engine
        node.watchers.append(self._committed)
        node.application.commit_took = self._write.observe
        self.registry.register(_States(node, self))

    def exposition(self) -> bytes:
        """The text exposition format of Prometheus: the application's metrics, then the engine's own."""
        try:
            engine, answers = b"" if self._engine is None else self._engine.metrics(), 1
        except UnavailableError:
            engine, answers = b"", 0
        self._engine_answers.set(answers)
        return generate_latest(self.registry) + engine

    def _committed(self, content: CommittedContent) -> None:
        with self._lock:
            if self._last_ns:
                self._interval.observe((content.time_ns - self._last_ns) / 1e9)
            self._last_ns = content.time_ns
        bundles = content.finalized.result.bundles
        if bundles:
            self._blocks.inc()
        counts: dict[str, int] = {}
        for bundle in bundles:
            self._bundles.labels("executed" if not bundle.code else "refused").inc()
            for receipt in bundle.receipts:
                # Our own ledger made these bytes: [1, 32-byte id, code, gas, events]; an empty code is one byte.
                code = "" if receipt[_CODE_AT] == _EMPTY_TEXT else cbor2.loads(receipt)[2]
                counts[code] = counts.get(code, 0) + 1
        for code, count in counts.items():
            if code not in self._codes and len(self._codes) >= _CODES_MAX:
                code = "other"
            self._codes.add(code)
            self._transactions.labels(code or "ok").inc(count)


class _States:
    """What is read at the moment of asking."""

    def __init__(self, node: Node, metrics: NodeMetrics) -> None:
        self._node = node
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        node, status = self._node, self._node.status()
        gauges = {
            "height": ("Latest committed height", status.latest_height),
            "state_height": ("Latest height of the state", node.ledger.height),
            "base_height": ("Oldest block kept", status.base_height),
            "latest_block_time_seconds": ("Time of the latest block", status.latest_block_time.ns / 1e9),
            "ready": ("1 while blocks are made and durable writes succeed", int(node.ready)),
            "engine_stalled": ("1 while a durable write fails", int(status.phase is Phase.STALLED)),
            "pool_bundles": ("Bundles in the engine's pool", status.pool_count),
            "pool_bytes": ("Bytes in the engine's pool", status.pool_bytes),
            "pending_transactions": ("Transactions admitted and not in a block", node.submission.pending),
            "state_bytes": ("Bytes of the state on disk", node.backend.bytes_used()),
            "archive_segments": ("Segments in the archive", len(node.archive.catalogue.segments())),
            "archive_damaged_segments": ("Segments that cannot be read", len(node.archive.catalogue.damaged())),
            "event_clients": ("Followers of the event stream", self._metrics.event_clients),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"althing_node_{name}", text, value=value)
        text = f"1 while it holds: {', '.join(_CONDITIONS)}"
        conditions = GaugeMetricFamily("althing_node_condition", text, labels=["condition"])
        for name in _CONDITIONS:
            conditions.add_metric([name], int(name in status.conditions))
        yield conditions
        try:
            yield from self._validators()
        except AlthingError:
            return  # the engine restarts: these are not known now, which `engine_metrics_up` and `ready` tell

    def _validators(self) -> Iterator[Metric]:
        """Of the validators of governance what they signed and proposed of the latest blocks."""
        node, labels = self._node, ["validator", "organisation"]
        text = f"of the latest {WINDOW_DEFAULT} blocks"
        share = GaugeMetricFamily("althing_node_validator_signed_ratio", f"Signed share {text}", labels=labels)
        proposed = GaugeMetricFamily("althing_node_validator_proposed_blocks", f"Proposed {text}", labels=labels)
        power = GaugeMetricFamily("althing_node_validator_power", "Power as governance sets it", labels=labels)
        view, rows = node.view(), node.signing.window(WINDOW_DEFAULT)
        names = {one.address: one.name for one in view.organisations()}
        for validator in view.validators():
            address = validator_address(validator.public)
            own = [address.hex(), names.get(validator.organisation, format_address(validator.organisation))]
            found = attendance_of(address, rows)
            power.add_metric(own, validator.power)
            proposed.add_metric(own, found.proposed)
            if found.blocks:
                share.add_metric(own, found.signed / found.blocks)
        yield from (power, proposed, share)
