"""Tags the wheel with the platform its programs were built for, which scripts/make_wheels.py has written beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PlatformTag(BuildHookInterface[Any]):
    """Any Python 3, no interface of it, one platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{(Path(self.root) / 'platform.txt').read_text().strip()}"
