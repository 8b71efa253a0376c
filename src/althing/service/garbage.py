"""When a daemon looks for garbage: by time, not by the count of its objects."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

__all__ = ["garbage_by_time"]

_EVERY_S: Final = 5.0
_WHOLE: Final = 120  # every so many times all objects are looked at, else those made since the last time


@asynccontextmanager
async def garbage_by_time() -> AsyncIterator[None]:
    """For the whole life of a process that keeps much alive for a short while.

    Messages and transactions under way are some hundred thousand objects without cycles. Python counts objects and so looks
    for garbage among them again and again, which took a tenth of the processor.
    """
    gc.disable()
    task = asyncio.create_task(_collect(), name="garbage")
    try:
        yield
    finally:
        task.cancel()
        gc.enable()


async def _collect() -> None:
    for turn in count(1):
        await asyncio.sleep(_EVERY_S)
        gc.collect(0 if turn % _WHOLE else 2)
