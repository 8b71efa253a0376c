"""Who a connection is: by client certificate, else by token, else, on loopback only and where allowed, by its word."""

from __future__ import annotations

from collections.abc import Callable

from althing.gateway.certificates import CertificateStore
from althing.gateway.ingest.mqtt.ports import Credentials, Denied, DeviceAccess
from althing.gateway.ingest.mqtt.reasons import Reason
from althing.gateway.ingest.port import Principal
from althing.gateway.registry import Registry
from althing.gateway.tokens import TokenStore
from althing.protocol.address import format_address

__all__ = ["Access", "GatewayAccess", "MqttAuthenticator"]


class Access:
    """Decides by certificate and token; `open` also believes a device's name, for a listener on loopback."""

    def __init__(
        self, registry: Registry, tokens: TokenStore, certificates: CertificateStore | None, *, open_: bool
    ) -> None:
        self._registry = registry
        self._tokens = tokens
        self._certificates = certificates
        self.open = open_

    def identify(self, certificate: bytes | None, token: str, claimed: str) -> Principal | None:
        """`claimed` is the device's name as the client gives it; it must agree with what it proves, where it says one."""
        if certificate is not None and self._certificates is not None:
            principal = self._certificates.principal(certificate)
            if principal is not None:
                return principal if claimed in ("", principal.device) else None
        if token:
            principal = self._tokens.check(token)
            if principal is None or (principal.device and claimed not in ("", principal.device)):
                return None
            return principal
        if self.open and claimed:
            device = self._registry.devices.get(claimed)
            organisation = "" if device is None else format_address(device.organisation)
            return Principal(claimed, organisation, "open")
        return None

    def suspended(self, principal: Principal) -> bool:
        """A device that is known and not active may not even connect."""
        device = self._registry.devices.get(principal.device)
        return device is not None and not device.active


class MqttAuthenticator:
    """The MQTT server's `Authenticator`: user name is the device, password its token."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self.open = access.open

    def authenticate(self, credentials: Credentials, done: Callable[[Principal | Denied], None]) -> None:
        token = (credentials.password or b"").decode("utf-8", "replace")
        principal = self._access.identify(credentials.certificate, token, credentials.username or "")
        if principal is None and self.open and credentials.username is None and not token:
            principal = Principal("", "", "open")  # a relay, such as a bridge for devices that do not speak MQTT
        if principal is None:
            done(Denied(Reason.BAD_USER_NAME_OR_PASSWORD, "unknown device, wrong token, or a certificate of neither"))
        elif self._access.suspended(principal):
            done(Denied(Reason.NOT_AUTHORISED, "the device is suspended or retired"))
        else:
            done(principal)


class GatewayAccess(DeviceAccess):
    """The MQTT server's `AccessRules`: a device has its own topics and what lies outside `althing/` and `$…`."""
