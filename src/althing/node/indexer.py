"""What the ledger does not keep in order: batches by gateway and root, and the heights that have transactions.

A read model in an LMDB of its own, derived from committed blocks and resumed by height. It can be deleted at any time;
one of another chain or that does not open is built anew. Many blocks share one durable write.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cbor2
import structlog

from althing.consensus.engine import Engine
from althing.ledger.app import Ledger
from althing.ledger.runtime.errors import NotFoundError, PrunedError
from althing.ledger.state.backend import Backend, bind_identity
from althing.protocol.bundle import parse_bundle
from althing.protocol.codec import decode, encode
from althing.protocol.errors import StateError, UnavailableError
from althing.protocol.messages.streams import Anchor
from althing.protocol.transaction import parse_transaction
from althing.storage.registry import open_backend

__all__ = ["IndexedBatch", "Indexer"]

_log = structlog.get_logger("althing.node.indexer")

FORMAT: Final = 1
STEP_HEIGHTS: Final = 256  # blocks of one durable write while catching up
CURRENT_WAIT_S: Final = 5.0
_STATE: Final = "state"
_HEIGHT: Final = b"height"
_WORK: Final = "work"  # height → number of transactions
_BATCHES: Final = "batches"  # height, order in the block → batch
_OF_GATEWAY: Final = "gateways"  # gateway, number → key of `batches`
_OF_ROOT: Final = "roots"  # root → key of `batches`
_ANCHORED: Final = b"streams.anchored"


@dataclass(frozen=True, slots=True)
class IndexedBatch:
    """An anchored batch and where its transaction stands."""

    gateway: bytes
    number: int
    root: bytes
    size: int
    streams: int
    height: int
    time_ns: int
    locators: tuple[str, ...]
    tx_id: bytes
    bundle: int
    index: int
    order: int


class Indexer:
    """`catch_up` blocks and may be called from any thread; so may the reads."""

    def __init__(self, directory: Path, ledger: Ledger, engine: Engine) -> None:
        self._ledger = ledger
        self._engine = engine
        self._backend = _open(directory, ledger.genesis_hash)
        self._lock = threading.Lock()
        self._closed = False
        with self._backend.read() as snapshot:
            found = snapshot.get(_STATE, _HEIGHT)
        self._height = ledger.genesis.initial_height - 1 if found is None else int.from_bytes(found, "big")
        if self._height > engine.latest_height:
            # The node's data was replaced by an older copy of the same chain: heights up to it are the same blocks.
            self._height = engine.latest_height

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._backend.close()

    @property
    def height(self) -> int:
        """Blocks up to here are indexed."""
        return self._height

    def catch_up(self) -> None:
        """Index every committed block."""
        while self._height < self._engine.latest_height and not self._closed:
            with self._lock:
                self._step()

    def current(self) -> None:
        """As `catch_up`, for readers: UnavailableError `index.behind` when much is missing, as after a deletion."""
        wanted, began = self._engine.latest_height, time.monotonic()
        while self._height < wanted:
            with self._lock:
                self._step()
            if self._height < wanted and time.monotonic() - began > CURRENT_WAIT_S:
                raise UnavailableError(
                    "index.behind", f"the index is at height {self._height} of {wanted}", retry_after_s=5
                )

    def _step(self) -> None:
        if self._closed:
            raise UnavailableError("node.stopping", "the node is stopping")
        first, last = self._height + 1, min(self._engine.latest_height, self._height + STEP_HEIGHTS)
        if last < first:
            return
        writes: dict[str, dict[bytes, bytes | None]] = {_WORK: {}, _BATCHES: {}, _OF_GATEWAY: {}, _OF_ROOT: {}}
        for height in range(first, last + 1):
            self._block(height, writes)
        if any(writes.values()) or last % STEP_HEIGHTS == 0:
            # Heights without content are not worth a durable write; they are read again after a crash.
            self._backend.write({**writes, _STATE: {_HEIGHT: last.to_bytes(8, "big")}})
        self._height = last

    def _block(self, height: int, writes: dict[str, dict[bytes, bytes | None]]) -> None:
        try:
            outcome = self._ledger.outcome(height)
        except (NotFoundError, PrunedError):
            return
        count = sum(len(bundle) for bundle in outcome.receipts)
        writes[_WORK][height.to_bytes(8, "big")] = count.to_bytes(8, "big")
        order = 0
        block_txs: tuple[bytes, ...] | None = None
        for number, receipts in enumerate(outcome.receipts):
            inner: tuple[bytes, ...] | None = None
            for index, receipt in enumerate(receipts):
                if _ANCHORED not in receipt:
                    continue
                # Our own ledger made these bytes: [version, id, code, gas, [[name, values], …]].
                _, tx_id, _, _, events = cbor2.loads(receipt)
                anchored = [values for name, values in events if name.encode() == _ANCHORED]
                if not anchored:
                    continue
                if block_txs is None:
                    block_txs = self._engine.block(height).txs
                if inner is None:
                    inner = parse_bundle(block_txs[number], self._ledger.genesis_hash).transactions
                locators = self._locators(inner[index])
                for gateway, own, root, size, streams in anchored:
                    key = height.to_bytes(8, "big") + order.to_bytes(4, "big")
                    where = [list(locators.get((gateway, own), ())), tx_id, number, index]
                    item = [gateway, own, root, size, streams, outcome.time_ns, *where]
                    writes[_BATCHES][key] = encode(item)
                    writes[_OF_GATEWAY][gateway + own.to_bytes(8, "big")] = key
                    writes[_OF_ROOT][root] = key
                    order += 1

    def _locators(self, transaction: bytes) -> dict[tuple[bytes, int], tuple[str, ...]]:
        messages = parse_transaction(transaction, self._ledger.genesis_hash).transaction.messages
        return {(m.gateway, m.number): m.locators for m in messages if isinstance(m, Anchor)}

    # --- reads ----------------------------------------------------------------------------------------------------

    def batches(self, gateway: bytes | None, before: tuple[int, int] | None, limit: int) -> list[IndexedBatch]:
        """Newest first, before (height, order); of one gateway, before its number in place of order."""
        with self._backend.read() as snapshot:
            if gateway is None:
                stop = None if before is None else before[0].to_bytes(8, "big") + before[1].to_bytes(4, "big")
                rows: Iterator[tuple[bytes, bytes | None]] = snapshot.scan(_BATCHES, b"", stop, reverse=True)
            else:
                # A gateway's numbers are below 2^63, so this is behind all of them.
                upto = gateway + (b"\xff" * 8 if before is None else before[1].to_bytes(8, "big"))
                keys = snapshot.scan(_OF_GATEWAY, gateway + bytes(8), upto, reverse=True)
                rows = ((key, snapshot.get(_BATCHES, key)) for _, key in keys)
            found: list[IndexedBatch] = []
            for key, data in rows:
                if len(found) == limit:
                    break
                assert data is not None, "both tables are written together"
                found.append(_batch(key, data))
            return found

    def batch(self, root: bytes) -> IndexedBatch:
        """The newest batch with a root, or NotFoundError `query.batch`."""
        with self._backend.read() as snapshot:
            key = snapshot.get(_OF_ROOT, root)
            data = None if key is None else snapshot.get(_BATCHES, key)
        if key is None or data is None:
            raise NotFoundError("query.batch", "no batch with this root is anchored")
        return _batch(key, data)

    def work_heights(self, upto: int, limit: int) -> list[tuple[int, int]]:
        """Heights that have transactions and how many, descending from `upto`."""
        with self._backend.read() as snapshot:
            rows = snapshot.scan(_WORK, b"", (upto + 1).to_bytes(8, "big"), reverse=True)
            found: list[tuple[int, int]] = []
            for key, data in rows:
                if len(found) == limit:
                    break
                found.append((int.from_bytes(key, "big"), int.from_bytes(data, "big")))
            return found

    def transactions(self, height: int) -> int:
        """How many transactions an indexed height has."""
        with self._backend.read() as snapshot:
            data = snapshot.get(_WORK, height.to_bytes(8, "big"))
        return 0 if data is None else int.from_bytes(data, "big")


def _batch(key: bytes, data: bytes) -> IndexedBatch:
    item: Any = decode(data)
    gateway, number, root, size, streams, time_ns, locators, tx_id, bundle, index = item
    height, order = int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")
    return IndexedBatch(
        gateway, number, root, size, streams, height, time_ns, tuple(locators), tx_id, bundle, index, order
    )


def _open(directory: Path, chain: bytes) -> Backend:
    """The index's backend; everything in it can be derived again, so what does not fit is thrown away."""
    try:
        backend = open_backend("lmdb", directory)
    except StateError as exc:
        if exc.code in ("state.locked", "state.read_only"):
            raise
        _log.warning("the index cannot be opened and is built anew", code=exc.code, reason=exc.message)
        shutil.rmtree(directory)
        backend = open_backend("lmdb", directory)
    try:
        bind_identity(backend, chain=chain, format_version=FORMAT)
    except StateError as exc:
        _log.warning("the index is not of this chain and is built anew", code=exc.code, reason=exc.message)
        backend.close()
        shutil.rmtree(directory)
        backend = open_backend("lmdb", directory)
        bind_identity(backend, chain=chain, format_version=FORMAT)
    return backend
