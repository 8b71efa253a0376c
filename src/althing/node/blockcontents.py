"""What is in committed blocks: transactions, receipts, their number and bytes. Cached, since it never changes."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from althing.consensus.engine import Engine
from althing.ledger.app import Ledger
from althing.ledger.runtime.errors import NotFoundError, PrunedError
from althing.protocol.bundle import parse_bundle
from althing.protocol.errors import ProtocolError
from althing.protocol.receipt import Receipt

__all__ = ["BlockContents"]

MEASURES_CACHED: Final = 8192  # two integers each
BUNDLES_CACHED: Final = 32  # of at most 4 MB each; a page of a list reads one or two
RECEIPTS_CACHED: Final = 32


class BlockContents:
    """Safe from any thread."""

    def __init__(self, ledger: Ledger, engine: Engine) -> None:
        self._ledger = ledger
        self._engine = engine
        self.measure = lru_cache(MEASURES_CACHED)(self._measure)
        self.inner = lru_cache(BUNDLES_CACHED)(self._inner)
        self.receipts = lru_cache(RECEIPTS_CACHED)(self._receipts)

    def _measure(self, height: int) -> tuple[int, int]:
        """Transactions and encoded bytes of a block. Where receipts are gone, what its bundles carry is counted."""
        size = len(self._engine.block(height).encode())
        try:
            return sum(len(bundle) for bundle in self._ledger.outcome(height).receipts), size
        except NotFoundError:
            return 0, size
        except PrunedError:
            return sum(len(self.inner(height, bundle)) for bundle in range(len(self._engine.block(height).txs))), size

    def _inner(self, height: int, bundle: int) -> tuple[bytes, ...]:
        """The signed transactions of a bundle; none of one that was not executed because it is no bundle."""
        try:
            return parse_bundle(self._engine.block(height).txs[bundle], self._ledger.genesis_hash).transactions
        except ProtocolError:
            return ()

    def _receipts(self, height: int) -> tuple[tuple[bytes, ...], ...]:
        """Encoded receipts of each bundle of a block; none for a block without content."""
        try:
            return self._ledger.outcome(height).receipts
        except NotFoundError:
            return ()

    def ids(self, height: int) -> list[bytes]:
        """Ids of all transactions of a block, in order."""
        return [Receipt.from_bytes(data).tx_id for bundle in self.receipts(height) for data in bundle]
