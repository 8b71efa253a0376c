"""What the next block must say: the state between two blocks, and its step over one block. Pure.

The rules are those of CometBFT's `state.MakeBlock` and `updateState`, so another CometBFT implementation given the same
transactions, commits and results makes the same headers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from althing.consensus.abci import (
    CommitInfo,
    ExtendedCommitInfo,
    ExtendedVoteInfo,
    FinalizeBlockResponse,
    InitChainResponse,
    ValidatorUpdate,
    VoteInfo,
)
from althing.consensus.engine import EngineError, Genesis
from althing.protocol.block import (
    ZERO_BLOCK_ID,
    Block,
    BlockId,
    Commit,
    CommitSig,
    ConsensusParams,
    Header,
    Timestamp,
    Validator,
    ValidatorSet,
    data_hash,
    evidence_hash,
    median_time,
    results_hash,
)
from althing.protocol.errors import ProtocolError

__all__ = [
    "ChainState",
    "apply_block",
    "commit_info",
    "extended_commit_info",
    "genesis_state",
    "make_block",
    "with_genesis_of_app",
]


@dataclass(frozen=True, slots=True)
class ChainState:
    """Everything the header of `height` + 1 is made from, beside its transactions.

    `validators` sign `height` + 1, `next_validators` the one after. `unproven`: the last block had transactions or
    changed the app hash, and no header states their results yet.
    """

    chain_id: str
    initial_height: int
    height: int
    block_id: BlockId
    time: Timestamp
    commit: Commit
    last_validators: ValidatorSet | None
    validators: ValidatorSet
    next_validators: ValidatorSet
    params: ConsensusParams
    app_version: int
    app_hash: bytes
    last_results_hash: bytes
    unproven: bool

    @property
    def next_height(self) -> int:
        """The height of the block to come."""
        return self.height + 1 if self.height else self.initial_height

    @property
    def next_time(self) -> Timestamp:
        """Its time: genesis time first, then the median time of the last commit (BFT time)."""
        if self.last_validators is None:
            return self.time
        return median_time(self.commit, self.last_validators)


def genesis_state(genesis: Genesis, signer_key: bytes, app_version: int) -> ChainState:
    """Before the first block; where genesis names no validators, the signer is the only one (power 10)."""
    validators = _validator_set(genesis.validators or (ValidatorUpdate(signer_key, 10),))
    return ChainState(
        chain_id=genesis.chain_id,
        initial_height=genesis.initial_height,
        height=0,
        block_id=ZERO_BLOCK_ID,
        time=genesis.time,
        commit=Commit.empty(),
        last_validators=None,
        validators=validators,
        next_validators=validators,
        params=genesis.consensus_params,
        app_version=app_version,
        app_hash=b"",
        last_results_hash=results_hash(()),
        unproven=True,
    )


def with_genesis_of_app(state: ChainState, response: InitChainResponse) -> ChainState:
    """What the application answered to InitChain replaces what genesis said."""
    if response.validators:
        validators = _validator_set(response.validators)
        state = replace(state, validators=validators, next_validators=validators)
    if response.consensus_params is not None:
        state = replace(state, params=response.consensus_params, app_version=response.consensus_params.app_version)
    return replace(state, app_hash=response.app_hash)


def make_block(state: ChainState, txs: tuple[bytes, ...], proposer_address: bytes) -> Block:
    """The block of `next_height` with these transactions and no evidence (`State.MakeBlock`)."""
    header = Header(
        app_version=state.app_version,
        chain_id=state.chain_id,
        height=state.next_height,
        time=state.next_time,
        last_block_id=state.block_id,
        last_commit_hash=state.commit.hash(),
        data_hash=data_hash(txs),
        validators_hash=state.validators.hash(),
        next_validators_hash=state.next_validators.hash(),
        consensus_hash=state.params.hash(),
        app_hash=state.app_hash,
        last_results_hash=state.last_results_hash,
        evidence_hash=evidence_hash(()),
        proposer_address=proposer_address,
    )
    return Block(header, txs, (), state.commit)


def apply_block(
    state: ChainState, block: Block, block_id: BlockId, commit: Commit, response: FinalizeBlockResponse
) -> ChainState:
    """The state after a block was executed (`updateState`); EngineError where CometBFT would stop."""
    if len(response.tx_results) != len(block.txs):
        raise EngineError(
            "engine.application", f"{len(block.txs)} transactions gave {len(response.tx_results)} results"
        )
    if len(response.app_hash) > 32:
        raise EngineError("engine.application", "an app hash has at most 32 bytes")
    params, app_version = state.params, state.app_version
    if response.consensus_param_updates is not None:
        params = response.consensus_param_updates
        app_version = params.app_version
    next_validators = state.next_validators
    if response.validator_updates:
        try:
            next_validators = next_validators.updated(
                [Validator(u.public_key, u.power) for u in response.validator_updates if u.power],
                [u.public_key for u in response.validator_updates if not u.power],
            )
        except ProtocolError as exc:
            raise EngineError("engine.application", f"validator updates cannot be applied: {exc.message}") from exc
    return replace(
        state,
        height=block.header.height,
        block_id=block_id,
        time=block.header.time,
        commit=commit,
        last_validators=state.validators,
        validators=state.next_validators,
        next_validators=next_validators,
        params=params,
        app_version=app_version,
        app_hash=response.app_hash,
        last_results_hash=results_hash(result.hashed for result in response.tx_results),
        unproven=bool(block.txs) or response.app_hash != block.header.app_hash,
    )


def commit_info(last_commit: Commit, last_validators: ValidatorSet | None) -> CommitInfo:
    """Who signed the previous block, in the order of its validators; empty at the initial height."""
    if last_validators is None:
        return CommitInfo()
    return CommitInfo(
        last_commit.round,
        tuple(VoteInfo(v.address, v.power, entry.flag) for v, entry in _votes(last_commit, last_validators)),
    )


def extended_commit_info(last_commit: Commit, last_validators: ValidatorSet | None) -> ExtendedCommitInfo:
    """The same for PrepareProposal; vote extensions are not used."""
    if last_validators is None:
        return ExtendedCommitInfo()
    return ExtendedCommitInfo(
        last_commit.round,
        tuple(ExtendedVoteInfo(v.address, v.power, entry.flag) for v, entry in _votes(last_commit, last_validators)),
    )


def _votes(commit: Commit, validators: ValidatorSet) -> list[tuple[Validator, CommitSig]]:
    return list(zip(validators.validators, commit.signatures, strict=True))


def _validator_set(updates: tuple[ValidatorUpdate, ...]) -> ValidatorSet:
    try:
        return ValidatorSet.of(Validator(update.public_key, update.power) for update in updates)
    except ProtocolError as exc:
        raise EngineError("engine.application", f"the validators of genesis cannot be used: {exc.message}") from exc
