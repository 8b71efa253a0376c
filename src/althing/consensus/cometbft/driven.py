"""The application as CometBFT drives it: what it answers is passed on, and what the engine has to know of it is noted.

Threads: consensus calls on one, checks on another, reads on any (see `server`). Everything noted is told through
`Listener`, whose methods are called on the thread of the call.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Protocol

from althing.consensus import abci
from althing.consensus.engine import EngineError, PoolRefusedError
from althing.protocol.block import ConsensusParams, tx_size
from althing.protocol.errors import UnavailableError

__all__ = ["CheckOutcome", "DrivenApplication", "Listener"]

_log = logging.getLogger(__name__)

CheckOutcome = abci.CheckTxResponse | Exception

CODE_FAILED = 1
APP_HASH_BYTES_MAX = 32  # a header's app hash here; CometBFT itself allows more


class Listener(Protocol):
    """What the engine wants to hear."""

    def checked(self, key: bytes, outcome: CheckOutcome, *, again: bool) -> None:
        """A transaction, by SHA-256 of its bytes, was judged; `again` after a block, while it waits in the pool."""

    def committed_block(self, height: int, txs: tuple[bytes, ...], app_hash: bytes) -> None:
        """A block is durable in the application."""

    def limits(self, params: ConsensusParams) -> None:
        """Consensus parameters that the application has set."""

    def pruned(self, retain_height: int) -> None:
        """The engine is told that it may forget blocks below a height; 0: none yet, because it still needs them."""

    def found(self, height: int) -> None:
        """The height at which the application starts: the engine is about to replay what it lacks."""

    def stalled(self, error: UnavailableError | None) -> None:
        """A durable write fails for now; None once it has succeeded."""

    @property
    def gas_max(self) -> int:
        """Gas that a block may use, -1 when unlimited."""

    @property
    def retain_max(self) -> int:
        """The engine still needs blocks from this height on."""


@dataclass(slots=True)
class _Finalized:
    height: int
    txs: tuple[bytes, ...]
    app_hash: bytes
    params: ConsensusParams | None


@dataclass(slots=True)
class DrivenApplication:
    """`Application` around another, for one engine. `stopping` ends the wait of a commit that cannot be made durable."""

    app: abci.Application
    listener: Listener
    retry_s: float
    stopping: threading.Event = field(default_factory=threading.Event)
    _finalized: _Finalized | None = None

    def info(self, request: abci.InfoRequest, /) -> abci.InfoResponse:
        """A handshake, or somebody asking the engine's RPC: both learn the last height whose commit finished."""
        response = self.app.info(request)
        self.listener.found(response.last_block_height)
        return response

    def query(self, request: abci.QueryRequest, /) -> abci.QueryResponse:
        """A fault of one read is that read's answer; consensus goes on."""
        try:
            return self.app.query(request)
        except Exception as error:  # noqa: BLE001 -- see above
            _log.exception("a query failed")
            return abci.QueryResponse(code=CODE_FAILED, log=f"{type(error).__name__}", codespace="node.internal")

    def check_tx(self, request: abci.CheckTxRequest, /) -> abci.CheckTxResponse:
        """A fault of one check refuses that transaction and is told to its sender only."""
        if not request.tx:
            # Our own `sender` asks this, only to have the calls before it written at once.
            return abci.CheckTxResponse(code=CODE_FAILED, codespace="pool.empty")
        again = request.kind is abci.CheckTxKind.RECHECK
        outcome: CheckOutcome
        try:
            response = outcome = self.app.check_tx(request)
        except Exception as error:  # noqa: BLE001 -- see above
            response, outcome = abci.CheckTxResponse(code=CODE_FAILED, codespace="node.internal"), error
        gas_max = self.listener.gas_max
        if not response.code and 0 <= gas_max < response.gas_wanted:
            # CometBFT drops it too, but would tell the sender nothing.
            outcome = PoolRefusedError(
                "pool.gas", f"the transaction wants {response.gas_wanted} gas, a block may use {gas_max}"
            )
            response = replace(response, code=CODE_FAILED, codespace="pool.gas")
        self.listener.checked(sha256(request.tx).digest(), outcome, again=again)
        return response

    def init_chain(self, request: abci.InitChainRequest, /) -> abci.InitChainResponse:
        response = self.app.init_chain(request)
        self.listener.limits(response.consensus_params or request.consensus_params)
        return response

    def prepare_proposal(self, request: abci.PrepareProposalRequest, /) -> abci.PrepareProposalResponse:
        response = self.app.prepare_proposal(request)
        if sum(map(tx_size, response.txs)) > request.max_tx_bytes:
            raise EngineError(
                "engine.application", f"the prepared transactions take more than {request.max_tx_bytes} bytes"
            )
        return response

    def process_proposal(self, request: abci.ProcessProposalRequest, /) -> abci.ProcessProposalResponse:
        return self.app.process_proposal(request)

    def extend_vote(self, request: abci.ExtendVoteRequest, /) -> abci.ExtendVoteResponse:
        return self.app.extend_vote(request)

    def verify_vote_extension(self, request: abci.VerifyVoteExtensionRequest, /) -> abci.VerifyVoteExtensionResponse:
        return self.app.verify_vote_extension(request)

    def finalize_block(self, request: abci.FinalizeBlockRequest, /) -> abci.FinalizeBlockResponse:
        """One result for each transaction, or every node of the chain would stop: that is checked here."""
        response = self.app.finalize_block(request)
        if len(response.tx_results) != len(request.txs):
            raise EngineError(
                "engine.application", f"{len(request.txs)} transactions gave {len(response.tx_results)} results"
            )
        if len(response.app_hash) > APP_HASH_BYTES_MAX:
            raise EngineError("engine.application", f"an app hash has at most {APP_HASH_BYTES_MAX} bytes")
        self._finalized = _Finalized(request.height, request.txs, response.app_hash, response.consensus_param_updates)
        return response

    def commit(self) -> abci.CommitResponse:
        """Repeated while it cannot be made durable: CometBFT waits for the answer and nothing is lost."""
        waiting = False
        while True:
            try:
                response = self.app.commit()
                break
            except UnavailableError as error:
                waiting = True
                self.listener.stalled(error)
                if self.stopping.wait(self.retry_s):
                    raise
        if waiting:
            self.listener.stalled(None)
        done, self._finalized = self._finalized, None
        assert done is not None, "CometBFT finalizes before it commits"
        retain = max(0, min(response.retain_height, self.listener.retain_max))
        if response.retain_height:
            self.listener.pruned(retain)
        if done.params is not None:
            self.listener.limits(done.params)
        self.listener.committed_block(done.height, done.txs, done.app_hash)
        return replace(response, retain_height=retain)

    def list_snapshots(self) -> tuple[abci.Snapshot, ...]:
        return self.app.list_snapshots()

    def offer_snapshot(self, request: abci.OfferSnapshotRequest, /) -> abci.OfferSnapshotResponse:
        return self.app.offer_snapshot(request)

    def load_chunk(self, request: abci.LoadChunkRequest, /) -> abci.LoadChunkResponse:
        return self.app.load_chunk(request)

    def apply_chunk(self, request: abci.ApplyChunkRequest, /) -> abci.ApplyChunkResponse:
        return self.app.apply_chunk(request)
