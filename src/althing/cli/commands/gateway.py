"""althing gateway: make a gateway in a home, run it, ask it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from althing.cli.connection import shown_token, trusted_certificates
from althing.cli.help import examples
from althing.cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    KeyOption,
    NodeOption,
    admin_signer,
    guarded,
    open_client,
    require_home,
)
from althing.cli.output import emit
from althing.cli.ports import choose_port, port_of, remember
from althing.cli.running import announce, run_daemon
from althing.client import Signer, generate_key, load_key, save_key
from althing.client.errors import NodeError
from althing.client.transport import Transport
from althing.gateway.config import GatewayPaths, read_config
from althing.gateway.daemon import Addresses, Gateway, run_gateway
from althing.gateway.errors import SettingsError
from althing.gateway.held import release_stream
from althing.gateway.spool.repair import repair_spool
from althing.gateway.tokens import TokenStore
from althing.node.home import Home
from althing.protocol.address import format_address
from althing.protocol.errors import UnavailableError
from althing.protocol.messages.identity import AccountKind, Key
from althing.service.telemetry import configure_logs

__all__ = ["app", "gateway_status", "init", "release", "repair", "start", "status", "token"]

app = typer.Typer(name="gateway", help="Gateways: init, start, status, token, repair, release.", no_args_is_help=True)


@app.command("init", **examples("althing gateway init --name gateway-1"))
@guarded
def init(
    name: Annotated[str, typer.Option("--name", help="Name of its account.")] = "gateway-1",
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the home's gateway: a key, and an account for it. Safe to repeat."""
    paths = GatewayPaths(require_home(home).path)
    if not paths.key.exists():
        save_key(paths.key, generate_key())
    held = load_key(paths.key)
    public = Key(held.suite, held.public)
    with open_client(home, node, signer=admin_signer(home, key)) as client:
        try:
            client.account(public.address)
            text = "has its account already"
        except NodeError as error:
            if error.code != "query.absent":
                raise
            client.create_account(name, AccountKind.GATEWAY, [public], holder=Signer(public.address, (held,)))
            text = "has an account now"
    address = format_address(public.address)
    emit({"gateway": address, "key_file": str(paths.key)}, f"gateway {address} {text}", as_json=as_json)


@app.command("start", **examples("althing gateway start", "althing gateway start --drain 60"))
@guarded
def start(
    home: HomeOption = DEFAULT_HOME,
    drain_s: Annotated[
        int, typer.Option("--drain", min=0, help="Seconds to go on anchoring after a stop signal.")
    ] = 10,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Run the gateway until interrupted. Prints one JSON line when it listens; logs go to standard error."""
    configure_logs()
    place, paths = Home(home), GatewayPaths(home)
    config, ports = read_config(paths), Home(home).ports()
    mqtt_port = choose_port(config.mqtt.host, (port_of(ports.get("mqtt")), config.mqtt.port))
    http_port = choose_port(config.http.host, (port_of(ports.get("http")), config.http.port))
    config = replace(config, mqtt=replace(config.mqtt, port=mqtt_port), http=replace(config.http, port=http_port))

    def ready(_gateway: Gateway, addresses: Addresses) -> None:
        found = {}
        if addresses.mqtt is not None:
            found["mqtt"] = (
                f"{'mqtts' if config.mqtt.certificate else 'mqtt'}://{addresses.mqtt[0]}:{addresses.mqtt[1]}"
            )
        if addresses.http is not None:
            found["http"] = (
                f"{'https' if config.http.certificate else 'http'}://{addresses.http[0]}:{addresses.http[1]}"
            )
        remember(place, **found)
        announce("ready", **found)

    async def main(stop: asyncio.Event) -> None:
        await run_gateway(home, config, on_ready=ready, stop=stop, drain_s=drain_s)

    run_daemon(main, with_parent=with_parent)


@app.command("status", **examples("althing gateway status"))
@guarded
def status(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Ask the home's gateway how it is."""
    document = gateway_status(home)
    emit(document, json.dumps(document, indent=2), as_json=as_json)


def gateway_status(home: Path) -> dict[str, Any]:
    """The gateway's own report, or UnavailableError."""
    url = str(require_home(home).ports().get("http", ""))
    if not url:
        raise _away()

    async def ask() -> Any:
        transport = Transport([url], timeout_s=5, token=shown_token(), verify=trusted_certificates(), reads_max=1)
        try:
            return await transport.get_json("/v1/status")
        finally:
            await transport.aclose()

    try:
        document = asyncio.run(ask())
    except UnavailableError as error:
        if error.code != "node.unavailable":
            raise
        raise _away() from error
    assert isinstance(document, dict)
    return document


def _away() -> UnavailableError:
    return UnavailableError("gateway.unavailable", "this home's gateway does not answer", hint="althing gateway start")


@app.command("token", **examples("althing gateway token my-device", "althing gateway token my-device --revoke"))
@guarded
def token(
    device: Annotated[str, typer.Argument(help="Device the token is for; none: an operator.")] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Revoke all its tokens instead.")] = False,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Do not ask the ledger whether the device is registered.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make a token for a device (printed once), or revoke its tokens."""
    tokens = TokenStore(GatewayPaths(require_home(home).path).tokens)
    if revoke:
        count = tokens.revoke(device)
        emit({"device": device, "revoked": count}, f"{count} tokens of {device} revoked", as_json=as_json)
    else:
        if device and not unchecked:
            _check_registered(device, home, node)
        made = tokens.add(device)
        emit({"device": device, "token": made}, made, as_json=as_json)


def _check_registered(device: str, home: Path, node: str) -> None:
    """A token for a mistyped name would help nobody. Without a node nobody can tell, which is said."""
    try:
        with open_client(home, node) as client:
            client.get(f"devices/{device}")
    except UnavailableError:
        typer.echo(f"no node answers, so it was not checked that {device} is registered", err=True)
    except NodeError as error:
        if error.status != 404:
            raise
        raise SettingsError(
            "gateway.unknown_device",
            f"there is no device {device} on the ledger",
            hint=f"althing device add {device} --stream …, or --unchecked for one that is registered later",
        ) from error


@app.command("repair", **examples("althing gateway repair"))
@guarded
def repair(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Repair a damaged spool of a stopped gateway: what reads is kept, what does not is named."""
    require_home(home)
    report = dataclasses.asdict(repair_spool(GatewayPaths(home).spool))
    emit(report, "\n".join(f"{name:16} {value}" for name, value in report.items()), as_json=as_json)


@app.command("release", **examples("althing gateway release my-device/climate"))
@guarded
def release(
    stream: Annotated[str, typer.Argument(help="<device>/<stream> whose messages the chain would not take.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Let a stopped gateway take a held stream up again: from its next start on, the messages that are held are accepted
    anew, under new sequences, and new ones too."""
    require_home(home)
    released = release_stream(GatewayPaths(home).spool, stream)
    emit(
        {"stream": stream, "released": released}, "released" if released else "no such stream is held", as_json=as_json
    )
