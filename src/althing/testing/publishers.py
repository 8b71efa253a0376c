"""Publishers as devices have them: paho-mqtt with persistent sessions, and HTTP; each on a thread, through any fault.

A publisher keeps what is not acknowledged and sends it again, as its protocol says; what it sent and what it was told
stands in a `Journal`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import httpx2
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MessageState
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from althing.testing.simulator import Identity, Journal, SimulatedDevice, SimulatedMessage

__all__ = ["HttpPublisher", "MovingPublisher", "MqttPublisher", "Publisher", "Way"]

_IN_FLIGHT_MAX: Final = 10
_RETRY_S: Final = 0.2
_SESSION_S: Final = 3600
_NOT_FOUND: Final = 0x92


@dataclass(frozen=True, slots=True)
class Way:
    """How a device sends: `protocol` "mqtt5", "mqtt311" or "http"; `identity` of what it cannot sign."""

    protocol: str
    qos: int = 1
    identity: Identity = Identity.KEY


class Publisher:
    """Sends messages of one device, one every `pause_s` on average, until told to stop; then waits for all answers."""

    def __init__(self, device: SimulatedDevice, way: Way, journal: Journal, *, pause_s: float, seed: str) -> None:
        self.device = device
        self.way = way
        self._journal = journal
        self._pause_s = pause_s
        self._random = Random(f"{seed} {device.name}")  # noqa: S311 -- to be repeated
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._waiting: dict[int, SimulatedMessage] = {}
        self._next = 0
        self._thread = threading.Thread(target=self._run, name=device.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send nothing new; `join` waits for the answers."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()

    def join(self, timeout_s: float) -> None:
        """Wait until everything sent is answered; AssertionError when that takes longer."""
        self._thread.join(timeout_s)
        waiting = list(self._waiting.values())[:3]
        assert not self._thread.is_alive(), f"{self.device.name} ({self.way}) still waits for answers: {waiting}"

    def _run(self) -> None:
        raise NotImplementedError

    def _next_message(self) -> SimulatedMessage:
        message = self.device.message(self._next, self.way.identity)
        self._next += 1
        self._journal.sending(message)
        return message

    def _pause(self) -> None:
        self._stop.wait(self._random.expovariate(1 / self._pause_s))


class _Client(mqtt.Client):
    """paho, but a second failed reconnection does not make it forget that a QoS 2 message was received (PUBREC): 2.x
    would publish that message anew, and the server, which had its PUBREL, could only take it for another one."""

    def _messages_reconnect_reset_out(self) -> None:
        with self._out_message_mutex:
            for message in self._out_messages.values():
                if message.state == MessageState.MQTT_MS_RESEND_PUBREL:
                    message.state = MessageState.MQTT_MS_WAIT_FOR_PUBCOMP
        super()._messages_reconnect_reset_out()


class MqttPublisher(Publisher):
    """paho keeps and repeats what is not acknowledged; the session outlives connections and servers."""

    def __init__(
        self,
        device: SimulatedDevice,
        way: Way,
        journal: Journal,
        *,
        pause_s: float,
        seed: str,
        address: tuple[str, int],
        token: str,
    ) -> None:
        super().__init__(device, way, journal, pause_s=pause_s, seed=seed)
        self._address = address
        self._five = way.protocol == "mqtt5"
        self.connections = 0
        self._early: dict[int, Any] = {}  # answers that overtook the return of publish
        self._client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=device.name,
            protocol=mqtt.MQTTv5 if self._five else mqtt.MQTTv311,
            clean_session=None if self._five else False,
        )
        self._client.username_pw_set(device.name, token)
        self._client.reconnect_delay_set(1, 1)
        self._client.max_inflight_messages_set(_IN_FLIGHT_MAX)
        self._client.on_publish = self._on_publish
        self._client.on_connect = self._on_connect

    def _run(self) -> None:
        options: dict[str, Any] = {}
        if self._five:
            expiry = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            expiry.SessionExpiryInterval = _SESSION_S
            options = {"clean_start": mqtt.MQTT_CLEAN_START_FIRST_ONLY, "properties": expiry}
        self._client.connect_async(*self._address, keepalive=30, **options)
        self._client.loop_start()
        try:
            while not self._stop.is_set():
                self._send(self._next_message())
                self._pause()
            with self._changed:
                self._changed.wait_for(lambda: not self._waiting)
        finally:
            self._client.disconnect()
            self._client.loop_stop()

    def _send(self, message: SimulatedMessage) -> None:
        properties = None
        if self._five:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ContentType = message.content_type
            if message.key:
                properties.UserProperty = [("Idempotency-Key", message.key)]
        with self._changed:
            # More than paho has in flight, so that its queue is used too.
            self._changed.wait_for(lambda: len(self._waiting) < 3 * _IN_FLIGHT_MAX)
        topic = f"althing/v1/{message.path}"
        # Not under our lock: paho calls on_publish while it holds the lock that publish needs.
        info = self._client.publish(topic, message.body, qos=self.way.qos, properties=properties)
        with self._changed:
            if info.mid in self._early:
                self._answer(message, self._early.pop(info.mid))
            else:
                assert info.mid not in self._waiting, "paho gave an identifier away twice"
                self._waiting[info.mid] = message

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not reason.is_failure:
            self.connections += 1

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        with self._changed:
            message = self._waiting.pop(mid, None)
            if message is None:
                self._early[mid] = reason
            else:
                self._answer(message, reason)
                self._changed.notify_all()

    def _answer(self, message: SimulatedMessage, reason: Any) -> None:
        # A PUBCOMP that knows no such identifier is no error after a reconnection (MQTT 5 §3.7.2.1): the PUBREC, which was
        # the acknowledgement, came before, and the server's PUBCOMP to the first PUBREL was lost.
        if reason.is_failure and reason.value != _NOT_FOUND:
            self._journal.refused(message, str(reason))
        else:
            self._journal.acknowledged(message)


class HttpPublisher(Publisher):
    """One message a request; the same again, with the same Idempotency-Key, until it is answered."""

    def __init__(
        self,
        device: SimulatedDevice,
        way: Way,
        journal: Journal,
        *,
        pause_s: float,
        seed: str,
        url: str,
        token: str,
    ) -> None:
        super().__init__(device, way, journal, pause_s=pause_s, seed=seed)
        self._url = url
        self._http = httpx2.Client(timeout=10, headers={"authorization": f"Bearer {token}"})

    def _run(self) -> None:
        with self._http:
            while not self._stop.is_set():
                message = self._next_message()
                self._waiting[0] = message
                self._send(message)
                del self._waiting[0]
                self._pause()

    def _send(self, message: SimulatedMessage) -> None:
        while True:
            try:
                answer = self._post(self._url, message)
            except httpx2.TransportError:
                time.sleep(_RETRY_S)
                continue
            if answer.status_code == 503:
                time.sleep(_RETRY_S)
                continue
            if answer.status_code == 200:
                self._journal.acknowledged(message)
            else:
                self._journal.refused(message, answer.text)
            return

    def _post(self, url: str, message: SimulatedMessage, **headers: str) -> httpx2.Response:
        headers["content-type"] = message.content_type
        if message.key:
            headers["idempotency-key"] = message.key
        return self._http.post(
            f"{url}/v1/messages/{message.device}/{message.stream}", content=message.body, headers=headers
        )


class MovingPublisher(HttpPublisher):
    """For streams that are handed over: goes to the other gateway when one says that it does not write the stream.

    Not after a try without an answer: that gateway may have taken the message and alone can tell that it is the same
    again, so the publisher asks there until it knows.
    """

    def __init__(
        self,
        device: SimulatedDevice,
        way: Way,
        journal: Journal,
        *,
        pause_s: float,
        seed: str,
        gateways: Mapping[str, str],
    ) -> None:
        """`gateways` is a token for each gateway's address."""
        self._gateways = dict(gateways)
        self._at = next(iter(self._gateways))
        super().__init__(device, way, journal, pause_s=pause_s, seed=seed, url=self._at, token="")
        self.moves = 0

    def _send(self, message: SimulatedMessage) -> None:
        doubtful = False
        while True:
            try:
                answer = self._post(self._at, message, authorization=f"Bearer {self._gateways[self._at]}")
            except httpx2.ConnectError:
                time.sleep(_RETRY_S)
                continue
            except httpx2.TransportError:
                doubtful = True
                time.sleep(_RETRY_S)
                continue
            if answer.status_code == 200:
                self._journal.acknowledged(message)
                return
            if answer.status_code != 503:
                if "stream.other_gateway" not in answer.text:
                    self._journal.refused(message, answer.text)
                    return
                if not doubtful:
                    self._at = next(url for url in self._gateways if url != self._at)
                    self.moves += 1
            time.sleep(_RETRY_S)
