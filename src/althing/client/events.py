"""Server-sent events of a node's event stream, read line by line and bounded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from althing.client.errors import LyingNodeError

__all__ = ["ChainEvent", "events_of"]

_EVENT_BYTES_MAX: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """An event of the chain at the cursor (height, index)."""

    height: int
    index: int
    name: str
    data: dict[str, Any]


async def events_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[ChainEvent]:
    """The events of a body in the form our nodes send (WHATWG HTML §9.2); LyingNodeError for anything else."""
    cursor, name, data, size = "", "", "", 0
    async for line in _lines(chunks):
        size += len(line)
        if size > _EVENT_BYTES_MAX:
            raise LyingNodeError("an event is too large")
        if line:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                cursor = value
            elif field == "event":
                name = value
            elif field == "data":
                data += value
            elif not field:
                size = 0  # a comment, which only says that the connection lives
            continue
        if data and cursor:
            yield _event(cursor, name, data)
        cursor, name, data, size = "", "", "", 0


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
        if len(rest) > _EVENT_BYTES_MAX:
            raise LyingNodeError("an event is too large")


def _event(cursor: str, name: str, data: str) -> ChainEvent:
    try:
        height, index = (int(part) for part in cursor.split(":"))
        document = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise LyingNodeError("an event is not of the form") from exc
    if type(document) is not dict or not (0 <= height < 2**62 and 0 <= index < 2**62):
        raise LyingNodeError("an event is not of the form")
    return ChainEvent(height, index, name, document)
