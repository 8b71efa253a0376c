"""The processes under test, started as anyone would, and what the system says of them: processor time, memory, disk."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

    def memory(self) -> list[Memory]:
        """Of it and of each of its children, as they were started."""
        return [found for found in map(Memory.of, self._family()) if found is not None]

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
        return Memory.together("own", own), Memory.together(name, named)

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


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one process, as /proc/<pid>/smaps_rollup counts them (Linux, proc(5)).

    `own` is anonymous memory, what the program allocated. The others also count mapped files, such as LMDB's, whose pages
    the system drops when it needs room: `resident` all, `shared_out` (PSS) a share of those that several processes map,
    `unique` (USS) those of this process alone.
    """

    role: str
    own: int
    resident: int
    shared_out: int
    unique: int

    @classmethod
    def together(cls, role: str, pids: Iterable[int]) -> Memory:
        """The sum over several processes."""
        found = [one for one in map(cls.of, pids) if one is not None]
        return cls(
            role,
            sum(one.own for one in found),
            sum(one.resident for one in found),
            sum(one.shared_out for one in found),
            sum(one.unique for one in found),
        )

    @property
    def mapped(self) -> int:
        """Resident pages of files."""
        return self.resident - self.own

    @classmethod
    def of(cls, pid: int) -> Memory | None:
        """None when the process is gone."""
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return None
        values = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
        return cls(
            _role(command),
            values["Anonymous"],
            values["Rss"],
            values["Pss"],
            values["Private_Clean"] + values["Private_Dirty"],
        )


def _role(command: list[bytes]) -> str:
    """What a process of a daemon's family is for."""
    text = b" ".join(command)
    if b"resource_tracker" in text:
        return "resource tracker"
    if b"multiprocessing" in text or b"signatureworker" in text:
        return "signature checks"
    return "main"


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
