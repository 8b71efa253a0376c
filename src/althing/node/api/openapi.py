"""Writes the API's description: python -m althing.node.api.openapi docs/reference/openapi.json"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from althing.node.api.app import build_app

__all__ = ["description"]


def description() -> str:
    """The OpenAPI 3.1 document as text, the same for the same program."""
    return json.dumps(build_app().openapi(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(description(), encoding="utf-8")
