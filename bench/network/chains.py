"""The chains that are measured: homes made and filled once, their nodes started anew for each measurement."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from althing.node.home import Home
from althing.node.network import found_network, settings_text
from bench.population import make_accounts, make_home
from bench.processes import Child, free_port, node, write_config

__all__ = ["Chain", "make_chain"]

_ORGANISATIONS = ("acme", "bolt", "corp", "dune")


@dataclass(frozen=True)
class Chain:
    """A chain's homes; clients speak to the first node."""

    name: str
    homes: tuple[Home, ...]
    peers: tuple[str, ...] = ()

    @contextmanager
    def running(self) -> Iterator[list[Child]]:
        """All its nodes, each ready; ended together."""
        with ExitStack() as stack:
            nodes = [node(home.path) for home in self.homes]
            # They become ready together: the first block needs two thirds of them.
            with ThreadPoolExecutor(len(nodes)) as pool:
                children = list(pool.map(lambda one: stack.enter_context(one), nodes))
            yield children


def make_chain(
    folder: Path, engine: str, validators: int = 1, *, accounts: int = 0, keys_each: int = 0, more: str = ""
) -> Chain:
    """A new chain of the embedded engine, or of so many validators on CometBFT; with keys in its state.

    `more` is added to the settings of every node, below their table [node].
    """
    name = engine if engine == "solo" else f"{engine}, {validators} validator{'s' if validators > 1 else ''}"
    if engine == "solo":
        homes: tuple[Home, ...] = (make_home(folder),)
        peers: tuple[str, ...] = ()
    else:
        names = _ORGANISATIONS[:validators]
        network = found_network(
            folder, chain_id="bench", organisations=names, validators=validators, time_s=int(time.time()) - 60
        )
        # Ports of this run alone: several networks may be on one machine.
        nodes = tuple(replace(member, p2p_port=free_port(member.host)) for member in network.nodes)
        network = replace(network, nodes=nodes)
        homes = tuple(network.home(member) for member in nodes)
        peers = tuple(member.peer for member in nodes)
        for member, home in zip(network.nodes, homes, strict=True):
            write_config(home.path)
            own = (home.path / "config.toml").read_text()
            comet = settings_text(network, member).split("[node.cometbft]")[1]
            text = own.replace("[node]\n", f"[node]\nengine = 'cometbft'\n{more}", 1)
            (home.path / "config.toml").write_text(f"{text}\n[node.cometbft]{comet}")
    chain = Chain(name, homes, peers)
    if accounts:
        with chain.running() as children:
            make_accounts(homes[0], children[0].ready["api"], accounts, keys_each)
    return chain
