"""The port between listeners (MQTT, HTTP, …) and the pipeline behind them (guard → spool → batch).

A listener turns bytes of its protocol into `Inbound` and gives it to `Intake.submit`; the pipeline answers exactly
once through `done`, after the group-committed fsync for accepted messages. Callbacks, not futures: one message a
hundred microseconds leaves no room for an event-loop round trip each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Accepted", "Busy", "Inbound", "Intake", "Outcome", "Principal", "Refused"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a connection has proved to be. `device` is the device's name in the registry, empty for operators."""

    device: str
    organisation: str
    method: str  # "token" | "certificate" | "open" (loopback only)

    def speaks_for(self, device: str) -> bool:
        """True for its own device; a nameless client of an open listener, whose word is believed anyway, relays for all."""
        return self.device == device or (self.method == "open" and not self.device)


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message as it arrived. `body` is kept byte for byte; `content_type` is "" when the sender gave none.

    `dedup_key` identifies the message for exactly-once (formats.md): an Idempotency-Key, or the QoS 2 packet
    identifier of its session; empty when there is none. A signed message's (device, counter) takes precedence.
    """

    principal: Principal
    device: str
    stream: str
    body: bytes
    content_type: str = ""
    dedup_key: bytes = b""
    transport: str = "mqtt"
    origin_gateway: bool = False  # made by the gateway itself (a will, a status message)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Durable in the spool under (stream, sequence). `duplicate` when it was accepted before."""

    sequence: int
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Not accepted; a durable refusal record exists. `code` is stable."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Busy:
    """Nothing was recorded; the sender must keep the message and try again."""

    retry_after_s: int


Outcome = Accepted | Refused | Busy


class Intake(Protocol):
    """The pipeline as a listener sees it; called on the event loop's thread only."""

    def submit(self, item: Inbound, done: Callable[[Outcome], None]) -> None:
        """Take a message. `done` is called exactly once, on the event loop's thread, possibly before returning."""
        ...

    @property
    def overloaded(self) -> bool:
        """True while listeners should delay reading and drop QoS 0."""
        ...
