"""How the block store writes what is not CometBFT's: results of execution, parameters, and the state between blocks.

Private to the store (format version 1, checked when it is opened), so plain CBOR arrays in field order.
"""

from __future__ import annotations

from typing import Any

import cbor2

from althing.consensus.abci import Event, EventAttribute, ExecTxResult, FinalizeBlockResponse, ValidatorUpdate
from althing.consensus.engine import EngineError
from althing.consensus.solo.chain import ChainState
from althing.consensus.solo.signer import LastSigned
from althing.protocol.block import BlockId, Commit, ConsensusParams, Timestamp, ValidatorSet
from althing.protocol.errors import ProtocolError

__all__ = [
    "decode_params",
    "decode_results",
    "decode_signed",
    "decode_state",
    "encode_params",
    "encode_results",
    "encode_signed",
    "encode_state",
]


def encode_results(response: FinalizeBlockResponse) -> bytes:
    """FinalizeBlock's answer, events and logs included."""
    return cbor2.dumps(
        [
            response.app_hash,
            [
                [r.code, r.data, r.log, r.info, r.gas_wanted, r.gas_used, _events(r.events), r.codespace]
                for r in response.tx_results
            ],
            [[u.public_key, u.power] for u in response.validator_updates],
            None if response.consensus_param_updates is None else _params(response.consensus_param_updates),
            _events(response.events),
        ]
    )


def decode_results(data: bytes) -> FinalizeBlockResponse:
    """Inverse of `encode_results`."""
    app_hash, results, updates, params, events = _load(data)
    return FinalizeBlockResponse(
        app_hash=app_hash,
        tx_results=tuple(
            ExecTxResult(code, body, log, info, wanted, used, _read_events(tx_events), codespace)
            for code, body, log, info, wanted, used, tx_events, codespace in results
        ),
        validator_updates=tuple(ValidatorUpdate(key, power) for key, power in updates),
        consensus_param_updates=None if params is None else _read_params(params),
        events=_read_events(events),
    )


def encode_params(params: ConsensusParams) -> bytes:
    """Consensus parameters."""
    return cbor2.dumps(_params(params))


def decode_params(data: bytes) -> ConsensusParams:
    """Inverse of `encode_params`."""
    return _read_params(_load(data))


def encode_signed(signed: LastSigned) -> bytes:
    """The signer's last precommit."""
    return cbor2.dumps(
        [signed.height, signed.round, signed.block_id.encode(), signed.timestamp.encode(), signed.signature]
    )


def decode_signed(data: bytes) -> LastSigned:
    """Inverse of `encode_signed`."""
    height, round_, block_id, timestamp, signature = _load(data)
    return LastSigned(height, round_, BlockId.decode(block_id), Timestamp.decode(timestamp), signature)


def encode_state(state: ChainState) -> bytes:
    """The state between two blocks."""
    return cbor2.dumps(
        [
            state.chain_id,
            state.initial_height,
            state.height,
            state.block_id.encode(),
            state.time.encode(),
            state.commit.encode(),
            None if state.last_validators is None else state.last_validators.encode(),
            state.validators.encode(),
            state.next_validators.encode(),
            _params(state.params),
            state.app_version,
            state.app_hash,
            state.last_results_hash,
            state.unproven,
        ]
    )


def decode_state(data: bytes) -> ChainState:
    """Inverse of `encode_state`."""
    (chain_id, initial, height, block_id, time, commit, last, now, following, *rest) = _load(data)
    params, app_version, app_hash, results_hash, unproven = rest
    try:
        return ChainState(
            chain_id=chain_id,
            initial_height=initial,
            height=height,
            block_id=BlockId.decode(block_id),
            time=Timestamp.decode(time),
            commit=Commit.decode(commit),
            last_validators=None if last is None else ValidatorSet.decode(last),
            validators=ValidatorSet.decode(now),
            next_validators=ValidatorSet.decode(following),
            params=_read_params(params),
            app_version=app_version,
            app_hash=app_hash,
            last_results_hash=results_hash,
            unproven=unproven,
        )
    except ProtocolError as exc:
        raise EngineError("engine.store", f"the stored chain state is damaged: {exc.message}") from exc


def _load(data: bytes) -> Any:
    try:
        return cbor2.loads(data)
    except cbor2.CBORDecodeError as exc:
        raise EngineError("engine.store", "a record of the block store is damaged") from exc


def _events(events: tuple[Event, ...]) -> list[Any]:
    return [[e.kind, [[a.key, a.value, a.index] for a in e.attributes]] for e in events]


def _read_events(events: list[Any]) -> tuple[Event, ...]:
    return tuple(Event(kind, tuple(EventAttribute(*a) for a in attributes)) for kind, attributes in events)


def _params(params: ConsensusParams) -> list[Any]:
    return [
        params.block_bytes_max,
        params.block_gas_max,
        params.evidence_age_blocks_max,
        params.evidence_age_ns_max,
        params.evidence_bytes_max,
        list(params.key_types),
        params.app_version,
        params.vote_extensions_height,
        params.authority,
    ]


def _read_params(fields: list[Any]) -> ConsensusParams:
    block_bytes, gas, age_blocks, age_ns, evidence_bytes, key_types, *rest = fields
    return ConsensusParams(block_bytes, gas, age_blocks, age_ns, evidence_bytes, tuple(key_types), *rest)
