"""althing proof: make a proof file, and verify one offline."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from althing.cli.options import DEFAULT_HOME, HomeOption, JsonOption, NodeOption, guarded, open_client
from althing.cli.output import EXIT_FAILED, emit, note
from althing.client import Client, load_key
from althing.client.errors import ClientError
from althing.light.verifier import STEPS, ProofError, Verified, verify_proof
from althing.node.home import Home
from althing.node.offline import offline_proofs
from althing.node.proofs import ProofBuilder
from althing.node.trustway import Pin
from althing.protocol.address import key_id
from althing.protocol.batch import Origin
from althing.protocol.cosereceipt import receipt_of_inclusion
from althing.protocol.errors import UnavailableError
from althing.protocol.limits import PROOF_BYTES_MAX
from althing.protocol.merkle import leaf_hash
from althing.protocol.proof import parse_proof
from althing.protocol.trust import Trust, parse_trust

__all__ = ["app", "get", "receipt", "tie", "verify"]

app = typer.Typer(
    name="proof", help="Proof files: get one from a node or a stopped home, verify one offline.", no_args_is_help=True
)


@app.command("get")
@guarded
def get(
    stream: Annotated[str, typer.Option("--stream", help="Stream as <device>/<stream>.")],
    seq: Annotated[int, typer.Option("--seq", min=0, help="Sequence of the message in its stream.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: <stream>-<seq>.cbor")
    ] = None,
    trust: Annotated[
        Path | None,
        typer.Option(
            "--trust", help="Make it for this trust file, also where validators have changed; default: the home's own."
        ),
    ] = None,
    height: Annotated[
        int | None,
        typer.Option("--height", min=2, help="Prove against the header of this height, while its state is kept."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Get the proof file of one message.

    Example: althing proof get --stream office-machine/temperature --seq 0 -o p.cbor

    Example: althing proof get --stream office-machine/temperature --seq 0 --trust trust.json
    """
    trusted, named = _chosen_trust(trust, home, node)
    data = _made(
        home,
        node,
        lambda client: client.proof(stream, seq, trust=trusted, height=height),
        lambda builder: builder.proof(stream, seq, None if trusted is None else Pin.of(trusted), height),
    )
    target = output or Path(f"{stream.replace('/', '-')}-{seq}.cbor")
    _written(target, data, named, {"stream": stream, "sequence": seq}, as_json=as_json)


@app.command("tie")
@guarded
def tie(
    file: Annotated[Path, typer.Argument(help="Proof file made earlier.")],
    trust: Annotated[Path, typer.Option("--trust", help="Trust file it shall verify under.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: the proof file itself.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Tie a proof file to another trust file: the same message and header, proved by a later header or by linking ones.

    So a proof outlives the validators that signed it.

    Example: althing proof tie old.cbor --trust trust.json -o new.cbor
    """
    trusted = _trust_of(trust)
    with file.open("rb") as opened:
        old = opened.read(PROOF_BYTES_MAX + 1)
    data = _made(
        home, node, lambda client: client.tied(old, trusted), lambda builder: builder.tied(old, Pin.of(trusted))
    )
    _written(output or file, data, trust, {}, as_json=as_json)


@app.command("receipt")
@guarded
def receipt(
    file: Annotated[Path, typer.Argument(help="Proof file.")],
    trust: Annotated[Path, typer.Option("--trust", help="Trust file it verifies under.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="COSE Receipt to write.")],
    leaf: Annotated[
        Path | None, typer.Option("--leaf", help="Also write the leaf: the bytes the receipt speaks of.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="Issuer's key file; default: the node's of this home.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Export a COSE Receipt (RFC 9942): this issuer's own word that the message stands in its batch.

    It is no proof of the chain: who reads it trusts the issuer's key, not the validators. Give the proof file to those
    who shall not have to trust you.

    Example: althing proof receipt p.cbor --trust trust.json -o p.cose --leaf p.leaf
    """
    with file.open("rb") as opened:
        data = opened.read(PROOF_BYTES_MAX + 1)
    verified = verify_proof(data, _trust_of(trust))  # an issuer vouches for what it has checked
    proof, row = parse_proof(data), verified.row
    issuer = load_key(key or Home(home).node_key_file, passphrase=os.environ.get("ALTHING_PASSPHRASE"))
    index = row.offset + verified.sequence - row.first
    made = receipt_of_inclusion(issuer, row.batch_root, row.batch_size, index, leaf_hash(proof.leaf), proof.leaf_path)
    output.write_bytes(made)
    if leaf is not None:
        leaf.write_bytes(proof.leaf)
    kid = key_id(issuer.suite, issuer.public).hex()
    emit(
        {"file": str(output), "bytes": len(made), "issuer": issuer.public.hex(), "kid": kid},
        f"{output}: {len(made)} bytes, signed by key {kid}\nthe issuer's public key, which its readers must know: "
        f"{issuer.public.hex()}",
        as_json=as_json,
    )


def _chosen_trust(trust: Path | None, home: Path, node: str) -> tuple[Trust | None, Path]:
    own = Home(home).trust_file
    if trust is None and (node or not own.exists()):
        return None, own
    named = trust or own
    return _trust_of(named), named


def _trust_of(path: Path) -> Trust:
    with path.open("rb") as opened:
        return parse_trust(opened.read(1 << 20))


def _made(home: Path, node: str, ask: Callable[[Client], bytes], build: Callable[[ProofBuilder], bytes]) -> bytes:
    """A proof from the node, or from the home of a node that is stopped."""
    try:
        with open_client(home, node) as client:
            return ask(client)
    except UnavailableError as error:
        if node or error.code != "node.unavailable":
            raise
        note("the node is not running; reading its home")
    with offline_proofs(Home(home)) as builder:
        return build(builder)


def _written(target: Path, data: bytes, trust: Path, more: dict[str, Any], *, as_json: bool) -> None:
    target.write_bytes(data)
    proof = parse_proof(data)
    way = (
        f", {len(proof.links)} linking headers" if proof.links else ", through the header log" if proof.history else ""
    )
    emit(
        {
            "file": str(target),
            "bytes": len(data),
            **more,
            "links": len(proof.links),
            "through_header_log": proof.history is not None,
            "trust": str(trust),
        },
        f"{target}: {len(data)} bytes{way}\nverify it anywhere: althing proof verify {target} --trust {trust}",
        as_json=as_json,
    )


@app.command("verify")
@guarded
def verify(
    file: Annotated[Path, typer.Argument(help="Proof file.")],
    trust: Annotated[
        Path, typer.Option("--trust", help="Trust file: the genesis, block and validators you believe in.")
    ],
    require: Annotated[str, typer.Option("--require", help="`device`: fail unless the device itself signed.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Verify a proof file offline, step by step. Needs no data directory and no network.

    Example: althing proof verify p.cbor --trust trust.json --require device
    """
    if require not in ("", "device"):
        raise ClientError("cli.require", "--require takes the word device")
    trusted = _trust_of(trust)
    with file.open("rb") as opened:
        data = opened.read(PROOF_BYTES_MAX + 1)
    try:
        verified = verify_proof(data, trusted, require_device=require == "device")
    except ProofError as error:
        steps = [
            f"  {n}. {name}: not reached"
            if n > error.step
            else f"  {n}. {name}: " + ("FAILED" if n == error.step else "ok")
            for n, name in enumerate(STEPS, 1)
        ]
        emit(
            {
                "verified": False,
                "step": error.step,
                "name": STEPS[error.step - 1],
                "code": error.code,
                "message": error.message,
                "hint": error.hint,
            },
            "\n".join(
                [f"NOT VERIFIED: {error.message} [{error.code}]", *steps, *([f"  {error.hint}"] if error.hint else [])]
            ),
            as_json=as_json,
        )
        raise typer.Exit(EXIT_FAILED) from error
    emit(_document(verified), _text(verified), as_json=as_json)


def _text(verified: Verified) -> str:
    lines = [f"  {step.number}. {step.name}: {step.detail}" for step in verified.steps]
    origin = "signed by the device" if verified.origin is Origin.DEVICE else "attested by the gateway"
    return "\n".join(
        [
            f"VERIFIED: {verified.stream} sequence {verified.sequence}, {origin}",
            f"arrived {_time(verified.leaf.arrival)} by the gateway's clock",
            f"anchored in block {verified.row.height} at ledger time {_time(verified.row.time)} (the vote before it)",
            *lines,
        ]
    )


def _document(verified: Verified) -> dict[str, Any]:
    return {
        "verified": True,
        "stream": verified.stream,
        "sequence": verified.sequence,
        "origin": verified.origin.name.lower(),
        "arrival_time": _time(verified.leaf.arrival),
        "block_time": _time(verified.row.time),
        "block_height": verified.row.height,
        "trusted_height": verified.trusted_height,
        "steps": [{"number": s.number, "name": s.name, "detail": s.detail} for s in verified.steps],
    }


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns % 10**9:09d}Z"
