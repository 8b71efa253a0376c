"""Running a daemon from a command: its ready line on stdout, its end by signal or by the end of its parent."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from althing.service.garbage import garbage_by_time
from althing.service.lifecycle import stop_on_signals

__all__ = ["announce", "run_daemon"]


def announce(event: str, **fields: Any) -> None:
    """One JSON line on stdout."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def run_daemon(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]], *, with_parent: bool) -> None:
    """Run `main(stop)` on uvloop. With `with_parent` the end of standard input stops it: its parent is gone."""
    import uvloop

    async def run() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        if with_parent:
            loop = asyncio.get_running_loop()

            def watch() -> None:
                # Not through sys.stdin: a thread inside its buffer's lock would keep the interpreter from ending.
                while os.read(0, 4096):
                    pass
                loop.call_soon_threadsafe(stop.set)

            threading.Thread(target=watch, name="parent", daemon=True).start()
        async with garbage_by_time():
            await main(stop)

    uvloop.run(run())
