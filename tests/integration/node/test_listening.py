"""Beyond loopback only with TLS and a token; pages of other origins only where they are named."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from althing.node.config import ApiConfig, NodeConfig
from althing.service.listener import ListenerError

from .world import Running, new_home

TOKEN = "0123456789abcdef" * 4


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("kept", [(), ("tls",), ("token",)])
def test_a_host_that_others_reach_needs_both(tmp_path: Path, kept: tuple[str, ...]) -> None:
    cert, key = certificate(tmp_path)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    api = ApiConfig(
        host="0.0.0.0",
        port=0,
        certificate=cert if "tls" in kept else None,
        key=key if "tls" in kept else None,
        token_file=token if "token" in kept else None,
    )
    home = new_home(tmp_path / "home")
    with pytest.raises(ListenerError) as raised, Running(home, NodeConfig(api=api)):
        pass
    assert raised.value.code == "listener.insecure_bind"
    # Refused before anything was opened: the same home starts at once on loopback.
    with Running(home):
        pass


def test_with_tls_and_a_token(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    config = NodeConfig(api=ApiConfig(host="0.0.0.0", port=0, certificate=cert, key=key, token_file=token))
    with Running(new_home(tmp_path / "home"), config) as process:
        assert process.url.startswith("https://")
        port = httpx2.URL(process.url).port
        base = f"https://127.0.0.1:{port}"
        with httpx2.Client(base_url=base, verify=ssl.create_default_context(cafile=str(cert))) as http:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
                answer = http.get("/v1/status", headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (401, "api.token")
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert http.get("/metrics", headers=headers).status_code == 401
            assert http.get("/v1/status", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
            # A client elsewhere knows this machine by any name; the token is what counts.
            named = {"Authorization": f"Bearer {TOKEN}", "Host": "node.example"}
            assert http.get("/v1/status", headers=named).status_code == 200
            assert http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("content", "mode"),
    [("", 0o600), ("short", 0o600), ("two words " + TOKEN, 0o600), ("é" * 64, 0o600), (TOKEN, 0o640), (TOKEN, 0o604)],
)
def test_a_weak_or_open_token_is_refused(tmp_path: Path, content: str, mode: int) -> None:
    token = tmp_path / "token"
    token.write_text(content, encoding="utf-8")
    token.chmod(mode)
    with (
        pytest.raises(ListenerError) as raised,
        Running(new_home(tmp_path / "home"), NodeConfig(api=ApiConfig(port=0, token_file=token))),
    ):
        pass
    assert raised.value.code == "listener.token"


def test_pages_of_other_origins_read_only_where_named(tmp_path: Path) -> None:
    origin = "https://dashboard.example"
    home = new_home(tmp_path / "home")
    with Running(home) as process:
        answer = httpx2.get(f"{process.url}/v1/status", headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers
    config = NodeConfig(api=ApiConfig(port=0, cors_origins=(origin,)))
    with Running(home, config) as process:
        answer = httpx2.get(f"{process.url}/v1/status", headers={"Origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        other = httpx2.get(f"{process.url}/v1/status", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
