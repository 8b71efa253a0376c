"""What the MQTT server asks for: who a client is, what it may do, and where a listener's own refusals are recorded."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from althing.gateway.ingest.mqtt.reasons import Reason
from althing.gateway.ingest.port import Inbound, Outcome, Principal, Refused

__all__ = [
    "AccessRules",
    "Authenticator",
    "Credentials",
    "Denied",
    "DeviceAccess",
    "OpenAccess",
    "OpenAuthenticator",
    "RefusalLog",
    "StaticTokens",
]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client showed in CONNECT and in the TLS handshake. `certificate` is DER, verified by the TLS context."""

    client_id: str
    username: str | None
    password: bytes | None
    certificate: bytes | None
    peer: str
    secure: bool


@dataclass(frozen=True, slots=True)
class Denied:
    """Why a client may not connect: a CONNACK reason code, and text for the operator and the client."""

    reason: Reason
    text: str


class Authenticator(Protocol):
    """Says who a client is; may take its time (a hash, a cache that is being filled)."""

    @property
    def open(self) -> bool:
        """True when anybody is let in: such a listener may bind loopback addresses only."""
        ...

    def authenticate(self, credentials: Credentials, done: Callable[[Principal | Denied], None]) -> None:
        """Call `done` exactly once on the event loop's thread, possibly before returning."""
        ...


class AccessRules(Protocol):
    """What a principal may do with a topic. Called on the event loop's thread; must not block."""

    def may_publish(self, principal: Principal, topic: str) -> bool: ...

    def may_subscribe(self, principal: Principal, topic_filter: str) -> bool: ...

    def may_receive(self, principal: Principal, topic: str) -> bool:
        """Asked for each delivery, so that a wildcard or an old subscription shows nobody what he may not see."""
        ...


class RefusalLog(Protocol):
    """Keeps a durable record of a message that the listener itself refused (a foreign device's topic)."""

    def record(self, item: Inbound, refusal: Refused, done: Callable[[Outcome], None]) -> None:
        """Call `done` exactly once on the event loop's thread: Refused when the record is durable, Busy when there is none
        yet, because of the rate or for want of room."""
        ...


class OpenAuthenticator:
    """Lets anybody in; the user name is taken for the device's name. Loopback only."""

    open = True

    def __init__(self, organisation: str = "") -> None:
        self._organisation = organisation

    def authenticate(self, credentials: Credentials, done: Callable[[Principal | Denied], None]) -> None:
        done(Principal(credentials.username or "", self._organisation, "open"))


class StaticTokens:
    """Tokens of named devices, kept as SHA-256 (tokens are random, so a slow hash would add nothing)."""

    open = False

    def __init__(self, tokens: Mapping[str, bytes], organisation: str = "") -> None:
        """`tokens`: device name → SHA-256 of its token."""
        self._tokens = dict(tokens)
        self._organisation = organisation

    def authenticate(self, credentials: Credentials, done: Callable[[Principal | Denied], None]) -> None:
        name = credentials.username or ""
        known = self._tokens.get(name)
        shown = hashlib.sha256(credentials.password or b"").digest()
        if hmac.compare_digest(known or bytes(32), shown) and known is not None:
            done(Principal(name, self._organisation, "token"))
        else:
            done(Denied(Reason.BAD_USER_NAME_OR_PASSWORD, "unknown device or wrong token"))


class OpenAccess:
    """Everybody may do everything. Loopback and tests."""

    def may_publish(self, principal: Principal, topic: str) -> bool:
        return True

    def may_subscribe(self, principal: Principal, topic_filter: str) -> bool:
        return True

    def may_receive(self, principal: Principal, topic: str) -> bool:
        return True


class DeviceAccess:
    """A device has its own `althing/v1/<device>/…`, and what lies outside `althing/` and `$…`; operators have all."""

    def may_publish(self, principal: Principal, topic: str) -> bool:
        return self._may(principal, topic)

    def may_subscribe(self, principal: Principal, topic_filter: str) -> bool:
        # What a wildcard would show is decided for each delivery.
        first = topic_filter.split("/", 1)[0]
        return first in ("+", "#") or self._may(principal, topic_filter)

    def may_receive(self, principal: Principal, topic: str) -> bool:
        return self._may(principal, topic)

    def _may(self, principal: Principal, topic: str) -> bool:
        if not principal.device:
            return True
        if topic.startswith("althing/"):
            return topic.startswith(f"althing/v1/{principal.device}/")
        return not topic.startswith("$")
