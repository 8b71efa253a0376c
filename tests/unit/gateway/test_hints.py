"""Hints of refusals are those of the documents."""

from __future__ import annotations

from pathlib import Path

from althing.gateway.ingest.hints import HINTS, explained


def test_hints_are_those_of_the_documents(root: Path) -> None:
    rows = {}
    for line in (root / "docs/reference/errors.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3:
            rows[cells[0].strip("`")] = cells[2]
    assert {code: rows.get(code) for code in HINTS} == HINTS


def test_a_code_without_a_hint_stands_alone() -> None:
    assert explained("message.unsigned", "it is not signed") == "message.unsigned: it is not signed; sign it"
    assert explained("mqtt.quota_exceeded", "no room") == "mqtt.quota_exceeded: no room"
