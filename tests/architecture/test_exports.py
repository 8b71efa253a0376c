"""What a module offers is what its `__all__` says: private first.

1. `__all__` is a literal, and each of its names exists, is public and stands there once.
2. A class or function is listed or begins with an underscore; a constant may stay unlisted if only its file uses it.
3. What another module imports is listed; a private name never crosses a file.
4. A module that defines constants alone needs no list: all of them are what it offers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "althing"


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Top-level statements, also those under a top-level `if` or `try`."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from _statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from _statements([*node.body, *node.orelse, *node.finalbody])


def _bound(node: ast.stmt) -> set[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Assign(targets=targets):
            return {leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {alias.asname or alias.name.split(".")[0] for alias in names}
    return set()


class Module:
    """A source text's definitions and its `__all__`."""

    def __init__(self, source: str) -> None:
        statements = list(_statements(ast.parse(source).body))
        self.bound = {name for node in statements for name in _bound(node)}
        self.definitions = {
            node.name
            for node in statements
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        }
        constants = {n for s in statements if isinstance(s, ast.Assign | ast.AnnAssign) for n in _bound(s)}
        self.constants = {name for name in constants if not name.startswith("_")}
        self.offered: list[str] | None = None
        for node in statements:
            if isinstance(node, ast.Assign) and _bound(node) == {"__all__"}:
                self.offered = ast.literal_eval(node.value)

    def offers(self, name: str) -> bool:
        return name in (self.constants if self.offered is None else self.offered)

    def faults(self) -> Iterator[str]:
        if self.offered is None:
            if self.definitions:
                yield "has no literal __all__"
            return
        for name in sorted(set(self.offered) - self.bound):
            yield f"__all__ names {name}, which is not defined"
        for name in sorted(self.definitions - set(self.offered)):
            yield f"{name} is public but not in __all__"
        for name in self.offered:
            if name.startswith("_"):
                yield f"__all__ names the private {name}"
        if len(set(self.offered)) != len(self.offered):
            yield "__all__ names something twice"


def _modules() -> dict[str, tuple[Path, str]]:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = (path, path.read_text(encoding="utf-8"))
    return found


def _uses(source: str) -> Iterator[tuple[str, str, int]]:
    """(module, name, line) of every `from althing… import name`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.split(".")[0] == "althing":
            for alias in node.names:
                yield node.module, alias.name, node.lineno


def test_all_is_what_is_public() -> None:
    modules = _modules()
    assert modules
    found = [
        f"{path.relative_to(SOURCE.parent)}: {fault}"
        for path, source in modules.values()
        if not path.stem.startswith("_") or path.stem == "__init__"
        for fault in Module(source).faults()
    ]
    assert not found, "\n".join(found)


def test_what_is_imported_is_offered() -> None:
    modules = _modules()
    parsed = {name: Module(source) for name, (_, source) in modules.items()}
    found = [
        f"{path.relative_to(SOURCE.parent)}:{line}: {name} is not in __all__ of {module}"
        for path, source in modules.values()
        for module, name, line in _uses(source)
        if f"{module}.{name}" not in modules and name not in {"__version__"}
        if module in parsed and not parsed[module].offers(name)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "def f(): ...",
        "__all__ = []\ndef f(): ...",
        "__all__ = ['f']",
        "__all__ = ['f', 'f']\ndef f(): ...",
        "__all__ = ['_f']\ndef _f(): ...",
        "__all__ = []\nif x:\n    class C: ...",
    ],
)
def test_a_fault_is_found(source: str) -> None:
    assert list(Module(source).faults())


@pytest.mark.parametrize(
    "source",
    [
        "LIMIT = 1",
        "__all__ = ['f']\nfrom x import y\nLIMIT: int = 1\n_z = 2\ndef f(): ...\n",
    ],
)
def test_a_right_module_passes(source: str) -> None:
    assert list(Module(source).faults()) == []


def test_what_a_module_offers() -> None:
    listed, constants = Module("__all__ = ['A']\nA = 1\nB = 2"), Module("A = 1\n_B = 2")
    assert listed.offers("A")
    assert not listed.offers("B")
    assert constants.offers("A")
    assert not constants.offers("_B")
