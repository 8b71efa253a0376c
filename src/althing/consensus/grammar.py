"""Which sequences of calls an engine may make: the grammar of ABCI 2.0 as an automaton, and a recorder for its input.

Source: CometBFT v0.39 `spec/abci/abci++_comet_expected_behavior.md`. Its rounds let proposals, votes and extensions come
in any order before FinalizeBlock, so the automaton adds what the text around it states: heights follow each other from
the one Info answered, InitChain comes exactly when there is no state, and Commit alone follows FinalizeBlock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from althing.consensus.abci import (
    Application,
    ApplyChunkRequest,
    ApplyChunkResponse,
    CheckTxRequest,
    CheckTxResponse,
    CommitResponse,
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
    PrepareProposalRequest,
    PrepareProposalResponse,
    ProcessProposalRequest,
    ProcessProposalResponse,
    QueryRequest,
    QueryResponse,
    Snapshot,
    VerifyVoteExtensionRequest,
    VerifyVoteExtensionResponse,
)

__all__ = ["Automaton", "Call", "IllegalCallError", "RecordingApplication", "check_trace"]

_ROUND = ("prepare_proposal", "process_proposal", "extend_vote", "verify_vote_extension")
_ANY_TIME = ("check_tx", "query", "list_snapshots", "load_chunk")


class IllegalCallError(AssertionError):
    """An engine made a call that ABCI does not allow at this point."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call that returned. `height`: of the block concerned; for Info the height answered; 0 where there is none."""

    method: str
    height: int = 0
    hash: bytes = b""
    thread: int = 0


class _At(Enum):
    START = "the start"
    SYNC = "state sync"
    CHUNKS = "state sync, after a chunk"
    EMPTY = "the handshake with an application without state"
    ROUNDS = "the rounds of a height"
    FINALIZED = "a finalized block"


class Automaton:
    """Feed it the calls of one run of an engine, from its start to its end or crash."""

    def __init__(self, *, initial_height: int = 1) -> None:
        self._initial_height = initial_height
        self._at = _At.START
        self._height = 0

    def feed(self, call: Call) -> None:
        """Accept the next call or raise IllegalCallError."""
        method = call.method
        if method in _ANY_TIME:
            return
        if method == "info":
            self._info(call)
        elif method == "offer_snapshot":
            self._require(call, _At.START, _At.SYNC, _At.CHUNKS)
            self._at = _At.SYNC
        elif method == "apply_chunk":
            self._require(call, _At.SYNC, _At.CHUNKS)
            self._at = _At.CHUNKS
        elif method == "init_chain":
            self._require(call, _At.EMPTY)
            self._at = _At.ROUNDS
        elif method in _ROUND:
            self._require(call, _At.ROUNDS)
            self._require_height(call)
        elif method == "finalize_block":
            self._require(call, _At.ROUNDS)
            self._require_height(call)
            if not call.hash:
                raise IllegalCallError("FinalizeBlock names no block hash")
            self._at = _At.FINALIZED
        elif method == "commit":
            self._require(call, _At.FINALIZED)
            self._at = _At.ROUNDS
            self._height += 1
        else:
            raise IllegalCallError(f"{method} is no ABCI method")

    def _info(self, call: Call) -> None:
        if self._at in (_At.START, _At.CHUNKS):
            if self._at is _At.CHUNKS and not call.height:
                raise IllegalCallError("Info after state sync reports no state")
            self._at = _At.ROUNDS if call.height else _At.EMPTY
            self._height = call.height + 1 if call.height else self._initial_height
        elif self._at is _At.SYNC:
            raise IllegalCallError("Info comes after a snapshot was restored, not between offer and chunks")

    def _require(self, call: Call, *allowed: _At) -> None:
        if self._at not in allowed:
            raise IllegalCallError(f"{call.method} (height {call.height}) is not allowed at {self._at.value}")

    def _require_height(self, call: Call) -> None:
        if call.height != self._height:
            raise IllegalCallError(f"{call.method} is for height {call.height}, the chain is at {self._height}")


def check_trace(calls: Iterable[Call], *, initial_height: int = 1) -> None:
    """All calls of one run are legal."""
    automaton = Automaton(initial_height=initial_height)
    for call in calls:
        automaton.feed(call)


class RecordingApplication:
    """An `Application` that passes every call on and hands those that returned to `sink`, in the order they returned."""

    def __init__(self, app: Application, sink: Callable[[Call], None]) -> None:
        self._app = app
        self._sink = sink
        self._lock = threading.Lock()

    def info(self, request: InfoRequest, /) -> InfoResponse:
        response = self._app.info(request)
        self._record("info", response.last_block_height)
        return response

    def query(self, request: QueryRequest, /) -> QueryResponse:
        response = self._app.query(request)
        self._record("query")
        return response

    def check_tx(self, request: CheckTxRequest, /) -> CheckTxResponse:
        response = self._app.check_tx(request)
        self._record("check_tx")
        return response

    def init_chain(self, request: InitChainRequest, /) -> InitChainResponse:
        response = self._app.init_chain(request)
        self._record("init_chain")
        return response

    def prepare_proposal(self, request: PrepareProposalRequest, /) -> PrepareProposalResponse:
        response = self._app.prepare_proposal(request)
        self._record("prepare_proposal", request.height)
        return response

    def process_proposal(self, request: ProcessProposalRequest, /) -> ProcessProposalResponse:
        response = self._app.process_proposal(request)
        self._record("process_proposal", request.height, request.hash)
        return response

    def extend_vote(self, request: ExtendVoteRequest, /) -> ExtendVoteResponse:
        response = self._app.extend_vote(request)
        self._record("extend_vote", request.height, request.hash)
        return response

    def verify_vote_extension(self, request: VerifyVoteExtensionRequest, /) -> VerifyVoteExtensionResponse:
        response = self._app.verify_vote_extension(request)
        self._record("verify_vote_extension", request.height, request.hash)
        return response

    def finalize_block(self, request: FinalizeBlockRequest, /) -> FinalizeBlockResponse:
        response = self._app.finalize_block(request)
        self._record("finalize_block", request.height, request.hash)
        return response

    def commit(self) -> CommitResponse:
        response = self._app.commit()
        self._record("commit")
        return response

    def list_snapshots(self) -> tuple[Snapshot, ...]:
        response = self._app.list_snapshots()
        self._record("list_snapshots")
        return response

    def offer_snapshot(self, request: OfferSnapshotRequest, /) -> OfferSnapshotResponse:
        response = self._app.offer_snapshot(request)
        self._record("offer_snapshot", request.snapshot.height)
        return response

    def load_chunk(self, request: LoadChunkRequest, /) -> LoadChunkResponse:
        response = self._app.load_chunk(request)
        self._record("load_chunk", request.height)
        return response

    def apply_chunk(self, request: ApplyChunkRequest, /) -> ApplyChunkResponse:
        response = self._app.apply_chunk(request)
        self._record("apply_chunk")
        return response

    def _record(self, method: str, height: int = 0, block_hash: bytes = b"") -> None:
        with self._lock:
            self._sink(Call(method, height, block_hash, threading.get_ident()))
