"""Readings of a stream, charts of them, and the messages they came in. Answers come from the archive's segments."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from althing.archive.query import AsOf, ReadingRow, ReadingsQuery, SeriesQuery, parse_axis
from althing.archive.reader import ArchivedMessage
from althing.ledger.query import LedgerView
from althing.node.api.context import Api, Context
from althing.node.api.limits import PAGE_DEFAULT, POINTS_DEFAULT, POINTS_MAX
from althing.node.api.paging import Cursor, Limit
from althing.node.api.problems import NotThereError, ParameterError
from althing.node.api.render import enum_name, time_of_ns
from althing.node.api.routes.devices import Named
from althing.protocol.address import format_address
from althing.protocol.batch import Origin
from althing.protocol.errors import ProtocolError
from althing.protocol.leafreadings import value_text
from althing.protocol.merkle import leaf_hash
from althing.protocol.reading import flag_names
from althing.protocol.timestamps import parse_time

__all__ = [
    "AsOfAnswer",
    "MessageAnswer",
    "ReadingAnswer",
    "ReadingsPage",
    "Sequence",
    "SeriesAnswer",
    "SeriesPointAnswer",
    "UnreadableAnswer",
    "message",
    "readings",
    "router",
    "series",
]

router = APIRouter(prefix="/v1", tags=["readings"])

TimeBasis = Annotated[
    Literal["device", "arrival", "block"], Query(description="By which time readings are placed and ordered")
]
From = Annotated[
    str | None,
    Query(alias="from", max_length=64, description="First instant, RFC 3339", examples=["2026-01-31T00:00:00Z"]),
]
To = Annotated[str | None, Query(max_length=64, description="First instant that no longer counts, RFC 3339")]
Sequence = Annotated[int, Path(ge=0, lt=2**62)]


class ReadingAnswer(BaseModel):
    """One reading. Its address is (stream, sequence, index, quantity)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "stream": "pump-1/temperature",
                    "sequence": 17,
                    "index": 0,
                    "quantity": "temperature",
                    "kind": "number",
                    "value": "20.50",
                    "number": 20.5,
                    "unit": "Cel",
                    "device_time": "2026-01-31T11:59:58Z",
                    "arrival_time": "2026-01-31T11:59:59.1Z",
                    "block_time": "2026-01-31T12:00:00.25Z",
                    "flags": [],
                    "origin": "device",
                }
            ]
        }
    )

    stream: str
    sequence: int
    index: int
    quantity: str
    kind: str = Field(description="number, text, bool or bytes")
    value: str | None = Field(description="The exact value as text; null when missing or bad (the flags say which)")
    number: float | None = Field(description="Rounded to a binary float, for charts only")
    unit: str
    device_time: str | None
    arrival_time: str
    block_time: str
    flags: list[str] = Field(examples=[["backfill"]])
    origin: str = Field(description="device: it signed the message; gateway: only the gateway attests it")


class AsOfAnswer(BaseModel):
    """What the answer is about: the stream's sequences below `next_sequence`, anchored up to `height`."""

    height: int
    next_sequence: int


class ReadingsPage(BaseModel):
    readings: list[ReadingAnswer]
    next: str | None
    as_of: AsOfAnswer


class SeriesPointAnswer(BaseModel):
    """A bucket of equal width: extremes, and the last reading with its address."""

    t: str
    min: float
    max: float
    last: float
    sequence: int
    index: int
    count: int


class SeriesAnswer(BaseModel):
    points: list[SeriesPointAnswer]


class UnreadableAnswer(BaseModel):
    code: str
    message: str


class MessageAnswer(BaseModel):
    """A message as it was anchored."""

    stream: str
    sequence: int
    arrival_time: str
    block_time: str
    height: int
    content_type: str
    origin: str
    body: str = Field(description="The bytes as sent, base64; of a device's message its COSE_Sign1")
    leaf: str = Field(description="The encoded leaf, hexadecimal")
    leaf_hash: str
    leaf_index: int
    batch_root: str
    batch_number: int
    gateway: str
    schema_version: int
    readings: list[ReadingAnswer]
    unreadable: UnreadableAnswer | None = Field(description="Why the body has no readings, if it has no readable form")


@router.get("/streams/{device}/{stream}/readings", response_model=ReadingsPage)
async def readings(
    api: Context,
    device: Named,
    stream: Named,
    time: TimeBasis = "device",
    from_: From = None,
    to: To = None,
    quantity: Annotated[str | None, Query(max_length=130)] = None,
    order: Literal["asc", "desc"] = "asc",
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> ReadingsPage:
    """Readings with from <= time < to. Pages stay stable while data arrives: a cursor pins what the first page was about.

    Data that the chain names and that is missing here is a 503 with code `archive.segment_unavailable`, never left out.
    """
    start, end = _instant("from", from_), _instant("to", to)

    def read() -> ReadingsPage:
        path = f"{device}/{stream}"
        number, as_of = _head(api, path)
        page = api.node.archive.readings(
            ReadingsQuery(number, as_of, parse_axis(time), start, end, quantity, order == "desc", limit, cursor)
        )
        return ReadingsPage(
            readings=[_row(path, row) for row in page.readings],
            next=page.next,
            as_of=AsOfAnswer(height=page.as_of.height, next_sequence=page.as_of.next_sequence),
        )

    return await api.reads.archive(read)


@router.get("/streams/{device}/{stream}/series", response_model=SeriesAnswer)
async def series(
    api: Context,
    device: Named,
    stream: Named,
    quantity: Annotated[str, Query(max_length=130)],
    time: TimeBasis = "device",
    from_: From = None,
    to: To = None,
    points: Annotated[int, Query(ge=1, le=POINTS_MAX)] = POINTS_DEFAULT,
) -> SeriesAnswer:
    """A quantity's numbers in at most `points` buckets, for charts."""
    start, end = _instant("from", from_), _instant("to", to)

    def read() -> SeriesAnswer:
        number, as_of = _head(api, f"{device}/{stream}")
        found = api.node.archive.series(SeriesQuery(number, as_of, quantity, parse_axis(time), start, end, points))
        return SeriesAnswer(
            points=[
                SeriesPointAnswer(
                    t=time_of_ns(p.time_ns),
                    min=p.minimum,
                    max=p.maximum,
                    last=p.last,
                    sequence=p.sequence,
                    index=p.index,
                    count=p.count,
                )
                for p in found
            ]
        )

    return await api.reads.archive(read)


@router.get("/streams/{device}/{stream}/messages/{sequence}", response_model=MessageAnswer)
async def message(api: Context, device: Named, stream: Named, sequence: Sequence) -> MessageAnswer:
    """One message, with its bytes and the readings they resolve to."""
    return await api.reads.archive(_message, api, f"{device}/{stream}", sequence)


def _instant(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    found = parse_time(text, "rfc3339", 0)
    if found is None:
        raise ParameterError(
            "api.parameter", f"{name}: {text!r} is not a time", hint="RFC 3339, such as 2026-01-31T12:00:00Z"
        )
    return found


def _head(api: Api, path: str) -> tuple[int, AsOf]:
    view: LedgerView = api.node.view()
    number = view.stream(path).id
    return number, AsOf(view.version, view.head(number).next_sequence)


def _row(path: str, row: ReadingRow) -> ReadingAnswer:
    return ReadingAnswer(
        stream=path,
        sequence=row.sequence,
        index=row.index,
        quantity=row.quantity,
        kind=enum_name(row.kind),
        value=value_text(row.value),
        number=row.number,
        unit=row.unit,
        device_time=None if row.device_time_ns is None else time_of_ns(row.device_time_ns),
        arrival_time=time_of_ns(row.arrival_ns),
        block_time=time_of_ns(row.block_time_ns),
        flags=list(flag_names(row.flags)),
        origin=enum_name(Origin(row.origin)),
    )


def _message(api: Api, path: str, sequence: int) -> MessageAnswer:
    number, as_of = _head(api, path)
    if sequence >= as_of.next_sequence:
        raise NotThereError(
            "query.sequence",
            f"sequence {sequence} of {path} is not anchored; the stream's next is {as_of.next_sequence}",
            hint="wait for the next batch",
        )
    found = api.node.archive.message(number, sequence)
    rows, unreadable = _resolved(api, found)
    return MessageAnswer(
        stream=path,
        sequence=sequence,
        arrival_time=time_of_ns(found.leaf.arrival),
        block_time=time_of_ns(found.time_ns),
        height=found.height,
        content_type=found.leaf.content_type,
        origin=enum_name(found.leaf.origin),
        body=base64.b64encode(found.leaf.body).decode("ascii"),
        leaf=found.leaf_bytes.hex(),
        leaf_hash=leaf_hash(found.leaf_bytes).hex(),
        leaf_index=found.leaf_index,
        batch_root=found.batch_root.hex(),
        batch_number=found.number,
        gateway=format_address(found.gateway),
        schema_version=found.schema_version,
        readings=[_row(path, row) for row in rows],
        unreadable=unreadable,
    )


def _resolved(api: Api, found: ArchivedMessage) -> tuple[list[ReadingRow], UnreadableAnswer | None]:
    try:
        resolved = found.resolve(api.node.ledger.genesis_hash)
    except ProtocolError as exc:
        return [], UnreadableAnswer(code=exc.code, message=exc.message)
    rows = [
        ReadingRow(
            found.stream,
            found.sequence,
            r.index,
            r.quantity,
            r.kind,
            r.value,
            r.unit,
            r.device_time_ns,
            found.leaf.arrival,
            found.time_ns,
            found.height,
            r.flags,
            int(found.leaf.origin),
            found.schema_version,
            r.sum,
            r.update_ns,
        )
        for r in resolved.records
    ]
    return rows, None
