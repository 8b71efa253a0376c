"""The ledger in the shape of the engine's port: the only place, with the daemon, where engine and ledger meet."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import structlog

from althing import __version__
from althing.consensus.abci import (
    ApplyChunkRequest,
    ApplyChunkResponse,
    CheckTxKind,
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
from althing.ledger.app import FinalizedBlock, Ledger
from althing.ledger.query import LedgerView
from althing.ledger.runtime.misconduct import Misconduct
from althing.node.home import Carried
from althing.node.snapshots import Restoring, SnapshotStore
from althing.protocol.block import ConsensusParams
from althing.protocol.codec import encode
from althing.protocol.errors import AlthingError, StateError, UnavailableError
from althing.protocol.genesis import genesis_of_app_state
from althing.protocol.messages.staking import PublicChain
from althing.protocol.receipt import Event as LedgerEvent
from althing.protocol.stateproof import proof_to_cbor_obj
from althing.service.faultpoints import hit

__all__ = ["CommittedContent", "LedgerApplication"]

PROOF_OP_ICS23: Final = "ics23:althing"
PROOF_OP_COMPACT: Final = "althing:state/1"
CODE_REFUSED: Final = 1

_ROUTINE: Final = ("governance.validator", "staking.released")  # what bonds do at the end of blocks

_log = structlog.get_logger("althing.node")


def _texts(event: LedgerEvent) -> list[str]:
    return [value.hex() if isinstance(value, bytes) else str(value) for value in event.values]


@dataclass(frozen=True, slots=True)
class CommittedContent:
    """A block that was just committed, for those who wait for receipts or follow events."""

    height: int
    time_ns: int
    block_hash: bytes
    finalized: FinalizedBlock


class LedgerApplication:
    """`consensus.abci.Application` over a `Ledger`. `clock` gives nanoseconds; `committed` is told of every block."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Callable[[], int],
        committed: Callable[[CommittedContent], None] | None = None,
        *,
        carried: Carried | None = None,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._carried = carried  # the state that the engine's first block goes on from is another engine's
        self.committed = committed
        self._last: CommittedContent | None = None
        self.commit_took: Callable[[float], None] | None = None  # told the seconds of each durable write
        self._params = ConsensusParams()
        self.snapshots: SnapshotStore | None = None  # own ones, for nodes that join
        self.after_commit: Callable[[int], None] | None = None  # told the height of each commit, on its thread
        self._restoring = Restoring(ledger)

    # --- handshake ------------------------------------------------------------------------------------------------

    def info(self, _request: InfoRequest, /) -> InfoResponse:
        height = self._ledger.height
        if self._carried is not None and height == self._carried.height:
            height = 0  # to this engine the chain has not begun
        return InfoResponse(
            last_block_height=height,
            last_block_app_hash=self._ledger.app_hash if height else b"",
            data="althing",
            version=__version__,
            app_version=self._ledger.app_version if height else self._ledger.genesis.app_version,
        )

    def init_chain(self, request: InitChainRequest, /) -> InitChainResponse:
        genesis = genesis_of_app_state(request.app_state)
        if genesis != self._ledger.genesis or request.chain_id != genesis.chain_id:
            raise StateError(
                "state.foreign_chain", "the engine's genesis is not the ledger's", hint="use one genesis file for both"
            )
        carried = self._carried
        if carried is not None and request.initial_height != carried.height + 1:
            raise StateError("state.foreign_chain", f"the chain was carried over after height {carried.height}")
        limits = ConsensusParams()
        params = request.consensus_params
        if (
            params.evidence_age_blocks_max > limits.evidence_age_blocks_max
            or params.evidence_age_ns_max > limits.evidence_age_ns_max
        ):
            # Old keys are kept for twice this age (docs/spec/messages.md, "Validators"): later evidence would find nobody.
            raise StateError(
                "state.evidence_age",
                "the engine would take evidence that is older than the rules know",
                hint="keep max_age_num_blocks ≤ 100,000 and max_age_duration ≤ 48 h",
            )
        public = genesis.kind
        if isinstance(public, PublicChain) and (
            params.evidence_age_blocks_max > public.evidence_age_blocks
            or params.evidence_age_ns_max > public.evidence_age_s * 1_000_000_000
        ):
            raise StateError(
                "state.evidence_age",
                "the engine would take evidence against bonds that are released",
                hint=f"keep max_age_num_blocks ≤ {public.evidence_age_blocks}, max_age_duration ≤ {public.evidence_age_s} s",
            )
        if carried is None:
            app_hash, validators = self._ledger.init_chain()
        else:
            app_hash, validators = self._ledger.carry_on(carried.height)
            if app_hash != carried.app_hash:
                raise StateError(
                    "state.foreign_chain",
                    f"the state of height {carried.height} is not the one that was carried over",
                    hint="copy state and carried.json of another node's home",
                )
        updates = tuple(ValidatorUpdate(validator.public, validator.power) for validator in validators)
        self._params = replace(request.consensus_params, app_version=self._ledger.app_version)
        return InitChainResponse(app_hash, self._params, updates)

    # --- mempool --------------------------------------------------------------------------------------------------

    def check_tx(self, request: CheckTxRequest, /) -> CheckTxResponse:
        time_s = self._clock() // 1_000_000_000
        try:
            gas, _ = self._ledger.check_bundle(request.tx, time_s, recheck=request.kind is CheckTxKind.RECHECK)
        except AlthingError as exc:
            return CheckTxResponse(code=CODE_REFUSED, log=exc.message, codespace=exc.code)
        return CheckTxResponse(gas_wanted=gas)

    # --- consensus ------------------------------------------------------------------------------------------------

    def prepare_proposal(self, request: PrepareProposalRequest, /) -> PrepareProposalResponse:
        return PrepareProposalResponse(tuple(self._ledger.choose(request.txs, request.max_tx_bytes)))

    def process_proposal(self, request: ProcessProposalRequest, /) -> ProcessProposalResponse:
        return ProcessProposalResponse(self._ledger.acceptable(request.txs))

    def extend_vote(self, _request: ExtendVoteRequest, /) -> ExtendVoteResponse:
        return ExtendVoteResponse(b"")

    def verify_vote_extension(self, request: VerifyVoteExtensionRequest, /) -> VerifyVoteExtensionResponse:
        return VerifyVoteExtensionResponse(not request.vote_extension)

    def finalize_block(self, request: FinalizeBlockRequest, /) -> FinalizeBlockResponse:
        misconduct = tuple(Misconduct(int(one.kind), one.address, one.height) for one in request.misbehavior)
        done = self._ledger.finalize(
            request.height, request.time.ns, request.hash, request.txs, misconduct, request.proposer_address
        )
        for event in done.result.events:
            # Blocks have no receipts of their own: an operator reads of it here, the outcome is in the state.
            if event.name in _ROUTINE:
                _log.info("bonds", height=request.height, event_name=event.name, of=_texts(event))
            else:
                _log.warning("evidence judged", height=request.height, judgement=event.name, of=_texts(event))
        self._last = CommittedContent(request.height, request.time.ns, request.hash, done)
        hit("node.executed")
        result = done.result
        params = None
        if result.app_version is not None:
            params = replace(self._params, app_version=result.app_version)
        return FinalizeBlockResponse(
            tx_results=tuple(
                ExecTxResult(
                    code=bundle.code,
                    data=bundle.data,
                    log=bundle.log,
                    gas_wanted=bundle.gas_wanted,
                    gas_used=bundle.gas_used,
                )
                for bundle in result.bundles
            ),
            app_hash=done.app_hash,
            validator_updates=tuple(ValidatorUpdate(v.public, v.power) for v in result.validators),
            consensus_param_updates=params,
            events=tuple(
                Event(event.name, tuple(EventAttribute(str(i), v) for i, v in enumerate(_texts(event))))
                for event in result.events
            ),
        )

    def commit(self) -> CommitResponse:
        began = time.perf_counter()
        hit("node.commit")
        try:
            self._ledger.commit()
        except StateError as exc:
            if exc.code != "state.disk_full":
                raise
            raise UnavailableError(exc.code, exc.message, hint=exc.hint, retry_after_s=5) from exc
        hit("node.committed")
        if self.commit_took is not None:
            self.commit_took(time.perf_counter() - began)
        if self._last is not None:
            if self.after_commit is not None:
                self.after_commit(self._last.height)
            if self.committed is not None:
                self.committed(self._last)
        return CommitResponse()

    # --- queries --------------------------------------------------------------------------------------------------

    def query(self, request: QueryRequest, /) -> QueryResponse:
        """Path `/state`: `data` is a state key; with `prove` the ICS-23 proof and our compact one."""
        if request.path != "/state":
            return QueryResponse(code=CODE_REFUSED, log="the only path is /state", codespace="query.path")
        try:
            view = LedgerView(self._ledger.store, request.height or None)
            answer = view.prove(request.data)
        except AlthingError as exc:
            return QueryResponse(code=CODE_REFUSED, log=exc.message, codespace=exc.code)
        operators: tuple[tuple[str, bytes, bytes], ...] = ()
        if request.prove:
            _, ics23 = self._ledger.store.view(view.version).prove_ics23(request.data)
            operators = (
                (PROOF_OP_ICS23, request.data, ics23),
                (PROOF_OP_COMPACT, request.data, encode(proof_to_cbor_obj(answer.proof))),
            )
        return QueryResponse(key=request.data, value=answer.value or b"", height=view.version, proof_ops=operators)

    # --- snapshots ------------------------------------------------------------------------------------------------

    def list_snapshots(self) -> tuple[Snapshot, ...]:
        return () if self.snapshots is None else self.snapshots.offer()

    def offer_snapshot(self, request: OfferSnapshotRequest, /) -> OfferSnapshotResponse:
        return OfferSnapshotResponse(self._restoring.offer(request))

    def load_chunk(self, request: LoadChunkRequest, /) -> LoadChunkResponse:
        if self.snapshots is None:
            return LoadChunkResponse(b"")
        return LoadChunkResponse(self.snapshots.chunk(request.height, request.format, request.chunk))

    def apply_chunk(self, request: ApplyChunkRequest, /) -> ApplyChunkResponse:
        return self._restoring.apply(request)
