"""Validators as real processes on this machine, which a test may kill, cut off and start again; and what must hold after.

with Testnet(tmp_path, links=RelayLinks(4)) as net:
    net.start()
    with net.workload(seed="1") as load:
        net.links.cut([0], [1, 2, 3]); load.until(50); net.links.heal()
    net.audit(load.record)          # stops all nodes, reads their files
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2

from althing.client import Client, Signer, load_signer
from althing.consensus.cometbft.trace import read_trace
from althing.consensus.grammar import check_trace
from althing.ledger.app import Ledger
from althing.ledger.query import find_transaction
from althing.ledger.runtime.errors import NotFoundError, PrunedError
from althing.node.home import Home
from althing.node.network import Network, found_network
from althing.protocol.errors import StateError
from althing.protocol.receipt import Receipt
from althing.service.faultpoints import VARIABLE
from althing.storage.registry import open_backend
from althing.testing.faults import Daemon, free_ports, wait_until
from althing.testing.linearizability import check_registers
from althing.testing.links import DirectLinks, Links
from althing.testing.workload import Record, Workload

__all__ = ["COMMIT_POINTS", "ORGANISATIONS", "Audit", "Testnet", "engine_processes"]

ORGANISATIONS: Final = ("acme", "bolt", "corp", "dune")
COMMIT_POINTS: Final = ("node.executed", "node.commit", "node.committed")
_AGREE_S: Final = 90.0
_SETTINGS: Final = """
[node]
engine = "cometbft"
verify_processes = 0
keep_versions = 1000000
[node.api]
host = "{host}"
port = {port}
[node.cometbft]
idle_block_s = 1
trace_file = "trace.jsonl"
p2p_listen = "{listen}"
external_address = "{external}"
peers = {peers}
"""


@dataclass(frozen=True, slots=True)
class Audit:
    """What was compared: the lowest last height of a node, acknowledged transactions found, operations judged."""

    height: int
    acknowledged: int
    operations: int


class Testnet:
    """A chain of as many validators as organisations. `environment` goes to every node."""

    __test__ = False  # no test class, whatever its name

    def __init__(
        self,
        folder: Path,
        *,
        links: Links | None = None,
        organisations: Sequence[str] = ORGANISATIONS,
        environment: Mapping[str, str] | None = None,
        settings: str = "",
    ) -> None:
        self.folder = folder
        self.links: Links = links if links is not None else DirectLinks(len(organisations))
        self.environment = dict(environment or {})
        self.network: Network = found_network(
            folder / "net",
            chain_id="faults",
            organisations=organisations,
            validators=len(organisations),
            time_s=int(time.time()),
        )
        self.homes: list[Home] = []
        self.apis: list[str] = []
        self._daemons: dict[int, Daemon] = {}
        self._settings = settings
        (folder / "logs").mkdir()
        for number, node in enumerate(self.network.nodes):
            ids = [(i, other.peer_id) for i, other in enumerate(self.network.nodes) if i != number]
            peers = [f"{peer_id}@{self.links.peer(number, i)}" for i, peer_id in ids]
            self._add(self.network.home(node), self.links.listen(number), self.links.external(number), peers)

    def _add(self, home: Home, listen: str, external: str, peers: Sequence[str], more: str = "") -> int:
        number = len(self.homes)
        host = self.links.api_host(number)
        (port,) = free_ports(1)
        self.links.serve(number, port)
        text = _SETTINGS.format(host=host, port=port, listen=listen, external=external, peers=list(peers))
        (home.path / "config.toml").write_text(text + more + self._settings)
        self.homes.append(home)
        self.apis.append(f"http://{host}:{port}")
        return number

    def adopt(self, home: Home, more: str = "") -> int:
        """A further node, in a home made by `joining.join_home`, beside the founders: its number. Direct links only."""
        number = len(self.homes)
        peers = [f"{node.peer_id}@{self.links.peer(number, i)}" for i, node in enumerate(self.network.nodes)]
        return self._add(home, self.links.listen(number), "", peers, more)

    def __enter__(self) -> Testnet:
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in self._daemons.values():
            daemon.kill_all()
        for home in self.homes:
            for pid in engine_processes(home):
                _kill(pid)
        self.links.close()

    # --- nodes --------------------------------------------------------------------------------------------------------

    def launch(
        self,
        number: int,
        *,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = (sys.executable, "-m", "althing"),
        fault: str = "",
    ) -> Daemon:
        """Start a node and do not wait. Each node orders its sets otherwise than the others."""
        chosen = {"PYTHONHASHSEED": str(number + 1), **self.environment, **(environment or {})}
        if fault:
            chosen[VARIABLE] = fault
        log = self.folder / "logs" / f"{number}.log"
        self._daemons[number] = Daemon(
            "node", self.homes[number].path, log, chosen, program=(*self.links.prefix(number), *program)
        )
        return self._daemons[number]

    def start(self, *numbers: int, **options: Any) -> None:
        """Start nodes (default: all) side by side, and wait until they serve."""
        chosen = numbers or tuple(range(len(self.homes)))
        for number in chosen:
            self.launch(number, **options)
        for number in chosen:
            self._daemons[number].ready()

    def node(self, number: int) -> Daemon:
        return self._daemons[number]

    def kill(self, number: int) -> None:
        """SIGKILL to our process; its engine notices."""
        self._daemons[number].kill()

    def kill_engine(self, number: int) -> None:
        """SIGKILL to the engine alone."""
        wait_until(lambda: bool(engine_processes(self.homes[number])), 20, f"node {number} has no engine")
        for pid in engine_processes(self.homes[number]):
            _kill(pid)

    def power_off(self, number: int) -> None:
        """Both at once, as far as two signals can be."""
        engines = engine_processes(self.homes[number])
        self._daemons[number].process.kill()
        for pid in engines:
            _kill(pid)
        self._daemons[number].kill()
        wait_until(lambda: not engine_processes(self.homes[number]), 20, "the engine survives SIGKILL")

    def stop(self) -> None:
        """An orderly end of all, which must be one."""
        alive = {number: daemon for number, daemon in self._daemons.items() if daemon.alive}
        with ThreadPoolExecutor(len(alive) or 1) as pool:
            codes = list(pool.map(Daemon.stop, alive.values()))
        for (number, daemon), code in zip(alive.items(), codes, strict=True):
            assert code == 0, f"node {number} ended with {code}: {daemon.said()}"

    # --- what a test asks ---------------------------------------------------------------------------------------------

    def status(self, number: int) -> dict[str, Any]:
        """What a node says of itself; empty while it does not answer."""
        try:
            found = httpx2.get(f"{self.apis[number]}/v1/status", timeout=5, trust_env=False).json()
        except (httpx2.HTTPError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def height(self, number: int) -> int:
        return int(self.status(number).get("height", 0))

    def reach(self, height: int, *numbers: int, timeout_s: float = _AGREE_S) -> None:
        """Wait until nodes (default: all) have come to this height."""
        chosen = numbers or tuple(range(len(self.homes)))
        wait_until(
            lambda: all(self.height(number) >= height for number in chosen),
            timeout_s,
            lambda: f"not all are at {height}: {[(n, self.status(n), self._daemons[n].said()) for n in chosen]}",
        )

    def agree(self, timeout_s: float = _AGREE_S) -> int:
        """Every node comes to a height that is new now: all of them go on."""
        wanted = max(self.height(number) for number in range(len(self.homes))) + 1
        self.reach(wanted, timeout_s=timeout_s)
        return wanted

    def signers(self) -> list[Signer]:
        """Administrators of the organisations."""
        files = [self.homes[number].admin_key_file for number in range(len(self.network.nodes))]
        return [load_signer(file) for file in files if file.exists()]

    def client(self, number: int) -> Client:
        """Of node `number`'s administrator, at that node."""
        home = self.homes[number]
        return Client(self.apis[number], trust=home.trust_file, signer=load_signer(home.admin_key_file))

    def workload(self, *, seed: str, nodes: Sequence[int] | None = None, **options: Any) -> Workload:
        """Clients of some of the nodes (default: all)."""
        chosen = range(len(self.network.nodes)) if nodes is None else nodes
        apis = [self.apis[number] for number in chosen]
        return Workload(apis, self.homes[chosen[0]].trust_file, self.signers(), seed=seed, **options)

    # --- what must hold -----------------------------------------------------------------------------------------------

    def audit(self, record: Record, *, numbers: Sequence[int] | None = None) -> Audit:
        """All go on; then they are stopped in order, and by their files:

        1. equal state roots at every height that two of them hold,
        2. every acknowledged transaction was executed, at the height told,
        3. no transaction was executed twice,
        4. the registers' history is linearizable, and nobody lied,
        5. every call of the engines was legal.
        """
        chosen = tuple(range(len(self.homes))) if numbers is None else tuple(numbers)
        wanted = max(self.height(number) for number in chosen) + 1
        self.reach(max(wanted, *record.acknowledged.values(), 1), *chosen)
        self.stop()
        assert not record.lies, f"proofs did not verify: {record.lies[:3]}"
        roots: dict[int, dict[bytes, list[int]]] = {}
        heights = []
        for number in chosen:
            heights.append(self._audit_node(number, record, roots))
        for height, found in sorted(roots.items()):
            assert len(found) == 1, f"different states at {height}: {found}"
        for number in chosen:
            for calls in read_trace(self.homes[number].path / "trace.jsonl"):
                check_trace(calls)
        return Audit(min(heights), len(record.acknowledged), check_registers(record.operations))

    def _audit_node(self, number: int, record: Record, roots: dict[int, dict[bytes, list[int]]]) -> int:
        home = self.homes[number]
        backend = open_backend("lmdb", home.state_dir, readonly=True)
        try:
            ledger = Ledger(backend, home.genesis())
            latest = ledger.height
            executed: Counter[bytes] = Counter()
            first = latest + 1
            for height in range(latest, 0, -1):
                try:
                    roots.setdefault(height, {}).setdefault(ledger.store.root(height), []).append(number)
                    executed.update(_executed(ledger, height))
                except (PrunedError, StateError):
                    assert number >= len(self.network.nodes), "a founder has all heights"
                    break  # it joined by a snapshot of this height
                first = height
            twice = [tx_id.hex() for tx_id, times in executed.items() if times > 1]
            assert not twice, f"node {number} executed twice: {twice[:5]}"
            for tx_id, height in record.acknowledged.items():
                if height >= first:
                    assert tx_id in executed, f"node {number} has not executed {tx_id.hex()} of height {height}"
                    assert find_transaction(ledger.store, tx_id).height == height, "executed at another height"
            return latest
        finally:
            backend.close()


def _executed(ledger: Ledger, height: int) -> list[bytes]:
    """Ids that a block used up. A refusal before execution uses no gas, and leaves the id to a later transaction."""
    try:
        outcome = ledger.outcome(height)
    except NotFoundError:
        return []
    receipts = [Receipt.from_bytes(data) for bundle in outcome.receipts for data in bundle]
    return [receipt.tx_id for receipt in receipts if receipt.gas_used]


def engine_processes(home: Home) -> list[int]:
    """Process ids of CometBFT on this home."""
    wanted = os.fsencode(home.blocks_dir)
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"start" in words and wanted in words:
            found.append(int(entry.parent.name))
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
