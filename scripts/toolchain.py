"""Finds the programs that some tests need beside Python packages. Standard library only.

`tests/conftest.py` skips a test whose tool is missing; `.ci/run` prints this list and demands what it names.
`python scripts/toolchain.py` prints what is here, comma-separated.
"""

# ruff: noqa: S603 -- every command here is a fixed list; no word of it comes from outside

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["TOOLS", "find", "go_version", "other_pythons"]

PYTHON_MIN = (3, 11)

# Where a newer patch of the same minor version is found, one interpreter per minor version is enough.
_PYENV_ROOTS = ("~/.pyenv/versions", "~/.local/share/uv/python")

# Debian puts daemons where a plain user's PATH does not look.
_SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/usr/local/go/bin"])

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find(tool: str) -> str | None:
    """The path of the tool's main program; None unless everything that tests use of it is here."""
    return TOOLS[tool]()


def other_pythons() -> tuple[tuple[str, str], ...]:
    """(version, path) of every further Python from 3.11 on, one per minor version other than the running one."""
    return _other_pythons()


def go_version(go: str) -> tuple[int, int]:
    """(major, minor) of a Go tool; its own answer, without fetching another toolchain."""
    environment = dict(os.environ, GOTOOLCHAIN="local")
    done = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, env=environment, check=False)
    match = re.match(r"go(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _which(*names: str) -> str | None:
    for name in names:
        path = shutil.which(name, path=_SEARCH)
        if path is not None:
            return path
    return None


def _chromium() -> str | None:
    return os.environ.get("ALTHING_CHROMIUM") or _which(*_CHROMIUM)


def _mosquitto() -> str | None:
    if _which("mosquitto_pub") is None or _which("mosquitto_sub") is None:
        return None
    return _which("mosquitto")


def _python() -> str | None:
    others = other_pythons()
    return others[0][1] if others else None


@functools.cache
def _other_pythons() -> tuple[tuple[str, str], ...]:
    candidates = [_which(f"python3.{minor}") for minor in range(PYTHON_MIN[1], 20)] + [_which("python3")]
    for root in _PYENV_ROOTS:
        candidates += [str(path) for path in sorted(Path(root).expanduser().glob("*3.*/bin/python3"))]
    running = ".".join(map(str, sys.version_info[:2]))
    found: dict[str, str] = {}
    for candidate in candidates:
        answer = _describe(candidate) if candidate else None
        if answer is not None and answer[0] != running:
            found.setdefault(*answer)
    return tuple(sorted(found.items()))


def _describe(python: str) -> tuple[str, str] | None:
    """(minor version, real path), or None for a shim without an interpreter, one too old, or one without venv."""
    probe = (
        "import sys, venv, ensurepip; assert sys.version_info >= (3, 11) and sys.implementation.name == 'cpython'; "
        "print('%d.%d' % sys.version_info[:2], sys.executable)"
    )
    try:
        done = subprocess.run([python, "-I", "-c", probe], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    parts = done.stdout.strip().split(" ", 1)
    return (parts[0], parts[1]) if done.returncode == 0 and len(parts) == 2 else None


@functools.cache
def _netns() -> str | None:
    """iproute2's `ip`, where this user may make a network namespace with it."""
    ip = _which("ip", "/sbin/ip")
    if ip is None or os.geteuid() != 0:
        return None
    name = f"althing-probe-{os.getpid()}"
    made = subprocess.run([ip, "netns", "add", name], capture_output=True, check=False)
    if made.returncode != 0:
        return None
    joined = subprocess.run(
        [ip, "-n", name, "link", "add", "a0", "type", "veth", "peer", "name", "a1"], capture_output=True, check=False
    )
    subprocess.run([ip, "netns", "del", name], capture_output=True, check=False)
    return ip if joined.returncode == 0 else None


def _engine() -> str | None:
    """CometBFT as `make setup-engine` builds it, into the environment of the running interpreter."""
    binary = os.environ.get("ALTHING_ENGINE") or str(Path(sys.prefix) / "engine" / "cometbft")
    return binary if os.access(binary, os.X_OK) else None


@functools.cache
def _index() -> str | None:
    """pip, where it reaches an index of packages: asked for a small one that is needed anyway, past its cache."""
    with tempfile.TemporaryDirectory() as folder:
        ask = ["download", "-q", "--no-deps", "--no-cache-dir", "--retries", "0", "--timeout", "15", "-d", folder]
        command = [sys.executable, "-m", "pip", *ask, "mdurl"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
    return f"{sys.executable} -m pip" if done.returncode == 0 else None


TOOLS = {
    "chromium": _chromium,
    "engine": _engine,
    "index": _index,
    "mosquitto": _mosquitto,
    "python": _python,
    "go": lambda: _which("go"),
    "systemd": lambda: _which("systemd-analyze"),
    "cc": lambda: _which("cc", "gcc", "clang"),
    "netns": _netns,
}


if __name__ == "__main__":
    print(",".join(name for name in TOOLS if find(name)))
