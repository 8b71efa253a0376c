"""A network of several nodes founded at one place: one genesis, and a home for each node with its own keys and settings.

<folder>/network.json                    the nodes: name, organisation, home, where peers connect
<folder>/<node>/…                        a home each (`home.py`), and config.toml with engine and peers
The homes of an organisation's first node hold its administrator's key. To run on several machines, give each its home.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from althing.consensus.cometbft.nodekey import node_id
from althing.consensus.cometbft.paths import CometHome
from althing.consensus.solo.signer import load_or_create_key
from althing.node.home import DEFAULT_PARAMETERS, DEFAULT_QUOTA, Home, HomeError, load_or_generate_key, write_json
from althing.node.kinds import CONSORTIUM, Founding
from althing.protocol.messages.governance import (
    Genesis,
    GenesisNode,
    GenesisOrganisation,
    GenesisValidator,
    Parameters,
)
from althing.protocol.messages.identity import Key
from althing.service.durable import make_folders, write_file

__all__ = [
    "NODES_MAX",
    "P2P_PORT",
    "POWER",
    "Network",
    "NetworkNode",
    "found_network",
    "load_network",
    "save_network",
    "settings_text",
]

NODES_MAX: Final = 100  # on one machine; each is two processes
P2P_PORT: Final = 26656
_FORMAT: Final = "althing-network/1"
_FILE: Final = "network.json"
POWER: Final = CONSORTIUM.power


@dataclass(frozen=True, slots=True)
class NetworkNode:
    """A node of a network: `home` is named from the network's folder, `peer_id` names it to its peers."""

    name: str
    organisation: str
    home: str
    host: str
    p2p_port: int
    peer_id: str

    @property
    def peer(self) -> str:
        """As other nodes' settings name it."""
        return f"{self.peer_id}@{self.host}:{self.p2p_port}"


@dataclass(frozen=True, slots=True)
class Network:
    """A network's folder and its nodes."""

    folder: Path
    chain_id: str
    nodes: tuple[NetworkNode, ...]

    def home(self, node: NetworkNode) -> Home:
        """The home of one of its nodes."""
        return Home(self.folder / node.home)

    def peers_of(self, node: NetworkNode) -> tuple[str, ...]:
        """All the others."""
        return tuple(other.peer for other in self.nodes if other.name != node.name)


def found_network(
    folder: Path,
    *,
    chain_id: str,
    organisations: Sequence[str],
    validators: int,
    time_s: int,
    first_home: str | None = None,
    founding: Founding = CONSORTIUM,
) -> Network:
    """Found a chain of several organisations with equal validators, one per node. Nothing is overwritten.

    Validators are dealt to the organisations in turn; more than half of these govern. `first_home` names the first
    node's home otherwise than by the node.
    """
    if not organisations or len(set(organisations)) != len(organisations):
        raise HomeError("network.members", "a network has one or more organisations, each named once")
    if not len(organisations) <= validators <= NODES_MAX:
        raise HomeError(
            "network.members",
            f"{len(organisations)} organisations need at least as many validators, at most {NODES_MAX}",
        )
    founding.check(organisations, validators)
    if (folder / _FILE).exists() or (folder / "genesis.cbor").exists():
        raise HomeError("home.exists", f"{folder} holds a chain already")
    nodes = []
    for number in range(validators):
        organisation = organisations[number % len(organisations)]
        name = f"{organisation}-node-{number // len(organisations) + 1}"
        home = name if number or first_home is None else first_home
        make_folders(folder / home)
        peer_id = node_id(CometHome(Home(folder / home).blocks_dir).node_key_file)
        nodes.append(NetworkNode(name, organisation, home, f"127.0.1.{number + 1}", P2P_PORT, peer_id))
    network = Network(folder, chain_id, tuple(nodes))
    genesis = _genesis(network, organisations, time_s, founding)
    for node in nodes:
        home_of_node = network.home(node)
        write_file(home_of_node.path / "config.toml", settings_text(network, node).encode())
        write_file(home_of_node.genesis_file, genesis.to_bytes())
    # Last: a folder whose founding was interrupted is no network, and the keys made so far are used again.
    save_network(network)
    return network


def save_network(network: Network) -> None:
    """Write network.json."""
    nodes = [asdict(node) for node in network.nodes]
    write_json(network.folder / _FILE, {"format": _FORMAT, "chain_id": network.chain_id, "nodes": nodes})


def load_network(folder: Path) -> Network:
    """The network of a folder, or HomeError `network.missing`, `.damaged`."""
    try:
        document = json.loads((folder / _FILE).read_bytes())
        if document["format"] != _FORMAT:
            raise ValueError("another format")
        nodes = tuple(NetworkNode(**node) for node in document["nodes"])
        chain_id = str(document["chain_id"])
    except FileNotFoundError as exc:
        raise HomeError(
            "network.missing",
            f"there is no network in {folder}",
            hint=f"found one: althing network init --validators 4 --org acme,bolt,corp,dune -o {folder}",
        ) from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise HomeError("network.damaged", f"{folder / _FILE} cannot be read: {exc}") from exc
    return Network(folder, chain_id, nodes)


def settings_text(network: Network, node: NetworkNode) -> str:
    """A node's config.toml: the engine, where it listens on this machine, and its peers."""
    peers = ",\n".join(f"  {json.dumps(peer)}" for peer in network.peers_of(node))
    return (
        f"# {node.name} of {node.organisation}. Beyond this machine: other addresses, and TLS for the API.\n"
        f'[node]\nengine = "cometbft"\n\n[node.api]\nhost = "{node.host}"\n\n[node.cometbft]\n'
        f'p2p_listen = "tcp://{node.host}:{node.p2p_port}"\npeers = [\n{peers}\n]\n'
    )


def _genesis(network: Network, organisations: Sequence[str], time_s: int, founding: Founding) -> Genesis:
    administrators: dict[str, Key] = {}
    validators, accounts = [], []
    for node in network.nodes:
        home = network.home(node)
        make_folders(home.path / "node")
        if node.organisation not in administrators:
            own = load_or_generate_key(home.admin_key_file)
            administrators[node.organisation] = Key(own.suite, own.public)
        account = load_or_generate_key(home.node_key_file)
        accounts.append(GenesisNode(node.name, node.organisation, Key(account.suite, account.public)))
        validator = load_or_create_key(home.validator_key_file)
        validators.append(GenesisValidator(validator.public, founding.power, node.organisation))
    kind = founding.chain_kind(organisations)
    return Genesis(
        version=1 if kind is None else 2,
        chain_id=network.chain_id,
        time=time_s,
        initial_height=1,
        app_version=1,
        salt=secrets.token_bytes(16),
        parameters=_parameters(len(organisations), founding.gas_price_min),
        organisations=tuple(
            GenesisOrganisation(name, True, 1, (administrators[name],), DEFAULT_QUOTA) for name in organisations
        ),
        validators=tuple(validators),
        nodes=tuple(accounts),
        kind=kind,
    )


def _parameters(governors: int, gas_price_min: int) -> Parameters:
    return replace(DEFAULT_PARAMETERS, governors_threshold=governors // 2 + 1, gas_price_min=gas_price_min)
