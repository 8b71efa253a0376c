"""The backends by name. Adding one: a file here, a line in `_BACKENDS`, and the contract suite run on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from althing.ledger.state.backend import Backend
from althing.protocol.errors import StateError
from althing.storage.lmdb import LmdbBackend
from althing.storage.memory import MemoryBackend

__all__ = ["BACKENDS", "open_backend"]


def _memory(path: Path | None, *, readonly: bool, durable: bool) -> Backend:
    if readonly:
        raise StateError("state.uninitialised", "a memory state exists only in the process that made it")
    return MemoryBackend()


def _lmdb(path: Path | None, *, readonly: bool, durable: bool) -> Backend:
    if path is None:
        raise StateError("state.no_path", "the lmdb backend needs a directory", hint="set the data directory")
    return LmdbBackend(path, readonly=readonly, durable=durable)


_BACKENDS: Final[Mapping[str, Callable[..., Backend]]] = {"lmdb": _lmdb, "memory": _memory}

BACKENDS: Final = tuple(sorted(_BACKENDS))


def open_backend(kind: str, path: Path | None, *, readonly: bool = False, durable: bool = True) -> Backend:
    """Open the backend of this name; `state.unknown_backend` lists the names there are."""
    factory = _BACKENDS.get(kind)
    if factory is None:
        raise StateError(
            "state.unknown_backend", f"no backend is called {kind!r}", hint=f"one of {', '.join(BACKENDS)}"
        )
    return factory(path, readonly=readonly, durable=durable)
