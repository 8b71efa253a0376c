"""docs/spec/contracts.md gives each operation, number and price as the machine has them."""

from __future__ import annotations

from pathlib import Path

from althing.ledger.vm.errors import BUILTIN_ERRORS
from althing.ledger.vm.host import HOST_PRICES
from althing.ledger.vm.ir import OPERATIONS
from althing.ledger.vm.surface import BUILTINS, HOST, METHODS

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "spec" / "contracts.md").read_text(encoding="utf-8")


def test_operations() -> None:
    rows = [row for row in PAGE.splitlines() if row.startswith("| ") and len(row.split("|")[1].strip()) == 2]
    told = [row for row in rows if row.split("|")[1].strip() != "--"]
    assert told == [
        f"| {byte:02x} | {operation.name} | {operation.operands or '–'} | {operation.gas} |"
        for byte, operation in sorted(OPERATIONS.items())
    ]


def test_tables() -> None:
    for head, table in (("BUILTIN", BUILTINS), ("METHOD", METHODS), ("HOST", HOST)):
        assert f"{head}: " + ", ".join(f"{number} `{name}`" for number, (name, _, _) in enumerate(table)) + "." in PAGE
    assert ", ".join(f"`{name}` {price}" for name, price in HOST_PRICES.items()) in PAGE
    assert ", ".join(f"{number} {name}" for number, name in enumerate(BUILTIN_ERRORS)) in PAGE
