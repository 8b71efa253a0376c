"""A home on a file system that is mounted read-only: what opens it says so with a code, and nothing ends by a bug."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from althing.client.keyfile import generate_key, save_key

from .world import new_home

# Modes stop nobody who is root; a mount does.
MOUNT = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
COMMANDS = {
    "node start --home {home}": "state.read_only",
    "gateway start --home {home}": "spool.unwritable",
    "gateway token d --unchecked --json --home {home}": "cli.file",
    "node init --chain x --org y --json --home {home}/new": "cli.file",
    "demo --headless --seconds 1 --home {home}": "cli.file",
    "proof get --stream a/b --seq 0 --json --home {home}": "engine.store",
}


def read_only(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command that sees the folder mounted read-only, in namespaces of its own."""
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(folder), *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = new_home(tmp_path_factory.mktemp("read-only") / "home")
    save_key(made.gateway_dir / "gateway_key.json", generate_key())
    if shutil.which("unshare") is None or read_only(made.path, "true").returncode:
        pytest.skip("this system lets nobody mount a folder read-only for himself")
    assert read_only(made.path, "touch", str(made.path / "x")).returncode
    return made.path


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_says_what_is_wrong(home: Path, line: str) -> None:
    done = read_only(home, sys.executable, "-m", "althing", *line.format(home=home).split())
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert COMMANDS[line] in said
    if "--json" in line:
        assert json.loads(done.stdout)["error"]["code"] == COMMANDS[line]
