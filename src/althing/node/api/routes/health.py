"""Health for supervisors and metrics for Prometheus, outside /v1."""

from __future__ import annotations

import json

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from althing.consensus.engine import Phase
from althing.node.api.context import Api, Context
from althing.node.metrics import CONTENT_TYPE

__all__ = ["Alive", "Ready", "healthz", "metrics", "not_ready", "readyz", "router"]

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: str = Field(examples=["alive"])


class Ready(BaseModel):
    ready: bool
    reasons: list[str] = Field(description="Why not; empty when ready")


@router.get("/healthz", response_model=Alive)
async def healthz() -> Alive:
    """The process lives and its event loop turns."""
    return Alive(status="alive")


@router.get(
    "/readyz",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Not ready; the reasons say why"}},
)
async def readyz(api: Context) -> Response:
    """Blocks are made and durable writes succeed."""
    reasons = not_ready(api)
    return Response(
        json.dumps({"ready": not reasons, "reasons": reasons}),
        503 if reasons else 200,
        {"Cache-Control": "no-store"},
        "application/json",
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text format"}
    },
)
async def metrics(api: Context) -> Response:
    """Counters and states for Prometheus."""
    return Response(await api.reads.archive(api.metrics.exposition), headers={"Content-Type": CONTENT_TYPE})


def not_ready(api: Api) -> list[str]:
    """Why the node cannot take transactions right now; empty when it can."""
    reasons = []
    status = api.node.status()
    if api.stopping.is_set():
        reasons.append("the node is stopping")
    if status.phase is Phase.STALLED:
        reasons.append(f"a durable write fails and is repeated: {status.error}")
    elif status.phase is not Phase.RUNNING:
        reasons.append(f"the engine is {status.phase.value}" + (f": {status.error}" if status.error else ""))
    if not status.latest_height:
        reasons.append("there is no block yet")
    return reasons
