"""Every fault point of the program is one that the fault tests know: they kill there, or the list says why not."""

from __future__ import annotations

import ast
from pathlib import Path

from althing.testing.faults import FAULTS, OTHER_FAULTS

SOURCES = Path(__file__).parents[2] / "src" / "althing"


def fault_points():
    found = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hit":
                (name,) = node.args
                assert isinstance(name, ast.Constant), f"{path}: a fault point's name is a literal"
                found.add(name.value)
    return found


def test_the_fault_tests_know_every_point():
    known = {*FAULTS["node"], *FAULTS["gateway"], *OTHER_FAULTS}
    assert len(known) > 20
    assert fault_points() - {"kv.commit", "kv.committed"} == known
