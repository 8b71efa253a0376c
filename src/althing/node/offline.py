"""Proofs from a home whose node is stopped: the same files, opened without an engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from althing.archive.objects import LocalObjects
from althing.archive.reader import ArchiveReader
from althing.consensus.engine import EngineError
from althing.consensus.solo import SoloSettings
from althing.consensus.solo.store import BlockStore
from althing.ledger.state.store import StateStore
from althing.node.home import Home
from althing.node.proofs import ProofBuilder
from althing.node.sources import ArchiveLeaves, ChainAnchors
from althing.protocol.block import SignedHeader, ValidatorSet
from althing.protocol.genesis import genesis_hash
from althing.storage.registry import open_backend

__all__ = ["offline_proofs"]


class _StoredBlocks:
    """`BlockSource` over the embedded engine's store."""

    def __init__(self, store: BlockStore) -> None:
        self._store = store

    @property
    def latest_height(self) -> int:
        state = self._store.state()
        return 0 if state is None else state.height

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
def offline_proofs(home: Home) -> Iterator[ProofBuilder]:
    """A proof builder on a stopped home; `engine.locked` when a node is running there after all."""
    genesis = home.genesis()
    blocks = BlockStore(home.blocks_dir, map_bytes_max=SoloSettings(home.blocks_dir).map_bytes_max)
    try:
        backend = open_backend("lmdb", home.state_dir, readonly=True)
        try:
            store = StateStore(backend)
            reader = ArchiveReader(
                LocalObjects(home.archive_dir, read_only=True), anchors=ChainAnchors(store), wait_s=0
            )
            try:
                yield ProofBuilder(
                    genesis.chain_id, genesis_hash(genesis), store, _StoredBlocks(blocks), ArchiveLeaves(reader)
                )
            finally:
                reader.close()
        finally:
            backend.close()
    finally:
        blocks.close()
