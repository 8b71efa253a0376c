"""althing device: register devices, list them, suspend and retire them, sign a message as one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from althing.cli.demo.texts import home_option, own_command
from althing.cli.help import examples
from althing.cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    KeyOption,
    NodeOption,
    admin_signer,
    gateway_address,
    guarded,
    open_client,
    require_home,
)
from althing.cli.output import emit, table
from althing.cli.streamspec import STATUS_SCHEMA, parse_stream
from althing.client import Client, co_signed, generate_key, load_key, save_key
from althing.client.errors import ClientError
from althing.gateway.config import GatewayPaths
from althing.gateway.tokens import TokenStore
from althing.node.home import Home
from althing.protocol.address import did, is_name
from althing.protocol.genesis import genesis_hash
from althing.protocol.message import CONTENT_TYPE_COSE, sign_message
from althing.protocol.messages.devices import DeviceState, RegisterDevice
from althing.protocol.messages.identity import Key
from althing.protocol.messages.streams import DefineStream
from althing.protocol.schema import StreamSchema
from althing.protocol.signatures import PrivateKey, Suite

__all__ = ["add", "app", "list_devices", "resume", "retire", "show", "sign", "suspend"]

app = typer.Typer(name="device", help="Devices: register, list, suspend, retire, sign as one.", no_args_is_help=True)

_SUITES = {"ed25519": Suite.ED25519, "p256": Suite.ES256}


@app.command(
    "add",
    **examples(
        "althing device add my-device --stream climate=temperature:Cel",
        "althing device add pump-1 --suite p256 --stream climate=temperature:Cel,humidity:%RH --meta place=hall-2",
    ),
)
@guarded
def add(
    name: Annotated[str, typer.Argument(help="Name, unique on the chain: a-z 0-9 . _ -")],
    stream: Annotated[
        list[str],
        typer.Option("--stream", help="NAME or NAME=QUANTITY:UNIT,…, e.g. climate=temperature:Cel,humidity:%RH"),
    ],
    suite: Annotated[
        str, typer.Option("--suite", help="Key of the device: ed25519, p256, or none if it cannot sign.")
    ] = "none",
    metadata: Annotated[list[str] | None, typer.Option("--meta", help="KEY=VALUE, e.g. place=hall-2")] = None,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a device with its streams; prints its token once, and lines that send its first message."""
    if suite not in (*_SUITES, "none"):
        raise ClientError("cli.suite", f"{suite!r} is not a suite", hint="ed25519, p256 or none")
    if not is_name(name):
        raise ClientError("cli.device", f"{name!r} is not a name of a device", hint="use a-z 0-9 . _ -")
    streams = [parse_stream(text) for text in stream]
    pairs = tuple(sorted(_pair(text) for text in metadata or ()))
    paths = GatewayPaths(home)
    gateway = gateway_address(home)
    device_key, key_file = _device_key(home, name, suite)
    signer = admin_signer(home, key)
    with open_client(home, node, signer=signer) as client:
        organisation = client.account(signer.address).organisation
        public = None if device_key is None else Key(device_key.suite, device_key.public)
        defined = [*streams, ("status", STATUS_SCHEMA)] if all(n != "status" for n, _ in streams) else streams
        client.send(
            RegisterDevice(name, organisation, public, gateway, pairs),
            *(DefineStream(name, stream_name, gateway, schema) for stream_name, schema in defined),
            signers=co_signed(signer, device_key),
        )
        identifier = did(client.trust.chain_id, client.device(name).address)
    token = TokenStore(paths.tokens).add(name)
    ports = Home(home).ports()
    lines = _lines(home, name, streams[0], token, ports, signed=device_key is not None)
    document = {
        "device": name,
        "did": identifier,
        "key_file": None if key_file is None else str(key_file),
        "token": token,
        "streams": [f"{name}/{stream_name}" for stream_name, _ in defined],
        **lines,
    }
    emit(document, _text(document), as_json=as_json)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ClientError("cli.meta", f"{text!r} is not KEY=VALUE", hint="as in place=hall-2")
    return name, value


def _device_key(home: Path, name: str, suite: str) -> tuple[PrivateKey | None, Path | None]:
    if suite == "none":
        return None, None
    path = home / "devices" / f"{name}.json"
    if not path.exists():  # kept from an attempt that failed later: the same key again
        save_key(path, generate_key(_SUITES[suite]))
    return load_key(path), path


def _lines(
    home: Path, name: str, stream: tuple[str, StreamSchema], token: str, ports: dict[str, Any], *, signed: bool
) -> dict[str, str]:
    """The exact commands that send a first message, over MQTT and over HTTP."""
    path, schema = f"{name}/{stream[0]}", stream[1]
    body = json.dumps({quantity.name: 21.5 if quantity.kind == 0 else "ok" for quantity in schema.quantities})
    mqtt, http = str(ports.get("mqtt", "mqtt://127.0.0.1:1883")), str(ports.get("http", "http://127.0.0.1:8080"))
    host, _, port = mqtt.removeprefix("mqtt://").partition(":")
    publish = f"mosquitto_pub -h {host} -p {port} -u {name} -P {token} -q 1 -t althing/v1/{path}"
    post = f"curl -sS -H 'Authorization: Bearer {token}' {http}/v1/messages/{path}"
    if not signed:
        return {
            "mosquitto_pub": f"{publish} -m '{body}'",
            "curl": f"{post} -H 'Content-Type: application/json' -d '{body}'",
        }
    sign = f"{own_command()} device sign {name}{home_option(home)} --stream {stream[0]} --text '{body}'"
    return {
        "mosquitto_pub": f"{sign} | {publish} -s",
        "curl": f"{sign} | {post} -H 'Content-Type: {CONTENT_TYPE_COSE}' --data-binary @-",
    }


def _text(document: dict[str, Any]) -> str:
    key = document["key_file"]
    return "\n".join(
        [
            f"device {document['device']} is registered: {document['did']}",
            f"streams: {', '.join(document['streams'])}",
            f"key: {key} (mode 0600; the device signs with it)" if key else "no key: the gateway attests its messages",
            f"token, shown only now: {document['token']}",
            "",
            "send a first message over MQTT:",
            f"  {document['mosquitto_pub']}",
            "or over HTTP:",
            f"  {document['curl']}",
        ]
    )


@app.command(
    "sign", **examples("althing device sign pump-1 --stream climate --text '{\"temperature\": 21.5}' > message.cose")
)
@guarded
def sign(
    name: Annotated[str, typer.Argument(help="Device with a key in this home.")],
    stream: Annotated[str, typer.Option("--stream", help="Name of its stream.")],
    text: Annotated[str | None, typer.Option("--text", help="Payload; default: standard input.")] = None,
    content_type: Annotated[
        str, typer.Option("--content-type", help="Content type of the payload.")
    ] = "application/json",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Sign a payload as a device: COSE_Sign1 bytes on standard output. The counter is kept beside the key."""
    payload = sys.stdin.buffer.read() if text is None else text.encode()
    if not is_name(stream):
        raise ClientError("cli.stream", f"{stream!r} is not a name of a stream", hint="without the device: climate")
    genesis = require_home(home).genesis()
    key_file = home / "devices" / f"{name}.json"
    if not is_name(name) or not key_file.exists():
        raise ClientError(
            "key.missing",
            f"this home has no key of a device {name}",
            hint="althing device add NAME --suite p256 makes a device with a key",
        )
    key = load_key(key_file)
    counter = _next_counter(home / "devices" / f"{name}.counter")
    signed = sign_message(
        key,
        genesis_hash(genesis),
        genesis.chain_id,
        f"{name}/{stream}",
        counter,
        payload,
        content_type=content_type,
    )
    sys.stdout.buffer.write(signed)
    sys.stdout.buffer.flush()


def _next_counter(path: Path) -> int:
    """Durable before use, so that a counter never repeats."""
    import os

    number = int(path.read_text()) if path.exists() else 0
    temporary = path.with_suffix(".new")
    with temporary.open("w") as file:
        file.write(str(number + 1))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return number


@app.command("list", **examples("althing device list"))
@guarded
def list_devices(home: HomeOption = DEFAULT_HOME, node: NodeOption = "", as_json: JsonOption = False) -> None:
    """List devices with their state and streams."""
    with open_client(home, node) as client:
        devices = _all(client, "devices", "devices")
        streams = _all(client, "streams", "streams")
    written: dict[str, list[str]] = {}
    for stream in streams:
        written.setdefault(stream["device"], []).append(stream["stream"])
    devices = [{**device, "streams": written.get(device["name"], [])} for device in devices]
    rows = [{**device, "streams": ", ".join(device["streams"])} for device in devices]
    columns = ("name", "state", "gateway", "registered_at", "streams")
    emit(devices, table(columns, rows, empty="no devices yet: althing device add NAME --stream …"), as_json=as_json)


def _all(client: Client, path: str, field: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = client.get(path, limit=1000, cursor=cursor)
        found.extend(page[field])
        cursor = page["next"]
        if cursor is None:
            return found


@app.command("show", **examples("althing device show office-machine"))
@guarded
def show(
    name: Annotated[str, typer.Argument(help="Name of the device.")],
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show a device's record, keys and streams."""
    with open_client(home, node) as client:
        document = client.get(f"devices/{name}")
    emit(document, json.dumps(document, indent=2, ensure_ascii=False), as_json=as_json)


def _set_state(
    home: Path, node: str, key: Path | None, name: str, state: DeviceState, reason: str, as_json: bool
) -> None:
    with open_client(home, node, signer=admin_signer(home, key)) as client:
        done = client.set_device_state(name, state, reason)
    document = {"device": name, "state": state.name.lower(), "height": done.height, "transaction": done.tx_id.hex()}
    emit(document, f"{name} is {state.name.lower()} since block {done.height}", as_json=as_json)


ReasonOption = Annotated[str, typer.Option("--reason", help="Stands on the chain.")]


@app.command("suspend", **examples("althing device suspend my-device --reason 'lost on the way'"))
@guarded
def suspend(
    name: Annotated[str, typer.Argument(help="Name of the device.")],
    reason: ReasonOption = "",
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Suspend a device: its open sessions end with the block that decides it."""
    _set_state(home, node, key, name, DeviceState.SUSPENDED, reason, as_json)


@app.command("resume", **examples("althing device resume my-device"))
@guarded
def resume(
    name: Annotated[str, typer.Argument(help="Name of the device.")],
    reason: ReasonOption = "",
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a suspended device in again."""
    _set_state(home, node, key, name, DeviceState.ACTIVE, reason, as_json)


@app.command("retire", **examples("althing device retire my-device --reason 'scrapped'"))
@guarded
def retire(
    name: Annotated[str, typer.Argument(help="Name of the device.")],
    reason: ReasonOption = "",
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Retire a device, for ever."""
    _set_state(home, node, key, name, DeviceState.RETIRED, reason, as_json)
