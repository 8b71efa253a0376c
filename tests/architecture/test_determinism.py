"""The core computes the same on every machine: what could differ is found in its syntax and refused.

Over `protocol/`, `ledger/` and `light/`, each node must come to the same bytes, so these are refused:
1. modules that bring time, randomness, the machine or I/O in, and calls such as `datetime.now()`;
2. floating point: literals, `float(…)`, true division, `math` beyond integers;
3. the order of a set, wherever it could reach a result; `hash(…)` and `id(…)`, which differ between processes;
4. `open`, `print`, `input`, `eval`, `exec`; the decimal module's ambient context;
5. broad `except`, which would turn a bug into a different receipt on one node.

A line that is right all the same carries `# determinism: <reason>`. A comment that allows nothing fails too.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "althing"
PACKAGES = ("protocol", "ledger", "light")

BANNED_MODULES = frozenset(
    {"asyncio", "io", "locale", "logging", "multiprocessing", "os", "pathlib", "platform", "random", "secrets"}
    | {"select", "shutil", "signal", "socket", "ssl", "subprocess", "tempfile", "time", "uuid", "warnings", "zoneinfo"}
)
BANNED_CALLS = frozenset({"open", "print", "input", "eval", "exec", "hash", "id", "float"})
BANNED_METHODS = {
    "datetime": {"now", "today", "utcnow", "fromtimestamp"},
    "date": {"today", "fromtimestamp"},
    "decimal": {"getcontext", "setcontext", "localcontext"},
}
INTEGER_MATH = frozenset({"gcd", "lcm", "isqrt", "comb", "perm", "prod", "factorial"})
BROAD = frozenset({"Exception", "BaseException"})

# These give the same result for every order of what they are given.
ORDER_FREE = frozenset({"sorted", "set", "frozenset", "len", "min", "max", "sum", "any", "all", "isinstance", "bool"})
# These hand the order on.
ORDER_KEPT = frozenset({"list", "tuple", "enumerate", "iter", "map", "filter", "zip", "reversed", "dict", "bytes"})
ORDER_KEPT_METHODS = frozenset({"join", "extend", "fromkeys", "from_iterable", "writelines"})
SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference"})
SET_TYPES = frozenset({"set", "frozenset", "Set", "AbstractSet", "MutableSet"})

ALLOWED = re.compile(r"#\s*determinism:\s*(?P<reason>\S.{7,})")

Finding = tuple[int, str]


class _Sets(ast.NodeVisitor):
    """Names and `self` attributes of a file that are bound to a set somewhere in it."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_Assign(self, node: ast.Assign) -> None:
        if is_set(node.value, self.names):
            self.names.update(filter(None, map(_name, node.targets)))
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotated(_name(node.target), node.annotation)
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        if node.annotation is not None:
            self._annotated(node.arg, node.annotation)

    def _annotated(self, name: str | None, annotation: ast.expr) -> None:
        outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
        if name is not None and _name(outer) in SET_TYPES:
            self.names.add(name)


def _name(node: ast.AST) -> str | None:
    """`x` for x, `x` for self.x and y.x: within one file, one name has one meaning or deserves another one."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else None


def is_set(node: ast.expr, names: set[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Call(func=ast.Attribute(attr=attribute, value=value)) if attribute in SET_METHODS:
            return is_set(value, names)
        case ast.BinOp(op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), left=left, right=right):
            return is_set(left, names) or is_set(right, names)
        case ast.IfExp(body=body, orelse=orelse):
            return is_set(body, names) or is_set(orelse, names)
        case ast.Name() | ast.Attribute():
            return _name(node) in names
    return False


class _Finder(ast.NodeVisitor):
    def __init__(self, sets: set[str]) -> None:
        self.sets = sets
        self.found: list[Finding] = []
        self._order_free: set[ast.AST] = set()

    def _add(self, node: ast.AST, text: str) -> None:
        self.found.append((getattr(node, "lineno", 0), text))

    def _refuse_order(self, node: ast.expr) -> None:
        if is_set(node, self.sets):
            self._add(node, "the order of a set reaches a result: use sorted(…)")

    # 1. modules and clocks

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._module(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        self._module(node, module)
        for alias in node.names:
            if module == "math" and alias.name not in INTEGER_MATH:
                self._add(node, f"math.{alias.name} works in floating point")
            if alias.name in BANNED_METHODS.get(module, ()):
                self._add(node, f"{module}.{alias.name} depends on the machine")

    def _module(self, node: ast.AST, name: str) -> None:
        if name.split(".")[0] in BANNED_MODULES:
            self._add(node, f"module {name} brings in time, randomness, the machine or I/O")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        owner = _name(node.value)
        if owner == "math" and node.attr not in INTEGER_MATH:
            self._add(node, f"math.{node.attr} works in floating point")
        if node.attr in BANNED_METHODS.get(owner or "", ()):
            self._add(node, f"{owner}.{node.attr} depends on the machine")
        self.generic_visit(node)

    # 2. floating point

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, float | complex):
            self._add(node, "a floating-point literal")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Div):
            self._add(node, "true division makes a float: use //")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.op, ast.Div):
            self._add(node, "true division makes a float: use //=")
        self.generic_visit(node)

    # 3. sets, 4. calls

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name):
            name = node.func.id
            if name in BANNED_CALLS:
                self._add(node, f"{name}(…) differs between machines, processes or processors, or does I/O")
            if name in ORDER_FREE:
                self._order_free.update(node.args)
            elif name in ORDER_KEPT:
                for argument in node.args:
                    self._refuse_order(argument)
        elif isinstance(node.func, ast.Attribute):
            if node.func.attr in ORDER_KEPT_METHODS:
                for argument in node.args:
                    self._refuse_order(argument)
            if node.func.attr == "pop" and not node.args and is_set(node.func.value, self.sets):
                self._add(node, "which element a set gives up is not determined")
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._refuse_order(node.iter)
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        self._refuse_order(node.value)
        self.generic_visit(node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        self._refuse_order(node.value)
        self.generic_visit(node)

    def _comprehension(self, node: ast.ListComp | ast.DictComp | ast.GeneratorExp) -> None:
        if node not in self._order_free:
            for generator in node.generators:
                self._refuse_order(generator.iter)
        self.generic_visit(node)

    visit_ListComp = _comprehension
    visit_DictComp = _comprehension
    visit_GeneratorExp = _comprehension

    # 5. broad except

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        if any(kind is None or _name(kind) in BROAD for kind in kinds):
            self._add(node, "a broad except hides bugs: name what is expected")
        self.generic_visit(node)


def find(source: str) -> list[Finding]:
    """What is refused in a source text, with its line; unused allowances are refused as well."""
    tree = ast.parse(source)
    sets = _Sets()
    sets.visit(tree)
    sets.visit(tree)  # a name may be bound from one that is bound further down
    finder = _Finder(sets.names)
    finder.visit(tree)
    allowed = set(_allowances(source))
    found = sorted(set(finder.found))
    left = [finding for finding in found if finding[0] not in allowed]
    unused = allowed - {line for line, _ in found}
    return left + [(line, "'# determinism:' allows nothing here") for line in sorted(unused)]


def _allowances(source: str) -> Iterator[int]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and ALLOWED.match(token.string):
            yield token.start[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_core_is_deterministic(package: str) -> None:
    files = sorted((SOURCE / package).rglob("*.py"))
    assert files
    findings = [
        f"{path.relative_to(SOURCE.parent)}:{line}: {text}"
        for path in files
        for line, text in find(path.read_text(encoding="utf-8"))
    ]
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "from os import urandom",
        "from random import randint",
        "import zoneinfo",
        "import logging",
        "import locale",
        "from datetime import datetime\nx = datetime.now()",
        "import datetime\nx = datetime.datetime.utcnow()",
        "import decimal\ndecimal.getcontext().prec = 9",
        "x = 1.5",
        "x = float(y)",
        "x = a / b",
        "x /= 2",
        "import math\nx = math.sqrt(2)",
        "from math import floor",
        "x = open('f')",
        "x = hash(y)",
        "x = id(y)",
        "print(1)",
        "for x in {1, 2}: pass",
        "for x in set(y): pass",
        "for x in frozenset(y) | z: pass",
        "x = [a for a in {1, 2}]",
        "x = {a: 1 for a in set(y)}",
        "x = list({1, 2})",
        "x = b''.join({b'a'})",
        "x = [*{1, 2}]",
        "def f():\n    yield from set(y)",
        "s = set()\nfor x in s: pass",
        "def f(s: frozenset[int]) -> list[int]:\n    return [x for x in s]",
        "class C:\n    def __init__(self): self.s: set[int] = set()\n    def f(self): return tuple(self.s)",
        "s = {1}\nx = s.pop()",
        "s = {1}\nx = tuple(s.union(y))",
        "try: pass\nexcept: pass",
        "try: pass\nexcept Exception: pass",
        "try: pass\nexcept (ValueError, BaseException): pass",
        "x = 1  # determinism: allows nothing here",
        "x = a / b  # determinism: short",
    ],
)
def test_is_found(source: str) -> None:
    assert find(source)


@pytest.mark.parametrize(
    "source",
    [
        "x = a // b",
        "x = sorted({1, 2})",
        "for x in sorted(set(y)): pass",
        "x = len({1, 2}) + sum(a for a in {1, 2})",
        "x = all(a for a in set(y))",
        "x = a in {1, 2}",
        "x = {a for a in {1, 2}}",
        "from math import isqrt",
        "from datetime import datetime\nx = datetime.fromisoformat(y)",
        "d = {1: 2}\nfor x in d: pass\ny = d.pop(1)",
        "try: pass\nexcept ValueError: pass",
        "x = a / b  # determinism: a path is joined here, not a number divided",
        "s = '# determinism: not a comment at all'",
    ],
)
def test_is_accepted(source: str) -> None:
    assert find(source) == []
