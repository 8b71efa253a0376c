"""docs/reference/errors.md names every code that the source can raise, and no code that it cannot."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from althing.light.verifier import STEPS
from althing.protocol.refusals import MEANINGS

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "althing"
PAGE = ROOT / "docs" / "reference" / "errors.md"

CODE = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
# What makes a failure of a code: error classes, and the functions and verdicts that stand before them.
MAKERS = re.compile(
    r"Error$|^Refused|^_?refuse|^_problem$|^problem_response$|^_error$|^Verdict$|^_repeated$|^_give_up$"
)
# Codes that are put together: of MQTT's reasons, and of the verifier's steps.
FAMILIES = re.compile(r"mqtt\.[a-z_]+|proof\.(form|chain|batch|log|stream|key_record|origin|header|trust)")


@cache
def _trees() -> tuple[ast.Module, ...]:
    # Fakes of tests make codes of their own.
    # The table of meanings names codes, and raises none.
    files = sorted(
        path
        for path in SOURCE.rglob("*.py")
        if "testing" not in path.relative_to(SOURCE).parts and path != SOURCE / "protocol" / "refusals.py"
    )
    return tuple(ast.parse(path.read_text(encoding="utf-8")) for path in files)


def _texts(node: ast.AST) -> set[str]:
    texts = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return {text for text in texts if CODE.fullmatch(text)}


def _raised() -> set[str]:
    """Codes that are handed to something that makes a failure."""
    codes = set()
    for tree in _trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            inherited = name == "__init__" and isinstance(function, ast.Attribute)
            if MAKERS.search(name) or inherited:
                codes |= {
                    a.value
                    for a in node.args[:2]
                    if isinstance(a, ast.Constant) and isinstance(a.value, str) and CODE.fullmatch(a.value)
                }
    return codes


def _documented() -> set[str]:
    codes: set[str] = set()
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            codes |= set(re.findall(rf"`({CODE.pattern})`", line.split("|")[1]))
    return codes


def test_every_code_is_documented() -> None:
    missing = sorted(code for code in _raised() - _documented() if not FAMILIES.fullmatch(code))
    assert not missing, f"docs/reference/errors.md says nothing of {missing}"


def test_every_documented_code_exists() -> None:
    known = set().union(*(_texts(tree) for tree in _trees()))
    gone = sorted(code for code in _documented() if code not in known and not FAMILIES.fullmatch(code))
    assert not gone, f"docs/reference/errors.md has codes that the source does not: {gone}"


def test_every_step_of_a_proof_is_documented() -> None:
    assert {f"proof.{step.replace(' ', '_')}" for step in STEPS} <= _documented()


def _rows() -> dict[str, tuple[str, str]]:
    """Meaning and advice of each code that has a row of its own."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]
    return {code[1:-1]: (meaning, advice) for code, meaning, advice in cells}


def test_the_page_says_of_receipts_what_the_program_says() -> None:
    rows = _rows()
    for code, meaning in MEANINGS.items():
        assert rows.get(code) == (meaning.sentence, meaning.hint), code


def test_every_code_of_transactions_has_a_sentence() -> None:
    _, _, after = PAGE.read_text(encoding="utf-8").partition("## Transactions: refused before they run")
    section, _, _ = after.partition("## Proofs and headers")
    documented = set(re.findall(rf"^\| `({CODE.pattern})`", section, re.MULTILINE))
    assert len(documented) > 50
    assert documented <= MEANINGS.keys(), f"althing.protocol.refusals lacks {sorted(documented - MEANINGS.keys())}"


def test_the_search_finds_what_it_should() -> None:
    raised = _raised()
    assert {
        "cbor.malformed",
        "tx.replayed",
        "trust.form",
        "payload.senml_name",
        "tx.out_of_gas",
        "message.key",
    } <= raised
    assert not raised & {"streams.anchored", "streams.anchor", "genesis.cbor"}
    assert len(_documented()) > 200
