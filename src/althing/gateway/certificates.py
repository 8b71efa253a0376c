"""Client certificates: which ones a TLS context accepts, and which device each stands for.

OpenSSL has verified the chain when a certificate comes here: up to an organisation's CA in `cas/<organisation>.pem`, or
to the device's own self-signed certificate enrolled in `devices/`. What it stands for is decided here:
1. its public key is the active key of a device: that device;
2. its direct issuer is an organisation's CA: the device of that organisation that it names (common name).
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from althing.gateway.errors import SettingsError
from althing.gateway.ingest.port import Principal
from althing.gateway.registry import Registry
from althing.protocol.address import format_address
from althing.protocol.signatures import Suite

__all__ = ["CertificateStore"]

_log = structlog.get_logger("althing.gateway.certificates")

_FILES_MAX: Final = 10_000


class CertificateStore:
    """CAs of organisations, and enrolled self-signed certificates, in a folder of the gateway's home.

    `cas/<organisation's address>.pem`, `devices/<name>.pem`. `refresh` adds what is new to running TLS contexts; what
    was taken away is refused by `principal` at once.
    """

    def __init__(self, folder: Path, registry: Registry) -> None:
        self._folder = folder
        self._registry = registry
        self._contexts: list[ssl.SSLContext] = []
        self._cas: dict[str, list[x509.Certificate]] = {}
        self._enrolled: set[bytes] = set()
        self._known: set[bytes] = set()

    def attach(self, context: ssl.SSLContext) -> None:
        """Have a server's context ask for client certificates, not insist: tokens are the other way in."""
        context.verify_mode = ssl.CERT_OPTIONAL
        self._contexts.append(context)
        self._known.clear()
        self.refresh()

    def refresh(self) -> None:
        """Read the folder again."""
        self._cas = {path.stem: _load(path) for path in _files(self._folder / "cas")}
        enrolled = [certificate for path in _files(self._folder / "devices") for certificate in _load(path)]
        self._enrolled = {certificate.public_bytes(Encoding.DER) for certificate in enrolled}
        authorities = [ca for cas in self._cas.values() for ca in cas]
        for certificate in (*authorities, *enrolled):
            der = certificate.public_bytes(Encoding.DER)
            if der not in self._known:
                self._known.add(der)
                for context in self._contexts:
                    context.load_verify_locations(cadata=der)

    def principal(self, der: bytes) -> Principal | None:
        """The device a verified certificate stands for; None for one that stands for nobody (any more)."""
        try:
            certificate = x509.load_der_x509_certificate(der)
            own = _public_key(certificate)
            issuer = self._issuer(certificate)
        except ValueError:
            return None
        if der not in self._enrolled and issuer is None:
            return None  # verified by what has been taken out of the folder since
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        name = str(names[0].value) if len(names) == 1 else ""
        # 1
        device = None if own is None else self._registry.device_of_key(*own, name)
        if device is not None and device.active:
            return Principal(device.name, format_address(device.organisation), "certificate")
        # 2
        if issuer is None:
            return None
        named = self._registry.devices.get(name)
        if named is None or not named.active or format_address(named.organisation) != issuer:
            return None
        return Principal(named.name, issuer, "certificate")

    def _issuer(self, certificate: x509.Certificate) -> str | None:
        """The organisation whose CA issued the certificate directly."""
        for organisation, cas in self._cas.items():
            for ca in cas:
                try:
                    certificate.verify_directly_issued_by(ca)
                except (ValueError, TypeError, InvalidSignature):
                    continue
                if certificate != ca:
                    return organisation
        return None


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.pem")) if folder.is_dir() else []
    if len(found) > _FILES_MAX:
        raise SettingsError("gateway.certificates", f"{folder} holds more than {_FILES_MAX} files")
    return found


def _load(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (ValueError, OSError) as error:
        # One bad file must not lock every other device out.
        _log.error("certificate not read", path=str(path), reason=str(error))
        return []


def _public_key(certificate: x509.Certificate) -> tuple[Suite, bytes] | None:
    key = certificate.public_key()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return Suite.ED25519, key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return Suite.ES256, key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return None
