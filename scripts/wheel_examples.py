"""Puts examples/, which `althing demo` replays, into the wheel. An editable installation reads them where they are."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Examples(BuildHookInterface[Any]):
    """Called by the build backend."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            build_data["force_include"]["examples"] = "althing/apps/recorded/examples"
