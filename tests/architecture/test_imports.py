"""Imports point down: the contracts of `.importlinter`, and what they cannot say."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "althing"
CONTRACTS = ROOT / ".importlinter"

# Where an engine is given its application, and where the files of a stopped node are read without one.
# The harness of `testing` is built of both as well.
MEETING_PLACES = ("althing.node.daemon", "althing.node.offline", "althing.node.rollback", "althing.node.carrying")

# The port is data and protocols: what turns its calls into the ledger's must see both, and stands in `node`.
PORT = ("althing.consensus.abci", "althing.consensus.engine")


def _packages() -> set[str]:
    return {path.parent.name for path in SOURCE.glob("*/__init__.py")}


def _imported(path: Path) -> set[str]:
    """Absolute names of what a file imports; relative imports are refused elsewhere in this file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def _module(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _lint(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_contracts_hold() -> None:
    done = _lint("--config", str(CONTRACTS))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("importer", "imported", "contract"),
    [
        ("protocol", "light", "layers"),
        ("node", "gateway", "layers"),
        ("baas", "console", "layers"),
        ("invented", "protocol", "layers"),
        ("consensus", "ledger.app", "consensus"),
        ("storage", "ledger.app", "storage"),
        ("storage", "service", "storage"),
        ("gateway", "ledger.app", "client-side"),
        ("client", "ledger.state.backend", "client-side"),
        ("ledger.modules.one", "ledger.modules.two", "modules"),
    ],
)
def test_contracts_can_fail(tmp_path: Path, importer: str, imported: str, contract: str) -> None:
    """Each contract is run on an empty tree of the same shape with one forbidden import in it."""
    tree = tmp_path / "althing"
    empty = [*_packages(), "ledger/app", "ledger/state/backend", "ledger/modules/one", "ledger/modules/two"]
    for package in [*empty, importer.replace(".", "/"), imported.replace(".", "/")]:
        (tree / package).mkdir(parents=True, exist_ok=True)
    for folder in [tree, *(path for path in tree.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").touch()
    (tmp_path / ".importlinter").write_text(CONTRACTS.read_text(encoding="utf-8"))
    (tree / importer.replace(".", "/") / "__init__.py").write_text(f"import althing.{imported}\n")
    run = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as f; f()"
    command = [sys.executable, "-c", run, "--no-logo", "--no-cache", "--contract", contract]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "0 kept, 1 broken" in done.stdout


def test_every_package_of_the_client_side_is_named() -> None:
    """`baas` comes under the contract on the day it appears."""
    parser = configparser.ConfigParser()
    parser.read(CONTRACTS, encoding="utf-8")
    named = parser["importlinter:contract:client-side"]["source_modules"].split()
    client_side = _packages() - {"protocol", "light", "ledger", "storage", "consensus", "node", "cli", "testing"}
    assert sorted(named) == sorted(f"althing.{package}" for package in client_side)


def test_engine_and_ledger_meet_in_the_daemon_only() -> None:
    for path in SOURCE.rglob("*.py"):
        module, imported = _module(path), _imported(path)
        sees_ledger = any(name.startswith("althing.ledger.") for name in imported)
        of_consensus = {name for name in imported if name.startswith("althing.consensus.")}
        engines = {name for name in of_consensus if not name.startswith(PORT)}
        if sees_ledger and not module.startswith("althing.testing."):
            assert not engines or module in MEETING_PLACES, f"{module} sees the ledger and {sorted(engines)}"
            assert not of_consensus or module.startswith("althing.node."), f"{module} sees the ledger and its engine"


def test_imports_are_absolute() -> None:
    relative = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative, "relative imports hide which way they point: " + ", ".join(relative)


def test_no_catch_all_packages() -> None:
    vague = {"utils", "util", "common", "core", "helpers", "helper", "lib", "misc"}
    found = [str(path.relative_to(ROOT)) for path in SOURCE.rglob("*") if path.stem in vague]
    assert not found, f"one idea per file, named after it: {found}"


def test_protocol_light_and_ledger_need_few_packages() -> None:
    """What a stranger's verifier must install; the golden vectors run on other Pythons with just these."""
    allowed = sys.stdlib_module_names | {"althing", "cbor2", "nacl", "cryptography"}
    foreign = {
        f"{path.relative_to(ROOT)}: {name}"
        for package in ("protocol", "light", "ledger")
        for path in (SOURCE / package).rglob("*.py")
        for name in _imported(path)
        if name.split(".")[0] not in allowed
    }
    assert not foreign
