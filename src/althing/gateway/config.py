"""Settings of a gateway: the [gateway] table of a home's config.toml, and the paths in its home."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from althing.gateway.anchoring import BatchConfig
from althing.gateway.errors import SettingsError
from althing.gateway.intake import GuardConfig
from althing.gateway.spool.spool import SpoolConfig
from althing.service.settings import read_settings, table_of, with_environment

__all__ = ["GatewayConfig", "GatewayPaths", "ListenerConfig", "read_config"]


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """A listener. With certificate and key it speaks TLS; `open` believes a client's word, on loopback only."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 0  # 0: any free port
    certificate: Path | None = None
    key: Path | None = None
    open: bool = False
    host_names: tuple[str, ...] = ()  # of HTTP: names besides the address under which clients on this machine reach it

    def __post_init__(self) -> None:
        assert 0 <= self.port <= 65535, "a port is 0 to 65535"
        assert (self.certificate is None) == (self.key is None), "certificate and key go together"


def _processes() -> int:
    return max(0, min(4, (os.cpu_count() or 1) - 1))


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """All settings; every one has a default but the nodes, which ports.json may name."""

    nodes: tuple[str, ...] = ()  # base addresses of nodes' APIs, tried in turn
    nodes_token_file: Path | None = None  # a file of mode 0600 with the token that the nodes ask for
    nodes_ca: Path | None = None  # certificates (PEM) to trust in their https:// addresses, instead of the system's
    trusting_period_days: int = (
        28  # nothing follows from a header that is older; 0: always, as with the home's own node
    )
    address: str = ""  # of the gateway's account; "" for the one its key was created with
    archive: str = ""  # folder or URL of the object store; "" for <home>/archive
    registry_age_max_s: int = 3600  # for so long the cached registry serves while no node answers
    registry_check_s: float = 10.0  # how often a part of it is looked at again, in case a node kept a change back
    verify_processes: int = field(default_factory=_processes)  # for signature checks; 0: threads
    mqtt: ListenerConfig = field(default_factory=lambda: ListenerConfig(port=1883))
    http: ListenerConfig = field(default_factory=lambda: ListenerConfig(port=8080))
    spool: SpoolConfig = field(default_factory=SpoolConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)

    def __post_init__(self) -> None:
        assert 0 <= self.trusting_period_days <= 36_500, "trusting_period_days is 0 (without end) to 36500"


@dataclass(frozen=True, slots=True)
class GatewayPaths:
    """Where things are in a home."""

    home: Path

    @property
    def genesis(self) -> Path:
        return self.home / "genesis.cbor"

    @property
    def trust(self) -> Path:
        return self.home / "trust.json"

    @property
    def config(self) -> Path:
        return self.home / "config.toml"

    @property
    def ports(self) -> Path:
        return self.home / "ports.json"

    @property
    def archive(self) -> Path:
        return self.home / "archive"

    @property
    def gateway(self) -> Path:
        return self.home / "gateway"

    @property
    def key(self) -> Path:
        return self.gateway / "gateway_key.json"

    @property
    def spool(self) -> Path:
        return self.gateway / "spool"

    @property
    def sessions(self) -> Path:
        return self.gateway / "sessions"

    @property
    def tokens(self) -> Path:
        return self.gateway / "tokens.json"

    @property
    def certificates(self) -> Path:
        return self.gateway / "certificates"

    @property
    def light(self) -> Path:
        return self.gateway / "light"

    @property
    def registry(self) -> Path:
        return self.gateway / "registry.cbor"


ENVIRONMENT_PREFIX: Final = "ALTHING_GATEWAY"
_PORTS_KEY: Final = "api"


def read_config(paths: GatewayPaths) -> GatewayConfig:
    """The settings of a home, ALTHING_GATEWAY_* over them; nodes that neither names come from ports.json. Files are named
    from the home."""
    table = read_settings(paths.config).get("gateway", {})
    config = table_of(GatewayConfig, with_environment(GatewayConfig, table, ENVIRONMENT_PREFIX, os.environ), "gateway")
    config = replace(
        config,
        **_from_home(paths.home, config, ("nodes_token_file", "nodes_ca")),
        mqtt=replace(config.mqtt, **_from_home(paths.home, config.mqtt, ("certificate", "key"))),
        http=replace(config.http, **_from_home(paths.home, config.http, ("certificate", "key"))),
    )
    if config.nodes:
        return config
    try:
        known = json.loads(paths.ports.read_bytes()).get(_PORTS_KEY)
    except FileNotFoundError:
        known = None
    except (ValueError, AttributeError) as error:
        raise SettingsError("gateway.settings", f"{paths.ports} cannot be read: {error}") from error
    if isinstance(known, int):
        known = f"http://127.0.0.1:{known}"
    if not isinstance(known, str):
        return config
    # Whoever could forge the own node's chain has the home, with its trust file in it.
    return replace(config, nodes=(known,), trusting_period_days=0)


def _from_home(home: Path, settings: GatewayConfig | ListenerConfig, names: tuple[str, ...]) -> dict[str, Any]:
    # `/` leaves an absolute path as it is.
    return {name: home / path for name in names if (path := getattr(settings, name)) is not None}
