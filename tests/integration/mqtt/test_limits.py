"""What one client may cost us: time to connect, memory, connections; and where a listener may not listen."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from althing.gateway.ingest.mqtt import (
    ListenerError,
    MemorySessionStore,
    MqttConfig,
    MqttServer,
    OpenAccess,
    OpenAuthenticator,
    StaticTokens,
)
from althing.gateway.ingest.port import Accepted, Principal


def test_half_open_connections_are_closed(start, raw):
    server = start(connect_timeout_s=1)
    silent, partial = raw(server), raw(server)
    partial.send(b"\x10\x20\x00")
    silent.closed()
    partial.closed()
    server.until(lambda: server.metrics.connections == 0)


def test_oversize_packets_are_refused_before_they_are_read(start, raw):
    server = start(packet_bytes_max=2048)
    client = raw(server).connect("c")
    assert b"\x27\x00\x00\x08\x00" in client.connack
    client.publish("a", b"x" * 2000, 1, 1)
    assert client.read().kind == 4
    client.send(b"\x30\x80\x20")
    client.closed(0x95)
    old = raw(server, 4).connect("d")
    old.send(b"\x30\x80\x20")
    old.closed()


def test_a_large_packet_in_many_pieces(server, raw):
    client = raw(server).connect("c", user="dev")
    body = bytes(range(256)) * 4000
    client.publish("althing/v1/dev/t", body, 1, 1)
    assert client.read().kind == 4
    assert server.intake.items[0].body == body


@pytest.mark.parametrize("level", [4, 5])
def test_what_the_intake_has_not_decided_is_bounded_in_bytes(start, raw, level):
    server = start(undecided_bytes_max=1_000_000)
    server.intake.hold = True
    client = raw(server, level).connect("c", user="dev")
    sender = threading.Thread(
        target=lambda: [client.publish("althing/v1/dev/t", bytes((i,)) * 300_000, 1, i) for i in range(1, 61)]
    )
    sender.start()
    server.until(lambda: len(server.intake.held) >= 4)
    raw(server).connect("other").silent()
    assert len(server.intake.held) < 10
    seen = []
    while len(seen) < 60:
        server.until(lambda: server.intake.held)
        item, done = server.call(server.intake.held.pop, 0)
        seen.append(item.body[0])
        server.call(done, Accepted(len(seen)))
    sender.join()
    assert seen == list(range(1, 61))
    assert [client.read().packet_id for _ in range(60)] == seen


def test_connections_are_bounded(start, raw):
    server = start(connections_max=3)
    clients = [raw(server).connect(f"c{i}") for i in range(3)]
    raw(server).closed()
    clients[0].disconnect()
    server.until(lambda: server.metrics.connections == 2)
    raw(server).connect("again").silent()


def test_sessions_are_bounded(start, raw):
    server = start(sessions_max=1)
    raw(server).connect("a", properties=b"\x11\0\0\0\x3c")
    raw(server).connect("b", expect=0x97).closed()
    raw(server).connect("a", properties=b"\x11\0\0\0\x3c").silent()


def test_a_slow_reader_costs_a_bounded_buffer(start, raw):
    server = start(write_buffer_bytes_max=65_536, write_stall_s=1)
    slow = raw(server).connect("slow", properties=b"\x11\0\0\0\x3c")
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.subscribe(("zero", 0), ("one", 1))
    sender = raw(server).connect("s")
    sender.publish("one", b"first", 1, 1)
    sender.read()
    while not server.metrics.write_stalls:  # the kernel takes some megabytes before anything stalls
        for _ in range(10):
            sender.publish("zero", b"x" * 60_000)
        sender.silent()
    assert server.metrics.dropped_qos0 > 0
    sender.publish("one", b"last", 1, 2)
    assert sender.read().kind == 4
    back = raw(server).connect("slow", clean=False, properties=b"\x11\0\0\0\x3c")
    payloads = {back.body_of(back.read())[0] for _ in range(2)}
    assert payloads == {b"first", b"last"}


def test_a_thousand_idle_connections(server, raw):
    clients = [raw(server).connect(f"idle{i}", user=f"idle{i}") for i in range(1000)]
    assert server.metrics.connections == 1000
    busy = raw(server).connect("busy", user="dev")
    for i in range(1, 201):
        busy.publish("althing/v1/dev/t", b"x", 1, i)
    assert [busy.read().packet_id for _ in range(200)] == list(range(1, 201))
    clients[0].silent(), clients[-1].silent()


def test_a_flood_of_connects_and_resets(server, raw):
    for i in range(200):
        client = raw(server)
        client.send(b"\x10" if i % 2 else b"")
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.socket.close()
    server.until(lambda: server.metrics.connections == 0)
    raw(server).connect("alive").silent()


def certificate(name, issuer=None, ca=False):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer_name, issuer_key = (issuer[0].subject, issuer[1]) if issuer else (subject, key)
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca, None), True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(issuer_key, hashes.SHA256())
    )
    return made, key


def written(directory, name, pair):
    path = directory / f"{name}.pem"
    path.write_bytes(
        pair[1].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + pair[0].public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_tls_with_a_client_certificate(start, raw, tmp_path):
    authority = certificate("ca", ca=True)
    ours, theirs = certificate("localhost", authority), certificate("dev", authority)
    authority_file = written(tmp_path, "ca", authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(written(tmp_path, "server", ours))
    context.load_verify_locations(authority_file)
    context.verify_mode = ssl.CERT_OPTIONAL

    class ByCertificate:
        open = False

        def __init__(self):
            self.seen = []

        def authenticate(self, credentials, done):
            self.seen.append(credentials)
            done(Principal("dev", "org", "certificate"))

    authenticator = ByCertificate()
    server = start(tls=context, authenticator=authenticator, host="0.0.0.0")
    client_context = ssl.create_default_context(cafile=authority_file)
    client_context.load_cert_chain(written(tmp_path, "dev", theirs))
    client = raw(server)
    client.socket = client_context.wrap_socket(client.socket, server_hostname="localhost")
    client.connect("c")
    client.publish("althing/v1/dev/t", b"x" * 300_000, 1, 1)
    assert client.read().kind == 4
    assert authenticator.seen[0].certificate == theirs[0].public_bytes(serialization.Encoding.DER)
    assert authenticator.seen[0].secure
    plain = raw(server)
    plain.send(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03one")
    answer = plain.read()
    assert answer is None or answer.kind == 1, answer  # nothing, or bytes of a TLS alert: no CONNACK


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::", ""])
def test_insecure_binds_are_refused(start, host):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for authenticator, context in ((OpenAuthenticator(), None), (OpenAuthenticator(), tls), (StaticTokens({}), None)):
        with pytest.raises(ListenerError) as caught:
            start(host=host, tls=context, authenticator=authenticator)
        assert caught.value.code == "listener.insecure_bind"


def test_a_busy_port_is_an_error_with_a_code(start):
    server = start()
    with pytest.raises(ListenerError) as caught:
        start(port=server.port)
    assert caught.value.code == "listener.bind_failed"


def test_stop_sends_wills_and_makes_all_durable(start, raw):
    store = MemorySessionStore()
    server = start(store=store)
    client = raw(server).connect("c", user="dev", will=("w", "bye", 1, True), properties=b"\x11\0\0\0\x3c")
    client.subscribe(("w", 1))
    server.stop()
    client.closed(0x8B)
    assert server.intake.items[-1].body == b"bye"
    again = start(store=store)
    back = raw(again).connect("c", clean=False, user="dev", properties=b"\x11\0\0\0\x3c")
    assert back.present
    assert back.body_of(back.read())[0] == b"bye"


def test_defaults_bind_loopback_only():
    assert MqttConfig().host == "127.0.0.1"
    MqttServer(MqttConfig(), None, OpenAuthenticator(), OpenAccess(), MemorySessionStore())  # starts nothing by itself
