"""A node's own snapshots on disk, made beside the chain and served to joining nodes; and the one being restored.

<folder>/<height>-<format>/{content, 0, 1, …}: the list of hashes, and the chunks as they are sent. A snapshot is made in
a folder of another name and renamed when all of it is durable, so what is listed is whole.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from althing.consensus.abci import (
    ApplyChunkRequest,
    ApplyChunkResponse,
    ApplyChunkResult,
    OfferSnapshotRequest,
    OfferSnapshotResult,
    Snapshot,
)
from althing.ledger.app import Ledger
from althing.ledger.snapshots.format import CHUNKS_MAX, FORMAT, Content, pack
from althing.ledger.snapshots.restoring import Restoration
from althing.protocol.errors import AlthingError, ProtocolError, StateError
from althing.protocol.merkle import leaf_hash
from althing.service.durable import make_folders, sync_folder, write_file

__all__ = ["Restoring", "SnapshotMaker", "SnapshotStore"]

_log = structlog.get_logger("althing.snapshots")

_CONTENT: Final = "content"
_MAKING: Final = ".making"
# A joining node verifies headers before it asks for the first chunk, and CometBFT waits two minutes for each chunk.
_IN_USE_S: Final = 300
_IN_USE_MAX: Final = 2  # beyond those that are kept anyway: peers that ask for ever must not fill the disk


@dataclass(slots=True)
class _Use:
    """When a snapshot was last wanted, in seconds of the store's clock."""

    read: float = float("-inf")
    offered: float = float("-inf")

    @property
    def last(self) -> float:
        return max(self.read, self.offered)


class SnapshotStore:
    """Finished snapshots in a folder. One writer; reads from any thread. `clock` in seconds."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()  # of the two below
        self._uses: dict[int, _Use] = {}
        self._held: tuple[Snapshot, ...] = ()
        if folder.is_dir():
            self._held = tuple(self._found())

    def _found(self) -> Iterable[Snapshot]:
        """What is whole; what an interrupted run has left is removed, and what is damaged too, since it can be made again."""
        found = []
        for path in sorted(self._folder.iterdir()):
            height, _, number = path.name.partition("-")
            if height.isdigit() and number == str(FORMAT):
                with suppress(ProtocolError, OSError):
                    content = Content.from_bytes((path / _CONTENT).read_bytes())
                    found.append(_described(int(height), content))
                    continue
            shutil.rmtree(path, ignore_errors=True)
        return sorted(found, key=lambda snapshot: -snapshot.height)

    @property
    def held(self) -> tuple[Snapshot, ...]:
        """The newest first."""
        return self._held

    def offer(self) -> tuple[Snapshot, ...]:
        """What is held, for a node that joins: the newest is the one that it will fetch."""
        with self._lock:
            for newest in self._held[:1]:
                self._uses.setdefault(newest.height, _Use()).offered = self._clock()
            return self._held

    def chunk(self, height: int, number: int, index: int) -> bytes:
        """A chunk as it is sent; empty when there is none."""
        with self._lock:
            if number != FORMAT or all(snapshot.height != height for snapshot in self._held):
                return b""
            self._uses.setdefault(height, _Use()).read = self._clock()
        try:
            return (self._folder / f"{height}-{FORMAT}" / str(index)).read_bytes()
        except OSError:
            return b""  # removed meanwhile, or never there

    def write(self, height: int, chunks: Iterable[bytes], *, keep: int) -> Snapshot:
        """Make a snapshot from its uncompressed chunks, and remove all but the newest `keep` and those being fetched."""
        make_folders(self._folder)
        making = self._folder / f"{_MAKING}-{height}"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        try:
            leaves = []
            for index, chunk in enumerate(chunks):
                if index == CHUNKS_MAX:
                    raise StateError("snapshot.too_large", f"the state has more than {CHUNKS_MAX} chunks")
                leaves.append(leaf_hash(chunk))
                with (making / str(index)).open("wb") as file:
                    file.write(pack(chunk))
                    file.flush()
                    os.fsync(file.fileno())
            content = Content(tuple(leaves))
            write_file(making / _CONTENT, content.to_bytes())
            made = self._folder / f"{height}-{FORMAT}"
            shutil.rmtree(made, ignore_errors=True)
            making.rename(made)
            sync_folder(self._folder)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        snapshot = _described(height, content)
        for old in self._replaced(snapshot, keep):
            shutil.rmtree(self._folder / f"{old.height}-{FORMAT}", ignore_errors=True)
        return snapshot

    def _replaced(self, made: Snapshot, keep: int) -> list[Snapshot]:
        """Hold a new snapshot; those that are held no more."""
        with self._lock:
            others = [known for known in self._held if known.height != made.height]
            newest = sorted([made, *others], key=lambda known: -known.height)
            since = self._clock() - _IN_USE_S
            in_use = [(self._uses[old.height], old) for old in newest[keep:] if old.height in self._uses]
            in_use = [(use, old) for use, old in in_use if use.last >= since]
            # One that is being fetched goes before one that was only offered.
            in_use.sort(key=lambda found: (found[0].read, found[0].offered), reverse=True)
            held = {known.height for known in (*newest[:keep], *(old for _, old in in_use[:_IN_USE_MAX]))}
            self._held = tuple(known for known in newest if known.height in held)
            self._uses = {height: use for height, use in self._uses.items() if height in held}
            return [known for known in newest if known.height not in held]


class SnapshotMaker:
    """Makes a snapshot of every `every`-th height, one at a time, on a thread of its own: commits never wait for it."""

    def __init__(self, ledger: Ledger, store: SnapshotStore, *, every: int, keep: int) -> None:
        assert every >= 1, "0 means no maker"
        assert keep >= 1, "at least the newest is kept"
        self._ledger = ledger
        self._store = store
        self._every = every
        self._keep = keep
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def committed(self, height: int) -> None:
        """On the thread that commits, after each block. A height that is due while one is being made is left out."""
        if height % self._every or self._stopping.is_set():
            return
        if self._thread is not None and self._thread.is_alive():
            _log.info("no snapshot, the one before is still being made", height=height)
            return
        version = self._ledger.hold()
        assert version == height, "a snapshot is of the block just committed"
        self._thread = threading.Thread(target=self._make, args=(height,), name="snapshot", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> None:
        """Until no snapshot is being made."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def stop(self) -> None:
        """Give up what is being made. Before the storage is closed."""
        self._stopping.set()
        self.wait()

    def _make(self, height: int) -> None:
        try:
            snapshot = self._store.write(height, self._until_stopped(self._ledger.snapshot(height)), keep=self._keep)
            _log.info("snapshot made", height=height, chunks=snapshot.chunks)
        except _StoppedError:
            pass
        except (AlthingError, OSError) as error:
            # A snapshot is for others: without it this node goes on, and the next height is tried.
            _log.error("no snapshot could be made", height=height, reason=str(error))
        finally:
            self._ledger.release()

    def _until_stopped(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        for chunk in chunks:
            if self._stopping.is_set():
                raise _StoppedError
            yield chunk


class _StoppedError(Exception):
    pass


@dataclass(slots=True)
class Restoring:
    """State sync's offers and chunks, on the consensus thread. What peers send is believed when it fits the app hash."""

    ledger: Ledger
    _work: Restoration | None = field(default=None, init=False)
    _have: bool = field(default=False, init=False)

    def offer(self, request: OfferSnapshotRequest) -> OfferSnapshotResult:
        snapshot = request.snapshot
        have = self.ledger.store.latest_version
        if have == snapshot.height and self.ledger.app_hash == request.app_hash:
            # Restored before, but the engine ended before it knew: nothing is left to do but to say so.
            self._work, self._have = None, True
            return OfferSnapshotResult.ACCEPT
        if have is not None:
            _log.error("a snapshot is offered, but this node has a state already")
            return OfferSnapshotResult.ABORT
        if snapshot.format != FORMAT:
            return OfferSnapshotResult.REJECT_FORMAT
        try:
            content = Content.from_bytes(snapshot.metadata)
        except ProtocolError as error:
            _log.warning("a malformed snapshot was refused", height=snapshot.height, reason=error.message)
            return OfferSnapshotResult.REJECT_SENDER
        if content.hash != snapshot.hash or len(content.leaves) != snapshot.chunks or len(request.app_hash) != 32:
            _log.warning("a snapshot whose hashes do not fit was refused", height=snapshot.height)
            return OfferSnapshotResult.REJECT_SENDER
        try:
            self._work = self.ledger.restore(snapshot.height, content, request.app_hash)
        except StateError as error:
            if error.code != "snapshot.content":
                raise
            return OfferSnapshotResult.REJECT
        _log.info("restoring", height=snapshot.height, chunks=snapshot.chunks, done=self._work.next_chunk)
        return OfferSnapshotResult.ACCEPT

    def apply(self, request: ApplyChunkRequest) -> ApplyChunkResponse:
        """Chunks that an interrupted restore took already are passed over; the last of them ends it, like any last."""
        work = self._work
        if self._have:
            return ApplyChunkResponse(ApplyChunkResult.ACCEPT)
        if work is None or request.index > work.next_chunk:
            return ApplyChunkResponse(ApplyChunkResult.RETRY_SNAPSHOT)
        last = len(work.content.leaves) - 1
        try:
            if request.index < work.next_chunk:
                done = request.index == last
                if done:
                    work.finish()
            else:
                done = work.add(request.chunk)
        except ProtocolError as error:
            _log.warning("a wrong chunk was refused", chunk=request.index, sender=request.sender, reason=error.message)
            senders = (request.sender,) if request.sender else ()
            return ApplyChunkResponse(ApplyChunkResult.RETRY, (request.index,), senders)
        except StateError as error:
            if error.code not in ("snapshot.content", "state.load_entry", "state.load_root"):
                raise  # the disk is full, or worse: this node's own trouble
            _log.warning("the snapshot is not what it says", height=work.height, reason=error.message)
            self._work = None
            return ApplyChunkResponse(ApplyChunkResult.REJECT_SNAPSHOT)
        if done:
            self._work = None
            _log.info("restored", height=work.height, keys=work.keys)
        return ApplyChunkResponse(ApplyChunkResult.ACCEPT)


def _described(height: int, content: Content) -> Snapshot:
    return Snapshot(height, FORMAT, len(content.leaves), content.hash, content.to_bytes())
