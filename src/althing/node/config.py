"""Settings of a node: the [node] table of a home's config.toml, and ALTHING_NODE_* over it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from althing.service.settings import read_settings, table_of, with_environment

__all__ = [
    "ENVIRONMENT_PREFIX",
    "ApiConfig",
    "CometConfig",
    "NodeConfig",
    "SnapshotConfig",
    "SoloConfig",
    "read_config",
]

ENVIRONMENT_PREFIX: Final = "ALTHING_NODE"


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """The REST API. Beyond loopback it needs certificate, key and token_file, and every request the token."""

    host: str = "127.0.0.1"
    port: int = 8420  # taken: any free one, kept in ports.json; 0: any free one at once
    certificate: Path | None = None
    key: Path | None = None
    token_file: Path | None = None
    cors_origins: tuple[str, ...] = ()  # pages of other origins that may read; none by default
    host_names: tuple[str, ...] = ()  # names besides the address under which clients reach this node
    connections_max: int = 2_000
    events_clients_max: int = 256
    peer_addresses: bool = False  # show IP addresses of peers in /v1/network; else only what kind they are
    idle_s: int = 30  # an idle connection is closed after it

    def __post_init__(self) -> None:
        assert self.host, "host must not be empty"
        assert 0 <= self.port <= 65_535, "api.port is 0 to 65535"
        assert (self.certificate is None) == (self.key is None), "api.certificate and api.key go together"
        assert 1 <= self.connections_max <= 100_000, "api.connections_max is 1 to 100000"
        assert 0 <= self.events_clients_max <= 10_000, "api.events_clients_max is 0 to 10000"
        assert 1 <= self.idle_s <= 3_600, "api.idle_s is 1 to 3600"
        assert all(o.startswith(("http://", "https://")) for o in self.cors_origins), "an origin has a scheme"


@dataclass(frozen=True, slots=True)
class SoloConfig:
    """The embedded engine's pace."""

    min_block_interval_ms: int = 10
    idle_block_s: int = 30

    def __post_init__(self) -> None:
        assert 0 <= self.min_block_interval_ms <= 60_000, "solo.min_block_interval_ms is 0 to 60000"
        assert 1 <= self.idle_block_s <= 60, "solo.idle_block_s is 1 to 60"


@dataclass(frozen=True, slots=True)
class CometConfig:
    """The distributed engine: which peers it meets, and its pace."""

    profile: str = "lan"  # lan, wan or eco
    binary: Path | None = None  # CometBFT's program; default: ALTHING_ENGINE, the package althing-engine, .venv/engine
    p2p_listen: str = "tcp://127.0.0.1:0"  # where peers connect; port 0 (any) only where nobody dials this node
    external_address: str = ""  # host:port that peers dial, where it is not the one listened on
    peers: tuple[str, ...] = ()  # <node id>@host:port of nodes to stay connected with
    signer_listen: str = ""  # unix:///path or tcp://127.0.0.1:port of a remote signer; default: the home's key signs
    state_sync: tuple[str, ...] = ()  # addresses of two nodes or more whose headers a joining node compares
    state_sync_ca: Path | None = None  # certificates (PEM) to trust in https:// ones, instead of the system's
    name: str = ""  # what peers are told; default: the node's name in the genesis, else its account
    announce_validator: bool = True  # tell peers which validator key this node holds, so that it can be drawn
    idle_block_s: int = 30
    trace_file: Path | None = None  # every call of the engine, for a check against ABCI's grammar

    def __post_init__(self) -> None:
        assert self.profile in ("lan", "wan", "eco"), "cometbft.profile is lan, wan or eco"
        assert self.p2p_listen.startswith("tcp://"), "cometbft.p2p_listen is tcp://host:port"
        assert all("@" in peer for peer in self.peers), "cometbft.peers are <node id>@host:port"
        assert re.fullmatch(r"[!-~]{0,64}", self.name), "cometbft.name is at most 64 ASCII characters without spaces"
        assert 1 <= self.idle_block_s <= 60, "cometbft.idle_block_s is 1 to 60"


@dataclass(frozen=True, slots=True)
class SnapshotConfig:
    """State-sync snapshots that this node makes for those that join."""

    every_blocks: int = 1000  # of each height that is a multiple; alike on all nodes, so that several give one; 0: none
    keep: int = 2

    def __post_init__(self) -> None:
        assert 0 <= self.every_blocks <= 10_000_000, "snapshots.every_blocks is 0 (none) to 10000000"
        assert 1 <= self.keep <= 100, "snapshots.keep is 1 to 100"


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """All settings; every one has a default."""

    engine: str = "solo"
    keep_versions: int = 1000  # state versions kept for reads at a height; proofs of old readings never need them
    verify_processes: int = 1  # for signature checks, started when there is more to do than a few; 0: threads
    keep_receipts_days: int = 0  # receipts and their look-up by transaction; 0: for ever. Blocks are kept in any case
    log_level: str = "info"
    log_json: bool = True
    api: ApiConfig = field(default_factory=ApiConfig)
    solo: SoloConfig = field(default_factory=SoloConfig)
    cometbft: CometConfig = field(default_factory=CometConfig)
    snapshots: SnapshotConfig = field(default_factory=SnapshotConfig)  # with the engine cometbft

    def __post_init__(self) -> None:
        assert 2 <= self.keep_versions <= 10_000_000, "keep_versions is 2 to 10000000"
        assert 0 <= self.verify_processes <= 64, "verify_processes is 0 to 64"
        assert self.keep_receipts_days == 0 or 2 <= self.keep_receipts_days <= 36_500, (
            "keep_receipts_days is 0 (for ever) or 2 to 36500"
        )
        assert self.log_level in ("debug", "info", "warning", "error"), "log_level is debug, info, warning or error"


def read_config(home: Path, environ: Mapping[str, str] | None = None) -> NodeConfig:
    """The settings of a home, or SettingsError `settings.*`. Files are named from the home."""
    table = read_settings(home / "config.toml").get("node", {})
    merged = with_environment(NodeConfig, table, ENVIRONMENT_PREFIX, os.environ if environ is None else environ)
    config = table_of(NodeConfig, merged, "node")
    api, cometbft = config.api, config.cometbft
    # `/` leaves an absolute path as it is.
    files = {
        name: home / path for name in ("certificate", "key", "token_file") if (path := getattr(api, name)) is not None
    }
    programs = {
        name: home / path
        for name in ("binary", "state_sync_ca", "trace_file")
        if (path := getattr(cometbft, name)) is not None
    }
    return replace(config, api=replace(api, **files), cometbft=replace(cometbft, **programs))
