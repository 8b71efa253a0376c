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


def _cometbft(genesis: Genesis, directory: Path, settings: Mapping[str, Any], _clock: Clock) -> Engine:
    try:
        # Here, because the embedded engine has to work where protobuf is not installed.
        from althing.consensus.cometbft.engine import CometEngine
        from althing.consensus.cometbft.settings import CometSettings
    except ModuleNotFoundError as exc:
        raise EngineError(
            "engine.binary", f"the distributed engine needs {exc.name}", hint="pip install 'althing[cometbft]'"
        ) from exc
    try:
        chosen = CometSettings(directory=directory, **settings)
    except TypeError as exc:
        raise EngineError("engine.settings", f"the engine cometbft does not know a setting: {exc}") from exc
    return CometEngine(genesis, chosen)


ENGINES: Mapping[str, Factory] = {"solo": _solo, "cometbft": _cometbft}


def make_engine(
    name: str, genesis: Genesis, directory: Path, settings: Mapping[str, Any], *, clock: Clock = time.time_ns
) -> Engine:
    """An engine that keeps its data in `directory`; `settings` are those of the engine named (`SoloSettings`)."""
    factory = ENGINES.get(name)
    if factory is None:
        raise EngineError("engine.unknown", f"there is no engine {name!r}", hint=f"choose one of {', '.join(ENGINES)}")
    return factory(genesis, directory, settings, clock)
