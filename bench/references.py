"""What the machine itself can do, measured again beside each figure: V (signature checks), fsync, Mosquitto."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nacl.bindings import crypto_sign_open

from althing.protocol.signatures import PrivateKey, Suite
from bench.processes import Child, free_port, wait_for_port

__all__ = ["V_TEXT", "checks_per_s", "fsync_s", "mosquitto", "mosquitto_path"]

V_TEXT = "V: PyNaCl Ed25519 checks/s of one core, 250 bytes"


def checks_per_s(seconds: float = 0.6) -> float:
    """V now: the median of several slices, so that a moment's disturbance does not count."""
    key = PrivateKey(Suite.ED25519, bytes(range(32)))
    message = b"x" * 250
    signed = key.sign(message) + message
    slices = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        began = time.perf_counter()
        for _ in range(500):
            crypto_sign_open(signed, key.public)
        slices.append(500 / (time.perf_counter() - began))
    return statistics.median(slices)


def fsync_s(folder: Path, count: int = 100) -> float:
    """4 KiB written and forced to the disk, median."""
    path = folder / "fsync"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(handle, bytes(4096), 0)
        os.fsync(handle)
        times = []
        for _ in range(count):
            began = time.perf_counter()
            os.pwrite(handle, os.urandom(4096), 0)
            os.fdatasync(handle)
            times.append(time.perf_counter() - began)
        return statistics.median(times)
    finally:
        os.close(handle)
        path.unlink()


def mosquitto_path() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


@contextmanager
def mosquitto(folder: Path) -> Iterator[tuple[Child, int]]:
    """Mosquitto with a store (`persistence true`) and no bound on its queues. It does not fsync a message."""
    program = mosquitto_path()
    assert program is not None
    port = free_port()
    data = folder / "mosquitto"
    data.mkdir(exist_ok=True)
    config = data / "mosquitto.conf"
    # Started by root, Mosquitto takes another user's rights, who could not write here.
    user = "user root\n" if os.geteuid() == 0 else ""
    config.write_text(
        f"{user}listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {data}/\n"
        "max_queued_messages 0\nmax_inflight_messages 0\n"
    )
    child = Child([program, "-c", str(config)], data / "log")
    try:
        wait_for_port(port)
        yield child, port
    finally:
        child.stop()
