"""The pipeline as listeners see it: guard, then spool. Every message is answered exactly once.

The checks, in the order of docs/spec/device-message.md §5:
1. room in the spool, and a registry young enough to decide by (else Busy);
2. the message is the connected device's own; 3. the stream exists and is this gateway's;
4. rate (else Busy): before what leaves a refusal, so that nobody fills the spool with refusals;
5. the device is active; 6. size; 7. a device with keys signs; 8. signature, key, chain, stream;
9. counter or key: accepted before? 10. the payload has readings by the stream's schema.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final

import structlog

from althing.gateway.guard.checker import SignatureChecker
from althing.gateway.guard.envelope import Verdict
from althing.gateway.guard.rate import Bucket
from althing.gateway.ingest.port import Accepted, Busy, Inbound, Outcome, Refused
from althing.gateway.ledger import DeviceView
from althing.gateway.registry import Registry
from althing.gateway.spool.index import Seen, digest_of
from althing.gateway.spool.records import RefusalRecord
from althing.gateway.spool.spool import Spool
from althing.protocol.address import is_name
from althing.protocol.errors import AlthingError, PayloadError
from althing.protocol.limits import CONTENT_TYPE_CHARS_MAX, MESSAGE_BYTES_MAX
from althing.protocol.message import CONTENT_TYPE_COSE
from althing.protocol.readings import StreamSchema, resolve

__all__ = ["GuardConfig", "Pipeline"]

_log = structlog.get_logger("althing.gateway.intake")

Done = Callable[[Outcome], None]

_BUSY: Final = Busy(1)
_COSE: Final = "application/cose"
_COSE_BYTES: Final = CONTENT_TYPE_COSE.encode()
_KEY_BYTES_MAX: Final = 255  # what a record of the spool can hold
_LOOKING_UP_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """Bounds of what a device may send."""

    message_bytes_max: int = MESSAGE_BYTES_MAX
    rate_per_s: float = 1_000.0  # of one device; MQTT devices send a few, a replayed logger's file a few hundred
    rate_burst: int = 5_000
    unverified_max: int = 20_000  # messages that wait for their signature check
    overload_fill: float = 0.5  # of queue or spool, from which listeners slow down


class _Lane:
    """What every message of one stream needs, looked up once; thrown away when device or stream changes."""

    __slots__ = ("bucket", "default_type", "device", "must_sign", "number", "path", "path_bytes", "public", "schema")

    def __init__(self, path: str, number: int, schema: StreamSchema, device: DeviceView, bucket: Bucket) -> None:
        self.path = path
        self.path_bytes = path.encode()
        self.number = number
        self.schema = schema
        self.default_type = schema.content_type
        self.device = device
        self.bucket = bucket
        self.must_sign = bool(device.keys)
        self.public = tuple((int(entry.key.suite), entry.key.public) for entry in device.keys)


class Pipeline:
    """Implements `Intake`, and the MQTT server's `RefusalLog`. Of the event loop's thread."""

    def __init__(
        self,
        registry: Registry,
        spool: Spool,
        checker: SignatureChecker,
        config: GuardConfig | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._registry = registry
        self._spool = spool
        self._checker = checker
        self._config = config or GuardConfig()
        self._clock_ns = clock_ns
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._buckets: dict[str, Bucket] = {}
        self._strangers = Bucket(self._config.rate_per_s, self._config.rate_burst)
        self._looking_up: dict[str, list[tuple[Inbound, Done]]] = {}
        self._looking_up_count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.held: frozenset[str] = frozenset()  # streams whose messages cannot be anchored right now
        self.closed = False
        self.busy_total = 0
        self.duplicates_total = 0
        registry.on_device.append(self._device_changed)
        registry.on_stream.append(self._stream_changed)

    # --- Intake

    @property
    def overloaded(self) -> bool:
        spool, config = self._spool, self._config
        return spool.fill > config.overload_fill or not spool.room or self._checker.waiting * 2 > config.unverified_max

    def submit(self, item: Inbound, done: Done) -> None:
        # 1
        if self.closed or not self._spool.room or not self._registry.usable:
            self.busy_total += 1
            done(_BUSY)
            return
        # 2
        device = item.device
        if not item.principal.speaks_for(device) and not item.origin_gateway:
            self._refuse_stranger(
                item, "auth.wrong_device", "the message names another device than the one connected", done
            )
            return
        # 3
        lane = self._lanes.get((device, item.stream)) or self._lane(device, item.stream)
        if lane is None:
            self._stranger(item, done)
            return
        # 4
        if not item.origin_gateway and not lane.bucket.take(self._loop.time()):
            self.busy_total += 1
            done(_BUSY)
            return
        # 5
        if not lane.device.active:
            self._refuse(item, "device.inactive", "the device is suspended or retired", done)
            return
        # 6
        body = item.body
        if len(body) > self._config.message_bytes_max:
            self._refuse(
                item, "message.too_large", f"a message has at most {self._config.message_bytes_max} bytes", done
            )
            return
        content_type = item.content_type
        if len(content_type) > CONTENT_TYPE_CHARS_MAX or len(item.dedup_key) > _KEY_BYTES_MAX:
            self._refuse(item, "message.header_too_large", "content type or idempotency key is too long", done)
            return
        # 7
        if item.origin_gateway:
            self._unsigned(lane, item, content_type or lane.default_type or "application/octet-stream", done)
        elif content_type[:16].lower() == _COSE or (not content_type and lane.must_sign):
            self._signed(lane, item, done)
        elif lane.must_sign:
            self._refuse(item, "message.unsigned", "the device has a key, so its messages are signed", done)
        else:
            self._unsigned(lane, item, content_type or lane.default_type, done)

    def record(self, item: Inbound, refusal: Refused, done: Done) -> None:
        """A message that a listener itself refused (RefusalLog of the MQTT server): the same rate, and the record first."""
        if self.closed or not self._spool.room:
            self.busy_total += 1
            done(_BUSY)
            return
        self._refuse_stranger(item, refusal.code, refusal.reason, done)

    def hold(self, streams: frozenset[str]) -> None:
        """Streams whose messages cannot be anchored right now: their senders are told Busy."""
        self.held = streams
        for path in streams:
            self._stream_changed(path)

    def declared_type(self, device: str, stream: str) -> str:
        """The content type that a stream declares, "" when there is none or no such stream."""
        lane = self._lanes.get((device, stream)) or self._lane(device, stream)
        return "" if lane is None else lane.default_type

    async def settled(self) -> None:
        """Wait until everything taken so far is answered."""
        await self._checker.settled()
        if self._tasks:
            await asyncio.gather(*self._tasks)
        await self._spool.barrier()

    # --- steps

    def _unsigned(self, lane: _Lane, item: Inbound, content_type: str, done: Done) -> None:
        # 9
        key = item.dedup_key
        if key:
            seen = self._spool.index.find_key(lane.path, key)
            if seen is not None:
                self._repeated(item, seen, "message.key_reused", done)
                return
        # 10
        arrival_ns = self._clock_ns()
        try:
            resolve(content_type, item.body, lane.schema, arrival_ns)
        except PayloadError as error:
            self._refuse(item, error.code, error.message, done)
            return
        self._append(lane, arrival_ns, content_type.encode(), True, item.body, None, key, done)

    def _signed(self, lane: _Lane, item: Inbound, done: Done) -> None:
        # 8
        if not lane.must_sign:
            self._refuse(item, "message.key", "the device has no key, so a signature says nothing", done)
            return
        if self._checker.waiting >= self._config.unverified_max:
            self.busy_total += 1
            done(_BUSY)
            return
        arrival_ns = self._clock_ns()
        self._checker.check((item.body, lane.public), partial(self._checked, lane, item, arrival_ns, done))

    def _checked(self, lane: _Lane, item: Inbound, arrival_ns: int, done: Done, verdict: Verdict | None) -> None:
        # A stream may have become held meanwhile; nothing new of it may get between those that come back.
        if verdict is None or not self._spool.room or lane.path in self.held:
            self.busy_total += 1
            done(_BUSY)
            return
        if verdict.code:
            self._refuse(item, verdict.code, verdict.reason, done)
            return
        # Device and stream may have changed while the signature was checked: the newest word counts.
        device = self._registry.devices.get(lane.device.name)
        if device is None or not device.active:
            self._refuse(item, "device.inactive", "the device is suspended or retired", done)
            return
        suite, public = lane.public[verdict.key]
        entry = next((e for e in device.keys if e.key.public == public and int(e.key.suite) == suite), None)
        if entry is None or not entry.active_at(self._registry.now_s()):
            self._refuse(item, "message.key", "the key that signed is not active", done)
            return
        if verdict.chain_id != self._registry.chain_id:
            self._refuse(item, "message.chain", f"the message is for the chain {verdict.chain_id}", done)
            return
        if verdict.stream != lane.path:
            self._refuse(item, "message.stream", f"the message is for the stream {verdict.stream}", done)
            return
        # 9
        seen = self._spool.index.find_counter(device.name, verdict.counter)
        if seen is not None:
            if isinstance(seen, Seen):
                self._repeated(item, seen, "message.counter_reused", done)
            else:
                self._refuse(item, "message.replayed", f"the counter {verdict.counter} was passed long ago", done)
            return
        # 10
        try:
            resolve(
                verdict.content_type,
                verdict.payload(item.body),
                lane.schema,
                arrival_ns,
                message_ns=verdict.time_ns,
            )
        except PayloadError as error:
            self._refuse(item, error.code, error.message, done)
            return
        self._append(lane, arrival_ns, _COSE_BYTES, False, item.body, verdict.counter, b"", done)

    def _append(
        self,
        lane: _Lane,
        arrival_ns: int,
        content_type: bytes,
        attested: bool,
        body: bytes,
        counter: int | None,
        key: bytes,
        done: Done,
    ) -> None:
        self._spool.append_message(
            lane.path,
            lane.path_bytes,
            lane.number,
            lane.device.name,
            arrival_ns,
            content_type,
            attested,
            body,
            counter,
            key,
            done,
        )

    def _repeated(self, item: Inbound, seen: Seen, otherwise: str, done: Done) -> None:
        """The same message again gets its sequence again; another one under the same number is refused."""
        if seen.digest == digest_of(item.body) and seen.stream == f"{item.device}/{item.stream}":
            self.duplicates_total += 1
            self._spool.answer_after(done, Accepted(seen.sequence, duplicate=True))
        else:
            self._refuse(item, otherwise, "another message was accepted under this counter or key", done)

    def _refuse_stranger(self, item: Inbound, code: str, reason: str, done: Done) -> None:
        """Refuse what belongs to no stream of ours; all such senders share one rate."""
        if self._strangers.take(self._loop.time()):
            self._refuse(item, code, reason, done)
        else:
            self.busy_total += 1
            done(_BUSY)

    def _refuse(self, item: Inbound, code: str, reason: str, done: Done) -> None:
        record = RefusalRecord(
            self._clock_ns(),
            item.device,
            item.stream,
            item.transport,
            code,
            reason,
            sha256(item.body).digest(),
            len(item.body),
        )
        self._spool.append_refusal(record, done)

    # --- lanes

    def _lane(self, device: str, stream: str) -> _Lane | None:
        path = f"{device}/{stream}"
        known = self._registry.streams.get(path)
        view = self._registry.devices.get(device)
        if known is None or view is None or known.definition.gateway != self._registry.gateway or path in self.held:
            return None
        bucket = self._buckets.get(device)
        if bucket is None:
            bucket = self._buckets[device] = Bucket(self._config.rate_per_s, self._config.rate_burst)
        self._spool.adopt(path, known.next_sequence)
        lane = _Lane(path, known.definition.id, known.definition.schema, view, bucket)
        self._lanes[device, stream] = lane
        return lane

    def _stranger(self, item: Inbound, done: Done) -> None:
        """A stream that the registry does not have: it may have been defined a moment ago, so the ledger is asked."""
        path = f"{item.device}/{item.stream}"
        if not is_name(item.device) or not is_name(item.stream):
            self._refuse_stranger(item, "stream.name", "names are 1 to 63 of a-z 0-9 . _ - inside", done)
            return
        known = self._registry.streams.get(path)
        if known is not None and known.definition.gateway != self._registry.gateway:
            self._refuse_stranger(item, "stream.other_gateway", "the stream is written by another gateway", done)
            return
        if path in self.held:
            self.busy_total += 1
            done(Busy(60))
            return
        if self._registry.surely_unknown(path):
            self._refuse_stranger(item, "stream.unknown", f"there is no stream {path} on the ledger", done)
            return
        if self._looking_up_count >= _LOOKING_UP_MAX:
            self.busy_total += 1
            done(_BUSY)
            return
        waiting = self._looking_up.get(path)
        if waiting is None:
            waiting = self._looking_up[path] = []
            task = self._loop.create_task(self._look_up(path))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._looking_up_count += 1
        waiting.append((item, done))

    async def _look_up(self, path: str) -> None:
        answered = False
        try:
            answered = await self._registry.look_up(path)
        except AlthingError as error:
            _log.warning("stream cannot be looked up", stream=path, code=error.code)
        waiting = self._looking_up.pop(path)
        self._looking_up_count -= len(waiting)
        for item, done in waiting:
            if answered:
                self.submit(item, done)
            else:
                self.busy_total += 1
                done(_BUSY)

    def _device_changed(self, device: DeviceView) -> None:
        for key in [key for key in self._lanes if key[0] == device.name]:
            del self._lanes[key]

    def _stream_changed(self, path: str) -> None:
        device, _, stream = path.partition("/")
        self._lanes.pop((device, stream), None)
