"""When a daemon looks for garbage, by time and not by the count of its objects, and gives back what it does not need."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

__all__ = ["garbage_by_time"]

_EVERY_S: Final = 5.0
_WHOLE: Final = 120  # every so many times all objects are looked at, else those made since the last time
_TRIM: Final = 6  # every so many times free memory goes back to the system


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
    # A batch is built in one thread, archived in another and proved in a third, and glibc keeps what each has freed for
    # that thread: without this a daemon under load grows by what its largest batches took, once for every thread.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none, and no such arenas
    for turn in count(1):
        await asyncio.sleep(_EVERY_S)
        gc.collect(0 if turn % _WHOLE else 2)
        if trim is not None and turn % _TRIM == 0:
            await asyncio.to_thread(trim, 0)
