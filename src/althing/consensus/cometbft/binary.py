"""Finding the CometBFT program: the one configured, else the packaged one, else the one this checkout built."""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from althing.consensus.engine import EngineError

__all__ = ["ENVIRONMENT", "PINNED_VERSION", "EngineBinary", "describe_binary", "find_binary"]

PINNED_VERSION: Final = "0.39.4"  # engine/go.mod's, which a test compares; the protobuf modules are made from it
ENVIRONMENT: Final = "ALTHING_ENGINE"
_PACKAGE: Final = "althing_engine"  # the platform wheel; `binary()` names its program
_NAME: Final = "cometbft"
_VERSION_S: Final = 20


@dataclass(frozen=True, slots=True)
class EngineBinary:
    """A program found: where, which version it says it is, and the hash of its bytes."""

    path: Path
    version: str
    sha256: str


def find_binary(configured: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """The program to run, or EngineError `engine.binary`.

    1. The path configured; 2. the variable ALTHING_ENGINE: whoever names one gets that one or an error;
    3. the package `althing-engine`; 4. what `make setup-engine` built into the environment.
    """
    named = configured or _from(os.environ if environ is None else environ)  # 1, 2
    if named is not None:
        return _executable(named)
    packaged = _packaged()  # 3
    if packaged is not None:
        return _executable(packaged)
    built = Path(sys.prefix) / "engine" / _NAME  # 4
    if built.is_file():
        return _executable(built)
    raise EngineError(
        "engine.binary",
        "CometBFT, the distributed engine, is not installed",
        hint=f"pip install 'althing[cometbft]', or in a clone: make setup-engine, or name one in {ENVIRONMENT}; "
        "the embedded engine (solo) needs nothing",
    )


def describe_binary(path: Path) -> EngineBinary:
    """Run `cometbft version` and hash the file; EngineError `engine.binary` when it does not run."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        said = subprocess.run([path, "version"], capture_output=True, text=True, timeout=_VERSION_S, check=False)  # noqa: S603 -- the operator's program
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(
            "engine.binary", f"{path} does not run: {error}", hint="build it again for this machine"
        ) from error
    version = said.stdout.strip()
    if said.returncode or not version or len(version) > 80 or not version.isprintable():
        raise EngineError("engine.binary", f"{path} does not answer like CometBFT", hint="name CometBFT's own program")
    return EngineBinary(path, version, digest)


def _from(environ: Mapping[str, str]) -> Path | None:
    value = environ.get(ENVIRONMENT, "")
    return Path(value) if value else None


def _packaged() -> Path | None:
    try:
        package = importlib.import_module(_PACKAGE)
    except ModuleNotFoundError:
        return None
    return Path(package.binary())


def _executable(path: Path) -> Path:
    if not os.access(path, os.X_OK) or not path.is_file():
        raise EngineError(
            "engine.binary", f"{path} is not a program that can be run", hint="check path and permissions"
        )
    return path.absolute()
