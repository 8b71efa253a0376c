"""The demo's chain: one node on the embedded engine, or several of a network. The home of the first is the demo's."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from althing.cli.demo.network import NetworkRun
from althing.cli.demo.processes import Child
from althing.node.home import Home, HomeError, create_home
from althing.node.network import found_network, load_network

__all__ = ["Nodes", "open_nodes"]

CHAIN: Final = "althing-demo"
_ORGANISATIONS: Final = ("acme", "bolt", "corp", "dune")


class Nodes(Protocol):
    """The nodes' processes."""

    def start(self) -> str:
        """Run them; the address of the first one's API."""

    def check(self) -> None:
        """ProcessError when one has ended."""

    def stop(self) -> None:
        """End them in order."""


def open_nodes(home: Path, engine: str, validators: int, say: Callable[[str], None]) -> Nodes:
    """The chain of a home, founded when there is none; HomeError `demo.engine` when it is one of another engine."""
    exists, distributed = Home(home).genesis_file.exists(), (home / "network.json").exists()
    if exists and distributed != (engine == "cometbft"):
        own = "cometbft" if distributed else "solo"
        raise HomeError("demo.engine", f"the chain in {home} runs on {own}", hint=f"--engine {own}, or another --home")
    if engine == "solo":
        if not exists:
            create_home(home, chain_id=CHAIN, organisation=_ORGANISATIONS[0], time_s=int(time.time()))
            say(f"founded chain {CHAIN} of organisation {_ORGANISATIONS[0]} in {home}")
        return _One(home)
    if not exists:
        members = _ORGANISATIONS[:validators]
        found_network(
            home, chain_id=CHAIN, organisations=members, validators=validators, time_s=int(time.time()), first_home="."
        )
        say(f"founded chain {CHAIN} of {validators} validators of {', '.join(members)} in {home}")
    network = load_network(home)
    if len(network.nodes) != validators:
        raise HomeError(
            "demo.engine",
            f"the chain in {home} has {len(network.nodes)} validators",
            hint=f"--validators {len(network.nodes)}, or another --home",
        )
    return _Several(NetworkRun(network, say), say)


class _One:
    def __init__(self, home: Path) -> None:
        self._child = Child("node", home, home / "logs")

    def start(self) -> str:
        return str(self._child.ready()["api"])

    def check(self) -> None:
        self._child.check()

    def stop(self) -> None:
        self._child.stop()


class _Several:
    def __init__(self, run: NetworkRun, say: Callable[[str], None]) -> None:
        self._run = run
        self._say = say

    def start(self) -> str:
        apis = self._run.start()
        for name, api in apis.items():
            self._say(f"  {name:14} {api}")
        return next(iter(apis.values()))

    def check(self) -> None:
        self._run.check()

    def stop(self) -> None:
        self._run.stop()
