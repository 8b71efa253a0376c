"""What an engine asks of an application: ABCI 2.0 as frozen requests and responses, and the `Application` port.

Names, fields and meaning follow CometBFT v0.39 `spec/abci/abci++_methods.md`; times are `Timestamp`, keys Ed25519.
An adapter for the socket encodes exactly these. Calls are synchronous and may be slow; `Application` states on which
thread each arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from althing.protocol.block import BlockIdFlag, ConsensusParams, Timestamp, TxResult

__all__ = [
    "Application",
    "ApplyChunkRequest",
    "ApplyChunkResponse",
    "ApplyChunkResult",
    "CheckTxKind",
    "CheckTxRequest",
    "CheckTxResponse",
    "CommitInfo",
    "CommitResponse",
    "Event",
    "EventAttribute",
    "ExecTxResult",
    "ExtendVoteRequest",
    "ExtendVoteResponse",
    "ExtendedCommitInfo",
    "ExtendedVoteInfo",
    "FinalizeBlockRequest",
    "FinalizeBlockResponse",
    "InfoRequest",
    "InfoResponse",
    "InitChainRequest",
    "InitChainResponse",
    "LoadChunkRequest",
    "LoadChunkResponse",
    "Misbehavior",
    "MisbehaviorKind",
    "OfferSnapshotRequest",
    "OfferSnapshotResponse",
    "OfferSnapshotResult",
    "PrepareProposalRequest",
    "PrepareProposalResponse",
    "ProcessProposalRequest",
    "ProcessProposalResponse",
    "QueryRequest",
    "QueryResponse",
    "Snapshot",
    "ValidatorUpdate",
    "VerifyVoteExtensionRequest",
    "VerifyVoteExtensionResponse",
    "VoteInfo",
]


@dataclass(frozen=True, slots=True)
class EventAttribute:
    """One attribute of an event."""

    key: str
    value: str
    index: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a block or a transaction; no hash covers events."""

    kind: str
    attributes: tuple[EventAttribute, ...] = ()


@dataclass(frozen=True, slots=True)
class ValidatorUpdate:
    """A change of the validator set two heights later; power 0 removes."""

    public_key: bytes
    power: int


@dataclass(frozen=True, slots=True)
class VoteInfo:
    """Whether one validator of the previous height signed."""

    address: bytes
    power: int
    flag: BlockIdFlag


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """Who signed the previous block; empty at the initial height."""

    round: int = 0
    votes: tuple[VoteInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class ExtendedVoteInfo:
    """`VoteInfo` with the vote extension, given to proposers."""

    address: bytes
    power: int
    flag: BlockIdFlag
    vote_extension: bytes = b""
    extension_signature: bytes = b""


@dataclass(frozen=True, slots=True)
class ExtendedCommitInfo:
    """`CommitInfo` with vote extensions, given to proposers."""

    round: int = 0
    votes: tuple[ExtendedVoteInfo, ...] = ()


class MisbehaviorKind(IntEnum):
    """What a validator did wrong."""

    DUPLICATE_VOTE = 1
    LIGHT_CLIENT_ATTACK = 2


@dataclass(frozen=True, slots=True)
class Misbehavior:
    """Evidence that the block carries; punishing is the application's task."""

    kind: MisbehaviorKind
    address: bytes
    power: int
    height: int
    time: Timestamp
    total_power: int


@dataclass(frozen=True, slots=True)
class InfoRequest:
    """Handshake: which engine asks."""

    version: str
    block_version: int
    p2p_version: int = 0
    abci_version: str = "2.0.0"


@dataclass(frozen=True, slots=True)
class InfoResponse:
    """The last height whose Commit finished (0: none) and the app hash there."""

    last_block_height: int
    last_block_app_hash: bytes
    data: str = ""
    version: str = ""
    app_version: int = 0


@dataclass(frozen=True, slots=True)
class InitChainRequest:
    """Genesis, called once in the life of a chain (again only if nothing was committed)."""

    time: Timestamp
    chain_id: str
    consensus_params: ConsensusParams
    validators: tuple[ValidatorUpdate, ...]
    app_state: bytes
    initial_height: int


@dataclass(frozen=True, slots=True)
class InitChainResponse:
    """App hash of genesis; validators and parameters replace the request's when given."""

    app_hash: bytes
    consensus_params: ConsensusParams | None = None
    validators: tuple[ValidatorUpdate, ...] = ()


class CheckTxKind(IntEnum):
    """A transaction just received, or one that stayed in the pool after a block."""

    NEW = 0
    RECHECK = 1


@dataclass(frozen=True, slots=True)
class CheckTxRequest:
    """May this transaction enter (or stay in) the pool?"""

    tx: bytes
    kind: CheckTxKind


@dataclass(frozen=True, slots=True)
class CheckTxResponse:
    """Code 0 admits; anything else refuses, with `codespace` and `log` to tell the sender why."""

    code: int = 0
    data: bytes = b""
    log: str = ""
    info: str = ""
    gas_wanted: int = 0
    gas_used: int = 0
    codespace: str = ""


@dataclass(frozen=True, slots=True)
class PrepareProposalRequest:
    """Transactions the proposer took from the pool, to be chosen from; the answer may take `max_tx_bytes`."""

    max_tx_bytes: int
    txs: tuple[bytes, ...]
    local_last_commit: ExtendedCommitInfo
    misbehavior: tuple[Misbehavior, ...]
    height: int
    time: Timestamp
    next_validators_hash: bytes
    proposer_address: bytes


@dataclass(frozen=True, slots=True)
class PrepareProposalResponse:
    """The transactions of the proposed block."""

    txs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ProcessProposalRequest:
    """A proposed block; must be judged deterministically."""

    txs: tuple[bytes, ...]
    proposed_last_commit: CommitInfo
    misbehavior: tuple[Misbehavior, ...]
    hash: bytes
    height: int
    time: Timestamp
    next_validators_hash: bytes
    proposer_address: bytes


@dataclass(frozen=True, slots=True)
class ProcessProposalResponse:
    """Whether to vote for the block."""

    accept: bool


@dataclass(frozen=True, slots=True)
class ExtendVoteRequest:
    """Asked before precommitting, once vote extensions are enabled."""

    hash: bytes
    height: int
    time: Timestamp
    txs: tuple[bytes, ...]
    proposed_last_commit: CommitInfo
    misbehavior: tuple[Misbehavior, ...]
    next_validators_hash: bytes
    proposer_address: bytes


@dataclass(frozen=True, slots=True)
class ExtendVoteResponse:
    """The application's part of a precommit."""

    vote_extension: bytes


@dataclass(frozen=True, slots=True)
class VerifyVoteExtensionRequest:
    """Another validator's vote extension; must be judged deterministically."""

    hash: bytes
    validator_address: bytes
    height: int
    vote_extension: bytes


@dataclass(frozen=True, slots=True)
class VerifyVoteExtensionResponse:
    """Whether the precommit counts."""

    accept: bool


@dataclass(frozen=True, slots=True)
class FinalizeBlockRequest:
    """A decided block, to be executed. `hash` is the block's header hash."""

    txs: tuple[bytes, ...]
    decided_last_commit: CommitInfo
    misbehavior: tuple[Misbehavior, ...]
    hash: bytes
    height: int
    time: Timestamp
    next_validators_hash: bytes
    proposer_address: bytes


@dataclass(frozen=True, slots=True)
class ExecTxResult:
    """Result of one transaction; only code, data and gas enter `last_results_hash`."""

    code: int = 0
    data: bytes = b""
    log: str = ""
    info: str = ""
    gas_wanted: int = 0
    gas_used: int = 0
    events: tuple[Event, ...] = ()
    codespace: str = ""

    @property
    def hashed(self) -> TxResult:
        """The deterministic part."""
        return TxResult(self.code, self.data, self.gas_wanted, self.gas_used)


@dataclass(frozen=True, slots=True)
class FinalizeBlockResponse:
    """Results in the order of the transactions, one each; validator updates take effect at height + 2."""

    tx_results: tuple[ExecTxResult, ...]
    app_hash: bytes
    validator_updates: tuple[ValidatorUpdate, ...] = ()
    consensus_param_updates: ConsensusParams | None = None
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitResponse:
    """Blocks below `retain_height` may be pruned; 0 keeps all."""

    retain_height: int = 0


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """A read of committed state; height 0 means the latest."""

    path: str
    data: bytes
    height: int = 0
    prove: bool = False


@dataclass(frozen=True, slots=True)
class QueryResponse:
    """The value at `height`, with proof operators (type, key, data) if asked for."""

    code: int = 0
    log: str = ""
    info: str = ""
    index: int = 0
    key: bytes = b""
    value: bytes = b""
    proof_ops: tuple[tuple[str, bytes, bytes], ...] = ()
    height: int = 0
    codespace: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state snapshot offered to joining nodes."""

    height: int
    format: int
    chunks: int
    hash: bytes
    metadata: bytes = b""


@dataclass(frozen=True, slots=True)
class OfferSnapshotRequest:
    """A snapshot found at a peer, and the app hash the light client verified for its height."""

    snapshot: Snapshot
    app_hash: bytes


class OfferSnapshotResult(IntEnum):
    """Answer to an offered snapshot."""

    ACCEPT = 1
    ABORT = 2
    REJECT = 3
    REJECT_FORMAT = 4
    REJECT_SENDER = 5


@dataclass(frozen=True, slots=True)
class OfferSnapshotResponse:
    """Whether chunks shall follow."""

    result: OfferSnapshotResult


@dataclass(frozen=True, slots=True)
class LoadChunkRequest:
    """A chunk of an own snapshot, asked for by a peer."""

    height: int
    format: int
    chunk: int


@dataclass(frozen=True, slots=True)
class LoadChunkResponse:
    """The chunk, empty if unknown."""

    chunk: bytes


@dataclass(frozen=True, slots=True)
class ApplyChunkRequest:
    """A chunk of the accepted snapshot, in order."""

    index: int
    chunk: bytes
    sender: str


class ApplyChunkResult(IntEnum):
    """Answer to a chunk."""

    ACCEPT = 1
    ABORT = 2
    RETRY = 3
    RETRY_SNAPSHOT = 4
    REJECT_SNAPSHOT = 5


@dataclass(frozen=True, slots=True)
class ApplyChunkResponse:
    """Whether the chunk fitted, and what to fetch again."""

    result: ApplyChunkResult
    refetch_chunks: tuple[int, ...] = ()
    reject_senders: tuple[str, ...] = ()


class Application(Protocol):
    """The replicated state machine as an engine sees it.

    Consensus calls (init_chain … commit, vote extensions, snapshot restore) come from one thread in order; `check_tx`
    from another; `info`, `query`, `list_snapshots`, `load_chunk` from any thread on read-only views. A call may run
    beside calls of the other groups. Raising from a consensus call halts the engine, except as `commit` states.
    """

    def info(self, request: InfoRequest, /) -> InfoResponse:
        """Last height whose `commit` returned, and its app hash."""

    def query(self, request: QueryRequest, /) -> QueryResponse:
        """Read committed state."""

    def check_tx(self, request: CheckTxRequest, /) -> CheckTxResponse:
        """Judge a transaction on a view of the last committed state; never raises for bad input."""

    def init_chain(self, request: InitChainRequest, /) -> InitChainResponse:
        """Build the genesis state; durable only with the first `commit`."""

    def prepare_proposal(self, request: PrepareProposalRequest, /) -> PrepareProposalResponse:
        """Choose and order transactions for a block; may be called again at the same height."""

    def process_proposal(self, request: ProcessProposalRequest, /) -> ProcessProposalResponse:
        """Accept everything a correct proposer can make; deterministic; may never be called for a block."""

    def extend_vote(self, request: ExtendVoteRequest, /) -> ExtendVoteResponse:
        """Data to attach to the precommit."""

    def verify_vote_extension(self, request: VerifyVoteExtensionRequest, /) -> VerifyVoteExtensionResponse:
        """Judge another validator's extension; deterministic."""

    def finalize_block(self, request: FinalizeBlockRequest, /) -> FinalizeBlockResponse:
        """Execute a decided block; deterministic; persists nothing."""

    def commit(self) -> CommitResponse:
        """Persist the finalized block's height, app hash and state in one atomic durable write.

        If that is impossible for now (disk full) raise UnavailableError, leaving everything as it was: the engine
        refuses new transactions and calls again.
        """

    def list_snapshots(self) -> tuple[Snapshot, ...]:
        """Own snapshots that peers may fetch."""

    def offer_snapshot(self, request: OfferSnapshotRequest, /) -> OfferSnapshotResponse:
        """Begin restoring, or refuse."""

    def load_chunk(self, request: LoadChunkRequest, /) -> LoadChunkResponse:
        """A chunk of an own snapshot."""

    def apply_chunk(self, request: ApplyChunkRequest, /) -> ApplyChunkResponse:
        """Restore one chunk."""
