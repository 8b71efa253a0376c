"""CometBFT's own metrics, from a listener that only this machine reaches (it cannot be a Unix socket).

The port is chosen before each start of the process. A port that somebody else took meanwhile makes CometBFT say so in its
log, and nothing is read then: what answers there is not our engine.
"""

from __future__ import annotations

import re
import socket
import time
from threading import Lock
from typing import Final

import httpx2

from althing.protocol.errors import UnavailableError

__all__ = ["FAILED", "HOST", "NAMESPACE", "Instrumentation", "own_metrics"]

HOST: Final = "127.0.0.1"
NAMESPACE: Final = "cometbft"
FAILED: Final = "Prometheus HTTP server ListenAndServe"  # what CometBFT's log says when it cannot listen
TIMEOUT_S: Final = 2.0
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024  # some 20 kB a peer
_FRESH_S: Final = 1.0  # whoever asks more often gets the same answer
_NAME: Final = re.compile(rb"(?:# (?:HELP|TYPE) )?([a-zA-Z_:][a-zA-Z0-9_:]*)")
_PROCESS: Final = b"process_"  # of the Go program; ours has the same names


class Instrumentation:
    """`address` for the configuration, then `scrape` at any time, from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._port = 0
        self._usable = False
        self._asked = float("-inf")
        self._answer = b""
        self._error: UnavailableError | None = None

    def renew(self) -> str:
        """A free port of this machine's loopback: host:port."""
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self._port = int(probe.getsockname()[1])
        self._usable = True
        self._asked = float("-inf")
        return f"{HOST}:{self._port}"

    def failed(self) -> None:
        """CometBFT does not listen there, or no longer."""
        self._usable = False
        self._asked = float("-inf")

    def scrape(self) -> bytes:
        """Its metrics as text, or UnavailableError `engine.unreachable`. One question at a time."""
        with self._lock:
            if time.monotonic() - self._asked > _FRESH_S:
                try:
                    self._answer, self._error = own_metrics(self._fetch()), None
                except UnavailableError as error:
                    self._answer, self._error = b"", error
                self._asked = time.monotonic()
            if self._error is not None:
                raise self._error
            return self._answer

    def _fetch(self) -> bytes:
        if not self._usable:
            raise UnavailableError("engine.unreachable", "CometBFT does not serve its metrics")
        url = f"http://{HOST}:{self._port}/metrics"
        body = bytearray()
        deadline = time.monotonic() + TIMEOUT_S
        try:
            with httpx2.stream("GET", url, timeout=TIMEOUT_S, trust_env=False) as response:
                for part in response.iter_bytes():
                    body += part
                    if len(body) > ANSWER_BYTES_MAX or time.monotonic() > deadline:
                        raise UnavailableError("engine.unreachable", "CometBFT's metrics are too long or too slow")
                if response.status_code != 200:
                    raise UnavailableError("engine.unreachable", f"CometBFT's metrics: HTTP {response.status_code}")
        except httpx2.HTTPError as error:
            raise UnavailableError(
                "engine.unreachable", f"CometBFT's metrics do not answer: {type(error).__name__}"
            ) from error
        return bytes(body)


def own_metrics(text: bytes) -> bytes:
    """The lines of CometBFT's own metrics, and of its process under names of its own; Go's inner life is left out."""
    kept = []
    for line in text.splitlines():
        found = _NAME.match(line)
        if found is None:
            continue
        name = found[1]
        if name.startswith(NAMESPACE.encode() + b"_"):
            kept.append(line)
        elif name.startswith(_PROCESS):
            kept.append(line[: found.start(1)] + NAMESPACE.encode() + b"_" + line[found.start(1) :])
    return b"".join(line + b"\n" for line in kept)
