"""Networks for tests: each on addresses of its own, nodes as child processes or in this one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from althing.cli.demo.network import NetworkRun
from althing.client import Client, Signer, load_signer
from althing.node.config import read_config
from althing.node.daemon import NodeProcess
from althing.node.home import Home
from althing.node.network import Network, NetworkNode, found_network, load_network
from althing.protocol.messages.identity import AccountKind, Key
from althing.protocol.signatures import PrivateKey, Suite

__all__ = ["WAIT_S", "client_of", "create", "founded", "moved", "reach", "running", "running_network"]

WAIT_S = 90  # for anything that a loaded machine may be slow at


def founded(folder: Path, addresses: str, organisations: Sequence[str], validators: int) -> Network:
    """A network whose nodes listen on `addresses` ("127.0.62."), so that tests do not meet each other's."""
    made = found_network(
        folder,
        chain_id=folder.name,
        organisations=tuple(organisations),
        validators=validators,
        time_s=int(time.time()),
    )
    return moved(folder, made, addresses)


def moved(folder: Path, made: Network, addresses: str) -> Network:
    """The network after its addresses 127.0.1.x were changed to `addresses` and x."""
    for path in (folder / "network.json", *(made.home(node).path / "config.toml" for node in made.nodes)):
        path.write_text(path.read_text().replace("127.0.1.", addresses))
    return load_network(folder)


@contextmanager
def running_network(made: Network) -> Iterator[NetworkRun]:
    """All its nodes as child processes."""
    run = NetworkRun(made, lambda _: None)
    try:
        run.start()
        yield run
    finally:
        run.stop()


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


def client_of(made: Network, run: NetworkRun, node: NetworkNode, founder: NetworkNode | None = None) -> Client:
    """A client of a node that signs for the administrator of `founder`'s organisation, by default the node's."""
    home = made.home(founder or node)
    return Client(run.apis[node.name], trust=made.home(node).trust_file, signer=load_signer(home.admin_key_file))


def create(client: Client, number: int) -> int:
    """A member's account, at the address of its own key; the height of its block."""
    own = PrivateKey(Suite.ED25519, bytes([number + 1] * 32))
    key = Key(own.suite, own.public)
    holder = Signer(key.address, (own,))
    return client.create_account(f"member-{number}", AccountKind.PERSON, [key], holder=holder).height


def reach(process: NodeProcess, height: int) -> None:
    """Wait until the node is ready at a height."""
    pause = threading.Event()
    for _ in range(WAIT_S * 10):
        if process.node.ledger.height >= height and process.node.ready:
            return
        pause.wait(0.1)
    raise AssertionError(f"it stands at {process.node.status()}, not at {height}")
