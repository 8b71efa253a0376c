"""Runs the golden vectors on the interpreter at hand; the standard library and `althing` are all it needs.

    PYTHONPATH=src python tests/vectors/run.py [file.json …]

A vector file names its suite; `checkers/<suite>.py` holds `check(case)`, which raises where the case does not hold.
Prints one line per file and exits 1 if a case fails, a file holds none, or a suite has no checker.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CHECKERS = HERE / "checkers"

Check = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class VectorFile:
    """One file of cases, each an object with a `name` of its own beside what its suite defines."""

    path: Path
    suite: str
    cases: tuple[dict[str, Any], ...]


def discover() -> list[Path]:
    """Every vector file, in the order of their names."""
    return sorted(path for path in HERE.rglob("*.json") if CHECKERS not in path.parents)


def read(path: Path) -> VectorFile:
    """The file's form is checked here, so that a checker may rely on it."""
    document = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_no_duplicates)
    if not isinstance(document, dict) or not isinstance(document.get("suite"), str):
        raise ValueError(f"{path.name}: not an object with a 'suite'")
    cases = document.get("cases")
    if not isinstance(cases, list) or not cases:
        raise ValueError(f"{path.name}: holds no 'cases'")
    names = [case.get("name") if isinstance(case, dict) else None for case in cases]
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) != len(names):
        raise ValueError(f"{path.name}: every case needs a 'name' of its own")
    return VectorFile(path, document["suite"], tuple(cases))


def checker(suite: str) -> Check:
    """The check of a suite; hyphens in its name become underscores in the file's."""
    path = CHECKERS / f"{suite.replace('-', '_')}.py"
    if not path.is_file() or path.parent != CHECKERS:
        raise LookupError(f"suite {suite!r} has no checker: {path.relative_to(HERE)} is missing")
    name = f"althing_vectors_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    check: Check = sys.modules[name].check
    return check


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(f"duplicate key among {sorted(keys)}")
    return dict(pairs)


def _run(path: Path) -> int:
    """The number of cases that failed."""
    vectors = read(path)
    check = checker(vectors.suite)
    failed = 0
    for case in vectors.cases:
        try:
            check(case)
        except Exception:  # noqa: BLE001 -- reported case by case, whatever the checker raised
            failed += 1
            print(f"FAILED {path.name}: {case['name']}\n{traceback.format_exc()}", file=sys.stderr)
    print(f"{'ok' if not failed else 'FAILED'} {path.name} suite={vectors.suite} cases={len(vectors.cases)}")
    return failed


def main(arguments: Sequence[str]) -> int:
    files = [Path(argument) for argument in arguments] or discover()
    return 1 if sum(_run(path) for path in files) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
