"""Where a confirmed batch goes before the spool lets its messages go: a port that the archive implements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from althing.gateway.spool.records import MessageRecord, RefusalRecord
from althing.protocol.batch import Batch

__all__ = ["ConfirmedBatch", "SegmentSink"]


@dataclass(frozen=True, slots=True)
class ConfirmedBatch:
    """An anchored batch: `batch` has table, leaves and tree; `messages` are the records in the order of the leaves."""

    gateway: bytes
    number: int
    height: int
    batch: Batch
    messages: tuple[MessageRecord, ...]


class SegmentSink(Protocol):
    """All of it may be called again with the same content after a crash, and then changes nothing."""

    def locators(self, root: bytes) -> tuple[str, ...]:
        """Under which names a batch of this root will be found; they stand in its anchor (at most 4 of 256 characters)."""
        ...

    async def write(self, batch: ConfirmedBatch) -> None:
        """Make the batch durable and readable for the nodes; raise AlthingError or OSError when that failed."""
        ...

    async def write_refusals(self, refusals: tuple[RefusalRecord, ...]) -> None:
        """Make the refusals durable in the refusal log."""
        ...
