"""althing light: a light node for this machine, and single checks. Loads neither node nor ledger nor archive."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from althing.cli.connection import shown_token, trusted_certificates
from althing.cli.guard import JsonOption, guarded
from althing.cli.help import examples
from althing.cli.output import emit
from althing.cli.running import announce, run_daemon
from althing.client.errors import ClientError
from althing.client.light import LightOptions
from althing.client.lightstore import Anchor
from althing.light.blocks import LightBlock
from althing.lightnode.daemon import LightNodeConfig, make_light_client, run_light_node
from althing.protocol.block.jsonform import json_of_signed_header, json_of_time
from althing.protocol.trust import parse_trust
from althing.service.telemetry import configure_logs

__all__ = ["app", "start", "verify"]

app = typer.Typer(name="light", help="Light nodes: verified answers without keeping the chain.", no_args_is_help=True)

_DAY_S: Final = 24 * 3600
_HASH: Final = re.compile(r"[0-9a-fA-F]{64}")

_Node = Annotated[str, typer.Option("--node", help="Address of the node to ask.")]
_Witnesses = Annotated[
    list[str] | None, typer.Option("--witness", help="Address of another node, to compare with; repeat for more.")
]
_TrustFile = Annotated[Path | None, typer.Option("--trust", help="Trust file of an Althing chain.", dir_okay=False)]
_Rpc = Annotated[bool, typer.Option("--rpc", help="The addresses are CometBFT's JSON-RPC, of any chain.")]
_ChainId = Annotated[str, typer.Option("--chain", help="Chain id, where there is no trust file.")]
_TrustHeight = Annotated[int, typer.Option("--trust-height", help="Height of the block that you trust.")]
_TrustHash = Annotated[str, typer.Option("--trust-hash", help="Its header hash.")]
_Period = Annotated[int, typer.Option("--period-days", help="Trusting period: shorter than the chain's unbonding.")]
_Store = Annotated[Path | None, typer.Option("--store", help="Folder for trusted blocks.", file_okay=False)]
_Alone = Annotated[bool, typer.Option("--alone", help="Without a witness: an attack by validators goes unnoticed.")]


@app.command(
    "start",
    **examples(
        "althing light start --node http://127.0.0.1:8420 --witness http://127.0.0.2:8420 --trust trust.json",
        "althing light start --node https://n1.example --witness https://n2.example --trust trust.json --listen 127.0.0.1:0",
    ),
)
@guarded
def start(
    node: _Node,
    witness: _Witnesses = None,
    trust: _TrustFile = None,
    listen: Annotated[str, typer.Option("--listen", help="Loopback address and port; 0 is any.")] = "127.0.0.1:8430",
    rpc: _Rpc = False,
    chain: _ChainId = "",
    trust_height: _TrustHeight = 0,
    trust_hash: _TrustHash = "",
    period_days: _Period = 7,
    store: _Store = None,
    alone: _Alone = False,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Run a light node until interrupted. Prints one JSON line when it serves; logs go to standard error."""
    configure_logs()
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port[:6]) > 65_535:
        raise ClientError("client.light", "--listen is an address and a port", hint="for example 127.0.0.1:8430")
    config = _config(node, witness, trust, rpc, chain, trust_height, trust_hash, period_days, store, alone)
    config = replace(config, host=host, port=int(port))

    async def main(stop: asyncio.Event) -> None:
        await run_light_node(config, ready=lambda url: announce("ready", api=url), stop=stop)

    run_daemon(main, with_parent=with_parent)


@app.command(
    "verify",
    **examples(
        "althing light verify --height 42 --node http://127.0.0.1:8420 --witness http://127.0.0.2:8420 --trust trust.json",
        "althing light verify --rpc --node https://rpc.example --witness https://rpc2.example --chain cosmoshub-4 "
        "--trust-height 20000000 --trust-hash "
        "0011223344556677889900112233445566778899001122334455667788990011 --height 20001000 --json",
    ),
)
@guarded
def verify(
    node: _Node,
    witness: _Witnesses = None,
    trust: _TrustFile = None,
    height: Annotated[int, typer.Option("--height", help="Height to verify; default: the latest.", min=0)] = 0,
    rpc: _Rpc = False,
    chain: _ChainId = "",
    trust_height: _TrustHeight = 0,
    trust_hash: _TrustHash = "",
    period_days: _Period = 7,
    store: _Store = None,
    alone: _Alone = False,
    as_json: JsonOption = False,
) -> None:
    """Verify one header from the trusted one, and say what it is."""
    configure_logs()
    config = _config(node, witness, trust, rpc, chain, trust_height, trust_hash, period_days, store, alone)

    async def run() -> LightBlock:
        light = make_light_client(config)
        try:
            await light.start()
            return await light.block(height)
        finally:
            await light.aclose()

    block = asyncio.run(run())
    document = {
        "chain_id": block.header.chain_id,
        "height": block.height,
        "hash": block.hash.hex(),
        "time": json_of_time(block.time),
        "trusted_height": config.anchor.height,
        "signed_header": json_of_signed_header(block.signed),
    }
    emit(
        document,
        f"verified: {block.header.chain_id} height {block.height}\nhash {block.hash.hex()}\ntime {json_of_time(block.time)}",
        as_json=as_json,
    )


def _config(
    node: str,
    witnesses: list[str] | None,
    trust_file: Path | None,
    rpc: bool,
    chain: str,
    height: int,
    digest: str,
    period_days: int,
    store: Path | None,
    alone: bool,
) -> LightNodeConfig:
    trust = None
    if trust_file is not None:
        trust = parse_trust(trust_file.read_bytes())
        anchor = Anchor(trust.chain_id, trust.height, trust.header_hash)
    elif chain and height > 0 and _HASH.fullmatch(digest):
        anchor = Anchor(chain, height, bytes.fromhex(digest))
    else:
        raise ClientError(
            "client.light",
            "nothing to trust is named",
            hint="give --trust, or --chain, --trust-height and --trust-hash",
        )
    return LightNodeConfig(
        anchor=anchor,
        node=node,
        witnesses=tuple(witnesses or ()),
        store=store or Path.home() / ".althing" / "light" / re.sub(r"[^A-Za-z0-9.-]", "_", anchor.chain_id).lstrip("."),
        trust=trust,
        rpc=rpc,
        options=LightOptions(trusting_period_s=period_days * _DAY_S, alone=alone),
        token=shown_token(),
        verify=trusted_certificates(),
    )
