"""althing proof: make a proof file, and verify one offline."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from althing.cli.options import DEFAULT_HOME, HomeOption, JsonOption, NodeOption, guarded, open_client
from althing.cli.output import EXIT_FAILED, emit, note
from althing.client.errors import ClientError
from althing.light.verifier import STEPS, ProofError, Verified, verify_proof
from althing.node.home import Home
from althing.node.offline import offline_proofs
from althing.protocol.batch import Origin
from althing.protocol.errors import UnavailableError
from althing.protocol.limits import PROOF_BYTES_MAX
from althing.protocol.trust import parse_trust

__all__ = ["app", "get", "verify"]

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
    home: HomeOption = DEFAULT_HOME,
    node: NodeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Get the proof file of one message.

    Example: althing proof get --stream office-machine/temperature --seq 0 -o p.cbor
    """
    data = _fetch(home, node, stream, seq)
    target = output or Path(f"{stream.replace('/', '-')}-{seq}.cbor")
    target.write_bytes(data)
    trust = Home(home).trust_file
    emit(
        {"file": str(target), "bytes": len(data), "stream": stream, "sequence": seq, "trust": str(trust)},
        f"{target}: {len(data)} bytes\nverify it anywhere: althing proof verify {target} --trust {trust}",
        as_json=as_json,
    )


def _fetch(home: Path, node: str, stream: str, seq: int) -> bytes:
    try:
        with open_client(home, node) as client:
            return client.proof(stream, seq)
    except UnavailableError as error:
        if node or error.code != "node.unavailable":
            raise
        note("the node is not running; reading its home")
    with offline_proofs(Home(home)) as builder:
        return builder.proof(stream, seq)


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
    with trust.open("rb") as opened:
        trusted = parse_trust(opened.read(1 << 20))
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
            f"trusted as of height {verified.trusted_height}",
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
