"""The archive as the gateway's segment sink: one writer, in a thread, in front of an object store."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from althing.archive.compaction import compact
from althing.archive.names import batch_locator
from althing.archive.objects import ObjectStore
from althing.archive.refusals import Refusal, RefusalLog
from althing.archive.sealed import Sealed, StreamPart
from althing.archive.writer import SegmentWriter
from althing.gateway.ledger import LedgerPort
from althing.gateway.registry import Registry
from althing.gateway.sink import ConfirmedBatch
from althing.gateway.spool.records import RefusalRecord
from althing.protocol.errors import AlthingError

__all__ = ["COMPACT_EVERY", "ArchiveSink"]

COMPACT_EVERY: Final = 16  # batches: the fan-in of a merge, so that there is something to merge

_log = structlog.get_logger("althing.gateway.archive")


class ArchiveSink:
    """Implements SegmentSink. `store` is where nodes read; writes of one gateway never overlap. Construction lists the
    store, so it belongs in a thread."""

    def __init__(self, store: ObjectStore, registry: Registry, ledger: LedgerPort) -> None:
        self._writer = SegmentWriter(store, registry.genesis_hash)
        self._registry = registry
        self._ledger = ledger
        self._refusals = RefusalLog(store, registry.gateway)
        self._since_compaction = 0
        self._compaction: asyncio.Task[None] | None = None

    def locators(self, root: bytes) -> tuple[str, ...]:
        return (batch_locator(self._registry.gateway, root),)

    async def write(self, batch: ConfirmedBatch) -> None:
        time_ns = await self._ledger.block_time_ns(batch.height)
        parts = []
        at = 0
        for entry in batch.batch.entries:
            path = batch.messages[at].stream
            definition = await self._registry.definition_at(path, entry.first, batch.height)
            parts.append(
                StreamPart(entry.stream, path, entry.first, entry.count, definition.schema_version, definition.schema)
            )
            at += entry.count
        sealed = Sealed(
            batch.gateway, batch.number, batch.batch.root, batch.height, time_ns, tuple(parts), batch.batch.leaves
        )
        await asyncio.to_thread(self._writer.write, sealed)
        self._since_compaction += 1
        if self._since_compaction >= COMPACT_EVERY and (self._compaction is None or self._compaction.done()):
            self._since_compaction = 0
            self._compaction = asyncio.create_task(self._compact(), name="compaction")

    async def _compact(self) -> None:
        """Merge small segments beside the writing of new ones. A failure costs space, never data: the next one tries again."""
        try:
            done = await asyncio.to_thread(compact, self._writer)
        except AlthingError as error:
            _log.warning("segments not compacted", code=error.code, reason=error.message)
            return
        if done.made:
            _log.info("segments compacted", made=done.made, removed=done.removed, bytes=done.bytes_after)

    async def write_refusals(self, refusals: tuple[RefusalRecord, ...]) -> None:
        kept = [
            Refusal(
                one.arrival_ns,
                one.device,
                one.stream,
                one.transport,
                one.code,
                one.reason,
                one.body_hash,
                one.body_bytes,
            )
            for one in refusals
        ]
        await asyncio.to_thread(self._refusals.append, kept)
