"""A home for a node that joins a chain which others run: their genesis and trust file, keys of its own, peers and settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from althing.consensus.cometbft.nodekey import node_id
from althing.consensus.cometbft.paths import CometHome
from althing.consensus.solo.signer import load_or_create_key
from althing.node.home import Carried, Home, HomeError, load_or_generate_key
from althing.protocol.address import address_of_key, format_address
from althing.protocol.errors import AlthingError
from althing.protocol.genesis import genesis_hash
from althing.protocol.messages.governance import Genesis
from althing.protocol.trust import parse_trust
from althing.service.durable import make_folders, write_file

__all__ = ["Joined", "join_home"]

_GENESIS_BYTES_MAX = 16 * 1024 * 1024
_CA_FILE = "state_sync_ca.pem"


@dataclass(frozen=True, slots=True)
class Joined:
    """What the chain's members have to know of the new node to admit it, and peers to reach it."""

    home: Home
    peer_id: str
    node_address: str
    node_public: bytes
    validator_public: bytes


def join_home(
    path: Path,
    *,
    genesis: bytes,
    peers: Sequence[str],
    trust: bytes | None,
    carried: bytes | None = None,
    state_sync: Sequence[str] = (),
    ca: bytes | None = None,
    p2p_listen: str = "tcp://127.0.0.1:0",
    external_address: str = "",
) -> Joined:
    """Make the home. Nothing is overwritten; what an interrupted run has made is used again. `ca` is PEM, for `state_sync`.

    HomeError `home.exists`, `home.genesis`, `home.peers`, `home.no_trust`, `home.foreign_trust`.
    """
    home = Home(path)
    if home.genesis_file.exists():
        raise HomeError("home.exists", f"{path} is a home already")
    record = _genesis(genesis)
    if not peers or not all(_is_peer(peer) for peer in peers):
        raise HomeError(
            "home.peers", "a peer is <node id>@host:port", hint="the others' `althing node status` and logs name them"
        )
    if state_sync and trust is None:
        raise HomeError("home.no_trust", "state sync begins at a header you trust", hint="give --trust trust.json")
    if trust is not None and parse_trust(trust).genesis_hash != genesis_hash(record):
        raise HomeError("home.foreign_trust", "the trust file is of another chain than the genesis")
    if carried is not None:
        _check_carried(carried, record)
    make_folders(path / "node")
    node = load_or_generate_key(home.node_key_file)
    validator = load_or_create_key(home.validator_key_file)
    make_folders(home.blocks_dir)
    peer_id = node_id(CometHome(home.blocks_dir).node_key_file)
    if trust is not None:
        write_file(home.trust_file, trust)
    if carried is not None:
        write_file(home.carried_file, carried)
    if ca is not None:
        write_file(path / _CA_FILE, ca)
    settings = _settings(peers, state_sync, p2p_listen, external_address, ca is not None)
    write_file(path / "config.toml", settings.encode())
    (path / "config.toml").chmod(0o600)  # addresses of state sync may carry tokens
    # Last: a home that was not finished has no genesis.
    write_file(home.genesis_file, record.to_bytes())
    address = format_address(address_of_key(node.suite, node.public))
    return Joined(home, peer_id, address, node.public, validator.public)


def _genesis(data: bytes) -> Genesis:
    if len(data) > _GENESIS_BYTES_MAX:
        raise HomeError("home.genesis", "the genesis file is too large to be one")
    try:
        return Genesis.from_bytes(data)
    except AlthingError as exc:
        raise HomeError(
            "home.genesis",
            f"this is not a genesis record: {exc.message}",
            hint="copy genesis.cbor of another node's home",
        ) from exc


def _check_carried(data: bytes, genesis: Genesis) -> None:
    try:
        if len(data) > _GENESIS_BYTES_MAX:
            raise ValueError("too large")
        found = Carried.of(json.loads(data))
    except (ValueError, KeyError, TypeError, AlthingError) as exc:
        raise HomeError("home.genesis", "this is not a carried.json", hint="copy that of another node's home") from exc
    if found.genesis_hash != genesis_hash(genesis):
        raise HomeError("home.genesis", "carried.json is of another chain than the genesis")


def _is_peer(text: str) -> bool:
    name, _, place = text.partition("@")
    host, _, port = place.rpartition(":")
    return len(name) == 40 and all(c in "0123456789abcdef" for c in name) and bool(host) and port.isdecimal()


def _settings(peers: Sequence[str], state_sync: Sequence[str], p2p_listen: str, external_address: str, ca: bool) -> str:
    lines = [
        "# A node that joined. To be reached by others: p2p_listen and external_address; TLS for the API.",
        "[node]",
        'engine = "cometbft"',
        "",
        "[node.cometbft]",
        f"p2p_listen = {json.dumps(p2p_listen)}",
    ]
    if external_address:
        lines.append(f"external_address = {json.dumps(external_address)}")
    lines.append("peers = [" + ", ".join(json.dumps(peer) for peer in peers) + "]")
    if state_sync:
        lines.append("state_sync = [" + ", ".join(json.dumps(server) for server in state_sync) + "]")
    if ca:
        lines.append(f"state_sync_ca = {json.dumps(_CA_FILE)}")
    return "\n".join(lines) + "\n"
