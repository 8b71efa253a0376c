"""Copies of the engines' stores, also while their node runs: what is copied is the store as of one moment.

LMDB gives every reader one committed state. CometBFT's LevelDB files are what a killed process would leave while its
process is held still for the moment it takes to link them; it starts from those as after any crash.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import lmdb

from althing.consensus.cometbft.paths import CometHome, lock_directory, unlock_directory
from althing.consensus.engine import EngineError

__all__ = ["copy_engine", "copy_lmdb"]

_MAP_BYTES: Final = 1 << 40  # address space: the file may grow while it is read
_IMMUTABLE: Final = (".ldb", ".sst")


def copy_lmdb(source: Path, target: Path) -> None:
    """One committed state of an LMDB folder, compacted; beside its writer, in this process or another."""
    target.mkdir(parents=True, exist_ok=True)
    try:
        with lmdb.open(str(source), readonly=True, create=False, map_size=_MAP_BYTES, max_dbs=0) as env:
            (target / "data.mdb").unlink(missing_ok=True)
            env.copy(str(target), compact=True)
    except (OSError, lmdb.Error) as error:
        raise EngineError("engine.store", f"{source} cannot be copied: {error}") from error


def copy_engine(directory: Path, target: Path) -> None:
    """What the engine of a directory has stored, keys left out, in the same layout below `target`."""
    comet = CometHome(directory)
    if not comet.config_dir.is_dir():
        if (directory / "blocks").is_dir():
            copy_lmdb(directory / "blocks", target / "blocks")
        return
    if comet.headers_dir.is_dir():
        copy_lmdb(comet.headers_dir, target / "headers")
    staged = directory / ".backup"
    shutil.rmtree(staged, ignore_errors=True)
    try:
        with _still(comet):
            for path in _files(comet.data_dir):
                place = staged / path.relative_to(comet.data_dir)
                place.parent.mkdir(parents=True, exist_ok=True)
                if path.suffix in _IMMUTABLE:
                    os.link(path, place)
                else:
                    shutil.copyfile(path, place)
        shutil.copytree(staged, target / "data", dirs_exist_ok=True)
    except OSError as error:
        raise EngineError("engine.store", f"{comet.data_dir} cannot be copied: {error}") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    shutil.copyfile(comet.path / "chain", target / "chain")


@contextmanager
def _still(comet: CometHome) -> Iterator[None]:
    """Nobody writes: the directory is ours, or the process that runs there is held."""
    try:
        handle = lock_directory(comet.path)
    except EngineError:
        pid = _running(comet)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)
        return
    try:
        yield
    finally:
        unlock_directory(handle)


def _running(comet: CometHome) -> int:
    """The process that CometBFT runs in, which must be it and not one that got its number."""
    try:
        pid = int(comet.pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError) as error:
        raise EngineError(
            "engine.locked", f"the engine in {comet.path} runs, and its process is not found", hint="stop the node"
        ) from error
    if os.fsencode(comet.path.absolute()) not in command:
        raise EngineError("engine.locked", f"the engine in {comet.path} is just starting or ending", hint="try again")
    return pid


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in ("LOCK", "inspect.log"):
            yield path
