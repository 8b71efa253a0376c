"""What CometBFT's RPC answers, in our forms: its JSON writes 64-bit numbers as text, hashes in hex, bytes in base64.

The forms check themselves (`Block.check`, `ValidatorSet`), so an answer that does not hang together is an EngineError
`engine.store`, as a damaged block store would be.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from althing.consensus.abci import Event, EventAttribute, ExecTxResult, FinalizeBlockResponse, ValidatorUpdate
from althing.consensus.cometbft.evidence import evidence_bytes
from althing.consensus.engine import EngineError
from althing.protocol.block import (
    Block,
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    ConsensusParams,
    Header,
    SignedHeader,
    Timestamp,
    Validator,
    ValidatorSet,
)
from althing.protocol.errors import AlthingError, ProtocolError

__all__ = [
    "block_of",
    "params_of",
    "priorities_of",
    "results_of",
    "signed_header_of",
    "timestamp_of",
    "timestamp_text",
    "validators_of",
]

P = ParamSpec("P")
T = TypeVar("T")

_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z")
_ED25519: Final = "tendermint/PubKeyEd25519"


def _checked(read: Callable[P, T]) -> Callable[P, T]:
    @wraps(read)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except (KeyError, TypeError, ValueError, AttributeError, binascii.Error, ProtocolError) as error:
            said = error.message if isinstance(error, AlthingError) else f"{type(error).__name__} {error}"
            raise EngineError("engine.store", f"what CometBFT has stored cannot be read: {said}") from error

    return run


@_checked
def signed_header_of(result: Any) -> SignedHeader:
    """The answer to `commit`."""
    signed = result["signed_header"]
    return SignedHeader(_header(signed["header"]), _commit(signed["commit"]))


@_checked
def block_of(result: Any) -> Block:
    """The answer to `block`."""
    found = result["block"]
    block = Block(
        header=_header(found["header"]),
        txs=tuple(_bytes(tx) for tx in found["data"]["txs"] or ()),
        evidence=tuple(evidence_bytes(item) for item in found["evidence"]["evidence"] or ()),
        last_commit=_commit(found["last_commit"]),
    )
    block.check()
    return block


@_checked
def validators_of(members: list[Any]) -> ValidatorSet:
    """The `validators` of all pages of an answer to `validators`."""
    return ValidatorSet.of(Validator(_key(member["pub_key"]), int(member["voting_power"])) for member in members)


@_checked
def priorities_of(members: list[Any]) -> dict[bytes, int]:
    """Proposer priorities by address, from the same."""
    return {_hex(member["address"]): int(member["proposer_priority"]) for member in members}


@_checked
def params_of(result: Any) -> ConsensusParams:
    """The `consensus_params` of an answer."""
    return ConsensusParams(
        block_bytes_max=int(result["block"]["max_bytes"]),
        block_gas_max=int(result["block"]["max_gas"]),
        evidence_age_blocks_max=int(result["evidence"]["max_age_num_blocks"]),
        evidence_age_ns_max=int(result["evidence"]["max_age_duration"]),
        evidence_bytes_max=int(result["evidence"]["max_bytes"]),
        key_types=tuple(result["validator"]["pub_key_types"]),
        app_version=int(result["version"].get("app") or 0),
        vote_extensions_height=int((result.get("abci") or {}).get("vote_extensions_enable_height") or 0),
        authority=(result.get("authority") or {}).get("authority") or "",
    )


@_checked
def results_of(result: Any) -> FinalizeBlockResponse:
    """The answer to `block_results`."""
    int(result["height"])  # or it is no such answer: everything else may be left out
    updates = result.get("consensus_param_updates")
    return FinalizeBlockResponse(
        tx_results=tuple(
            ExecTxResult(
                code=int(item.get("code") or 0),
                data=_bytes(item.get("data")),
                log=item.get("log") or "",
                info=item.get("info") or "",
                gas_wanted=int(item.get("gas_wanted") or 0),
                gas_used=int(item.get("gas_used") or 0),
                events=_events(item.get("events")),
                codespace=item.get("codespace") or "",
            )
            for item in result.get("txs_results") or ()
        ),
        app_hash=_bytes(result.get("app_hash")),
        validator_updates=tuple(_update(item) for item in result.get("validator_updates") or ()),
        consensus_param_updates=None if updates is None else params_of(updates),
        events=_events(result.get("finalize_block_events")),
    )


@_checked
def timestamp_of(text: str) -> Timestamp:
    """RFC 3339 with up to nine digits behind the point, as Go writes times."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time")
    moment = datetime(*(int(part) for part in found.groups()[:6]), tzinfo=UTC)  # type: ignore[arg-type, misc]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    whole = moment - epoch
    return Timestamp(whole.days * 86_400 + whole.seconds, int((found[7] or "").ljust(9, "0")))


def timestamp_text(time: Timestamp) -> str:
    """Inverse of `timestamp_of`."""
    moment = datetime(1970, 1, 1) + timedelta(seconds=time.seconds)  # noqa: DTZ001 -- UTC, named by the Z
    return f"{moment.isoformat()}.{time.nanos:09d}Z"


def _header(found: Any) -> Header:
    return Header(
        app_version=int(found["version"].get("app") or 0),
        chain_id=found["chain_id"],
        height=int(found["height"]),
        time=timestamp_of(found["time"]),
        last_block_id=_block_id(found["last_block_id"]),
        last_commit_hash=_hex(found["last_commit_hash"]),
        data_hash=_hex(found["data_hash"]),
        validators_hash=_hex(found["validators_hash"]),
        next_validators_hash=_hex(found["next_validators_hash"]),
        consensus_hash=_hex(found["consensus_hash"]),
        app_hash=_hex(found["app_hash"]),
        last_results_hash=_hex(found["last_results_hash"]),
        evidence_hash=_hex(found["evidence_hash"]),
        proposer_address=_hex(found["proposer_address"]),
    )


def _block_id(found: Any) -> BlockId:
    return BlockId(_hex(found["hash"]), int(found["parts"]["total"]), _hex(found["parts"]["hash"]))


def _commit(found: Any) -> Commit:
    if not int(found["height"]):
        return Commit.empty()
    return Commit(
        int(found["height"]),
        int(found["round"]),
        _block_id(found["block_id"]),
        tuple(_signature(entry) for entry in found["signatures"]),
    )


def _signature(entry: Any) -> CommitSig:
    flag = BlockIdFlag(int(entry["block_id_flag"]))
    if flag is BlockIdFlag.ABSENT:
        return CommitSig.absent()
    return CommitSig(
        flag, _hex(entry["validator_address"]), timestamp_of(entry["timestamp"]), _bytes(entry["signature"])
    )


def _update(item: Any) -> ValidatorUpdate:
    # Protobuf's JSON, not the RPC's: {"pub_key": {"Sum": {"type": …, "value": {"ed25519": …}}}, "power": …}.
    key = item["pub_key"]["Sum"]["value"]["ed25519"]
    return ValidatorUpdate(_bytes(key), int(item.get("power") or 0))


def _events(items: Any) -> tuple[Event, ...]:
    return tuple(
        Event(
            item["type"],
            tuple(
                EventAttribute(a.get("key") or "", a.get("value") or "", bool(a.get("index")))
                for a in item.get("attributes") or ()
            ),
        )
        for item in items or ()
    )


def _key(found: Any) -> bytes:
    if found["type"] != _ED25519:
        raise ValueError(f"a validator's key is a {found['type']}")
    return _bytes(found["value"])


def _hex(text: str) -> bytes:
    return bytes.fromhex(text)


def _bytes(text: str | None) -> bytes:
    return base64.b64decode(text, validate=True) if text else b""
