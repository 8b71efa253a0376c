"""Child processes of the demo and of networks: nodes and gateways, each `althing … start` as anyone would run it."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from althing.protocol.errors import AlthingError

__all__ = ["Child", "ProcessError"]

READY_S = 60
_TAIL_BYTES = 4000


class ProcessError(AlthingError):
    """A part of the demo did not start or ended: `demo.start`, `demo.ended`."""


class Child:
    """One child process. It ends with this process, whatever happens to it: its standard input is our pipe."""

    def __init__(
        self,
        noun: str,
        home: Path,
        logs: Path,
        *,
        name: str = "",
        environment: Mapping[str, str] | None = None,
        ready_s: int = READY_S,
    ) -> None:
        self.noun = name or noun
        self._ready_s = ready_s
        logs.mkdir(parents=True, exist_ok=True)
        self._log_file = logs / f"{self.noun}.log"
        with self._log_file.open("ab") as log:
            # A session of its own: Ctrl-C reaches only the demo, which stops its parts in order.
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and module
                [sys.executable, "-m", "althing", noun, "start", "--home", str(home), "--with-parent"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        assert self._process.stdout is not None
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def _read(self, stdout: IO[bytes]) -> None:
        for line in stdout:
            self._lines.put(line)
        self._lines.put(None)

    def ready(self) -> dict[str, Any]:
        """Its ready line; ProcessError with what it logged last when it ends before."""
        try:
            line = self._lines.get(timeout=self._ready_s)
        except queue.Empty:
            line = None
        if line is None:
            self.stop()
            raise ProcessError(
                "demo.start", f"the {self.noun} did not start: {self._said()}", hint=f"see {self._log_file}"
            )
        found = json.loads(line)
        assert isinstance(found, dict)
        if "error" in found:
            self.stop()
            error = found["error"]
            raise ProcessError(error["code"], f"the {self.noun} did not start: {error['message']}", hint=error["hint"])
        return found

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def check(self) -> None:
        if not self.alive:
            raise ProcessError("demo.ended", f"the {self.noun} ended: {self._said()}", hint=f"see {self._log_file}")

    def stop(self, timeout_s: int = 30) -> None:
        """End it in order; by force after the time."""
        if self.alive:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _said(self) -> str:
        data = self._log_file.read_bytes()[-_TAIL_BYTES:]
        for line in reversed(data.decode(errors="replace").strip().splitlines()):
            if line.startswith("error: "):
                return line.removeprefix("error: ")
        lines = data.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
