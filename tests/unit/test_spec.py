"""The specification agrees with the source: fields of records, message types, state keys, events, examples, links."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from althing.ledger.modules.assets import state as assets_state
from althing.ledger.modules.devices.state import DEVICES
from althing.ledger.modules.governance import state as governance_state
from althing.ledger.modules.identity import state as identity_state
from althing.ledger.modules.staking import state as staking_state
from althing.ledger.modules.streams import state as streams_state
from althing.ledger.runtime import headers, replay
from althing.ledger.runtime.overlay import Table
from althing.protocol.batch import Leaf
from althing.protocol.catalog import MESSAGE_TYPES
from althing.protocol.messages import assets, devices, governance, identity, proposals, staking, streams
from althing.protocol.proof import HeaderHistory, Proof, SignedHeaderPart
from althing.protocol.receipt import Receipt
from althing.protocol.record import Record

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "docs" / "spec"
PAGES = sorted(SPEC.glob("*.md"))
MODULES = (
    assets,
    assets_state,
    governance,
    proposals,
    identity,
    devices,
    streams,
    governance_state,
    identity_state,
    streams_state,
    staking,
    staking_state,
    headers,
    replay,
)

# Pages whose examples come from golden vectors, all of them.
WITH_EXAMPLES = ("addresses", "batches", "cose", "encoding", "genesis", "proof", "signatures", "transactions")


def _page(name: str) -> str:
    return (SPEC / f"{name}.md").read_text(encoding="utf-8")


def _classes() -> dict[str, type[Record]]:
    found: dict[str, type[Record]] = {}
    for module in MODULES:
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, Record) and value is not Record:
                found[name] = value
    return found


def _names(cls: type) -> list[str]:
    return [field.name for field in fields(cls)]


def _sections(page: str) -> dict[str, list[str]]:
    """Names in the first column of the table under each heading ### `name`."""
    sections: dict[str, list[str]] = {}
    for part in re.split(r"^### ", page, flags=re.MULTILINE)[1:]:
        heading = re.match(r"`([^`]+)`\n", part)
        if heading is not None:
            body = part.split("\n#", 1)[0]
            sections[heading[1]] = re.findall(r"^\| `([a-z_]+)` \|", body, flags=re.MULTILINE)
    return sections


def test_every_message_and_record_has_its_fields_in_order() -> None:
    sections, classes = _sections(_page("messages")), _classes()
    for name, names in sections.items():
        cls = MESSAGE_TYPES.get(name) or classes[name]
        assert names == _names(cls), name
    assert MESSAGE_TYPES.keys() <= sections.keys()
    # Records of genesis are in genesis.md, rows in batches.md; all others are here.
    elsewhere = {
        "Genesis",
        "GenesisAllocation",
        "GenesisNode",
        "GenesisValidator",
        "Parameters",
        "PrivateChain",
        "PublicChain",
        "StakingParameters",
        "AnchorRow",
    }
    messages = {cls.__name__ for cls in MESSAGE_TYPES.values()}
    assert set(classes) - messages - elsewhere <= sections.keys()


@pytest.mark.parametrize(
    ("page", "heading", "cls"),
    [
        ("proof", "**Proof** (17 fields)", Proof),
        ("proof", "**SignedHeader** (3 fields)", SignedHeaderPart),
        ("proof", "**HeaderHistory** (7 fields)", HeaderHistory),
        ("proof", "### 4.4 Leaf", Leaf),
        ("proof", "**AnchorRow** (10 fields)", streams.AnchorRow),
        ("proof", "**StreamDefinition** (10 fields)", streams.StreamDefinition),
        ("proof", "**Account** (8 fields)", identity.Account),
        ("batches", "## 1. Leaf", Leaf),
        ("batches", "## 5. Anchor row", streams.AnchorRow),
        ("genesis", "**Genesis** (11 fields;", governance.Genesis),
        ("genesis", "**PublicChain** (7 fields)", staking.PublicChain),
        ("genesis", "**StakingParameters** (12 fields;", staking.StakingParameters),
        ("genesis", "**Parameters** (7 fields;", governance.Parameters),
        ("transactions", "**Receipt** (5 fields)", Receipt),
    ],
)
def test_numbered_tables_have_the_fields_in_order(page: str, heading: str, cls: type) -> None:
    text = _page(page)
    assert text.count(heading) == 1
    table = re.search(r"((?:^\|.*\n)+)", text[text.index(heading) :], flags=re.MULTILINE)
    assert table is not None
    rows = re.findall(r"^\| (\d+) \| `([a-z_]+)` \|", table[1], flags=re.MULTILINE)
    assert rows == [(str(number), name) for number, name in enumerate(_names(cls))]


def test_every_state_key_is_listed() -> None:
    tables = [value for module in MODULES for value in vars(module).values() if isinstance(value, Table)]
    prefixes = {table.prefix.decode() for table in (*tables, DEVICES)}
    assert len(prefixes) >= 20
    page = _page("messages")
    assert prefixes == set(
        re.findall(
            r"^\| `((?:governance|identity|devices|streams|assets|staking|runtime)/[a-z_]+/?)`", page, re.MULTILINE
        )
    )


def test_every_event_is_listed() -> None:
    emitted = set()
    for path in (ROOT / "src" / "althing" / "ledger" / "modules").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "emit":
                first = node.args[0]
                assert isinstance(first, ast.Constant)
                emitted.add(first.value)
    table = _page("messages").split("## 9. Events", 1)[1]
    assert emitted == set(re.findall(r"^\| `([a-z_.]+)` \|", table, flags=re.MULTILINE))


@cache
def _vectors() -> str:
    files = sorted((ROOT / "tests" / "vectors").glob("*.json"))
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@pytest.mark.parametrize("page", WITH_EXAMPLES)
def test_examples_are_in_golden_vectors(page: str) -> None:
    """Each run of hexadecimal digits, as far as it stands on one line; heads of CBOR may stand apart from content."""
    runs = re.findall(r"(?<![0-9a-zA-Z_])[0-9a-f]{24,}(?![0-9a-zA-Z_])", _page(page))
    assert runs, "a page without an example"
    strange = [run for run in runs if run not in _vectors() and not run.isdecimal()]
    assert not strange


@pytest.mark.parametrize("path", PAGES, ids=[path.stem for path in PAGES])
def test_links_and_vector_files_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (path.parent / target).resolve().exists(), target
    for name in re.findall(r"`(tests/[\w/.*-]+)`", text):
        assert any(ROOT.glob(name)), name


def test_index_lists_every_page() -> None:
    index = _page("README")
    assert {path.name for path in PAGES} - {"README.md"} == set(
        re.findall(r"^\| \[([a-z-]+\.md)\]", index, re.MULTILINE)
    )
