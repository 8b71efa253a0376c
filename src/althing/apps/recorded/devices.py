"""Simulated devices: each replays a recording over a real MQTT or HTTP client, with a key of its own or none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import httpx2
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from althing.apps.recorded.examples import Example
from althing.apps.recorded.plan import STATUS_STREAM, PlannedMessage, Progress, plan
from althing.protocol.message import CONTENT_TYPE_COSE, sign_message
from althing.protocol.signatures import PrivateKey

__all__ = ["Access", "Counts", "RecordedDevice"]

IN_FLIGHT_MAX: Final = 20
RETRY_S: Final = 1.0
SETTLE_S: Final = 30


@dataclass(frozen=True, slots=True)
class Access:
    """How a device reaches its gateway and what it signs for."""

    host: str
    mqtt_port: int
    http_url: str
    token: str
    chain_id: str
    genesis_hash: bytes


@dataclass(slots=True)
class Counts:
    """What became of this run's messages. `readings` are those of accepted messages."""

    messages: int = 0
    readings: int = 0
    refused: int = 0
    by_stream: dict[str, int] = field(default_factory=dict)


class RecordedDevice:
    """One device on a thread of its own. `say` is told of what a person would want to know."""

    def __init__(
        self,
        example: Example,
        key: PrivateKey | None,
        access: Access,
        progress_file: Path,
        *,
        transport: str,
        duration_s: float,
        loop: bool,
        say: Callable[[str], None],
    ) -> None:
        self.example = example
        self.counts = Counts()
        self.ended = False
        self._key = key
        self._access = access
        self._progress = Progress(progress_file)
        self._plan = plan(example)
        self._loop = loop
        self._pause_s = duration_s / max(1, len(self._plan))
        self._say = say
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._link: _Link = _HttpLink(self) if transport == "http" else _MqttLink(self, five=transport == "mqtt5")
        self._thread = threading.Thread(target=self._run, name=f"device-{example.device}", daemon=True)

    @property
    def name(self) -> str:
        return self.example.device

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send no more; what was sent is still waited for."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()

    def join(self, timeout_s: float) -> bool:
        """True when the device has finished within the time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- the life of a device -----------------------------------------------------------------------------------

    def _run(self) -> None:
        self._link.open()
        try:
            while not self._stop.is_set():
                self._replay()
                if self._stop.is_set():
                    break
                self._mark_end()
                if not self._loop:
                    self.ended = True
                    self._stop.wait()
                    break
                if self._stop.is_set():
                    break  # the mark may not be sent yet; the next start sends it, or begins the next run
                self._progress.begin_run()
                self._say(f"{self.name}: run {self._progress.run + 1} of the recording begins")
        finally:
            self._link.close()

    def _replay(self) -> None:
        index = self._progress.next
        while index < len(self._plan) and not self._stop.is_set():
            self._link.send(index, self._plan[index], self._signed(index))
            index += 1
            self._stop.wait(self._pause_s)
        self._link.settle()

    def _mark_end(self) -> None:
        """Say on the stream `status`, once, that this run has ended: so that runs can be told apart on the ledger."""
        index = len(self._plan)
        if self._progress.next == index:
            text = f"run {self._progress.run + 1} of the recording has ended"
            self._say(f"{self.name}: {text}")
            self._link.send(index, None, self._body(STATUS_STREAM, "text/plain", text.encode(), index))
            self._link.settle()

    def _signed(self, index: int) -> tuple[str, str, bytes]:
        message = self._plan[index].message
        return self._body(message.stream, message.content_type, message.body, index)

    def _body(self, stream: str, content_type: str, body: bytes, index: int) -> tuple[str, str, bytes]:
        """Stream, content type and bytes to send: signed by the device if it can."""
        if self._key is None:
            return stream, content_type, body
        counter = self._progress.run * (len(self._plan) + 1) + index
        signed = sign_message(
            self._key,
            self._access.genesis_hash,
            self._access.chain_id,
            f"{self.name}/{stream}",
            counter,
            body,
            content_type=content_type,
        )
        return stream, CONTENT_TYPE_COSE, signed

    def identity(self, index: int) -> str:
        """The Idempotency-Key of an unsigned message: the same when it is sent again."""
        return f"{self.name}-{self._progress.run}-{index}"

    def answered(self, index: int, planned: PlannedMessage | None, stream: str, *, accepted: bool) -> None:
        """The gateway has answered message `index`; answers may come out of order."""
        with self._changed:
            if accepted:
                self.counts.messages += 1
                self.counts.readings += planned.readings if planned else 0
                path = f"{self.name}/{stream}"
                self.counts.by_stream[path] = self.counts.by_stream.get(path, 0) + 1
            else:
                self.counts.refused += 1
            self._changed.notify_all()

    def reached(self, index: int) -> None:
        self._progress.reached(index)

    @property
    def unsigned(self) -> bool:
        return self._key is None

    @property
    def access(self) -> Access:
        return self._access

    @property
    def changed(self) -> threading.Condition:
        return self._changed

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def pause(self) -> None:
        self._stop.wait(RETRY_S)

    def say(self, text: str) -> None:
        self._say(f"{self.name}: {text}")


class _Link(Protocol):
    """How messages leave a device."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def send(self, index: int, planned: PlannedMessage | None, body: tuple[str, str, bytes]) -> None:
        """Send message `index` of (stream, content type, bytes); may wait for room."""
        ...

    def settle(self) -> None:
        """Wait, bounded, until everything sent is answered."""
        ...


class _MqttLink:
    """QoS 1 publishing with a window; MQTT 5 or 3.1.1, paho keeps unanswered messages over reconnections."""

    def __init__(self, device: RecordedDevice, *, five: bool) -> None:
        self._device = device
        self._five = five
        self._waiting: dict[int, tuple[int, PlannedMessage | None, str]] = {}
        self._early: dict[int, bool] = {}
        self._unanswered: set[int] = set()
        self._sent = 0
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=device.name,
            protocol=mqtt.MQTTv5 if self._five else mqtt.MQTTv311,
            clean_session=None if self._five else True,
        )
        self._client.username_pw_set(device.name, device.access.token)
        self._client.will_set(f"althing/v1/{device.name}/{STATUS_STREAM}", b"connection lost", qos=1)
        self._client.on_publish = self._on_publish
        self._client.on_connect = self._on_connect

    def open(self) -> None:
        self._client.connect_async(self._device.access.host, self._device.access.mqtt_port, keepalive=30)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._device.say(f"the gateway refused the connection: {reason}")

    def send(self, index: int, planned: PlannedMessage | None, body: tuple[str, str, bytes]) -> None:
        stream, content_type, data = body
        properties = None
        if self._five:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ContentType = content_type
            if self._device.unsigned:
                properties.UserProperty = [("Idempotency-Key", self._device.identity(index))]
        with self._device.changed:
            self._device.changed.wait_for(lambda: len(self._unanswered) < IN_FLIGHT_MAX or self._device.stopping)
            if self._device.stopping:
                return
            self._unanswered.add(index)
            self._sent = index + 1
        # Outside the lock: paho calls back under locks of its own, which `publish` takes too. So an answer may come
        # before its message number is known here; it is kept until then.
        info = self._client.publish(f"althing/v1/{self._device.name}/{stream}", data, qos=1, properties=properties)
        with self._device.changed:
            early = self._early.pop(info.mid, None)
            if early is None:
                self._waiting[info.mid] = (index, planned, stream)
        if early is not None:
            self._settled(index, planned, stream, accepted=early)

    def settle(self) -> None:
        with self._device.changed:
            # paho sends again until it is answered, so without a stop this waits as long as the gateway is away: the
            # next run uses the same indices.
            self._device.changed.wait_for(lambda: not self._unanswered or self._device.stopping)
            self._device.changed.wait_for(lambda: not self._unanswered, timeout=SETTLE_S)

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        with self._device.changed:
            entry = self._waiting.pop(mid, None)
            if entry is None:
                self._early[mid] = not reason.is_failure
                return
        self._settled(*entry, accepted=not reason.is_failure)

    def _settled(self, index: int, planned: PlannedMessage | None, stream: str, *, accepted: bool) -> None:
        # All of it under the lock: when the last answer is in, the device's thread begins another run at once.
        with self._device.changed:
            self._unanswered.discard(index)
            self._device.reached(min(self._unanswered, default=self._sent))
            self._device.answered(index, planned, stream, accepted=accepted)


class _HttpLink:
    """One request a message; a gateway that is busy or away is asked again with the same Idempotency-Key."""

    def __init__(self, device: RecordedDevice) -> None:
        self._device = device
        self._http = httpx2.Client(timeout=30, headers={"Authorization": f"Bearer {device.access.token}"})

    def open(self) -> None:
        """Nothing to do before the first request."""

    def close(self) -> None:
        self._http.close()

    def settle(self) -> None:
        """Every request has been answered already."""

    def send(self, index: int, planned: PlannedMessage | None, body: tuple[str, str, bytes]) -> None:
        stream, content_type, data = body
        url = f"{self._device.access.http_url}/v1/messages/{self._device.name}/{stream}"
        headers = {"Content-Type": content_type, "Idempotency-Key": self._device.identity(index)}
        while not self._device.stopping:
            try:
                response = self._http.post(url, content=data, headers=headers)
            except httpx2.TransportError:
                self._device.pause()
                continue
            if response.status_code == 503:
                self._device.pause()
                continue
            self._device.answered(index, planned, stream, accepted=response.status_code == 200)
            self._device.reached(index + 1)
            return
