"""State keys with proofs: what lets a client check a read without trusting this node."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from althing.ledger.query import LedgerView
from althing.node.api.context import Api, Context
from althing.node.api.limits import KEY_BYTES_MAX
from althing.node.api.problems import NotThereError
from althing.node.api.routes.chain import CBOR
from althing.protocol.codec import encode
from althing.protocol.stateproof import proof_to_cbor_obj

__all__ = ["router", "state"]

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


def _prove(api: Api, key: bytes, height: int | None) -> bytes:
    engine = api.node.engine
    at = engine.latest_height if height is None else height
    if not at:
        raise NotThereError("query.no_block", "there is no block yet", hint="wait a moment")
    signed = engine.signed_header(at)
    # The root after block H stands in header H+1 (CometBFT).
    answer = LedgerView(api.node.ledger.store, at - 1).prove(key)
    members = [[v.public_key, v.power] for v in engine.validators(at).validators]
    proof = proof_to_cbor_obj(answer.proof)
    return encode([at - 1, answer.value, proof, signed.header.encode(), signed.commit.encode(), members])
