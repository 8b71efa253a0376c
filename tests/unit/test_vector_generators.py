"""Vector files that a generator makes are what it makes: nobody edits them by hand, and every Python makes the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors"


def _generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(VECTORS / "generate.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_files_are_what_their_generators_make() -> None:
    done = _generate("--check")
    assert done.returncode == 0, done.stderr


def test_check_notices_a_change(tmp_path: Path) -> None:
    """On a copy with one digit changed."""
    for name in ("generate.py", "generators/merkle.py", "merkle.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((VECTORS / name).read_text())
    text = (tmp_path / "merkle.json").read_text()
    (tmp_path / "merkle.json").write_text(text.replace('"root": "e3b0', '"root": "e3b1'))
    done = subprocess.run(
        [sys.executable, str(tmp_path / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "merkle.json is not what generators/merkle.py makes" in done.stderr
