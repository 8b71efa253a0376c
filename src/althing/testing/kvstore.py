"""A small real application for engines: a key-value map with durable commits, validator updates and expiring items.

A transaction is `key=value`. `until:<height>:key=value` is refused after that height, `validator:<hex key>=<power>`
changes the validator set, `gas:<n>=…` wants n gas. Everything else gets an error result, never an exception.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from althing.consensus.abci import (
    ApplyChunkRequest,
    ApplyChunkResponse,
    ApplyChunkResult,
    CheckTxRequest,
    CheckTxResponse,
    CommitResponse,
    Event,
    EventAttribute,
    ExecTxResult,
    ExtendVoteRequest,
    ExtendVoteResponse,
    FinalizeBlockRequest,
    FinalizeBlockResponse,
    InfoRequest,
    InfoResponse,
    InitChainRequest,
    InitChainResponse,
    LoadChunkRequest,
    LoadChunkResponse,
    OfferSnapshotRequest,
    OfferSnapshotResponse,
    OfferSnapshotResult,
    PrepareProposalRequest,
    PrepareProposalResponse,
    ProcessProposalRequest,
    ProcessProposalResponse,
    QueryRequest,
    QueryResponse,
    Snapshot,
    ValidatorUpdate,
    VerifyVoteExtensionRequest,
    VerifyVoteExtensionResponse,
)
from althing.service.faultpoints import hit

__all__ = ["KeyValueApplication"]


@dataclass(frozen=True, slots=True)
class _State:
    height: int
    items: tuple[tuple[str, str], ...]

    @property
    def app_hash(self) -> bytes:
        """SHA-256 over the items; empty blocks do not change it."""
        return sha256(json.dumps(self.items).encode()).digest()


class KeyValueApplication:
    """`Application` over one JSON file in `directory`, replaced atomically and durably by each commit."""

    def __init__(self, directory: Path, *, retain_blocks: int = 0) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = directory / "state.json"
        self._retain_blocks = retain_blocks
        self._lock = threading.Lock()
        self._committed = self._read()
        self._next: _State | None = None
        self._genesis: tuple[tuple[str, str], ...] = ()

    @property
    def items(self) -> dict[str, str]:
        """Committed items."""
        return dict(self._committed.items)

    def info(self, _request: InfoRequest, /) -> InfoResponse:
        state = self._committed
        return InfoResponse(state.height, state.app_hash if state.height else b"", app_version=1)

    def query(self, request: QueryRequest, /) -> QueryResponse:
        value = self.items.get(request.data.decode("utf-8", "replace"))
        if value is None:
            return QueryResponse(code=1, key=request.data, height=self._committed.height)
        return QueryResponse(key=request.data, value=value.encode(), height=self._committed.height)

    def check_tx(self, request: CheckTxRequest, /) -> CheckTxResponse:
        if _parse(request.tx) is None:
            return CheckTxResponse(code=1, log="not key=value", codespace="kv")
        if _until(request.tx) <= self._committed.height:
            return CheckTxResponse(code=2, log="expired", codespace="kv")
        return CheckTxResponse(gas_wanted=_gas(request.tx))

    def init_chain(self, request: InitChainRequest, /) -> InitChainResponse:
        self._genesis = (("chain", request.chain_id),)
        return InitChainResponse(_State(0, self._genesis).app_hash)

    def prepare_proposal(self, request: PrepareProposalRequest, /) -> PrepareProposalResponse:
        return PrepareProposalResponse(tuple(tx for tx in request.txs if _until(tx) >= request.height))

    def process_proposal(self, request: ProcessProposalRequest, /) -> ProcessProposalResponse:
        return ProcessProposalResponse(all(b"refuse-block" not in tx for tx in request.txs))

    def extend_vote(self, _request: ExtendVoteRequest, /) -> ExtendVoteResponse:
        return ExtendVoteResponse(b"")

    def verify_vote_extension(self, request: VerifyVoteExtensionRequest, /) -> VerifyVoteExtensionResponse:
        return VerifyVoteExtensionResponse(not request.vote_extension)

    def finalize_block(self, request: FinalizeBlockRequest, /) -> FinalizeBlockResponse:
        items = dict(self._committed.items if self._committed.height else self._genesis)
        updates: list[ValidatorUpdate] = []
        results: list[ExecTxResult] = []
        for tx in request.txs:
            pair = _parse(tx)
            if pair is None:
                results.append(ExecTxResult(code=1, log="not key=value"))
                continue
            key, value = pair
            if key.startswith("validator:"):
                updates.append(ValidatorUpdate(bytes.fromhex(key.removeprefix("validator:")), int(value)))
            items[key] = value
            event = Event("set", (EventAttribute("key", key, index=True),))
            results.append(ExecTxResult(data=sha256(tx).digest(), gas_wanted=_gas(tx), gas_used=1, events=(event,)))
        self._next = _State(request.height, tuple(sorted(items.items())))
        return FinalizeBlockResponse(tuple(results), self._next.app_hash, tuple(updates))

    def commit(self) -> CommitResponse:
        assert self._next is not None
        hit("kv.commit")
        text = json.dumps({"height": self._next.height, "items": self._next.items})
        temporary = self._file.with_suffix(".new")
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._file)
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        hit("kv.committed")
        with self._lock:
            self._committed, self._next = self._next, None
        retain = self._committed.height - self._retain_blocks + 1 if self._retain_blocks else 0
        return CommitResponse(max(retain, 0))

    def list_snapshots(self) -> tuple[Snapshot, ...]:
        state = self._committed
        if not state.height:
            return ()
        return (Snapshot(state.height, 1, 1, sha256(self._chunk()).digest()),)

    def load_chunk(self, request: LoadChunkRequest, /) -> LoadChunkResponse:
        wanted = request.height == self._committed.height and request.chunk == 0
        return LoadChunkResponse(self._chunk() if wanted else b"")

    def offer_snapshot(self, request: OfferSnapshotRequest, /) -> OfferSnapshotResponse:
        if request.snapshot.format != 1 or request.snapshot.chunks != 1:
            return OfferSnapshotResponse(OfferSnapshotResult.REJECT_FORMAT)
        self._next = _State(request.snapshot.height, ())
        return OfferSnapshotResponse(OfferSnapshotResult.ACCEPT)

    def apply_chunk(self, request: ApplyChunkRequest, /) -> ApplyChunkResponse:
        assert self._next is not None
        try:
            items = tuple((str(key), str(value)) for key, value in json.loads(request.chunk))
        except (ValueError, TypeError):
            return ApplyChunkResponse(ApplyChunkResult.REJECT_SNAPSHOT)
        self._next = replace(self._next, items=items)
        self.commit()
        return ApplyChunkResponse(ApplyChunkResult.ACCEPT)

    def _chunk(self) -> bytes:
        return json.dumps(self._committed.items).encode()

    def _read(self) -> _State:
        if not self._file.exists():
            return _State(0, ())
        stored = json.loads(self._file.read_text())
        return _State(stored["height"], tuple((key, value) for key, value in stored["items"]))


def _parse(tx: bytes) -> tuple[str, str] | None:
    try:
        key, equals, value = tx.decode().partition("=")
    except UnicodeDecodeError:
        return None
    if not key or not equals:
        return None
    if key.startswith("validator:") and not (len(key) == 74 and value.isdecimal()):
        return None
    return key, value


def _until(tx: bytes) -> int:
    """The last height a transaction may be in."""
    if not tx.startswith(b"until:"):
        return 1 << 62
    height = tx.split(b":", 2)[1]
    return int(height) if height.isdigit() else 0


def _gas(tx: bytes) -> int:
    if not tx.startswith(b"gas:"):
        return 1
    wanted = tx[4:].partition(b"=")[0]
    return int(wanted) if wanted.isdigit() else 1
