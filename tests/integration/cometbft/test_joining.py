"""A node joins a running chain late, by block sync and by state sync over TLS, and goes on with it."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from althing.cli.demo.network import NetworkRun
from althing.cli.main import app
from althing.client import Client, Signer, load_signer
from althing.node.config import read_config
from althing.node.daemon import NodeProcess
from althing.node.home import Home
from althing.node.network import Network, found_network, load_network
from althing.protocol.messages.identity import AccountKind, Key
from althing.protocol.signatures import PrivateKey, Suite

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(400)]

WAIT_S = 90


def certify(folder: Path, made: Network) -> None:
    """`folder/ca.pem`, and for every node a certificate under it, a token, and the settings."""
    authority, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the chain's nodes")])
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8

    def signed(subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        return builder.add_extension(extension, critical=False).sign(authority, hashes.SHA256()).public_bytes(pem)

    (folder / "ca.pem").write_bytes(signed(name, authority, x509.BasicConstraints(True, None)))
    for number, node in enumerate(made.nodes):
        home, key = made.home(node).path, ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(node.host))])
        own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node.name)])
        (home / "tls.pem").write_bytes(signed(own, key, names))
        (home / "tls.key").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
        (home / "node.token").write_text(f"{number}" * 64)
        (home / "node.token").chmod(0o600)
        settings = (home / "config.toml").read_text()
        security = 'certificate = "tls.pem"\nkey = "tls.key"\ntoken_file = "node.token"\n'
        (home / "config.toml").write_text(settings.replace("[node.api]\n", f"[node.api]\n{security}"))


@contextmanager
def running(home: Home) -> Iterator[NodeProcess]:
    """A node in this process, on an event loop in a thread of its own."""
    process = NodeProcess(home, read_config(home.path))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(process.start(), loop).result(WAIT_S)
        yield process
    finally:
        asyncio.run_coroutine_threadsafe(process.stop(), loop).result(WAIT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Network, NetworkRun]]:
    """Two validators on addresses of this test's own, whose APIs need TLS under the authority below, and a token."""
    monkeypatch.setenv("ALTHING_NODE_COMETBFT_IDLE_BLOCK_S", "1")
    monkeypatch.setenv("ALTHING_NODE_SNAPSHOTS_EVERY_BLOCKS", "5")
    folder = tmp_path / "net"
    made = found_network(folder, chain_id="join", organisations=("acme", "bolt"), validators=2, time_s=int(time.time()))
    for path in (folder / "network.json", *(made.home(node).path / "config.toml" for node in made.nodes)):
        path.write_text(path.read_text().replace("127.0.1.", "127.0.61."))
    made = load_network(folder)
    certify(folder, made)
    run = NetworkRun(made, lambda _: None)
    try:
        run.start()
        yield made, run
    finally:
        run.stop()


def create(client: Client, number: int) -> int:
    own = PrivateKey(Suite.ED25519, bytes([number + 1] * 32))
    key = Key(own.suite, own.public)
    holder = Signer(key.address, (own,))
    return client.create_account(f"member-{number}", AccountKind.PERSON, [key], holder=holder).height


def reach(process: NodeProcess, height: int) -> None:
    pause = threading.Event()
    for _ in range(WAIT_S * 10):
        if process.node.ledger.height >= height and process.node.ready:
            return
        pause.wait(0.1)
    raise AssertionError(f"it stands at {process.node.status()}, not at {height}")


def joined(tmp_path: Path, name: str, made: Network, *options: str) -> Home:
    home = tmp_path / name
    genesis = made.home(made.nodes[0]).genesis_file
    peers = [part for node in made.nodes for part in ("--peer", node.peer)]
    start = ["--ca", str(made.folder / "ca.pem"), "node", "join", "--genesis", str(genesis)]
    result = CliRunner().invoke(app, [*start, *peers, *options, "--home", str(home), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout.splitlines()[-1])  # nodes of this process log to the same stream
    assert document["chain_id"] == "join"
    assert len(document["peer_id"]) == 40
    assert (home / "config.toml").stat().st_mode & 0o077 == 0, "it may hold tokens"
    text = (home / "config.toml").read_text()
    (home / "config.toml").write_text(text + "[node.api]\nport = 0\n")
    return Home(home)


def test_late_nodes_reach_the_same_state_and_go_on(network: tuple[Network, NetworkRun], tmp_path: Path) -> None:
    made, run = network
    first = made.nodes[0]
    founder = made.home(first)
    tls = ssl.create_default_context(cafile=str(made.folder / "ca.pem"))
    signer = load_signer(founder.admin_key_file)
    client = Client(run.apis[first.name], trust=founder.trust_file, signer=signer, token="0" * 64, verify=tls)
    with ExitStack() as stack:
        stack.callback(client.close)
        for number in range(12):
            height = create(client, number)
        assert height > 10

        by_blocks = stack.enter_context(running(joined(tmp_path, "blocks", made)))
        reach(by_blocks, height)
        assert by_blocks.node.status().base_height == 1
        assert by_blocks.node.engine.block(2) is not None

        trust = ["--trust", str(founder.trust_file), "--state-sync"]
        servers = []
        for number, node in enumerate(made.nodes):
            api = run.apis[node.name]
            assert api.startswith("https://127.0.61.")
            servers += ["--rpc", api.replace("https://", f"https://node:{f'{number}' * 64}@")]
        by_state = stack.enter_context(running(joined(tmp_path, "state", made, *trust, *servers)))
        reach(by_state, height)
        base = by_state.node.status().base_height
        oldest = by_state.node.ledger.store.oldest_version
        assert oldest is not None
        assert oldest % 5 == 0  # the snapshot's height: nothing before it was executed here
        assert base == oldest + 1

        later = create(client, 20)
        for process in (by_blocks, by_state):
            reach(process, later)
        roots = {process.node.ledger.store.root(later) for process in (by_blocks, by_state)}
        header = by_blocks.node.engine.signed_header(later).header
        assert len(roots) == 1
        pause = threading.Event()
        while by_state.node.engine.latest_height <= later:
            pause.wait(0.1)
        assert by_state.node.engine.signed_header(later + 1).header.app_hash in roots
        assert by_state.node.engine.signed_header(later).header == header
        # Proposer priorities are those of the others, or it would expect other proposers than they.
        engines = (by_blocks.node.engine, by_state.node.engine)
        assert len({engine.proposer_priorities(later) for engine in engines}) == 1
        # It serves what it has, to a client that trusts nothing but the chain.
        with Client(by_state.url, trust=founder.trust_file) as reader:
            own = PrivateKey(Suite.ED25519, bytes([3] * 32))
            assert reader.account(Key(own.suite, own.public).address).name == "member-2"
        state_home = by_state.home
    # And it comes back from its own files.
    with running(state_home) as again:
        reach(again, later)
