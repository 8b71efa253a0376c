"""TLS listeners: client certificates by key and by the organisation's CA, and what a listener refuses to bind."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from althing.client.keyfile import save_key
from althing.gateway.config import GatewayConfig, ListenerConfig
from althing.gateway.daemon import Gateway, Outside
from althing.protocol.address import format_address
from althing.protocol.errors import AlthingError
from althing.protocol.genesis import genesis_hash
from althing.protocol.message import sign_message
from althing.protocol.messages.devices import DeviceState
from althing.protocol.signatures import PrivateKey, Suite
from althing.testing.gateway_fakes import ORGANISATION, FakeArchive, FakeLedger, FakeProofCheck
from althing.testing.gateway_rig import FAST, GATEWAY_KEY
from althing.testing.harness import LedgerHarness

DEVICE_SECRET = 0x0505
DEVICE_KEY = PrivateKey(Suite.ES256, DEVICE_SECRET.to_bytes(32, "big"))


@dataclass(frozen=True)
class Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def save(self, folder: Path, name: str) -> tuple[str, str]:
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return str(certificate), str(key)


def issue(
    name: str, *, by: Pair | None = None, ca: bool = False, key: ec.EllipticCurvePrivateKey | None = None
) -> Pair:
    own = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.certificate.subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    )
    return Pair(builder.sign(own if by is None else by.key, hashes.SHA256()), own)


@dataclass
class Site:
    gateway: Gateway
    ledger: FakeLedger
    port: int
    folder: Path
    server: Pair

    async def post(self, path: str, body: bytes, pair: Pair | None = None, token: str = "") -> httpx2.Response:
        context = ssl.create_default_context(cadata=self.server.certificate.public_bytes(Encoding.PEM).decode())
        if pair is not None:
            context.load_cert_chain(*pair.save(self.folder, "client"))
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with httpx2.AsyncClient(verify=context, base_url=f"https://127.0.0.1:{self.port}") as http:
            return await http.post(f"/v1/messages/{path}", content=body, headers=headers)


@asynccontextmanager
async def site(tmp_path: Path, organisation_ca: Pair, enrolled: Pair) -> AsyncIterator[Site]:
    home = tmp_path / "home"
    certificates = home / "gateway" / "certificates"
    (certificates / "cas").mkdir(parents=True)
    (certificates / "devices").mkdir()
    ca_name = f"{format_address(ORGANISATION)}.pem"
    (certificates / "cas" / ca_name).write_bytes(organisation_ca.certificate.public_bytes(Encoding.PEM))
    (certificates / "devices" / "signer.pem").write_bytes(enrolled.certificate.public_bytes(Encoding.PEM))
    save_key(home / "gateway" / "gateway_key.json", GATEWAY_KEY)
    genesis = LedgerHarness().genesis
    (home / "genesis.cbor").write_bytes(genesis.to_bytes())
    ledger = FakeLedger(GATEWAY_KEY, FakeArchive(), genesis.chain_id, genesis_hash(genesis))
    ledger.add_device("legacy")
    ledger.add_device("signer", DEVICE_KEY)
    ledger.add_stream("legacy/raw")
    ledger.add_stream("signer/raw")
    server = issue("gateway")
    certificate, key = server.save(tmp_path, "server")
    config = GatewayConfig(
        verify_processes=0,
        mqtt=ListenerConfig(enabled=False),
        http=ListenerConfig(port=0, certificate=Path(certificate), key=Path(key)),
        batch=replace(FAST),
    )
    gateway = Gateway(home, config, Outside(ledger, ledger.archive, FakeProofCheck()))
    addresses = await gateway.start()
    assert addresses.http is not None
    try:
        yield Site(gateway, ledger, addresses.http[1], tmp_path, server)
    finally:
        await gateway.stop()


def test_client_certificates(tmp_path: Path) -> None:
    async def test() -> None:
        ca, other_ca = issue("acme ca", ca=True), issue("other ca", ca=True)
        own = issue("anything", key=ec.derive_private_key(DEVICE_SECRET, ec.SECP256R1()))
        async with site(tmp_path, ca, own) as here:
            genesis = here.gateway.registry.genesis_hash
            message = sign_message(DEVICE_KEY, genesis, here.ledger.chain_id, "signer/raw", 1, b"x")
            # The key is the device's active key, whatever the certificate says of its name.
            assert (await here.post("signer/raw", message, own)).status_code == 200
            # The issuer is the organisation's CA, the common name the device.
            issued = issue("legacy", by=ca)
            assert (await here.post("legacy/raw", b"x", issued)).status_code == 200
            refused = await here.post("signer/raw", message, issued)
            assert (refused.status_code, refused.json()["items"][0]["code"]) == (403, "auth.wrong_device")
            assert (await here.post("legacy/raw", b"x", issue("nobody", by=ca))).status_code == 401
            # Without a certificate a token serves as well; with neither, nothing does.
            token = here.gateway.tokens.add("legacy")
            assert (await here.post("legacy/raw", b"x", token=token)).status_code == 200
            assert (await here.post("legacy/raw", b"x")).status_code == 401
            # Strangers' certificates do not even get through the handshake.
            for stranger in (issue("legacy"), issue("legacy", by=other_ca)):
                with pytest.raises(httpx2.TransportError):
                    await here.post("legacy/raw", b"x", stranger)
            here.ledger.set_state("signer", DeviceState.SUSPENDED)
            while here.gateway.registry.devices["signer"].active:
                await asyncio.sleep(0.01)
            assert (await here.post("signer/raw", message, own)).status_code == 401
            assert await here.gateway.drain(10)

    asyncio.run(test())


def test_nothing_binds_to_the_world_unprotected(tmp_path: Path) -> None:
    async def test(listener: ListenerConfig, *, mqtt: bool) -> str:
        home = tmp_path / f"home-{id(listener)}-{mqtt}"
        (home / "gateway").mkdir(parents=True)
        save_key(home / "gateway" / "gateway_key.json", GATEWAY_KEY)
        genesis = LedgerHarness().genesis
        (home / "genesis.cbor").write_bytes(genesis.to_bytes())
        ledger = FakeLedger(GATEWAY_KEY, FakeArchive(), genesis.chain_id, genesis_hash(genesis))
        off = ListenerConfig(enabled=False)
        config = GatewayConfig(
            verify_processes=0, mqtt=listener if mqtt else off, http=off if mqtt else listener, batch=FAST
        )
        gateway = Gateway(home, config, Outside(ledger, ledger.archive, FakeProofCheck()))
        with pytest.raises(AlthingError) as raised:
            await gateway.start()
        return raised.value.code

    certificate, key = issue("gateway").save(tmp_path, "server")
    for listener in (
        ListenerConfig(host="0.0.0.0", port=0),
        ListenerConfig(host="0.0.0.0", port=0, open=True, certificate=Path(certificate), key=Path(key)),
    ):
        for mqtt in (False, True):
            assert asyncio.run(test(listener, mqtt=mqtt)) == "listener.insecure_bind"
