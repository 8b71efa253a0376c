"""What a home can tell while its node is stopped: proofs, and its chain executed again. The same files, without an engine."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from althing.archive.objects import LocalObjects
from althing.archive.reader import ArchiveReader
from althing.consensus.abci import Misbehavior
from althing.consensus.cometbft.headers import HeaderStore
from althing.consensus.cometbft.paths import CometHome, lock_directory, unlock_directory
from althing.consensus.copying import copy_engine, copy_lmdb
from althing.consensus.engine import EngineError
from althing.consensus.solo import SoloSettings
from althing.consensus.solo.store import BlockStore
from althing.ledger.assembly import Rulebook
from althing.ledger.state.store import StateStore
from althing.node.home import Home, HomeError
from althing.node.proofs import ProofBuilder
from althing.node.replaying import Replay, ReplayError, StoredChain, replay
from althing.node.sources import ArchiveLeaves, ChainAnchors
from althing.protocol.block import Block, SignedHeader, ValidatorSet
from althing.protocol.genesis import genesis_hash
from althing.service.durable import write_file
from althing.storage.lmdb import LmdbBackend
from althing.storage.registry import open_backend

__all__ = [
    "copy_stores",
    "newest_sign_state",
    "offline_proofs",
    "put_sign_state",
    "replay_offline",
    "shares_consensus",
    "stored_blocks",
]


class _Stored(Protocol):
    """What an engine leaves behind: None for a height that it does not hold."""

    def signed_header(self, height: int) -> SignedHeader | None: ...

    def validators(self, height: int) -> ValidatorSet | None: ...


class _StoredBlocks:
    """`BlockSource` over an engine's store, up to a height."""

    def __init__(self, store: _Stored, latest_height: int) -> None:
        self._store = store
        self._latest_height = latest_height

    @property
    def latest_height(self) -> int:
        return self._latest_height

    def signed_header(self, height: int) -> SignedHeader:
        found = self._store.signed_header(height)
        if found is None:
            raise EngineError("engine.unknown_height", f"height {height} is not stored in this home")
        return found

    def validators(self, height: int) -> ValidatorSet:
        found = self._store.validators(height)
        if found is None:
            raise EngineError("engine.unknown_height", f"height {height} is not stored in this home")
        return found


@contextmanager
def stored_blocks(home: Home) -> Iterator[_StoredBlocks]:
    """Headers that the home's engine has left: of the embedded one its blocks, of CometBFT the headers kept beside it."""
    comet = CometHome(home.blocks_dir)
    if not comet.headers_dir.is_dir():
        blocks = BlockStore(home.blocks_dir, map_bytes_max=SoloSettings(home.blocks_dir).map_bytes_max)
        try:
            state = blocks.state()
            yield _StoredBlocks(blocks, 0 if state is None else state.height)
        finally:
            blocks.close()
        return
    lock = lock_directory(home.blocks_dir)
    try:
        headers = HeaderStore(comet.headers_dir, readonly=True)
        try:
            yield _StoredBlocks(headers, headers.latest_height)
        finally:
            headers.close()
    finally:
        unlock_directory(lock)


def shares_consensus(home: Home) -> bool:
    """True when other validators than this home's sign the chain, so that blocks missing here come from them."""
    comet = CometHome(home.blocks_dir)
    if not comet.headers_dir.is_dir():
        return False
    headers = HeaderStore(comet.headers_dir, readonly=True)
    try:
        found = headers.validators(headers.latest_height)
    finally:
        headers.close()
    return found is not None and len(found.validators) > 1


def copy_stores(home: Home, folder: Path) -> None:
    """State and then blocks, so that these reach at least as far, also while the node runs; laid out as below `node/`."""
    copy_lmdb(home.state_dir, folder / home.state_dir.name)
    if home.blocks_dir.is_dir():
        copy_engine(home.blocks_dir, folder / home.blocks_dir.name)


def newest_sign_state(home: Home, other: bytes) -> bytes:
    """Of what CometBFT's validator signed last, as this home and `other` tell it, the later; HomeError `home.sign_state`."""
    path = CometHome(home.blocks_dir).sign_state_file
    known = [other, *([path.read_bytes()] if path.is_file() else [])]
    try:
        return max(known, key=_signed_at)
    except (ValueError, KeyError, TypeError) as exc:
        raise HomeError(
            "home.sign_state", "this is no priv_validator_state.json", hint="it is in node/blocks/data of the home"
        ) from exc


def put_sign_state(home: Home, data: bytes) -> None:
    write_file(CometHome(home.blocks_dir).sign_state_file, data)


def _signed_at(data: bytes) -> tuple[int, int, int]:
    found = json.loads(data)
    return int(found["height"]), int(found["round"]), int(found["step"])


class _SoloChain:
    """`StoredChain` over the embedded engine's store."""

    def __init__(self, store: BlockStore) -> None:
        self._store = store
        state = store.state()
        self.latest_height = 0 if state is None else state.height
        self.base_height = store.bases()[0]

    def block(self, height: int) -> Block:
        found = self._store.block(height)
        if found is None:
            raise EngineError("engine.unknown_height", f"block {height} is not stored in this home")
        return found

    def misbehavior(self, _block: Block) -> tuple[Misbehavior, ...]:
        return ()  # there is one signer, and nobody to accuse it


class _OfferedChain(StoredChain, Protocol):
    @property
    def base_height(self) -> int: ...


@contextmanager
def _stored_chain(home: Home, binary: Path | None) -> Iterator[_OfferedChain]:
    """The home's blocks, whichever engine stored them; `engine.locked` while a node runs there."""
    if not CometHome(home.blocks_dir).config_dir.is_dir():
        blocks = BlockStore(home.blocks_dir, map_bytes_max=SoloSettings(home.blocks_dir).map_bytes_max)
        try:
            yield _SoloChain(blocks)
        finally:
            blocks.close()
        return
    from althing.consensus.cometbft.stopped import inspected  # here, for who has the embedded engine alone

    with inspected(home.blocks_dir, binary) as shown:
        yield shown


def replay_offline(
    home: Home,
    *,
    binary: Path | None = None,
    rulebook: Rulebook | None = None,
    told: Callable[[int], None] = lambda _height: None,
) -> Replay:
    """Execute the chain of a stopped home again, beside its state, and compare the end with it too.

    CometBFT's program (`binary`, else the one found) shows the blocks that it stores. ReplayError as `replaying.replay`.
    """
    genesis = home.genesis()
    with _stored_chain(home, binary) as chain:
        if chain.base_height > genesis.initial_height:
            raise ReplayError(
                "replay.pruned",
                f"this home has no blocks before height {chain.base_height}",
                hint="replay a home that executed every block: an archive, not one that joined by state sync",
            )
        scratch = Path(tempfile.mkdtemp(prefix="replay-", dir=home.path / "node"))
        try:
            backend = LmdbBackend(scratch / "state", durable=False)
            try:
                done = replay(genesis, chain, backend, rulebook=rulebook, told=told)
            finally:
                backend.close()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        _compare_state(home, done)
    return done


def _compare_state(home: Home, done: Replay) -> None:
    """A block may be stored that the ledger had no time to execute: then the state is one behind."""
    backend = open_backend("lmdb", home.state_dir, readonly=True)
    try:
        store = StateStore(backend)
        if done.height in _span(store) and store.root(done.height) != done.app_hash:
            raise ReplayError(
                "replay.diverged", f"the stored state at height {done.height} is not what its blocks give"
            )
    finally:
        backend.close()


def _span(store: StateStore) -> range:
    oldest, latest = store.oldest_version, store.latest_version
    return range(0) if oldest is None or latest is None else range(oldest, latest + 1)


@contextmanager
def offline_proofs(home: Home) -> Iterator[ProofBuilder]:
    """A proof builder on a stopped home; `engine.locked` when a node is running there after all."""
    genesis = home.genesis()
    with stored_blocks(home) as blocks:
        backend = open_backend("lmdb", home.state_dir, readonly=True)
        try:
            store = StateStore(backend)
            reader = ArchiveReader(
                LocalObjects(home.archive_dir, read_only=True), anchors=ChainAnchors(store), wait_s=0
            )
            try:
                yield ProofBuilder(genesis.chain_id, genesis_hash(genesis), store, blocks, ArchiveLeaves(reader))
            finally:
                reader.close()
        finally:
            backend.close()
