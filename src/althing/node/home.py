"""A home: the folder of a chain's node on this machine, with its genesis, keys and data.

<home>/genesis.cbor, trust.json, ports.json
<home>/node/{state, blocks, priv_validator_key.json, node_key.json}
<home>/gateway/…, <home>/archive/…, <home>/wallet/admin.json
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from althing.client.keyfile import generate_key, load_key, save_key
from althing.consensus.solo.signer import load_or_create_key
from althing.node.kinds import CONSORTIUM, Founding
from althing.protocol.block import Validator
from althing.protocol.errors import AlthingError
from althing.protocol.genesis import genesis_hash
from althing.protocol.messages.governance import (
    Genesis,
    GenesisNode,
    GenesisOrganisation,
    GenesisValidator,
    Parameters,
    Quota,
)
from althing.protocol.messages.identity import Key
from althing.protocol.signatures import PrivateKey
from althing.protocol.trust import Trust, parse_trust
from althing.service.durable import make_folders, write_file

__all__ = [
    "DEFAULT_PARAMETERS",
    "DEFAULT_QUOTA",
    "Carried",
    "Home",
    "HomeError",
    "create_home",
    "load_or_generate_key",
    "write_json",
]

DEFAULT_PARAMETERS: Final = Parameters(
    version=1,
    governors_threshold=1,
    tx_lifetime_max_s=600,
    quota_window_s=60,
    gas_price_min=0,
    block_gas_max=2**40,
    tx_bytes_max=1024 * 1024,
)
DEFAULT_QUOTA: Final = Quota(bytes=2**33, gas=2**45)  # 8 GiB and 3.5 × 10^13 gas a minute: bounds accidents, not work


class HomeError(AlthingError):
    """A home cannot be used: `home.missing`, `.exists`, `.no_trust`, `.damaged`, `.read_only`; nor a network: `network.*`."""


_CARRIED: Final = "althing-carried/1"


@dataclass(frozen=True, slots=True)
class Carried:
    """The last block of the embedded engine, and what CometBFT's genesis document says after it (docs/spec/genesis.md §6)."""

    genesis_hash: bytes
    height: int
    header_hash: bytes
    app_hash: bytes
    time_ns: int
    app_version: int
    validators: tuple[Validator, ...]

    def document(self) -> dict[str, Any]:
        """As carried.json has it."""
        return {
            "format": _CARRIED,
            "genesis_hash": self.genesis_hash.hex(),
            "height": self.height,
            "header_hash": self.header_hash.hex(),
            "app_hash": self.app_hash.hex(),
            "time_ns": self.time_ns,
            "app_version": self.app_version,
            "validators": [{"public_key": v.public_key.hex(), "power": v.power} for v in self.validators],
        }

    @classmethod
    def of(cls, document: Any) -> Carried:
        """From carried.json; ValueError, KeyError or TypeError where it is none."""
        if document["format"] != _CARRIED:
            raise ValueError("another format")
        return cls(
            bytes.fromhex(document["genesis_hash"]),
            int(document["height"]),
            bytes.fromhex(document["header_hash"]),
            bytes.fromhex(document["app_hash"]),
            int(document["time_ns"]),
            int(document["app_version"]),
            tuple(Validator(bytes.fromhex(v["public_key"]), int(v["power"])) for v in document["validators"]),
        )


@dataclass(frozen=True, slots=True)
class Home:
    """Paths and identity of a home that exists."""

    path: Path

    @property
    def genesis_file(self) -> Path:
        return self.path / "genesis.cbor"

    @property
    def trust_file(self) -> Path:
        return self.path / "trust.json"

    @property
    def carried_file(self) -> Path:
        return self.path / "carried.json"

    @property
    def ports_file(self) -> Path:
        return self.path / "ports.json"

    @property
    def state_dir(self) -> Path:
        return self.path / "node" / "state"

    @property
    def blocks_dir(self) -> Path:
        return self.path / "node" / "blocks"

    @property
    def snapshots_dir(self) -> Path:
        return self.path / "node" / "snapshots"

    @property
    def node_key_file(self) -> Path:
        return self.path / "node" / "node_key.json"

    @property
    def validator_key_file(self) -> Path:
        return self.path / "node" / "priv_validator_key.json"

    @property
    def gateway_dir(self) -> Path:
        return self.path / "gateway"

    @property
    def archive_dir(self) -> Path:
        return self.path / "archive"

    @property
    def admin_key_file(self) -> Path:
        return self.path / "wallet" / "admin.json"

    def genesis(self) -> Genesis:
        """The chain's genesis record."""
        try:
            return Genesis.from_bytes(self.genesis_file.read_bytes())
        except FileNotFoundError as exc:
            raise HomeError(
                "home.missing", f"{self.path} is not a home: it has no genesis.cbor", hint="althing demo makes one"
            ) from exc
        except AlthingError as exc:
            raise HomeError("home.damaged", f"{self.genesis_file} is not a genesis record") from exc

    def trust(self) -> Trust:
        """What the home's trust file pins; HomeError `home.no_trust` without one."""
        try:
            return parse_trust(self.trust_file.read_bytes())
        except FileNotFoundError as exc:
            raise HomeError(
                "home.no_trust",
                f"there is no {self.trust_file}",
                hint="get one from a node you trust: althing trust show",
            ) from exc

    def carried(self) -> Carried | None:
        """Where another engine took the chain over; None where one engine has made all blocks."""
        try:
            data = self.carried_file.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return Carried.of(json.loads(data))
        except (ValueError, KeyError, TypeError, AlthingError) as exc:
            raise HomeError("home.damaged", f"{self.carried_file} cannot be read", hint="copy another node's") from exc

    def node_key(self) -> PrivateKey:
        return load_key(self.node_key_file)

    def ports(self) -> dict[str, Any]:
        """Addresses that this home's processes last listened on; empty before the first run."""
        try:
            found = json.loads(self.ports_file.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as exc:
            raise HomeError(
                "home.damaged", f"{self.ports_file} is not JSON", hint="delete it; ports are chosen anew"
            ) from exc
        return found if isinstance(found, dict) else {}


def create_home(path: Path, *, chain_id: str, organisation: str, time_s: int, founding: Founding = CONSORTIUM) -> Home:
    """Found a chain of one organisation with one validator and one node, and write its home. Nothing is overwritten."""
    home = Home(path)
    founding.check((organisation,), 1)
    if home.genesis_file.exists():
        raise HomeError("home.exists", f"{path} is a home already")
    kind = founding.chain_kind((organisation,))
    try:
        make_folders(path)
        admin = load_or_generate_key(home.admin_key_file)
        node = load_or_generate_key(home.node_key_file)
        validator = load_or_create_key(home.validator_key_file)
        genesis = Genesis(
            version=1 if kind is None else 2,
            chain_id=chain_id,
            time=time_s,
            initial_height=1,
            app_version=1,
            salt=secrets.token_bytes(16),
            parameters=replace(DEFAULT_PARAMETERS, gas_price_min=founding.gas_price_min),
            organisations=(
                GenesisOrganisation(organisation, True, 1, (Key(admin.suite, admin.public),), DEFAULT_QUOTA),
            ),
            validators=(GenesisValidator(validator.public, founding.power, organisation),),
            nodes=(GenesisNode(f"{organisation}-node-1", organisation, Key(node.suite, node.public)),),
            kind=kind,
        )
        # Last and by rename: a home whose creation was interrupted has no genesis, and the keys made so far are used again.
        write_file(home.genesis_file, genesis.to_bytes())
    except PermissionError as exc:
        raise HomeError("home.read_only", f"{path} cannot be written", hint="choose another with --home") from exc
    assert genesis_hash(home.genesis()) == genesis_hash(genesis)
    return home


def write_json(path: Path, document: Any) -> None:
    """Replace a JSON file atomically and durably."""
    write_file(path, (json.dumps(document, indent=2) + "\n").encode())


def load_or_generate_key(path: Path) -> PrivateKey:
    """The key of a file, which is made when there is none."""
    if not path.exists():
        save_key(path, generate_key())
    return load_key(path)
