"""Proof files: one, readable with its steps, or many at once."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import cbor2
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from althing.light.verifier import STEPS, ProofError, verify_proof
from althing.node.api.context import Api, Context
from althing.node.api.limits import PROOFS_MAX
from althing.node.api.problems import ParameterError, TooLargeError
from althing.node.api.render import plain
from althing.node.api.routes.chain import CBOR
from althing.node.api.routes.devices import Named
from althing.node.api.routes.readings import Sequence
from althing.node.trustway import Pin
from althing.protocol.address import stream_path
from althing.protocol.batch import parse_leaf
from althing.protocol.block import Header
from althing.protocol.codec import decode
from althing.protocol.errors import EncodingError
from althing.protocol.messages.identity import Account
from althing.protocol.messages.streams import AnchorRow, StreamDefinition, StreamHead
from althing.protocol.proof import parse_proof

__all__ = ["ProofAnswer", "ProofStep", "proof", "proofs", "router", "tied"]

router = APIRouter(prefix="/v1", tags=["proofs"])

_Digest = Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")]
TrustedHeight = Annotated[
    int | None,
    Query(ge=1, lt=2**53, description="Height of your trust file: the proof will verify under it"),
]
TrustedHeader = Annotated[_Digest, Query(description="Its header_hash; refused if this chain has another")]
TrustedValidators = Annotated[
    _Digest, Query(description="Set hash of its validators; without it, that of the header at that height")
]
ProofHeight = Annotated[
    int | None, Query(ge=2, lt=2**53, description="Prove against the header of this height, while its state is kept")
]

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


class ProofStep(BaseModel):
    number: int
    title: str
    detail: str = Field(description="What it found, or why it fails")
    ok: bool | None = Field(description="null for a step that was not reached")


class ProofAnswer(BaseModel):
    """A proof in readable parts, and the verifier's steps against this node's trust file. Verify the file yourself."""

    proof: dict[str, Any]
    steps: list[ProofStep]
    bytes: int = Field(description="Size of the proof file")


@router.get(
    "/proofs/{device}/{stream}/{sequence}",
    response_class=Response,
    responses={
        200: {
            "description": "The proof file (docs/spec/proof.md)",
            "content": {CBOR: _BINARY, "application/json": {"schema": {"$ref": "#/components/schemas/ProofAnswer"}}},
        }
    },
)
async def proof(
    api: Context,
    device: Named,
    stream: Named,
    sequence: Sequence,
    format: Annotated[Literal["cbor", "json"], Query(description="cbor: the file; json: for people")] = "cbor",
    trusted_height: TrustedHeight = None,
    trusted_header: TrustedHeader = None,
    trusted_validators: TrustedValidators = None,
    height: ProofHeight = None,
) -> Response:
    """The proof of one message, made for a trust file if one is named; `format=json` takes the node's own otherwise."""
    pin = _pin(trusted_height, trusted_header, trusted_validators)
    if pin is None and format == "json":
        pin = Pin.of(api.trust)
    data = await api.reads.archive(api.node.proofs.proof, f"{device}/{stream}", sequence, pin, height)
    if format == "cbor":
        name = f"{device}.{stream}.{sequence}.proof.cbor"
        return Response(data, media_type=CBOR, headers={"Content-Disposition": f'attachment; filename="{name}"'})
    answer = await api.reads.state(_readable, api, data)
    return Response(answer.model_dump_json(), media_type="application/json")


@router.post(
    "/proofs",
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": f"CBOR [stream, [sequence, …]] with at most {PROOFS_MAX} sequences",
            "content": {CBOR: _BINARY},
        }
    },
    responses={200: {"description": "CBOR array of proof files in the order asked", "content": {CBOR: _BINARY}}},
)
async def proofs(
    request: Request,
    api: Context,
    trusted_height: TrustedHeight = None,
    trusted_header: TrustedHeader = None,
    trusted_validators: TrustedValidators = None,
) -> Response:
    """The proofs of many messages of a stream, made for a trust file if one is named."""
    stream, sequences = _wanted(await request.body())
    pin = _pin(trusted_height, trusted_header, trusted_validators)

    def build() -> bytes:
        return cbor2.dumps([api.node.proofs.proof(stream, sequence, pin) for sequence in sequences])

    return Response(await api.reads.archive(build), media_type=CBOR)


@router.post(
    "/proofs/tied",
    response_class=Response,
    openapi_extra={"requestBody": {"required": True, "description": "A proof file", "content": {CBOR: _BINARY}}},
    responses={200: {"description": "The proof file with another way to trust", "content": {CBOR: _BINARY}}},
)
async def tied(
    request: Request,
    api: Context,
    trusted_height: Annotated[int, Query(ge=1, lt=2**53, description="Height of your trust file")],
    trusted_header: TrustedHeader = None,
    trusted_validators: TrustedValidators = None,
) -> Response:
    """An existing proof file, tied to another trust file: by linking headers, or by the header log."""
    pin = _pin(trusted_height, trusted_header, trusted_validators)
    assert pin is not None
    body = await request.body()
    return Response(await api.reads.archive(api.node.proofs.tied, body, pin), media_type=CBOR)


def _pin(height: int | None, header: str | None, validators: str | None) -> Pin | None:
    if height is None:
        if header is not None or validators is not None:
            raise ParameterError("api.parameter", "trusted_header and trusted_validators need trusted_height")
        return None
    return Pin(
        height,
        None if header is None else bytes.fromhex(header),
        None if validators is None else bytes.fromhex(validators),
    )


def _wanted(body: bytes) -> tuple[str, list[int]]:
    try:
        item = decode(body, depth_max=2)
    except EncodingError:
        item = None
    match item:
        case [str() as stream, list() as sequences] if sequences:
            if len(sequences) > PROOFS_MAX:
                raise TooLargeError("api.too_large", f"a request has at most {PROOFS_MAX} sequences")
            if all(type(sequence) is int and 0 <= sequence < 2**62 for sequence in sequences):
                stream_path(stream)
                return stream, sequences
    raise ParameterError("api.body", "the body is not CBOR [stream, [sequence, …]]")


def _readable(api: Api, data: bytes) -> ProofAnswer:
    proof = parse_proof(data)
    signed = proof.signed_header
    header = Header.decode(signed.header)
    leaf = parse_leaf(proof.leaf)
    parts = {
        "chain_id": proof.chain_id,
        "genesis_hash": proof.genesis_hash.hex(),
        "leaf": {**plain(leaf), "body": leaf.body.hex(), "salt": leaf.salt.hex()},
        "leaf_path": plain(proof.leaf_path),
        "row": plain(AnchorRow.from_bytes(proof.row)),
        "row_index": proof.row_index,
        "row_path": plain(proof.row_path),
        "head": plain(StreamHead.from_bytes(proof.head)),
        "definition": plain(StreamDefinition.from_bytes(proof.definition)),
        "account": plain(Account.from_bytes(proof.account)),
        "header": {
            "height": header.height,
            "hash": header.hash().hex(),
            "time_ns": header.time.ns,
            "app_hash": header.app_hash.hex(),
        },
        "validators": [{"public_key": v.public.hex(), "power": v.power} for v in signed.validators],
        "links": len(proof.links),
        "through_header_log": proof.history is not None,
    }
    return ProofAnswer(proof=parts, steps=_steps(api, data), bytes=len(data))


def _steps(api: Api, data: bytes) -> list[ProofStep]:
    try:
        verified = verify_proof(data, api.trust)
    except ProofError as exc:
        return [
            ProofStep(
                number=number,
                title=name,
                detail=exc.message if number == exc.step else "",
                ok=True if number < exc.step else False if number == exc.step else None,
            )
            for number, name in enumerate(STEPS, 1)
        ]
    return [ProofStep(number=step.number, title=step.name, detail=step.detail, ok=True) for step in verified.steps]
