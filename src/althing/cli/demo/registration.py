"""Registering the demo's devices and streams, each with a key and a token of its own. Safe to repeat."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from althing.apps.recorded.examples import Example, load_examples
from althing.cli.streamspec import STATUS_SCHEMA
from althing.client import Client, Signer, co_signed, generate_key, load_key, load_signer, save_key
from althing.client.errors import NodeError
from althing.gateway.config import GatewayPaths
from althing.gateway.tokens import TokenStore
from althing.node.home import Home
from althing.protocol.address import address_of_key
from althing.protocol.errors import AlthingError
from althing.protocol.messages.devices import RegisterDevice
from althing.protocol.messages.identity import AccountKind, Key
from althing.protocol.messages.streams import DefineStream
from althing.protocol.signatures import PrivateKey, Suite

__all__ = ["DemoDevice", "credentials_file", "examples_folder", "register"]

_SUITES = {"ed25519": Suite.ED25519, "p256": Suite.ES256}
# One of each way in: MQTT 5, HTTP, and for the devices without keys MQTT 5 and the older MQTT 3.1.1.
_TRANSPORTS = {"ed25519": "mqtt5", "p256": "http", "none": "mqtt5"}


@dataclass(frozen=True, slots=True)
class DemoDevice:
    """A device as registered: its recording, key (None: the gateway attests), token and way in."""

    example: Example
    key: PrivateKey | None
    token: str
    transport: str


def examples_folder() -> Path:
    """The recordings: in the source tree, or beside the package where it is installed."""
    here = Path(__file__).resolve()
    for folder in (here.parents[2] / "apps" / "recorded" / "examples", here.parents[4] / "examples"):
        if any(folder.glob("*/example.toml")):
            return folder
    raise AlthingError(
        "demo.examples", "the recordings are not installed", hint="install a whole wheel, or run from a clone"
    )


def register(client: Client, home: Home, organisation: bytes) -> list[DemoDevice]:
    """Gateway account, devices, streams and tokens; what exists already is left as it is."""
    paths = GatewayPaths(home.path)
    if not paths.key.exists():
        save_key(paths.key, generate_key())
    held = load_key(paths.key)
    gateway = address_of_key(held.suite, held.public)
    if not _exists(lambda: client.account(gateway)):
        own = Key(held.suite, held.public)
        client.create_account("gateway-1", AccountKind.GATEWAY, [own], holder=Signer(gateway, (held,)))
    credentials = _credentials(home)
    tokens = TokenStore(paths.tokens)
    devices = []
    older = False
    for example in load_examples(examples_folder()):
        key = _key(home, example)
        public = None if key is None else Key(key.suite, key.public)
        if not _exists(lambda name=example.device: client.device(name)):
            metadata = (("licence", example.licence), ("source", example.source), ("title", example.title))
            streams = [DefineStream(example.device, s.name, gateway, s.schema) for s in example.streams]
            status = DefineStream(example.device, "status", gateway, STATUS_SCHEMA)
            registered = RegisterDevice(example.device, organisation, public, gateway, metadata)
            client.send(registered, *streams, status, signers=co_signed(load_signer(home.admin_key_file), key))
        token = credentials.get(example.device)
        if token is None:
            token = credentials[example.device] = tokens.add(example.device)
            _save(home, credentials)
        transport = _TRANSPORTS[example.key]
        if example.key == "none":
            transport, older = ("mqtt311" if older else "mqtt5"), True
        devices.append(DemoDevice(example, key, token, transport))
    return devices


def _exists(read: object) -> bool:
    assert callable(read)
    try:
        read()
    except NodeError as error:
        if error.code != "query.absent":
            raise
        return False
    return True


def _key(home: Home, example: Example) -> PrivateKey | None:
    if example.key == "none":
        return None
    path = home.path / "devices" / f"{example.device}.json"
    if not path.exists():
        save_key(path, generate_key(_SUITES[example.key]))
    return load_key(path)


def credentials_file(home: Home) -> Path:
    """Tokens of the demo's devices, mode 0600: the demo is gateway and devices in one."""
    return home.path / "credentials.json"


def _credentials(home: Home) -> dict[str, str]:
    path = credentials_file(home)
    return dict(json.loads(path.read_bytes())["tokens"]) if path.exists() else {}


def _save(home: Home, tokens: dict[str, str]) -> None:
    path = credentials_file(home)
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"format": "althing-credentials/1", "tokens": tokens}, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
