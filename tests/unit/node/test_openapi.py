"""The API's description: current in the repository, whole, and with one form of errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from althing.node.api.openapi import description

FILE = "docs/reference/openapi.json"


def test_the_description_in_the_repository_is_current(root: Path) -> None:
    stored = (root / FILE).read_text(encoding="utf-8")
    assert stored == description(), f"run: .venv/bin/python -m althing.node.api.openapi {FILE}"


def _references(item: Any) -> Iterator[str]:
    if isinstance(item, dict):
        if isinstance(item.get("$ref"), str):
            yield item["$ref"]
        for child in item.values():
            yield from _references(child)
    elif isinstance(item, list):
        for child in item:
            yield from _references(child)


def test_every_reference_leads_somewhere() -> None:
    document = json.loads(description())
    names = set(_references(document))
    assert len(names) > 20
    for name in names:
        assert name.removeprefix("#/components/schemas/") in document["components"]["schemas"], name


def test_every_operation_is_described_and_bounded() -> None:
    document = json.loads(description())
    assert document["openapi"].startswith("3.1")
    names = []
    for path, operations in document["paths"].items():
        for operation in operations.values():
            names.append(operation["operationId"])
            assert operation["description"], path
            assert operation["responses"]["200"]["content"], path
            if path.startswith("/v1/"):
                for status in ("400", "404", "503"):
                    assert "application/problem+json" in operation["responses"][status]["content"], path
            assert "422" not in operation["responses"]
            for parameter in operation.get("parameters", ()):
                assert _bounded(parameter["schema"]), (path, parameter["name"])
    assert len(set(names)) == len(names)


def _bounded(schema: dict[str, Any]) -> bool:
    for form in schema.get("anyOf", [schema]):
        if form["type"] == "string" and not ({"maxLength", "enum", "pattern", "const"} & form.keys()):
            return False
        if form["type"] == "integer" and not (
            {"maximum", "exclusiveMaximum"} & form.keys() and {"minimum", "exclusiveMinimum"} & form.keys()
        ):
            return False
    return True
