"""One client's connection: bytes in and out, CONNECT to DISCONNECT (MQTT 5 §3, §4).

An asyncio protocol, not streams: many packets of one read are handled in one pass, and what they cause to be sent
leaves in one write at the end of the loop's turn.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from typing import Literal

from althing.gateway.ingest.mqtt.admission import Admission, admit, check_connect
from althing.gateway.ingest.mqtt.broker import Owed
from althing.gateway.ingest.mqtt.codec import Framer, malformed, protocol_error
from althing.gateway.ingest.mqtt.encode import (
    PINGRESP_PACKET,
    encode_ack,
    encode_connack,
    encode_disconnect,
    encode_publish,
    encode_suback,
    encode_unsuback,
)
from althing.gateway.ingest.mqtt.errors import MqttPacketError
from althing.gateway.ingest.mqtt.hub import Hub, unix_ms
from althing.gateway.ingest.mqtt.inbox import Inbox
from althing.gateway.ingest.mqtt.message import delivery_properties
from althing.gateway.ingest.mqtt.packets import (
    V5,
    V311,
    Connect,
    PublishDecoder,
    decode_ack,
    decode_auth,
    decode_connect,
    decode_disconnect,
    decode_subscribe,
    decode_unsubscribe,
)
from althing.gateway.ingest.mqtt.ports import Credentials, Denied
from althing.gateway.ingest.mqtt.reasons import (
    AUTH,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Reason,
)
from althing.gateway.ingest.mqtt.session import Outgoing
from althing.gateway.ingest.port import Principal

__all__ = ["Connection", "Registry"]

_State = Literal["new", "deciding", "open", "closed"]
_CLOSE_GRACE_S = 5.0  # for the last bytes to leave before the socket is cut

# Why reading is paused.
_DECIDING, _WRITING, _WINDOW = 1, 2, 4


class Registry:
    """The open connections of a server, and which belong to a device."""

    def __init__(self) -> None:
        self.all: set[Connection] = set()
        self.by_device: dict[str, set[Connection]] = {}

    def add(self, connection: Connection) -> None:
        self.all.add(connection)

    def name(self, connection: Connection, device: str) -> None:
        self.by_device.setdefault(device, set()).add(connection)

    def remove(self, connection: Connection, device: str | None) -> None:
        self.all.discard(connection)
        if device is not None:
            mates = self.by_device.get(device)
            if mates is not None:
                mates.discard(connection)
                if not mates:
                    del self.by_device[device]


class Connection(asyncio.Protocol):
    """Reads packets, keeps the rules of one network connection, and is its session's `Link`."""

    def __init__(self, hub: Hub, registry: Registry) -> None:
        self._hub = hub
        self._registry = registry
        self._state: _State = "new"
        self._level = V311
        self._framer = Framer(hub.config.packet_bytes_max)
        self._held: list[bytes] = []
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._dirty = False
        self._paused = 0
        self._problem_information = True
        self._packet_bytes_max = 0
        self._alias_max = 0
        self._aliases: dict[str, int] = {}
        self.window = hub.config.inflight_max
        self._write_paused_at = 0.0
        self.last_read = hub.loop.time()
        self.made_at = self.last_read
        self._keep_alive_s = 0.0
        self._session_expiry_s = 0
        self.device: str | None = None

    # --- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        hub = self._hub
        if len(self._registry.all) >= hub.config.connections_max:
            hub.metrics.connections_refused += 1
            self._state = "closed"
            self._transport.abort()
            return
        self._registry.add(self)
        hub.metrics.connections += 1
        hub.metrics.connections_total += 1
        high = hub.config.write_buffer_bytes_max
        self._transport.set_write_buffer_limits(high=high, low=high // 4)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave(with_will=True)
        if self in self._registry.all:
            self._registry.remove(self, self.device)
            self._hub.metrics.connections -= 1

    def data_received(self, data: bytes) -> None:
        hub = self._hub
        self.last_read = hub.loop.time()
        hub.metrics.bytes_in += len(data)
        if self._state == "deciding":
            self._held.append(data)
        elif self._state != "closed":
            self._process(data)

    def pause_writing(self) -> None:
        """The client does not read: what it sends would only make us write more, so we stop reading as well."""
        self._write_paused_at = self._hub.loop.time()
        self._pause(_WRITING)

    def resume_writing(self) -> None:
        self._write_paused_at = 0.0
        self._resume(_WRITING)
        if self._state == "open":
            self._session.pump()

    # --- reading

    def _process(self, data: bytes) -> None:
        done = 0
        try:
            if self._state == "new" and data[0] >> 4 != CONNECT and not self._framer.held:
                raise malformed("the first packet is not CONNECT")  # [MQTT-3.1.0-1]; also HTTP, TLS and the like
            data, frames, error = self._framer.feed(data)
            for first, start, stop in frames:
                if self._state == "open":
                    if first >> 4 == PUBLISH:
                        self._inbox.on_publish(self._decoder.decode(data, first, start, stop))
                    else:
                        self._dispatch(data, first, start, stop)
                elif self._state == "new":
                    self._first_packet(data, first, start, stop)
                else:
                    break
                done = stop
            if self._state == "deciding":
                # Rare: what came with the CONNECT is cut again once that is decided.
                self._framer.clear()
                if done < len(data):
                    self._held.append(data[done:])
            elif error is not None and self._state != "closed":
                raise error
        except MqttPacketError as failure:
            self._fail(failure)

    def _first_packet(self, data: bytes, first: int, start: int, stop: int) -> None:
        connect = decode_connect(data, first, start, stop)
        self._level = connect.level
        self._problem_information = connect.problem_information
        self._on_connect(connect)

    def _dispatch(self, data: bytes, first: int, start: int, stop: int) -> None:
        kind = first >> 4
        session = self._session
        if PUBACK <= kind <= PUBCOMP:
            ack = decode_ack(data, first, start, stop, self._level)
            if kind == PUBREL:
                self._inbox.on_pubrel(ack.packet_id)
                return
            if kind == PUBACK:
                fits = session.on_puback(ack.packet_id)
            elif kind == PUBREC:
                fits = session.on_pubrec(ack.packet_id, ack.reason)
            else:
                fits = session.on_pubcomp(ack.packet_id)
            if not fits:
                raise protocol_error("the acknowledgement does not fit the message's QoS")
        elif kind == PINGREQ:
            if first & 0x0F or start != stop:
                raise malformed("PINGREQ has flags or a body")
            self.send(PINGRESP_PACKET)
        elif kind == SUBSCRIBE:
            packet = decode_subscribe(data, first, start, stop, self._level)
            codes, owed = self._hub.broker.subscribe(session, packet)
            answer = encode_suback(self._level, packet.packet_id, codes)
            self._hub.journal.when_durable(partial(self._subscribed, answer, owed))
        elif kind == UNSUBSCRIBE:
            unsubscribe = decode_unsubscribe(data, first, start, stop, self._level)
            codes = self._hub.broker.unsubscribe(session, unsubscribe.filters)
            answer = encode_unsuback(self._level, unsubscribe.packet_id, codes)
            self._hub.journal.when_durable(partial(self.send, answer))
        elif kind == DISCONNECT:
            self._on_disconnect(data, first, start, stop)
        elif kind == AUTH and self._level == V5:
            decode_auth(data, first, start, stop)
            raise protocol_error("AUTH without enhanced authentication")
        else:
            raise protocol_error("a packet that only servers send, or a second CONNECT")

    def _subscribed(self, answer: bytes, owed: list[Owed]) -> None:
        self.send(answer)
        if self._state == "open":
            for item in owed:
                self._session.enqueue_retained(item.message, item.qos, item.identifiers)

    def _on_disconnect(self, data: bytes, first: int, start: int, stop: int) -> None:
        packet = decode_disconnect(data, first, start, stop, self._level)
        if packet.expiry_s is not None:
            if packet.expiry_s and not self._session_expiry_s:
                raise protocol_error("DISCONNECT prolongs a session that was to end")  # §3.14.2.2.2
            self._session.expiry_s = min(packet.expiry_s, self._hub.config.session_expiry_s_max)
        self._leave(with_will=packet.reason == Reason.DISCONNECT_WITH_WILL)
        self._shut()

    # --- CONNECT

    def _on_connect(self, connect: Connect) -> None:
        """1. what can be refused at once; 2. who is it; 3. may it have this session and this will; 4. answer."""
        hub = self._hub
        reason = check_connect(connect, hub.config)
        if reason is not None:
            self._refuse(connect, reason, "")
            return
        if connect.packet_bytes_max:
            self._packet_bytes_max = connect.packet_bytes_max
        self._state = "deciding"
        self._pause(_DECIDING)
        peer = self._transport.get_extra_info("peername")
        tls = self._transport.get_extra_info("ssl_object")
        credentials = Credentials(
            connect.client_id,
            connect.username,
            connect.password,
            tls.getpeercert(True) if isinstance(tls, (ssl.SSLObject, ssl.SSLSocket)) else None,
            str(peer[0]) if isinstance(peer, tuple) else "",
            tls is not None,
        )
        hub.authenticator.authenticate(credentials, partial(self._authenticated, connect))

    def _authenticated(self, connect: Connect, result: Principal | Denied) -> None:
        if self._state != "deciding":
            return
        hub = self._hub
        if isinstance(result, Denied):
            self._refuse(connect, result.reason, result.text)
            return
        outcome = admit(connect, result, hub)
        if isinstance(outcome, Denied):
            self._refuse(connect, outcome.reason, outcome.text)
            return
        session, present = hub.broker.open(connect, outcome.client_id, result, outcome.expiry_s)
        session.link = self
        self._session = session
        self._session_expiry_s = outcome.expiry_s
        self.device = result.device
        self._registry.name(self, result.device)
        hub.journal.when_durable(partial(self._welcome, connect, outcome, present))

    def _welcome(self, connect: Connect, outcome: Admission, present: bool) -> None:
        if self._state != "deciding":
            return
        hub = self._hub
        config = hub.config
        self._state = "open"
        self._keep_alive_s = outcome.keep_alive_s * 1.5
        self._alias_max = min(connect.topic_alias_max, config.topic_alias_max)
        self.window = min(connect.receive_maximum, config.inflight_max)
        self._decoder = PublishDecoder(
            connect.level, config.topic_alias_max, config.topic_bytes_max, config.topic_levels_max
        )
        self._inbox = Inbox(hub, self, self._session)
        answer = encode_connack(connect.level, Reason.SUCCESS, present, outcome.properties)
        if self._packet_bytes_max and len(answer) > self._packet_bytes_max:
            self._leave(with_will=True)  # it may not even be told our terms [MQTT-3.1.2-24]
            self._shut()
            return
        self.send(answer)
        self._session.resume(self)
        self._resume(_DECIDING)

    def _refuse(self, connect: Connect, reason: Reason, text: str) -> None:
        self._hub.metrics.connections_refused += 1
        self._state = "new"
        self.send(encode_connack(connect.level, reason, False, [(0x1F, text)] if text else []))
        self._shut()

    # --- ends

    @property
    def open(self) -> bool:
        return self._state == "open"

    def close(self, reason: Reason, text: str = "") -> None:
        """End the connection from our side; the session's will is published (§3.1.2.5)."""
        if self._state == "closed":
            return
        if self._state == "open" and self._level == V5:
            packet = encode_disconnect(reason, text)
            if self._packet_bytes_max and len(packet) > self._packet_bytes_max:
                packet = encode_disconnect(reason)  # [MQTT-3.14.2-3]
            self.send(packet)
        self._leave(with_will=True)
        self._shut()

    def check(self, now: float) -> None:
        """Called about once a second: time-outs of connecting, keep-alive [MQTT-3.1.2-22] and writing."""
        config = self._hub.config
        if self._state in ("new", "deciding"):
            if now - self.made_at > config.connect_timeout_s:
                self._hub.metrics.connections_refused += 1
                self._leave(with_will=True)
                self.cut()
        elif self._write_paused_at and now - self._write_paused_at > config.write_stall_s:
            self._hub.metrics.write_stalls += 1
            self._leave(with_will=True)
            self.cut()
        elif (
            self._state == "open"
            and self._keep_alive_s
            and not self._paused
            and now - self.last_read > self._keep_alive_s
        ):
            self._hub.metrics.keep_alive_timeouts += 1
            self.close(Reason.KEEP_ALIVE_TIMEOUT)

    def access_changed(self) -> None:
        if self._state == "open":
            self._inbox.access_changed()

    def _fail(self, failure: MqttPacketError) -> None:
        """Malformed or forbidden: say why where the version can (§4.13), and close."""
        self._hub.metrics.protocol_errors += 1
        if self._state == "open":
            self.close(failure.reason, failure.message)
            return
        if failure.reason == Reason.UNSUPPORTED_PROTOCOL_VERSION:
            self.send(encode_connack(V311, failure.reason, False, []))
        self._leave(with_will=True)
        self._shut()

    def _leave(self, *, with_will: bool) -> None:
        """Let the session go, once."""
        state, self._state = self._state, "closed"
        if state == "open":
            self._inbox.closed()
        if state in ("open", "deciding") and hasattr(self, "_session") and self._session.link is self:
            self._hub.broker.detach(self._session, with_will=with_will)

    def _shut(self) -> None:
        self._state = "closed"
        self.flush()
        self._transport.close()
        self._hub.loop.call_later(_CLOSE_GRACE_S, self.cut)

    def cut(self) -> None:
        self._transport.abort()

    # --- writing

    @property
    def writable(self) -> bool:
        return (
            self._state == "open"
            and not self._write_paused_at
            and self._out_bytes < self._hub.config.write_buffer_bytes_max
        )

    def send(self, packet: bytes) -> None:
        if self._state == "closed":
            return
        self._out.append(packet)
        self._out_bytes += len(packet)
        if not self._dirty:
            self._dirty = True
            self._hub.want_flush(self)

    def flush(self) -> None:
        self._dirty = False
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._out_bytes = 0
            self._hub.metrics.bytes_out += len(data)
            if not self._transport.is_closing():
                self._transport.write(data)

    def retry(self) -> None:
        if self._state == "open":
            self._inbox.retry()

    def deliver(self, out: Outgoing, dup: bool) -> bool:
        message = out.message
        level = self._level
        topic = message.topic
        properties = b""
        if level == V5:
            alias = 0
            if self._alias_max:
                alias = self._aliases.get(topic, 0)
                if alias:
                    topic = ""
                elif len(self._aliases) < self._alias_max:
                    alias = len(self._aliases) + 1
            properties = delivery_properties(message, unix_ms(), out.identifiers, alias)
        packet = encode_publish(
            level, topic.encode(), message.payload, out.qos, out.retain, dup, out.packet_id, properties
        )
        if self._packet_bytes_max and len(packet) > self._packet_bytes_max:
            return False  # [MQTT-3.1.2-24]
        if level == V5 and alias and topic:
            self._aliases[topic] = alias
        self._hub.metrics.messages_out += 1
        self.send(packet)
        return True

    def send_puback(self, packet_id: int, reason: int = 0, text: str = "") -> None:
        if reason or text:
            self._send_ack(PUBACK, packet_id, reason, text)
        else:
            self.send(bytes((0x40, 2, packet_id >> 8, packet_id & 0xFF)))

    def send_pubrec(self, packet_id: int, reason: int, text: str) -> None:
        if self._state == "open":
            self._send_ack(PUBREC, packet_id, reason, text)
            if reason >= 0x80 and self._level == V5:
                self._inbox.finished(packet_id)

    def send_pubrel(self, packet_id: int, reason: int) -> None:
        self._send_ack(PUBREL, packet_id, reason, "")

    def send_pubcomp(self, packet_id: int, reason: int) -> None:
        if self._state == "open":
            self._send_ack(PUBCOMP, packet_id, reason, "")
            self._inbox.finished(packet_id)

    def _send_ack(self, kind: int, packet_id: int, reason: int, text: str) -> None:
        packet = encode_ack(kind, self._level, packet_id, reason, text if self._problem_information else "")
        if self._packet_bytes_max and len(packet) > self._packet_bytes_max:
            packet = encode_ack(kind, self._level, packet_id, reason)  # [MQTT-3.4.2-2]
        self.send(packet)

    # --- flow control of what we read

    def window_full(self, full: bool) -> None:
        """An older client has sent as much as we hold for one client: reading waits until half is acknowledged."""
        if full:
            self._pause(_WINDOW)
        else:
            self._resume(_WINDOW)

    def _pause(self, why: int) -> None:
        if not self._paused and not self._transport.is_closing():
            self._transport.pause_reading()
        self._paused |= why

    def _resume(self, why: int) -> None:
        if not self._paused & why:
            return
        self._paused &= ~why
        if not self._paused:
            held, self._held = self._held, []
            if held and self._state == "open":
                self._process(b"".join(held))
            if not self._paused and not self._transport.is_closing():
                self._transport.resume_reading()
