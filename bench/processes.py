"""The processes under test, started as anyone would, and what the system says of them: processor time, memory, disk."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Child", "Memory", "disk_bytes", "free_port", "gateway", "node", "run_json", "wait_for_port", "write_config"]

_TICKS = os.sysconf("SC_CLK_TCK")
_READY_S = 60


class Child:
    """A child process in a session of its own; ended with `stop`."""

    def __init__(self, command: Sequence[str], log: Path, *, ready: bool = False) -> None:
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if ready else file,
                stderr=file,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.ready: dict[str, Any] = {}
        if ready:
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
            if not line:
                self._process.wait(_READY_S)
                raise SystemExit(f"{' '.join(command)} did not start:\n{log.read_text()[-2000:]}")
            self.ready = json.loads(line)

    def stop(self) -> None:
        """End it in order and wait."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def cpu_s(self) -> float:
        """Processor seconds used so far, its children included."""
        return sum(_cpu_s(pid) for pid in self._family())

    def memory(self) -> Memory:
        """Resident memory of it and its children."""
        return Memory.of(self._family())

    def memory_by_name(self, name: str) -> tuple[Memory, Memory]:
        """Of its processes: those that are not the program `name`, and those that are."""
        own: list[int] = []
        named: list[int] = []
        for pid in self._family():
            try:
                found = Path(f"/proc/{pid}/comm").read_text().strip()
            except OSError:
                continue
            (named if found == name else own).append(pid)
        return Memory.of(own), Memory.of(named)

    def _family(self) -> list[int]:
        found = [self.pid]
        for pid in found:
            try:
                tasks = list(Path(f"/proc/{pid}/task").iterdir())
                for task in tasks:
                    found += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                continue
        return found


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


class Memory:
    """Resident bytes: `own` (anonymous) and `mapped` (pages of files, such as LMDB's, that the system may drop)."""

    def __init__(self, own: int, mapped: int) -> None:
        self.own = own
        self.mapped = mapped

    @classmethod
    def of(cls, pids: Sequence[int]) -> Memory:
        own = mapped = 0
        for pid in pids:
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except OSError:
                continue
            values = {line.split(":")[0]: line.split(":")[1] for line in lines if line.startswith("Rss")}
            own += int(values["RssAnon"].split()[0]) * 1024
            mapped += int(values["RssFile"].split()[0]) * 1024
        return cls(own, mapped)


@contextmanager
def node(home: Path) -> Iterator[Child]:
    """A node of a home; `ready["api"]` is its address."""
    child = Child(
        [sys.executable, "-m", "althing", "node", "start", "--home", str(home)], home / "node.log", ready=True
    )
    try:
        yield child
    finally:
        child.stop()


@contextmanager
def gateway(home: Path) -> Iterator[Child]:
    """A gateway of a home; `ready["mqtt"]` and `ready["http"]` are its addresses."""
    child = Child(
        [sys.executable, "-m", "althing", "gateway", "start", "--home", str(home)], home / "gateway.log", ready=True
    )
    try:
        yield child
    finally:
        child.stop()


def write_config(home: Path) -> None:
    """Settings for a load test: an open listener on loopback, no rate limit of one device, quiet logs, any port."""
    (home / "config.toml").write_text(
        "[node]\nlog_level = 'warning'\n[node.api]\nport = 0\n"
        "[gateway.mqtt]\nport = 0\nopen = true\n[gateway.http]\nport = 0\nopen = true\n"
        "[gateway.guard]\nrate_per_s = 1000000.0\nrate_burst = 1000000\n"
    )


def run_json(module: str, arguments: dict[str, Any]) -> Any:
    """Run a module of the benchmark as a client process of its own; its arguments and its answer are JSON."""
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(arguments)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the server did not start")


def disk_bytes(path: Path) -> int:
    """Bytes that the files under a path take on the disk, in blocks of the file system."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_blocks * 512 for file in files)
