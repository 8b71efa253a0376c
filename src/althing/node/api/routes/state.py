"""State keys with proofs: what lets a client check a read without trusting this node."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from althing.ledger.query import LedgerView
from althing.node.api.context import Api, Context
from althing.node.api.limits import KEY_BYTES_MAX, KEYS_MAX
from althing.node.api.problems import NotThereError, ParameterError
from althing.node.api.routes.chain import CBOR
from althing.protocol.codec import decode, encode
from althing.protocol.errors import EncodingError
from althing.protocol.stateproof import proof_to_cbor_obj

__all__ = ["router", "state", "states"]

router = APIRouter(prefix="/v1", tags=["state"])


@router.get(
    "/state/{key}",
    response_class=Response,
    responses={
        200: {
            "description": "CBOR [version, value or null, proof, header, commit, [[public key, power], …]]: the proof is "
            "against the header's app_hash, header and commit are in CometBFT's protobuf encoding",
            "content": {CBOR: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def state(
    api: Context,
    key: Annotated[
        str, Path(pattern="^([0-9a-f]{2})+$", max_length=2 * KEY_BYTES_MAX, description="The state key, hexadecimal")
    ],
    height: Annotated[int | None, Query(ge=1, lt=2**62, description="Header to prove against; default: latest")] = None,
) -> Response:
    """A state key's value, proved present or absent in the state whose root the header carries."""
    return Response(await api.reads.state(_prove, api, bytes.fromhex(key), height), media_type=CBOR)


@router.post(
    "/state",
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "CBOR array of state keys",
            "content": {CBOR: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
    responses={
        200: {
            "description": "CBOR [version, header, commit, [[public key, power], …], [[value or null, proof], …]]: one "
            "answer per key in the order asked, all against the one header's app_hash",
            "content": {CBOR: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def states(
    request: Request,
    api: Context,
    height: Annotated[int | None, Query(ge=1, lt=2**62, description="Header to prove against; default: latest")] = None,
) -> Response:
    """Many state keys at once, each proved present or absent in the same state."""
    keys = _wanted(await request.body())
    return Response(await api.reads.state(_prove_all, api, keys, height), media_type=CBOR)


def _wanted(body: bytes) -> list[bytes]:
    try:
        keys = decode(body, depth_max=1)
    except EncodingError:
        keys = None
    if type(keys) is not list or not all(type(key) is bytes and 0 < len(key) <= KEY_BYTES_MAX for key in keys):
        raise ParameterError("api.body", f"the body is not a CBOR array of keys of 1 to {KEY_BYTES_MAX} bytes")
    if not 0 < len(keys) <= KEYS_MAX:
        raise ParameterError("api.body", f"a request has 1 to {KEYS_MAX} keys")
    return keys


def _prove(api: Api, key: bytes, height: int | None) -> bytes:
    at, header, commit, members = _header(api, height)
    # The root after block H stands in header H+1 (CometBFT).
    answer = LedgerView(api.node.ledger.store, at - 1).prove(key)
    return encode([at - 1, answer.value, proof_to_cbor_obj(answer.proof), header, commit, members])


def _prove_all(api: Api, keys: list[bytes], height: int | None) -> bytes:
    at, header, commit, members = _header(api, height)
    view = LedgerView(api.node.ledger.store, at - 1)
    answers = [view.prove(key) for key in keys]
    proofs = [[answer.value, proof_to_cbor_obj(answer.proof)] for answer in answers]
    return encode([at - 1, header, commit, members, proofs])


def _header(api: Api, height: int | None) -> tuple[int, bytes, bytes, list[list[bytes | int]]]:
    """A height's header, commit and validators as they travel."""
    engine = api.node.engine
    at = engine.latest_height if height is None else height
    if not at:
        raise NotThereError("query.no_block", "there is no block yet", hint="wait a moment")
    signed = engine.signed_header(at)
    members: list[list[bytes | int]] = [[v.public_key, v.power] for v in engine.validators(at).validators]
    return at, signed.header.encode(), signed.commit.encode(), members
