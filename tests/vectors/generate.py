"""Makes the vector files that have a generator, or checks that they are what their generators make.

    PYTHONPATH=src python tests/vectors/generate.py [--check] [suite …]

`generators/<suite>.py` holds `document()`. Everything is seeded: the same bytes on every run and every Python. A
generator with `RULES = True` runs a ledger, so its bytes follow the rules of execution; what it made once stays valid
and is not made again, so `--check` leaves it out.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent


def text(generator: ModuleType) -> str:
    """The file's text as its generator makes it."""
    return json.dumps(generator.document(), indent=1, ensure_ascii=True) + "\n"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Make or check vector files.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file differs")
    parser.add_argument("suites", nargs="*", help="all by default")
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(HERE))
    known = sorted(path.stem for path in (HERE / "generators").glob("*.py") if not path.stem.startswith("_"))
    failed = 0
    for suite in options.suites or known:
        path, generator = HERE / f"{suite}.json", importlib.import_module(f"generators.{suite}")
        if not options.check:
            path.write_text(text(generator), encoding="utf-8")
        elif getattr(generator, "RULES", False):
            continue
        elif not path.is_file() or path.read_text(encoding="utf-8") != text(generator):
            failed += 1
            print(f"{path.name} is not what generators/{suite}.py makes", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
