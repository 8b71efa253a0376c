"""A home whose node and gateway run as real child processes that a test may kill at any moment and start again.

site = Site(tmp_path)                    # founds a chain
site.start("node"); site.enrol(fleet)    # devices, streams and tokens
site.start("gateway", fault="spool.synced:3")
site.kill("gateway"); site.start("gateway"); site.drain()
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import IO, Any, Final

import httpx2

from althing.client import AsyncClient, Client, Signer, generate_key, load_key, load_signer, save_key
from althing.gateway.config import GatewayPaths
from althing.gateway.tokens import TokenStore
from althing.node.home import Home, create_home
from althing.protocol.address import address_of_key
from althing.protocol.errors import AlthingError
from althing.protocol.messages.identity import AccountKind, Key
from althing.service.faultpoints import VARIABLE
from althing.testing.simulator import Fleet

__all__ = [
    "FAULTS",
    "OTHER_FAULTS",
    "SECOND",
    "Daemon",
    "DaemonError",
    "Ports",
    "Site",
    "free_ports",
    "wait_until",
]

READY_S: Final = 300.0  # a start takes about a second of processor time, which others may leave it little of
_LOG_TAIL: Final = 3000

FAULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "node": (
        "solo.block_executed",
        "solo.block_stored",
        "solo.block_committed",
        "solo.replayed",
        "node.executed",
        "node.commit",
        "node.committed",
    ),
    "gateway": (
        "spool.open_segment",
        "spool.write",
        "spool.fsync",
        "spool.synced",
        "spool.free",
        "state.save",
        "state.saved",
        "checkpoint.save",
        "checkpoint.saved",
        "anchor.submit",
        "anchor.submitted",
        "anchor.committed",
        "anchor.archived",
        "anchor.proved",
        "anchor.released",
        "held.save",
        "held.returning",
        "held.returned",
        "held.dropped",
    ),
}
"""Fault points that a daemon passes while it works, and at which a test may have it kill itself."""

OTHER_FAULTS: Final[Mapping[str, str]] = {
    "solo.genesis": "a node passes it at the first start of its chain only",
    "solo.genesis_stored": "a node passes it at the first start of its chain only",
    "spool.room": "a gateway passes it only while it looks for room on a full disk",
}
"""All other fault points of node and gateway, and why they are not among those that random rounds choose from."""

SECOND: Final = "gateway-2"  # the gateway that streams are handed to, in a home of its own within the first one's

_SETTINGS: Final = """
[node.api]
port = {node}
[gateway]
nodes = ["http://127.0.0.1:{node}"]
archive = {archive}
verify_processes = {processes}
[gateway.mqtt]
port = {mqtt}
[gateway.http]
port = {http}
[gateway.batch]
age_s = 0.2
messages = 200
retry_max_s = 1.0
expiry_s = 3
[gateway.spool]
segment_bytes = 65536
retry_s = 1
"""


class DaemonError(AlthingError):
    """A daemon ended before it was ready: `testing.ended`; its own error if it named one."""


class Daemon:
    """One `althing <noun> start` as a child process, in a process group of its own, which dies with this process."""

    def __init__(
        self,
        noun: str,
        home: Path,
        log: Path,
        environment: Mapping[str, str],
        *,
        program: Sequence[str] = (sys.executable, "-m", "althing"),
    ) -> None:
        self.noun = noun
        self._log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(  # noqa: S603 -- our own module on an interpreter that the test names
                [*program, noun.partition("-")[0], "start", "--home", str(home), "--with-parent"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        assert self.process.stdout is not None
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()

    def _read(self, stdout: IO[bytes]) -> None:
        for line in stdout:
            self._lines.put(line)
        self._lines.put(None)

    def ready(self) -> dict[str, Any]:
        """Its ready line, or DaemonError."""
        try:
            line = self._lines.get(timeout=READY_S)
        except queue.Empty:
            self.kill()
            raise DaemonError("testing.slow", f"the {self.noun} was not ready in {READY_S} s: {self.said()}") from None
        if line is None:
            self.process.wait()
            raise DaemonError("testing.ended", f"the {self.noun} ended: {self.said()}")
        found = json.loads(line)
        if "error" in found:
            raise DaemonError(found["error"]["code"], found["error"]["message"])
        assert isinstance(found, dict)
        return found

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL to the process itself; what it started has to notice."""
        self.process.kill()
        self._end()

    def kill_all(self) -> None:
        """SIGKILL to the whole group: the power is gone."""
        for_all = signal.SIGKILL
        try:
            os.killpg(self.process.pid, for_all)
        except ProcessLookupError:
            pass
        self._end()
        wait_until(lambda: not self.group(), 10, f"processes of the {self.noun} survive SIGKILL")

    def stop(self, timeout_s: float = 60) -> int:
        """SIGTERM, and wait for its orderly end; the exit code."""
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill_all()
                raise AssertionError(f"the {self.noun} did not end in {timeout_s} s: {self.said()}") from None
        self._end()
        return self.process.returncode

    def _end(self) -> None:
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()

    def group(self) -> list[int]:
        """Living processes of its group, by id; zombies do not count."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == self.process.pid and fields[0] not in "ZX":
                found.append(int(stat.parent.name))
        return found

    def said(self) -> str:
        """The end of its log."""
        return self._log.read_bytes()[-_LOG_TAIL:].decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of a site, chosen once."""

    node: int
    mqtt: int
    http: int


class Site:
    """A chain's home with its daemons. `environment` goes to every daemon. Use as a context manager.

    Daemons are "node", "gateway" and, after `add_gateway`, SECOND, which writes to the same archive.
    """

    def __init__(self, folder: Path, *, copy_of: Site | None = None, processes: int = 0, settings: str = "") -> None:
        """A new chain; or `copy_of` a site whose daemons are stopped or dead, on ports of its own."""
        self.path = folder / "home"
        if copy_of is None:
            now_s = time.time_ns() // 1_000_000_000
            create_home(self.path, chain_id="faults", organisation="acme", time_s=now_s)
            save_key(GatewayPaths(self.path).key, generate_key())
        else:
            shutil.copytree(copy_of.path, self.path)
            (self.path / "ports.json").unlink(missing_ok=True)
        self.home = Home(self.path)
        self.ports = Ports(*free_ports(3))
        self._homes = {"node": self.path, "gateway": self.path}
        self._https = {"gateway": self.ports.http}
        text = self._settings(self.ports, processes)
        (self.path / "config.toml").write_text(text + settings)
        self.environment: dict[str, str] = {}
        self.tokens: dict[str, str] = {} if copy_of is None else dict(copy_of.tokens)
        self._tokens: dict[tuple[str, str], str] = {}
        self._logs = folder / "logs"
        self._logs.mkdir()
        self._daemons: dict[str, Daemon] = {}

    def _settings(self, ports: Ports, processes: int) -> str:
        archive = json.dumps(str(self.home.archive_dir))
        return _SETTINGS.format(node=ports.node, mqtt=ports.mqtt, http=ports.http, archive=archive, processes=processes)

    def add_gateway(self) -> None:
        """Prepare the second gateway of a chain whose node has run; `enrol` then gives it its account and its tokens."""
        home = Home(self.path / SECOND)
        home.path.mkdir()
        for file in (self.home.genesis_file, self.home.trust_file):
            shutil.copy(file, home.path)
        save_key(GatewayPaths(home.path).key, generate_key())
        mqtt, http = free_ports(2, avoid=(self.ports.node, self.ports.mqtt, self.ports.http))
        (home.path / "config.toml").write_text(self._settings(Ports(self.ports.node, mqtt, http), 0))
        self._homes[SECOND], self._https[SECOND] = home.path, http

    @property
    def gateways(self) -> tuple[str, ...]:
        """Names of the gateways' daemons."""
        return tuple(self._https)

    def gateway_address(self, noun: str) -> bytes:
        """The account of a gateway."""
        key = load_key(GatewayPaths(self._homes[noun]).key)
        return address_of_key(key.suite, key.public)

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in self._daemons.values():
            daemon.kill_all()

    # --- daemons

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.ports.node}"

    @property
    def http(self) -> str:
        return self.http_of("gateway")

    def http_of(self, noun: str) -> str:
        return f"http://127.0.0.1:{self._https[noun]}"

    @property
    def mqtt(self) -> tuple[str, int]:
        return "127.0.0.1", self.ports.mqtt

    def daemon(self, noun: str) -> Daemon:
        return self._daemons[noun]

    def launched(self, noun: str) -> bool:
        return noun in self._daemons

    def launch(self, noun: str, *, fault: str = "", environment: Mapping[str, str] | None = None) -> Daemon:
        """Start a daemon and do not wait for it."""
        more = {VARIABLE: fault} if fault else {}
        log = self._logs / f"{noun}.log"
        daemon = Daemon(noun, self._homes[noun], log, {**self.environment, **(environment or {}), **more})
        self._daemons[noun] = daemon
        return daemon

    def start(self, noun: str, *, fault: str = "") -> bool:
        """Start a daemon and wait until it is ready; False when its fault ended it before."""
        self.launch(noun, fault=fault)
        return self.started(noun, fault=fault)

    def started(self, noun: str, *, fault: str = "") -> bool:
        """Wait until a daemon that was launched is ready; False when the fault it was armed with ended it before."""
        daemon = self._daemons[noun]
        try:
            daemon.ready()
        except DaemonError:
            if fault and daemon.process.returncode == -signal.SIGKILL:
                return False
            raise
        return True

    def kill(self, noun: str) -> None:
        self._daemons[noun].kill()

    def stop(self, noun: str) -> None:
        """An orderly end, which must be one: exit code 0."""
        daemon = self._daemons[noun]
        code = daemon.stop()
        assert code == 0, f"the {noun} ended with {code}: {daemon.said()}"

    # --- what a test needs of the chain

    def client(self) -> Client:
        """A client that signs as the organisation and verifies what it reads."""
        trust = self.home.trust_file
        return Client(self.api, trust=trust, signer=load_signer(self.home.admin_key_file))

    def enrol(self, fleet: Fleet) -> None:
        """Gateway account, devices and streams on the chain; a token for each device."""
        signer = load_signer(self.home.admin_key_file)

        async def enrol() -> None:
            async with await AsyncClient.connect(self.api, trust=self.home.trust_file, signer=signer) as client:
                for number, noun in enumerate(self.gateways, 1):
                    key, address = load_key(GatewayPaths(self._homes[noun]).key), self.gateway_address(noun)
                    await client.create_account(
                        f"gateway-{number}",
                        AccountKind.GATEWAY,
                        [Key(key.suite, key.public)],
                        holder=Signer(address, (key,)),
                    )
                await fleet.register(client, signer.address, self.gateway_address("gateway"))

        asyncio.run(enrol())
        for device in fleet.devices:
            for noun in self.gateways:
                self._tokens[noun, device.name] = TokenStore(GatewayPaths(self._homes[noun]).tokens).add(device.name)
            self.tokens[device.name] = self._tokens["gateway", device.name]

    def token(self, noun: str, device: str) -> str:
        """A device's token at a gateway."""
        return self._tokens[noun, device]

    def written(self) -> list[Path]:
        """What `add_gateway` and `enrol` wrote, in this process."""
        second = self.path / SECOND
        return [GatewayPaths(self.path).tokens, second, *second.rglob("*")]

    def gateway_status(self, noun: str = "gateway") -> dict[str, Any]:
        found = httpx2.get(f"{self.http_of(noun)}/v1/status", timeout=10).json()
        assert isinstance(found, dict)
        return found

    def drain(self, timeout_s: float = 180) -> None:
        """Wait until the gateways have anchored and proved all that they accepted."""

        for noun in self.gateways:
            wait_until(partial(self._drained, noun), timeout_s, partial(self._does_not_drain, noun))

    def _drained(self, noun: str) -> bool:
        status = self.gateway_status(noun)
        return status["pending"]["messages"] == 0 and status["batch"] is None and status["held_messages"] == 0

    def _does_not_drain(self, noun: str) -> str:
        return f"the {noun} does not drain: {self.gateway_status(noun)}"


def wait_until(condition: Callable[[], bool], timeout_s: float, otherwise: str | Callable[[], str]) -> None:
    """Look every few milliseconds; AssertionError after the time."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(otherwise() if callable(otherwise) else otherwise)
        time.sleep(0.02)


def free_ports(count: int, avoid: Iterable[int] = ()) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, below those that the system gives to outgoing connections: a client
    that tries a killed server's port again would else be able to connect to itself."""
    random = Random(f"{os.getpid()} {time.monotonic_ns()}")  # noqa: S311 -- no secret
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10_000, 32_000)
        if port in found or port in avoid:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found
