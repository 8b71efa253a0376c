"""What is refused is refused at its place, with a reason and what to write instead."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.ledger.vm.errors import LanguageError
from althing.ledger.vm.language.compiler import compile_source
from althing.ledger.vm.language.parser import parse

from .conftest import HEAD, contract, method

# (body of a method, part of the reason, part of what to write instead); the body's lines begin at line 5.
REFUSED = [
    ("return 1.5", "floating-point", 'Decimal("1.5")'),
    ("return .5", "floating-point", "Decimal"),
    ("return 1e3", "floating-point", "Decimal"),
    ("return {1, 2}", "no sets", "list"),
    ("return lambda: 1", "'lambda' is not part", "function"),
    ("yield 1", "'yield' is not part", "list"),
    ("import os", "'import' is not part", "from althing.contract import"),
    ("x = 1; y = 2", "one statement a line", "line of its own"),
    ("x = y = 1", "one target", "two lines"),
    ("return sum(i for i in [1])", "generator", "[ ]"),
    ("return f'{1:>5}'", "format specifications", "round()"),
    ("return f'{1!r}'", "conversions", "str"),
    ("return [1, 2, 3][::2]", "no step", "comprehension"),
    ("return (1).__class__", "behind the language", "methods"),
    ("return print(1)", "print is not part", "event"),
    ("return isinstance(1, int)", "isinstance is not part", "None"),
    ("return float('1')", "float is not part", "Decimal"),
    ("return unknown", "not defined", ""),
    ("if 1:\n    x = 1\nreturn x", "x may have no value", "before the branch"),
    ("for i in [1]:\n    pass\nreturn i", "i may have no value", "before the branch"),
    ("try:\n    x = 1\nexcept Exception:\n    pass\nreturn x", "x may have no value", "value"),
    ("return self", "self is not a value", "self.name"),
    ("return self.nothing", "no state field nothing", "Declare"),
    ("return self.rows", "is a Map", "get(key"),
    ("for k in self.rows:\n    pass", "larger than a call can read", "keys("),
    ("return len(self.rows)", "how many keys", "Count"),
    ("while True:\n    pass\nelse:\n    pass", "loops have no else", "variable"),
    ("match x:\n    case 1:\n        pass", "no match statement", "elif"),
    ("def inner():\n    pass", "do not nest", "top of the file"),
    ("try:\n    pass\nexcept:\n    pass", "names what it catches", "except Exception"),
    ("raise 5", "raise takes an error", "Refused"),
    ("raise Unknown('x')", "is no error", "Errors:"),
    ("raise", "stands in a handler", "raise Refused"),
    ("break", "outside of a loop", ""),
    ("try:\n    pass\nfinally:\n    return 1", "finally does not return", "after"),
    ("list = 5", "would hide something", "another name"),
    ("return caller", "is called, not named", "caller(…)"),
    ("return sha256(b'x')", "sha256 is not imported", "from althing.contract import sha256"),
    ("return 'a' 'b' b'c'", "bytes and text", ""),
    ("return '\\N{DASH}'", "escape", ""),
    ("return 1 is 1", "only None", "=="),
    ("return [*[1], 2]", "no unpacking", "index"),
    ("return max(*[1])", "one by one", "list"),
    ("x: int\nreturn 1", "declaration without a value", "x = "),
    ("return " + "(" * 30 + "1" + ")" * 30, "nested too deep", ""),
    ("return " + " + ".join("1" for _ in range(100)), "too long", "line before"),
    ("return " + "-" * 3000 + "1", "nested deeper", ""),
    ("return 'open", "never closed", ""),
    ("return (1", "never closed", ""),
    ("return 2 ** 256 if 1 else " + str(2**300), "256 bits", ""),
    ("return 1 if 2", "'else' is expected", ""),
    ("\tx = 1", "U+0009", "spaces"),
    ("é = 1", "not allowed", "ASCII"),
    ("return `1`", "not allowed", ""),
]


@pytest.mark.parametrize(("body", "reason", "instead"), REFUSED, ids=[body[:40] for body, _, _ in REFUSED])
def test_what_is_refused_says_why_where_and_what_instead(body: str, reason: str, instead: str) -> None:
    source = method(body, returns="int").replace(
        "class C(Contract):\n", "class C(Contract):\n    rows: Map[str, int]\n"
    )
    with pytest.raises(LanguageError) as refused:
        compile_source(source)
    assert reason in refused.value.reason
    assert instead in refused.value.instead
    assert refused.value.line >= 6
    assert refused.value.column >= 1


def test_the_place_is_exact() -> None:
    with pytest.raises(LanguageError) as refused:
        compile_source(method("x = 1\nreturn x + unknown"))
    source = method("x = 1\nreturn x + unknown").splitlines()
    assert source[refused.value.line - 1][refused.value.column - 1 :].startswith("unknown")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "no contract"),
        (HEAD + "class A(Contract):\n    pass\nclass B(Contract):\n    pass\n", "one contract"),
        ("from os import path\n", "only althing.contract"),
        (HEAD + "class A(Contract):\n    x: float\n", "no type"),
        (HEAD + "class A(Contract):\n    x: Map[list[int], int]\n", "key"),
        (HEAD + "class A(Contract):\n    @call\n    def f(self, x) -> int:\n        return 1\n", "states its types"),
        (HEAD + "class A(Contract):\n    @other\n    def f(self) -> int:\n        return 1\n", "no decorator"),
        (HEAD + "class A(Contract):\n    def f() -> int:\n        return 1\n", "first parameter is self"),
        (HEAD + "class A(Contract):\n    def f(self, x: int = 1, y: int) -> int:\n        return 1\n", "default"),
        (HEAD + "class A(Contract):\n    x: int = 5\n", "first value in init"),
        ("class A(Contract):\n    pass\n", "not imported"),
        (HEAD + "class A(Contract):\n    pass\nprint(1)\n", "inside functions"),
    ],
)
def test_sources_are_refused_as_a_whole(source: str, reason: str) -> None:
    with pytest.raises(LanguageError, match="line") as refused:
        compile_source(source)
    assert reason in refused.value.reason


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parse(text)
    except LanguageError:
        pass


PIECES = ("x", "1", "'a'", "f'{x}'", "+", "-", "**", "(", ")", "[", "]", "{", "}", ":", ",", ".", "=", "==", "<", "not")
PIECES += ("in", "is", "and", "or", "if", "else", "for")


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_what_the_parser_takes_python_takes(pieces: list[str]) -> None:
    """An expression that we parse is one in Python, with the same shape: no source has two meanings."""
    text = " ".join(pieces)
    try:
        module = parse(f"X = {text}\n")
    except LanguageError:
        return
    if len(module.constants) == 1:
        ast.parse(f"X = {text}\n")


def test_one_source_has_one_code() -> None:
    source = method("return str([i for i in range(3)])")
    assert compile_source(source).data == compile_source(source).data
    assert compile_source(source).data == compile_source("\n" + source + "# a comment\n").data


def test_records_have_fields_defaults_and_equality() -> None:
    record = "class Row(Record):\n    name: str\n    count: int = 2\n"
    body = "a = Row('x')\nb = Row(name='x', count=2)\nb.count += 1\nreturn f'{a.count} {b.count} {a == b} {a}'"
    assert contract(method(body, before=record)).call("run") == "2 3 False Row(name=x, count=2)".replace("x,", "'x',")
