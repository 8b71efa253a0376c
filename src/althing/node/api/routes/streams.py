"""Streams: what they are, where they stand. Their readings are in `readings`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from althing.ledger.query import LedgerView
from althing.node.api.context import Api, Context
from althing.node.api.limits import PAGE_DEFAULT, SCANNED_MAX
from althing.node.api.paging import Cursor, Limit, parse_cursor, write_cursor
from althing.node.api.problems import NotThereError
from althing.node.api.render import enum_name, schema_json, time_of_ns, time_of_s
from althing.node.api.routes.chain import CBOR
from althing.node.api.routes.devices import Named
from althing.protocol.address import format_address, parse_address
from althing.protocol.codec import encode
from althing.protocol.messages.streams import StreamDefinition, StreamHead

__all__ = ["LastAnchor", "QuantityAnswer", "StreamAnswer", "StreamsPage", "router", "row", "stream", "streams"]

router = APIRouter(prefix="/v1", tags=["streams"])

_CHUNK = 500


class QuantityAnswer(BaseModel):
    name: str = Field(examples=["temperature"])
    unit: str = Field(examples=["Cel"])
    kind: str = Field(description="number, text, bool or bytes")


class LastAnchor(BaseModel):
    """The newest row of the stream's log."""

    root: str
    batch_size: int
    first: int
    count: int
    height: int
    time: str
    gateway: str
    schema_version: int


class StreamAnswer(BaseModel):
    stream: str = Field(examples=["pump-1/temperature"])
    number: int
    device: str
    organisation: str
    gateway: str = Field(description="Address of the gateway that writes it")
    schema_version: int
    # `schema` would hide an attribute of pydantic's.
    schema_: dict[str, Any] = Field(alias="schema", description="Quantities, content type, mapping, thresholds")
    quantities: list[QuantityAnswer]
    next_sequence: int = Field(description="Sequences below it are anchored, without a gap")
    log_size: int
    defined_at: str
    last_anchor: LastAnchor | None
    definition: str = Field(description="The definition's record as it stands on the chain, hexadecimal CBOR")


class StreamsPage(BaseModel):
    streams: list[StreamAnswer]
    next: str | None


@router.get("/streams", response_model=StreamsPage)
async def streams(
    api: Context,
    device: Annotated[str | None, Query(max_length=63)] = None,
    gateway: Annotated[str | None, Query(max_length=41, description="Address of the gateway")] = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> StreamsPage:
    """Streams by number. With a filter a page may be short although more follow: go on while `next` is not null."""
    return await api.reads.state(_page, api, device, gateway, limit, parse_cursor("streams", cursor, int))


@router.get("/streams/{device}/{stream}", response_model=StreamAnswer)
async def stream(api: Context, device: Named, stream: Named) -> StreamAnswer:
    """One stream."""
    return await api.reads.state(_stream, api, f"{device}/{stream}")


@router.get(
    "/streams/{device}/{stream}/rows/{sequence}",
    response_class=Response,
    responses={
        200: {
            "description": "CBOR [version, row, index, path]: the row of the stream's log that covers the sequence, and its "
            "RFC 9162 path to the log root that the stream's head has in this version of the state",
            "content": {CBOR: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def row(api: Context, device: Named, stream: Named, sequence: Annotated[int, Path(ge=0, lt=2**62)]) -> Response:
    """The anchor row of a message, proved by the stream's log; needs no segment."""
    return Response(await api.reads.state(_row, api, f"{device}/{stream}", sequence), media_type=CBOR)


def _row(api: Api, path: str, sequence: int) -> bytes:
    # The root after block H stands in header H+1, so this is the newest version that a header proves.
    version = api.node.engine.latest_height - 1
    if version < 1:
        raise NotThereError("query.no_block", "there is no header over a state root yet", hint="wait a moment")
    part = LedgerView(api.node.ledger.store, version).row_proof(path, sequence)
    return encode([version, part.row_bytes, part.row_index, list(part.row_path)])


def _page(api: Api, device: str | None, gateway: str | None, limit: int, position: list[Any] | None) -> StreamsPage:
    view = api.node.view()
    speaker = None if gateway is None else parse_address(gateway)
    after = None if position is None else int(position[0])
    if device is not None:
        view.device(device)
        own = sorted(view.streams_of(device), key=lambda definition: definition.id)
        wanted = [d for d in own if (after is None or d.id > after) and (speaker is None or d.gateway == speaker)]
        found = [_answer(view, definition) for definition in wanted[:limit]]
        more = len(wanted) > limit
        return StreamsPage(streams=found, next=write_cursor("streams", found[-1].number) if more else None)
    found = []
    scanned = 0
    size = limit + 1 if speaker is None else _CHUNK
    while True:
        chunk = view.streams(after, size)
        for definition in chunk:
            if len(found) == limit or scanned == SCANNED_MAX:
                assert after is not None, "something was read before"
                return StreamsPage(streams=found, next=write_cursor("streams", after))
            after = definition.id
            scanned += 1
            if speaker is None or definition.gateway == speaker:
                found.append(_answer(view, definition))
        if len(chunk) < size:
            return StreamsPage(streams=found, next=None)


def _stream(api: Api, path: str) -> StreamAnswer:
    view = api.node.view()
    return _answer(view, view.stream(path))


def _answer(view: LedgerView, definition: StreamDefinition) -> StreamAnswer:
    head = view.head(definition.id)
    return StreamAnswer(
        stream=definition.path,
        number=definition.id,
        device=definition.device,
        organisation=format_address(definition.organisation),
        gateway=format_address(definition.gateway),
        schema_version=definition.schema_version,
        schema=schema_json(definition.schema),
        quantities=[
            QuantityAnswer(name=q.name, unit=q.unit, kind=enum_name(q.kind)) for q in definition.schema.quantities
        ],
        next_sequence=head.next_sequence,
        log_size=head.log_size,
        defined_at=time_of_s(definition.defined_at),
        last_anchor=_last_anchor(view, definition.id, head),
        definition=definition.to_bytes().hex(),
    )


def _last_anchor(view: LedgerView, number: int, head: StreamHead) -> LastAnchor | None:
    if not head.log_size:
        return None
    row, _ = view.row(number, head.log_size - 1)
    return LastAnchor(
        root=row.batch_root.hex(),
        batch_size=row.batch_size,
        first=row.first,
        count=row.count,
        height=row.height,
        time=time_of_ns(row.time),
        gateway=format_address(row.gateway),
        schema_version=row.schema_version,
    )
