"""The chain's events as a stream that a client resumes where it left off."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from althing.node.api.context import Context
from althing.node.api.problems import ParameterError
from althing.node.api.sse import EventStream
from althing.protocol.errors import UnavailableError

__all__ = ["events", "router"]

router = APIRouter(prefix="/v1", tags=["events"])

_CURSOR: Final = re.compile(r"([0-9]{1,18}):([0-9]{1,18})")
_END_OF_HEIGHT: Final = 2**62


@router.get(
    "/events",
    response_class=Response,
    responses={
        200: {
            "description": "Server-sent events: `id` is height:index, `event` the name, `data` a JSON object. Index 0 of "
            "every height is `block` {height, hash, time, transactions}; then come the events of its transactions in order, "
            "with named fields, `values` in the order of docs/spec/messages.md, and the `transaction` they came from.",
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "example": 'id: 12:0\nevent: block\ndata: {"height":12,"hash":"…","time":"…","transactions":1}\n\n',
                }
            },
        }
    },
)
async def events(
    api: Context,
    last_event_id: Annotated[str | None, Header(max_length=40, description="Resume behind this id")] = None,
    cursor: Annotated[str | None, Query(max_length=40, description="As Last-Event-ID; 0:0 is the beginning")] = None,
    name: Annotated[str, Query(max_length=64, description="Only events whose name begins so")] = "",
) -> Any:
    """Events behind a cursor, then new ones as blocks are committed; without a cursor, new ones only.

    A client that names the last id it has seen misses nothing and sees nothing twice. Followers that do not read are cut
    off and come again with their cursor.
    """
    text = last_event_id or cursor
    if text:
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise ParameterError("api.cursor", "a cursor of events is height:index", hint="0:0 is the beginning")
        after = int(match[1]), int(match[2])
        api.node.ledger.require_receipts(after[0])
    else:
        after = api.node.engine.latest_height, _END_OF_HEIGHT
    if api.metrics.event_clients >= api.config.events_clients_max:
        raise UnavailableError("events.full", "too many clients follow the events", retry_after_s=5)
    return EventStream(api, after, name)
