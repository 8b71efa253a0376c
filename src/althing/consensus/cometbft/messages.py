"""ABCI 2.0's protobuf messages to and from the frozen requests and responses of `consensus.abci`.

What comes from the engine is bounded by the frame and checked here: a field that no CometBFT would send is the peer's
fault (AbciPeerError), never the application's. Enumerations and times have one reading; unknown fields are ignored, so
that additive changes of the protocol pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from althing.consensus import abci
from althing.consensus.cometbft.frames import AbciPeerError
from althing.consensus.cometbft.proto.tendermint.abci import types_pb2 as pb
from althing.consensus.cometbft.proto.tendermint.types import params_pb2
from althing.protocol.block import BlockIdFlag, ConsensusParams, Timestamp
from althing.protocol.errors import ProtocolError

__all__ = ["decode_request", "encode_response"]

_NANOS: Final = 1_000_000_000

Request = Any  # one of the requests of `consensus.abci`, or None where a call has none
Response = Any


def decode_request(kind: str, message: Any) -> Request:
    """The request that the field `kind` of a `Request` holds; None for Commit and ListSnapshots."""
    try:
        return _DECODERS[kind](message)
    except (ProtocolError, ValueError) as error:
        raise AbciPeerError("abci.malformed", f"the engine's {kind} cannot be read: {error}") from error


def encode_response(kind: str, response: Response) -> pb.Response:
    """The `Response` that answers a request of a kind."""
    encoded: pb.Response = _ENCODERS[kind](response)
    return encoded


# --- requests ----------------------------------------------------------------------------------------------------------


def _info(m: pb.RequestInfo) -> abci.InfoRequest:
    return abci.InfoRequest(m.version, m.block_version, m.p2p_version, m.abci_version)


def _init_chain(m: pb.RequestInitChain) -> abci.InitChainRequest:
    return abci.InitChainRequest(
        time=_time(m.time),
        chain_id=m.chain_id,
        consensus_params=_params(m.consensus_params),
        validators=tuple(_update(update) for update in m.validators),
        app_state=m.app_state_bytes,
        initial_height=m.initial_height,
    )


def _query(m: pb.RequestQuery) -> abci.QueryRequest:
    if m.height < 0:
        raise ValueError("the height is negative")
    return abci.QueryRequest(m.path, m.data, m.height, m.prove)


def _check_tx(m: pb.RequestCheckTx) -> abci.CheckTxRequest:
    return abci.CheckTxRequest(m.tx, abci.CheckTxKind(m.type))


def _prepare_proposal(m: pb.RequestPrepareProposal) -> abci.PrepareProposalRequest:
    return abci.PrepareProposalRequest(
        max_tx_bytes=m.max_tx_bytes,
        txs=tuple(m.txs),
        local_last_commit=abci.ExtendedCommitInfo(
            m.local_last_commit.round,
            tuple(
                abci.ExtendedVoteInfo(
                    v.validator.address,
                    v.validator.power,
                    BlockIdFlag(v.block_id_flag),
                    v.vote_extension,
                    v.extension_signature,
                )
                for v in m.local_last_commit.votes
            ),
        ),
        misbehavior=_misbehavior(m.misbehavior),
        height=m.height,
        time=_time(m.time),
        next_validators_hash=m.next_validators_hash,
        proposer_address=m.proposer_address,
    )


def _process_proposal(m: pb.RequestProcessProposal) -> abci.ProcessProposalRequest:
    return abci.ProcessProposalRequest(
        txs=tuple(m.txs),
        proposed_last_commit=_commit_info(m.proposed_last_commit),
        misbehavior=_misbehavior(m.misbehavior),
        hash=m.hash,
        height=m.height,
        time=_time(m.time),
        next_validators_hash=m.next_validators_hash,
        proposer_address=m.proposer_address,
    )


def _extend_vote(m: pb.RequestExtendVote) -> abci.ExtendVoteRequest:
    return abci.ExtendVoteRequest(
        hash=m.hash,
        height=m.height,
        time=_time(m.time),
        txs=tuple(m.txs),
        proposed_last_commit=_commit_info(m.proposed_last_commit),
        misbehavior=_misbehavior(m.misbehavior),
        next_validators_hash=m.next_validators_hash,
        proposer_address=m.proposer_address,
    )


def _verify_vote_extension(m: pb.RequestVerifyVoteExtension) -> abci.VerifyVoteExtensionRequest:
    return abci.VerifyVoteExtensionRequest(m.hash, m.validator_address, m.height, m.vote_extension)


def _finalize_block(m: pb.RequestFinalizeBlock) -> abci.FinalizeBlockRequest:
    return abci.FinalizeBlockRequest(
        txs=tuple(m.txs),
        decided_last_commit=_commit_info(m.decided_last_commit),
        misbehavior=_misbehavior(m.misbehavior),
        hash=m.hash,
        height=m.height,
        time=_time(m.time),
        next_validators_hash=m.next_validators_hash,
        proposer_address=m.proposer_address,
    )


def _offer_snapshot(m: pb.RequestOfferSnapshot) -> abci.OfferSnapshotRequest:
    s = m.snapshot
    return abci.OfferSnapshotRequest(abci.Snapshot(s.height, s.format, s.chunks, s.hash, s.metadata), m.app_hash)


def _load_chunk(m: pb.RequestLoadSnapshotChunk) -> abci.LoadChunkRequest:
    return abci.LoadChunkRequest(m.height, m.format, m.chunk)


def _apply_chunk(m: pb.RequestApplySnapshotChunk) -> abci.ApplyChunkRequest:
    return abci.ApplyChunkRequest(m.index, m.chunk, m.sender)


_DECODERS: Final[dict[str, Any]] = {
    "info": _info,
    "init_chain": _init_chain,
    "query": _query,
    "check_tx": _check_tx,
    "commit": lambda _: None,
    "list_snapshots": lambda _: None,
    "offer_snapshot": _offer_snapshot,
    "load_snapshot_chunk": _load_chunk,
    "apply_snapshot_chunk": _apply_chunk,
    "prepare_proposal": _prepare_proposal,
    "process_proposal": _process_proposal,
    "extend_vote": _extend_vote,
    "verify_vote_extension": _verify_vote_extension,
    "finalize_block": _finalize_block,
}


def _time(m: Any) -> Timestamp:
    return Timestamp(m.seconds, m.nanos)


def _update(m: pb.ValidatorUpdate) -> abci.ValidatorUpdate:
    key = m.pub_key.ed25519
    if m.pub_key.WhichOneof("sum") != "ed25519" or len(key) != 32:
        raise ValueError("a validator's key is not an Ed25519 key")
    return abci.ValidatorUpdate(key, m.power)


def _commit_info(m: pb.CommitInfo) -> abci.CommitInfo:
    return abci.CommitInfo(
        m.round,
        tuple(abci.VoteInfo(v.validator.address, v.validator.power, BlockIdFlag(v.block_id_flag)) for v in m.votes),
    )


def _misbehavior(items: Iterable[pb.Misbehavior]) -> tuple[abci.Misbehavior, ...]:
    return tuple(
        abci.Misbehavior(
            kind=abci.MisbehaviorKind(m.type),
            address=m.validator.address,
            power=m.validator.power,
            height=m.height,
            time=_time(m.time),
            total_power=m.total_voting_power,
        )
        for m in items
    )


def _params(m: params_pb2.ConsensusParams) -> ConsensusParams:
    age = m.evidence.max_age_duration
    return ConsensusParams(
        block_bytes_max=m.block.max_bytes,
        block_gas_max=m.block.max_gas,
        evidence_age_blocks_max=m.evidence.max_age_num_blocks,
        evidence_age_ns_max=age.seconds * _NANOS + age.nanos,
        evidence_bytes_max=m.evidence.max_bytes,
        key_types=tuple(m.validator.pub_key_types),
        app_version=m.version.app,
        vote_extensions_height=m.abci.vote_extensions_enable_height,
        authority=m.authority.authority,
    )


# --- responses ---------------------------------------------------------------------------------------------------------


def _info_response(r: abci.InfoResponse) -> pb.Response:
    return pb.Response(
        info=pb.ResponseInfo(
            data=r.data,
            version=r.version,
            app_version=r.app_version,
            last_block_height=r.last_block_height,
            last_block_app_hash=r.last_block_app_hash,
        )
    )


def _init_chain_response(r: abci.InitChainResponse) -> pb.Response:
    answer = pb.ResponseInitChain(app_hash=r.app_hash, validators=[_update_message(u) for u in r.validators])
    if r.consensus_params is not None:
        answer.consensus_params.CopyFrom(_params_message(r.consensus_params))
    return pb.Response(init_chain=answer)


def _query_response(r: abci.QueryResponse) -> pb.Response:
    answer = pb.ResponseQuery(
        code=r.code,
        log=r.log,
        info=r.info,
        index=r.index,
        key=r.key,
        value=r.value,
        height=r.height,
        codespace=r.codespace,
    )
    for kind, key, data in r.proof_ops:
        answer.proof_ops.ops.add(type=kind, key=key, data=data)
    return pb.Response(query=answer)


def _check_tx_response(r: abci.CheckTxResponse) -> pb.Response:
    return pb.Response(
        check_tx=pb.ResponseCheckTx(
            code=r.code,
            data=r.data,
            log=r.log,
            info=r.info,
            gas_wanted=r.gas_wanted,
            gas_used=r.gas_used,
            codespace=r.codespace,
        )
    )


def _finalize_block_response(r: abci.FinalizeBlockResponse) -> pb.Response:
    answer = pb.ResponseFinalizeBlock(
        events=_events(r.events),
        tx_results=[_result(result) for result in r.tx_results],
        validator_updates=[_update_message(update) for update in r.validator_updates],
        app_hash=r.app_hash,
    )
    if r.consensus_param_updates is not None:
        answer.consensus_param_updates.CopyFrom(_params_message(r.consensus_param_updates))
    return pb.Response(finalize_block=answer)


def _list_snapshots_response(snapshots: tuple[abci.Snapshot, ...]) -> pb.Response:
    made = [
        pb.Snapshot(height=s.height, format=s.format, chunks=s.chunks, hash=s.hash, metadata=s.metadata)
        for s in snapshots
    ]
    return pb.Response(list_snapshots=pb.ResponseListSnapshots(snapshots=made))


def _apply_chunk_response(r: abci.ApplyChunkResponse) -> pb.Response:
    return pb.Response(
        apply_snapshot_chunk=pb.ResponseApplySnapshotChunk(
            result=_number(r.result), refetch_chunks=r.refetch_chunks, reject_senders=r.reject_senders
        )
    )


_ENCODERS: Final[dict[str, Any]] = {
    "info": _info_response,
    "init_chain": _init_chain_response,
    "query": _query_response,
    "check_tx": _check_tx_response,
    "commit": lambda r: pb.Response(commit=pb.ResponseCommit(retain_height=r.retain_height)),
    "list_snapshots": _list_snapshots_response,
    "offer_snapshot": lambda r: pb.Response(offer_snapshot=pb.ResponseOfferSnapshot(result=_number(r.result))),
    "load_snapshot_chunk": lambda r: pb.Response(load_snapshot_chunk=pb.ResponseLoadSnapshotChunk(chunk=r.chunk)),
    "apply_snapshot_chunk": _apply_chunk_response,
    "prepare_proposal": lambda r: pb.Response(prepare_proposal=pb.ResponsePrepareProposal(txs=r.txs)),
    "process_proposal": lambda r: pb.Response(process_proposal=pb.ResponseProcessProposal(status=_verdict(r.accept))),
    "extend_vote": lambda r: pb.Response(extend_vote=pb.ResponseExtendVote(vote_extension=r.vote_extension)),
    "verify_vote_extension": lambda r: pb.Response(
        verify_vote_extension=pb.ResponseVerifyVoteExtension(status=_verdict(r.accept))
    ),
    "finalize_block": _finalize_block_response,
}


def _verdict(accept: bool) -> Any:
    return 1 if accept else 2  # ACCEPT, REJECT


def _number(value: int) -> Any:
    return int(value)


def _update_message(u: abci.ValidatorUpdate) -> pb.ValidatorUpdate:
    update = pb.ValidatorUpdate(power=u.power)
    update.pub_key.ed25519 = u.public_key
    return update


def _result(r: abci.ExecTxResult) -> pb.ExecTxResult:
    return pb.ExecTxResult(
        code=r.code,
        data=r.data,
        log=r.log,
        info=r.info,
        gas_wanted=r.gas_wanted,
        gas_used=r.gas_used,
        events=_events(r.events),
        codespace=r.codespace,
    )


def _events(events: tuple[abci.Event, ...]) -> list[pb.Event]:
    return [
        pb.Event(
            type=event.kind,
            attributes=[pb.EventAttribute(key=a.key, value=a.value, index=a.index) for a in event.attributes],
        )
        for event in events
    ]


def _params_message(p: ConsensusParams) -> params_pb2.ConsensusParams:
    message = params_pb2.ConsensusParams()
    message.block.max_bytes = p.block_bytes_max
    message.block.max_gas = p.block_gas_max
    message.evidence.max_age_num_blocks = p.evidence_age_blocks_max
    message.evidence.max_age_duration.seconds, message.evidence.max_age_duration.nanos = divmod(
        p.evidence_age_ns_max, _NANOS
    )
    message.evidence.max_bytes = p.evidence_bytes_max
    message.validator.pub_key_types.extend(p.key_types)
    message.version.app = p.app_version
    message.abci.vote_extensions_enable_height = p.vote_extensions_height
    message.authority.authority = p.authority
    return message
