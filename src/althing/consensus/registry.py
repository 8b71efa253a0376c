"""The engines by name. A new one adds its folder, a line here, and passes tests/contracts/test_engine.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from althing.consensus.engine import Clock, Engine, EngineError, Genesis
from althing.consensus.solo import SoloEngine, SoloSettings

__all__ = ["ENGINES", "make_engine"]

Factory = Callable[[Genesis, Path, Mapping[str, Any], Clock], Engine]


def _solo(genesis: Genesis, directory: Path, settings: Mapping[str, Any], clock: Clock) -> Engine:
    try:
        chosen = SoloSettings(directory=directory, **settings)
    except TypeError as exc:
        raise EngineError("engine.settings", f"the engine solo does not know a setting: {exc}") from exc
    return SoloEngine(genesis, chosen, clock=clock)


ENGINES: Mapping[str, Factory] = {"solo": _solo}


def make_engine(
    name: str, genesis: Genesis, directory: Path, settings: Mapping[str, Any], *, clock: Clock = time.time_ns
) -> Engine:
    """An engine that keeps its data in `directory`; `settings` are those of the engine named (`SoloSettings`)."""
    factory = ENGINES.get(name)
    if factory is None:
        raise EngineError("engine.unknown", f"there is no engine {name!r}", hint=f"choose one of {', '.join(ENGINES)}")
    return factory(genesis, directory, settings, clock)
