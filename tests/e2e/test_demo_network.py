"""The demo on four validators: the same options and JSON lines as on one node, and a second run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.needs_engine, pytest.mark.long, pytest.mark.timeout(900)]

WAIT_S = 400


def demo(home: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "althing", "demo", "--home", str(home), "--json", *options]


def test_the_demo_on_four_validators(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    distributed = ("--engine", "cometbft", "--validators", "4")
    total = 0
    for _ in range(2):
        done = subprocess.run(
            demo(home, *distributed, "--headless", "--seconds", "15", "--pace", "30"),
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        ready, result = (json.loads(line) for line in done.stdout.splitlines())
        assert ready["event"] == "ready"
        assert result["verified"]
        assert result["anchored"]
        assert result["total_readings"] > total
        total = result["total_readings"]
    verified = subprocess.run(
        [sys.executable, "-m", "althing", "proof", "verify", result["proof_file"], "--trust", result["trust_file"]],
        capture_output=True,
        check=False,
    )
    assert verified.returncode == 0
    # Another engine, or another number of validators, is not what this home was founded with.
    for options in ((), ("--engine", "cometbft", "--validators", "3")):
        wrong = subprocess.run(demo(home, *options), capture_output=True, text=True, timeout=WAIT_S, check=False)
        assert wrong.returncode == 1
        assert "demo.engine" in wrong.stderr


def test_network_commands_end_in_order_on_a_signal(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    made = subprocess.run(
        [
            sys.executable,
            "-m",
            "althing",
            "network",
            "init",
            "--org",
            "acme,bolt",
            "--validators",
            "2",
            "-o",
            str(folder),
        ],
        capture_output=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    command = [sys.executable, "-m", "althing", "network", "up", str(folder), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        ready = json.loads(up.stdout.readline())
        assert len(ready["nodes"]) == 2
        health = json.loads(up.stdout.readline())
        assert {node["phase"] for node in health["nodes"]} <= {"running", "replaying"}
        up.send_signal(signal.SIGINT)
        assert up.wait(WAIT_S) == 0
    running = [path for path in Path("/proc").glob("[0-9]*/cmdline") if os.fsencode(folder) in _command(path)]
    assert not running, "nothing is left running"


def _command(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended meanwhile
