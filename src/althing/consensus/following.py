"""What waits on an engine, for a height or for the next block: the same for all, who say only how a block is read."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

from althing.consensus.engine import CommittedBlock, EngineError
from althing.protocol.errors import AlthingError

__all__ = ["Followed"]


class Followed(ABC):
    """`wait_height` and `committed` of an engine; all of it belongs to the engine's event loop."""

    _changed: asyncio.Event  # set, and replaced by another, whenever something below is different
    _ended: bool
    _error: AlthingError | None  # what ended it

    @property
    @abstractmethod
    def latest_height(self) -> int: ...

    @property
    @abstractmethod
    def _first_height(self) -> int: ...

    @abstractmethod
    async def _block(self, height: int) -> CommittedBlock | None:
        """A block up to the latest; None when none can be read any more, because the engine ends."""

    async def wait_height(self, height: int) -> None:
        """See `Engine.wait_height`."""
        while True:
            changed = self._changed
            if self.latest_height >= height:
                return
            if self._ended:
                raise self._error or EngineError("engine.stopped", f"the engine stopped before height {height}")
            await changed.wait()

    async def committed(self, from_height: int) -> AsyncIterator[CommittedBlock]:
        """See `Engine.committed`. `from_height` below the initial height starts at the first block."""
        height = max(from_height, self._first_height)
        while True:
            changed = self._changed
            while height <= self.latest_height:
                block = await self._block(height)
                if block is None:
                    break
                yield block
                height += 1
            if self._ended:
                if self._error is not None:
                    raise self._error
                return
            await changed.wait()
