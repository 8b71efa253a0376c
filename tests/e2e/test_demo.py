"""The demo as a script runs it: it ends by itself, says what it did, and a second run goes on where the first ended."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.timeout(600)

RUN_S = "6"
USUAL = {8420, 1883, 8080}


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Nobody else gets the port; where another test's demo has it, once that has ended."""
    with socket.socket() as busy:
        busy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        end = time.monotonic() + 240
        while True:
            try:
                busy.bind(("127.0.0.1", port))
                busy.listen()
                break
            except OSError:
                assert time.monotonic() < end, f"port {port} is never free"
                time.sleep(0.1)
        yield


def run(home: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The demo's first and last line."""
    options = ["--home", str(home), "--headless", "--seconds", RUN_S, "--pace", "60", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "althing", "demo", *options], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    ready, result = (json.loads(line) for line in done.stdout.splitlines())
    assert ready["event"] == "ready"
    assert done.stderr, "progress is told beside the result"
    return ready, result


def ports(ready: dict[str, Any]) -> set[int]:
    found = {urlsplit(ready[name]).port for name in ("api", "mqtt", "http")}
    assert None not in found
    return found  # type: ignore[return-value]


def test_two_runs_of_one_home_with_its_usual_ports_taken(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for port in USUAL:
            stack.enter_context(taken(port))
        first_ready, first = run(tmp_path / "home")
        second_ready, second = run(tmp_path / "home")
    assert not ports(first_ready) & USUAL
    assert ports(second_ready) == ports(first_ready), "the ports of a home stay its own"

    for ready in (first_ready, second_ready):
        assert Path(ready["credentials_file"]).stat().st_mode & 0o777 == 0o600
    for result in (first, second):
        assert {"readings", "messages", "refused", "batches", "height", "proof_file", "trust_file"} <= result.keys()
        assert result["verified"] is True
        assert result["refused"] == 0
        assert result["readings"] >= result["messages"] > 0
        assert result["batches"] > 0
    assert first["total_messages"] == first["messages"]
    assert second["total_messages"] == first["messages"] + second["messages"]
    assert second["total_readings"] == first["readings"] + second["readings"]
    assert second["height"] > first["height"]

    verify = ["proof", "verify", second["proof_file"], "--trust", second["trust_file"], "--json"]
    verified = subprocess.run([sys.executable, "-m", "althing", *verify], capture_output=True, timeout=60, check=False)
    assert verified.returncode == 0, "no data directory is needed"
