"""The chain's events in order, resumable at a cursor (height, index), fed from what the ledger has committed.

Index 0 of every height is the block itself; then come the events of its transactions in order. Since they are read from
the ledger's own record of a block, a client that names its last cursor misses nothing and sees nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import cbor2

from althing.consensus.engine import Engine
from althing.ledger.app import Ledger
from althing.ledger.runtime.errors import NotFoundError

__all__ = ["ChainEvent", "EventLog"]


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """An event at (height, index). `values` are in the order docs/spec/messages.md gives for `name`."""

    height: int
    index: int
    name: str
    values: tuple[Any, ...]
    tx_id: bytes | None


class EventLog:
    """Reads events by height and waits for new blocks."""

    def __init__(self, ledger: Ledger, engine: Engine) -> None:
        self._ledger = ledger
        self._engine = engine

    def at(self, height: int) -> list[ChainEvent]:
        """All events of a committed height."""
        header = self._engine.signed_header(height).header
        try:
            receipts = self._ledger.outcome(height).receipts
        except NotFoundError:
            receipts = ()
        block = (height, header.hash(), header.time.ns, sum(len(bundle) for bundle in receipts))
        events = [ChainEvent(height, 0, "block", block, None)]
        for bundle in receipts:
            for data in bundle:
                # Our own ledger made these bytes, so taking them apart without checks is safe; followers cost ten times less.
                _, tx_id, _, _, emitted = cbor2.loads(data)
                for name, values in emitted:
                    events.append(ChainEvent(height, len(events), name, tuple(values), tx_id))
        return events

    async def follow(self, after: tuple[int, int]) -> AsyncIterator[ChainEvent]:
        """Every event behind a cursor, then new ones as blocks are committed."""
        height, index = after
        height = max(height, self._ledger.genesis.initial_height)
        while True:
            await self._engine.wait_height(height)
            for event in await asyncio.to_thread(self.at, height):
                if (event.height, event.index) > after:
                    yield event
            height += 1
            after = (height - 1, max(index, 2**62))
