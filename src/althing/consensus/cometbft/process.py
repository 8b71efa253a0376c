"""CometBFT's process: started, watched, started again when it ends, and what its log says about why.

Whatever ends it, its exit code is no information: it is 0 when its application went away. If this process dies, CometBFT
loses its application and ends itself. Its log lines, one JSON object each, are passed on as ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from althing.consensus.cometbft.paths import CometHome
from althing.consensus.engine import EngineError
from althing.service.durable import write_file

__all__ = ["EngineProcess", "explain"]

_log = structlog.get_logger("althing.engine")

_STOP_S: Final = 15.0
_LINE_BYTES_MAX: Final = 1 << 20
_TAIL: Final = 40
_STACK: Final = re.compile(
    r"\t|goroutine \d|created by |[\w./*()-]+\(.*\)$|State: |Block[:{]"
)  # below a panic's message

# What the program says before it ends, and what that means here. Order matters: the first that is found is told.
_REASONS: Final = (
    (r"resource temporarily unavailable", "engine.locked", "another CometBFT uses this directory", "stop it"),
    (
        r"app block height \(\d+\) is higher than core",
        "engine.app_ahead",
        "the application is ahead of the stored blocks",
        "application state and blocks belong together: restore both from the same backup",
    ),
    (
        r"app block height \(\d+\) is too far below block store base",
        "engine.app_behind",
        "the application is behind, and the blocks between are pruned",
        "restore a newer state of the application",
    ),
    (
        r"AppHash does not match AppHash after replay|wrong Block\.Header\.AppHash",
        "engine.foreign_chain",
        "the application's state is not that of this chain's blocks, or executing them again gave another result",
        "use the directories of one chain, and the version that made it",
    ),
    (
        r"can't get pubkey",
        "engine.signer",
        "the remote signer has not connected, or does not sign for this chain",
        "start it with the address of signer_listen and this chain's id; its log says more",
    ),
    (
        r"address already in use",
        "engine.process",
        "an address that CometBFT shall listen on is taken",
        "choose another for p2p_listen",
    ),
    (
        r"no space left on device",
        "engine.disk_full",
        "the disk is full",
        "free space; then start the node again",
    ),
)


def explain(lines: list[str]) -> EngineError:
    """Why the process ended, from the last lines it wrote."""
    text = "\n".join(lines)
    for pattern, code, message, hint in _REASONS:
        if re.search(pattern, text):
            return EngineError(code, message, hint=hint)
    said = next((_sentence(line) for line in reversed(lines) if _sentence(line)), "it said nothing")
    return EngineError("engine.process", f"CometBFT ended: {said[:300]}", hint="the log has its last lines")


class EngineProcess:
    """One run of the program. `said` is told of every log line as (level, message, fields)."""

    def __init__(
        self,
        binary: Path,
        home: Path,
        said: Callable[[str, str, dict[str, Any]], None],
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._binary = binary
        self._home = home
        self._said = said
        self._variables = dict(variables or {})
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self.tail: deque[str] = deque(maxlen=_TAIL)

    @property
    def pid(self) -> int:
        """The process id, 0 before it runs; for tests and for the log."""
        return 0 if self._process is None else self._process.pid

    async def start(self) -> None:
        """Run `cometbft start`. EngineError `engine.binary` when the system cannot."""
        # Variables of CometBFT's would change its configuration behind our back.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("CMT", "TM_"))}
        environment |= self._variables
        try:
            self._process = await asyncio.create_subprocess_exec(
                str(self._binary),
                "start",
                "--home",
                str(self._home),
                cwd=self._home,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=_LINE_BYTES_MAX,
                start_new_session=True,  # Ctrl-C reaches only this process, which stops its parts in order
            )
        except OSError as error:
            raise EngineError("engine.binary", f"{self._binary} cannot be run: {error.strerror or error}") from error
        write_file(CometHome(self._home).pid_file, f"{self._process.pid}\n".encode())
        self._reading = asyncio.create_task(self._read(), name="cometbft-log")

    async def wait(self) -> int:
        """Until it has ended and everything it wrote was read."""
        assert self._process is not None
        assert self._reading is not None
        code = await self._process.wait()
        await self._reading
        return code

    async def stop(self) -> None:
        """End it: asked first, by force after a while. Idempotent."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        _signal(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _STOP_S)
        except TimeoutError:
            _log.warning("CometBFT did not end when asked and is ended by force", pid=process.pid)
            _signal(process, signal.SIGKILL)
            await process.wait()
        if self._reading is not None:
            await self._reading

    async def _read(self) -> None:
        assert self._process is not None
        stream = self._process.stdout
        assert stream is not None
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # a line beyond the bound: its rest follows as lines of its own
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            if not text:
                continue
            if not _STACK.match(text):
                self.tail.append(text)
            level, message, fields = _parse(text)
            self._said(level, message, fields)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except ProcessLookupError:
        pass  # it has just ended


def _parse(text: str) -> tuple[str, str, dict[str, Any]]:
    try:
        found = json.loads(text)
    except ValueError:
        return "error", text, {}
    if not isinstance(found, dict):
        return "error", text, {}
    level, message = str(found.pop("level", "info")), str(found.pop("_msg", ""))
    found.pop("ts", None)
    return level, message, {f"c_{key}": value for key, value in found.items() if isinstance(key, str)}


def _sentence(line: str) -> str:
    level, message, fields = _parse(line)
    if level not in ("error", "panic", "fatal"):
        return ""
    return " ".join([message, *(str(value) for key, value in fields.items() if key in ("c_err", "c_error"))]).strip()
