"""The golden vectors hold: in this process, under other hash seeds, and on every other Python of the machine."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNNER = ROOT / "tests" / "vectors" / "run.py"
LOCK = ROOT / "requirements" / "vectors.txt"


def _load_runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("althing_vectors_run", RUNNER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


runner = _load_runner()
FILES = runner.discover()


def _run(python: str, environment: Mapping[str, str]) -> list[str]:
    fixed = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [python, str(RUNNER)]
    done = subprocess.run(command, env={**fixed, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_there_are_vectors() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_in_process(path: Path) -> None:
    vectors = runner.read(path)
    check = runner.checker(vectors.suite)
    for case in vectors.cases:
        check(case)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_empty_case_fails(path: Path) -> None:
    """A checker that accepts a case without content checks nothing."""
    vectors = runner.read(path)
    with pytest.raises(Exception):  # noqa: B017 -- whatever a checker raises; passing is the failure
        runner.checker(vectors.suite)({"name": "empty"})


def test_every_checker_is_used() -> None:
    used = {runner.read(path).suite.replace("-", "_") for path in FILES}
    assert {path.stem for path in runner.CHECKERS.glob("*.py") if not path.stem.startswith("_")} == used


@pytest.mark.parametrize("seed", ["0", "1", "31337"])
def test_under_other_hash_seeds(seed: str) -> None:
    lines = _run(sys.executable, {"PYTHONHASHSEED": seed})
    assert len(lines) == len(FILES)


@pytest.mark.needs_python
def test_on_other_pythons(other_python: str) -> None:
    lines = _run(str(_environment(other_python)), {"PYTHONHASHSEED": "random"})
    assert len(lines) == len(FILES)


def _environment(python: str) -> Path:
    """A small environment of the other Python with what the vectors need, made once per lock file."""
    lock = LOCK.read_bytes()
    version = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    key = hashlib.sha256(lock + python.encode()).hexdigest()[:12]
    home = ROOT / ".venv" / f"other-{version}-{key}"
    if not home.exists():
        building = home.with_name(f"{home.name}.{os.getpid()}")
        try:
            subprocess.run([python, "-m", "venv", str(building)], check=True, capture_output=True)
            pip = [str(building / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            locked = ["--no-input", "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)]
            done = subprocess.run([*pip, *locked], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                pytest.skip(f"what the vectors need cannot be installed for Python {version}: {done.stderr[-400:]}")
            building.rename(home)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return home / "bin" / "python"
