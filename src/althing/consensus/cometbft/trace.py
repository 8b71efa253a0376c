"""A file of every call an engine made, one JSON object a line, to be judged by the grammar (`consensus.grammar`)."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from althing.consensus.grammar import Call

__all__ = ["TraceFile", "read_trace"]


class TraceFile:
    """`begin` before each start of the engine: what follows is one run. Lines are complete when a call has returned."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="ascii", buffering=1)
        self._lock = threading.Lock()

    def begin(self) -> None:
        """A new run of the engine."""
        self._write({"run": True})

    def call(self, call: Call) -> None:
        """A call that returned."""
        self._write({"method": call.method, "height": call.height, "hash": call.hash.hex(), "thread": call.thread})

    def close(self) -> None:
        """Calls that return later are not recorded."""
        with self._lock:
            self._file.close()

    def _write(self, document: dict[str, object]) -> None:
        with self._lock:
            if not self._file.closed:
                self._file.write(json.dumps(document) + "\n")


def read_trace(path: Path) -> list[list[Call]]:
    """The calls of each run, in order; a last line that a crash cut off is left out."""
    runs: list[list[Call]] = []
    for line in path.read_text(encoding="ascii").splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        item = json.loads(line)
        if "run" in item:
            runs.append([])
        else:
            runs[-1].append(Call(item["method"], item["height"], bytes.fromhex(item["hash"]), item["thread"]))
    return runs
