"""A missing tool is a skip with its reason; a promised tool makes every skip of a test that needs it a failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

MISSING = "import pytest\n\n@pytest.mark.needs_cc\ndef test_it(): ...\n"
SKIPS_ITSELF = (
    "import pytest\n\n@pytest.mark.needs_cc\ndef test_it(): pytest.skip('as if something else was missing')\n"
)


def _run(folder: Path, source: str, *, path: str, require: str) -> tuple[int, str]:
    (folder / "test_it.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    needs_cc: a C compiler\n")
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "conftest", "-p", "no:cacheprovider", str(folder)]
    environment = {"PATH": path, "PYTHONPATH": str(TESTS), "PYTHONDONTWRITEBYTECODE": "1", "ALTHING_REQUIRE": require}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def compiler(tmp_path: Path) -> str:
    """A PATH with something on it that is found as a C compiler."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "cc").write_text("#!/bin/sh\n")
    (folder / "cc").chmod(0o755)
    return str(folder)


def test_a_missing_tool_skips(tmp_path: Path) -> None:
    code, output = _run(tmp_path, MISSING, path="/nonexistent", require="")
    assert code == 0
    assert "C compiler is missing" in output


def test_a_promised_tool_that_is_missing_fails(tmp_path: Path) -> None:
    code, output = _run(tmp_path, MISSING, path="/nonexistent", require="cc")
    assert code == 1
    assert "ALTHING_REQUIRE promises cc" in output


def test_a_promised_test_may_not_skip_itself(tmp_path: Path, compiler: str) -> None:
    assert _run(tmp_path, SKIPS_ITSELF, path=compiler, require="")[0] == 0
    assert _run(tmp_path, SKIPS_ITSELF, path=compiler, require="cc")[0] == 1


def test_a_promised_tool_that_is_here_passes(tmp_path: Path, compiler: str) -> None:
    assert _run(tmp_path, MISSING, path=compiler, require="cc")[0] == 0


def test_an_unknown_promise_is_refused(tmp_path: Path) -> None:
    code, output = _run(tmp_path, MISSING, path="/nonexistent", require="cobol")
    assert code not in {0, 1}
    assert "cobol" in output
