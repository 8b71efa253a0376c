"""All nodes of a network on this machine, as child processes: started together, watched, stopped together."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import httpx2

from althing.cli.demo.processes import Child, ProcessError
from althing.node.config import ENVIRONMENT_PREFIX
from althing.node.network import Network, NetworkNode

__all__ = ["NetworkRun", "NodeHealth"]

READY_S: Final = 180  # for all of them: the first block needs two thirds, and a small machine starts slowly
STOP_S: Final = 60
_ASK_S: Final = 5.0
_AGAIN_S: Final = 2.0  # before a node that ended is started again


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """What a node says of itself; `height` is None while it does not answer."""

    name: str
    api: str
    height: int | None = None
    app_hash: str = ""
    phase: str = "away"
    conditions: tuple[str, ...] = ()

    def text(self) -> str:
        """For people."""
        if self.height is None:
            return f"{self.name} away"
        remarks = [*([] if self.phase == "running" else [self.phase]), *self.conditions]
        return f"{self.name} at {self.height}" + (f" ({', '.join(remarks)})" if remarks else "")


class NetworkRun:
    """`start`, then `health` now and then (which starts again what has ended), and always `stop`."""

    def __init__(self, network: Network, say: Callable[[str], None]) -> None:
        self._network = _with_free_ports(network)
        self._moved = self._network != network
        self._say = say
        self._children: dict[str, Child] = {}
        self._ended: dict[str, float] = {}
        self.apis: dict[str, str] = {}

    def start(self) -> dict[str, str]:
        """Start every node; their API addresses by name once all of them serve. ProcessError `demo.start`."""
        for node in self._network.nodes:
            self._children[node.name] = self._child(node)
        for node in self._network.nodes:
            self.apis[node.name] = str(self._children[node.name].ready()["api"])
        return self.apis

    def stop(self) -> None:
        """End all of them in order, at the same time."""
        with ThreadPoolExecutor(max(1, len(self._children))) as pool:
            list(pool.map(lambda child: child.stop(STOP_S), self._children.values()))

    def check(self) -> None:
        """ProcessError `demo.ended` when a node has ended."""
        for child in self._children.values():
            child.check()

    def health(self) -> list[NodeHealth]:
        """Ask each node; one whose process has ended is started again."""
        found = []
        for node in self._network.nodes:
            self._revive(node)
            found.append(self._ask(node.name))
        return found

    def _revive(self, node: NetworkNode) -> None:
        child = self._children[node.name]
        if child.alive:
            self._ended.pop(node.name, None)
            return
        since = self._ended.setdefault(node.name, time.monotonic())
        if time.monotonic() - since < _AGAIN_S:
            return
        try:
            child.check()
        except ProcessError as error:
            self._say(f"{error.message}; it is started again")
        child.stop()
        self._children[node.name] = self._child(node)
        self._ended.pop(node.name, None)

    def _ask(self, name: str) -> NodeHealth:
        api = self.apis[name]
        try:
            found = httpx2.get(f"{api}/v1/status", timeout=_ASK_S, trust_env=False).json()
            return NodeHealth(
                name, api, int(found["height"]), found["app_hash"], found["phase"], tuple(found["conditions"])
            )
        except (httpx2.HTTPError, ValueError, KeyError):
            return NodeHealth(name, api)

    def _child(self, node: NetworkNode) -> Child:
        home = self._network.home(node).path
        logs = self._network.folder / "logs"
        environment = self._environment(node) if self._moved else {}
        return Child("node", home, logs, name=node.name, environment=environment, ready_s=READY_S)

    def _environment(self, node: NetworkNode) -> dict[str, str]:
        """Other ports than the settings name, for this run alone: those were taken."""
        prefix = f"{ENVIRONMENT_PREFIX}_COMETBFT"
        return {
            f"{prefix}_P2P_LISTEN": f"tcp://{node.host}:{node.p2p_port}",
            f"{prefix}_PEERS": ",".join(self._network.peers_of(node)),
        }


def _with_free_ports(network: Network) -> Network:
    nodes = tuple(
        node if _free(node.host, node.p2p_port) else replace(node, p2p_port=_any_port(node.host))
        for node in network.nodes
    )
    return replace(network, nodes=nodes)


def _free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _any_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
