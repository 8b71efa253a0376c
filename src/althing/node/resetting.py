"""Taking a stopped node's data away so that it joins its chain anew; keys and what its validator signed stay."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from althing.consensus.cometbft.paths import CometHome, lock_directory, unlock_directory
from althing.node.home import Home, HomeError
from althing.service.durable import sync_folder
from althing.storage.registry import open_backend

__all__ = ["reset_home"]

_SET_ASIDE: Final = "before-reset"
_TRIES_MAX: Final = 1_000


def reset_home(home: Home) -> Path:
    """Move state, blocks, headers, index and snapshots into a folder of their own, and return it. Nothing is deleted.

    HomeError `home.only_copy` for the embedded engine, whose chain is nowhere else; `engine.locked`, `state.locked` while a
    node runs. The validator's last signed state stays: one that forgets what it signed can sign twice.
    """
    home.genesis()
    comet = CometHome(home.blocks_dir)
    if not comet.config_dir.is_dir():
        raise HomeError(
            "home.only_copy",
            f"the chain of {home.path} is nowhere else: without its blocks it is lost",
            hint="only a node with the engine cometbft can be reset; it takes the chain from the others again",
        )
    handle = lock_directory(home.blocks_dir)
    try:
        # One that writes the state may live on after its engine: open it as a writer, or fail.
        backend = open_backend("lmdb", home.state_dir) if home.state_dir.is_dir() else None
        try:
            return _move(home, comet)
        finally:
            if backend is not None:
                backend.close()
    finally:
        unlock_directory(handle)


def _move(home: Home, comet: CometHome) -> Path:
    node = home.path / "node"
    aside = next(path for number in range(1, _TRIES_MAX) if not (path := node / f"{_SET_ASIDE}-{number}").exists())
    aside.mkdir(mode=0o700)
    kept = {comet.sign_state_file.name}
    parts = [home.state_dir, home.snapshots_dir, node / "index", comet.headers_dir]
    parts += (
        [path for path in sorted(comet.data_dir.iterdir()) if path.name not in kept] if comet.data_dir.is_dir() else []
    )
    for path in parts:
        if path.exists():
            path.rename(aside / path.name)
    for folder in (aside, comet.data_dir, comet.path, node):
        if folder.is_dir():
            sync_folder(folder)
    return aside
