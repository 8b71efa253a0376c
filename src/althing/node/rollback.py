"""Taking a stopped node back to an earlier height, so that the blocks after it are executed again, or fetched again.

Nobody signs a height anew: blocks that only this home has stay and are executed again; blocks that other validators have
are dropped and come from them; what the validator signed last stays in any case.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from althing.consensus.cometbft.headers import HeaderStore
from althing.consensus.cometbft.paths import CometHome, lock_directory, unlock_directory
from althing.consensus.solo import SoloSettings
from althing.consensus.solo.store import BlockStore
from althing.ledger.app import Ledger
from althing.node.home import Home, HomeError
from althing.node.offline import shares_consensus
from althing.protocol.block import SignedHeader
from althing.storage.lmdb import LmdbBackend

__all__ = ["RolledBack", "roll_back"]


@dataclass(frozen=True, slots=True)
class RolledBack:
    """From which height to which, the root there, and whether blocks above it were dropped to be fetched again."""

    before: int
    height: int
    app_hash: bytes
    blocks_dropped: bool


class _Headers(Protocol):
    def signed_header(self, height: int) -> SignedHeader | None: ...


def roll_back(home: Home, height: int | None = None, *, binary: Path | None = None) -> RolledBack:
    """Go back to `height`, by default by one block.

    1. The state of that height is still kept, and is the one that the header after it names.
    2. State, receipts, index and snapshots of later heights go.
    3. Where other validators have the blocks, CometBFT's state and blocks of later heights go too.
    Interrupted, the node can be started, or the command repeated. HomeError `home.rollback`; StateError `state.pruned`;
    `engine.locked`, `state.locked` while a node runs.
    """
    genesis = home.genesis()
    if not home.state_dir.is_dir():
        raise HomeError("home.rollback", f"the node of {home.path} has never run")
    comet = CometHome(home.blocks_dir)
    with _headers(home, comet) as headers:
        backend = LmdbBackend(home.state_dir)
        try:
            ledger = Ledger(backend, genesis)
            before = ledger.height
            to = before - 1 if height is None else height
            carried = home.carried()
            lowest = genesis.initial_height if carried is None else carried.height + 1
            if not lowest <= to <= before:
                raise HomeError(
                    "home.rollback",
                    f"the node is at height {before}: it can go back to {lowest} at the lowest",
                )
            after = headers.signed_header(to + 1)
            root = ledger.store.root(to)  # 1.
            if after is not None and after.header.app_hash != root:
                raise HomeError(
                    "home.rollback",
                    f"the state of height {to} is not the one that the chain names",
                    hint="go further back: --to, or join anew: althing node reset",
                )
            if to < before:
                ledger.rollback(to)  # 2.
        finally:
            backend.close()
        shutil.rmtree(home.path / "node" / "index", ignore_errors=True)
        _drop_snapshots(home.snapshots_dir, to)
    dropped = shares_consensus(home) and _engine_back(comet, to, root, binary)  # 3.
    return RolledBack(before, to, root, dropped)


@contextmanager
def _headers(home: Home, comet: CometHome) -> Iterator[_Headers]:
    """Headers by height, with the engine's directory held."""
    if not comet.config_dir.is_dir():
        blocks = BlockStore(home.blocks_dir, map_bytes_max=SoloSettings(home.blocks_dir).map_bytes_max)
        try:
            yield blocks
        finally:
            blocks.close()
        return
    lock = lock_directory(home.blocks_dir)
    try:
        headers = HeaderStore(comet.headers_dir)
        try:
            yield headers
        finally:
            headers.close()
    finally:
        unlock_directory(lock)


def _engine_back(comet: CometHome, height: int, root: bytes, binary: Path | None) -> bool:
    """True when blocks were dropped; False when CometBFT was there already."""
    from althing.consensus.cometbft.stopped import inspected, roll_engine_back  # not for the embedded engine

    with inspected(comet.path, binary) as stored:
        latest = stored.latest_height
    if latest <= height:
        return False
    lock = lock_directory(comet.path)
    try:
        named = roll_engine_back(comet.path, height, binary)
        headers = HeaderStore(comet.headers_dir)
        try:
            headers.drop_after(height)
        finally:
            headers.close()
    finally:
        unlock_directory(lock)
    if named != root:
        raise HomeError(
            "home.rollback",
            f"at height {height} CometBFT names another state than this node has",
            hint="go further back: --to, or join anew: althing node reset",
        )
    return True


def _drop_snapshots(folder: Path, height: int) -> None:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        made, _, _ = path.name.partition("-")
        if made.isdigit() and int(made) > height:
            shutil.rmtree(path, ignore_errors=True)
