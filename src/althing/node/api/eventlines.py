"""A height's events as they go over the wire, rendered once for all followers who keep up."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict

from althing.node.api.eventfields import event_json
from althing.node.api.limits import EVENTS_HEIGHTS_CACHED
from althing.node.api.reads import Reads
from althing.node.eventlog import ChainEvent, EventLog

__all__ = ["EventLines"]


class EventLines:
    """(index, name, bytes) of each event of a height; the heights asked for last are kept."""

    def __init__(self, log: EventLog, reads: Reads) -> None:
        self._log = log
        self._reads = reads
        self._kept: OrderedDict[int, asyncio.Future[list[tuple[int, str, bytes]]]] = OrderedDict()

    async def at(self, height: int) -> list[tuple[int, str, bytes]]:
        found = self._kept.get(height)
        if found is None:
            found = asyncio.ensure_future(self._reads.state(self._render, height))
            self._kept[height] = found
            while len(self._kept) > EVENTS_HEIGHTS_CACHED:
                self._kept.popitem(last=False)
        try:
            # Shielded: a follower that goes away must not take the answer from the others.
            return await asyncio.shield(found)
        except BaseException:
            if found.done() and self._kept.get(height) is found:
                del self._kept[height]
            raise

    def _render(self, height: int) -> list[tuple[int, str, bytes]]:
        return [(event.index, event.name, _encode(event)) for event in self._log.at(height)]


def _encode(event: ChainEvent) -> bytes:
    data = event_json(event.name, event.values)
    if event.tx_id is not None:
        data["transaction"] = event.tx_id.hex()
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return f"id: {event.height}:{event.index}\nevent: {event.name}\ndata: {text}\n\n".encode()
