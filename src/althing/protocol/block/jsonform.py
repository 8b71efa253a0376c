"""Headers, commits and validators in the JSON that CometBFT's RPC speaks, of any chain with Ed25519 keys.

64-bit integers are decimal strings, hashes and addresses upper-case hexadecimal, signatures and keys base64, times RFC
3339 in UTC with up to nine digits; what is empty may be null. Readers take the value of a parsed JSON text, check every
field and ignore unknown ones. Source: CometBFT v0.39.4 `libs/json`, `types`, `rpc/openapi`; docs/spec/light-client.md §7.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Final

from althing.protocol.block.blocks import SignedHeader
from althing.protocol.block.commit import BlockIdFlag, Commit, CommitSig
from althing.protocol.block.header import BlockId, Header
from althing.protocol.block.params import ConsensusParams
from althing.protocol.block.times import ZERO_TIME, Timestamp
from althing.protocol.block.validators import VALIDATORS_MAX, Validator
from althing.protocol.errors import ProtocolError
from althing.protocol.timestamps import days_from_civil

__all__ = [
    "json_of_params",
    "json_of_signed_header",
    "json_of_time",
    "json_of_validator",
    "json_of_validators",
    "signed_header_of_json",
    "time_of_json",
    "validators_of_json",
]

_KEY_TYPE: Final = "tendermint/PubKeyEd25519"
_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
_INTEGER: Final = re.compile(r"-?(0|[1-9]\d{0,19})", re.ASCII)
_DAY_S: Final = 86_400
_DAYS_OF_400_YEARS: Final = 146_097


def signed_header_of_json(item: Any) -> SignedHeader:
    """`{"header": …, "commit": …}`, as `/commit` answers it; ProtocolError `block.json` or a `block.*` of what it holds."""
    return SignedHeader(_header(_member(item, "header")), _commit(_member(item, "commit")))


def validators_of_json(items: Any) -> list[Validator]:
    """The validators of a list (a page of `/validators`); ProtocolError unless each address is that of its key."""
    if type(items) is not list or len(items) > VALIDATORS_MAX:
        raise _bad("validators")
    found = []
    for item in items:
        key = _member(item, "pub_key")
        if _member(key, "type") != _KEY_TYPE:
            raise ProtocolError("block.validator", "a validator's key is not Ed25519")
        validator = Validator(_base64(_member(key, "value")), _integer(_member(item, "voting_power")))
        if _hexadecimal(_member(item, "address")) != validator.address:
            raise ProtocolError("block.validator", "the validator's address is not that of its key")
        found.append(validator)
    return found


def json_of_signed_header(signed: SignedHeader) -> dict[str, Any]:
    """The form that `signed_header_of_json` reads."""
    header, commit = signed.header, signed.commit
    return {
        "header": {
            "version": {"block": str(header.block_version), "app": str(header.app_version)},
            "chain_id": header.chain_id,
            "height": str(header.height),
            "time": json_of_time(header.time),
            "last_block_id": _json_of_block_id(header.last_block_id),
            "last_commit_hash": _upper(header.last_commit_hash),
            "data_hash": _upper(header.data_hash),
            "validators_hash": _upper(header.validators_hash),
            "next_validators_hash": _upper(header.next_validators_hash),
            "consensus_hash": _upper(header.consensus_hash),
            "app_hash": _upper(header.app_hash),
            "last_results_hash": _upper(header.last_results_hash),
            "evidence_hash": _upper(header.evidence_hash),
            "proposer_address": _upper(header.proposer_address),
        },
        "commit": {
            "height": str(commit.height),
            "round": commit.round,
            "block_id": _json_of_block_id(commit.block_id),
            "signatures": [
                {
                    "block_id_flag": int(entry.flag),
                    "validator_address": _upper(entry.address),
                    "timestamp": json_of_time(entry.timestamp),
                    "signature": b64encode(entry.signature).decode("ascii") if entry.signature else None,
                }
                for entry in commit.signatures
            ],
        },
    }


def json_of_validator(validator: Validator, priority: int = 0) -> dict[str, Any]:
    """One validator, with its proposer priority, which no hash covers."""
    return {
        "address": _upper(validator.address),
        "pub_key": {"type": _KEY_TYPE, "value": b64encode(validator.public_key).decode("ascii")},
        "voting_power": str(validator.power),
        "proposer_priority": str(priority),
    }


def json_of_validators(validators: Iterable[Validator]) -> list[dict[str, Any]]:
    """Validators in the order given."""
    return [json_of_validator(validator) for validator in validators]


def json_of_params(params: ConsensusParams) -> dict[str, Any]:
    """Consensus parameters, as genesis.json and `/consensus_params` have them."""
    return {
        "block": {"max_bytes": str(params.block_bytes_max), "max_gas": str(params.block_gas_max)},
        "evidence": {
            "max_age_num_blocks": str(params.evidence_age_blocks_max),
            "max_age_duration": str(params.evidence_age_ns_max),
            "max_bytes": str(params.evidence_bytes_max),
        },
        "validator": {"pub_key_types": list(params.key_types)},
        "version": {"app": str(params.app_version)},
        "abci": {"vote_extensions_enable_height": str(params.vote_extensions_height)},
        "authority": {"authority": params.authority},
    }


def time_of_json(text: Any) -> Timestamp:
    """RFC 3339 in UTC, as Go writes it."""
    match = _TIME.fullmatch(text) if type(text) is str else None
    if match is None:
        raise _bad("time")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    days = days_from_civil(year, month, day)
    if days is None or hour > 23 or minute > 59 or second > 59:
        raise _bad("time")
    nanos = (match.group(7) or "").ljust(9, "0")
    return Timestamp(days * _DAY_S + hour * 3600 + minute * 60 + second, int(nanos))


def json_of_time(time: Timestamp) -> str:
    """Go's RFC3339Nano: no zeros at the end of the fraction."""
    days, rest = divmod(time.seconds, _DAY_S)
    year, month, day = _civil(days)
    fraction = f".{time.nanos:09d}".rstrip("0").rstrip(".")
    return f"{year:04d}-{month:02d}-{day:02d}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}{fraction}Z"


def _header(item: Any) -> Header:
    version = _member(item, "version")
    chain_id = _member(item, "chain_id")
    if type(chain_id) is not str:
        raise _bad("chain_id")
    hashes = {
        name: _hexadecimal(item.get(name))
        for name in (
            "last_commit_hash",
            "data_hash",
            "validators_hash",
            "next_validators_hash",
            "consensus_hash",
            "app_hash",
            "last_results_hash",
            "evidence_hash",
            "proposer_address",
        )
    }
    return Header(
        block_version=_integer(version.get("block") if isinstance(version, Mapping) else None),
        app_version=_integer(version.get("app", "0")),
        chain_id=chain_id,
        height=_integer(_member(item, "height")),
        time=time_of_json(_member(item, "time")),
        last_block_id=_block_id(item.get("last_block_id")),
        **hashes,
    )


def _commit(item: Any) -> Commit:
    entries = _member(item, "signatures")
    if type(entries) is not list or len(entries) > VALIDATORS_MAX:
        raise _bad("signatures")
    return Commit(
        _integer(_member(item, "height")),
        _integer(_member(item, "round")),
        _block_id(_member(item, "block_id")),
        tuple(_entry(entry) for entry in entries),
    )


def _entry(item: Any) -> CommitSig:
    flag = _member(item, "block_id_flag")
    if type(flag) is not int or flag not in (1, 2, 3):
        raise ProtocolError("block.commit_sig", "a block id flag is unknown")
    signature = _member(item, "signature")
    return CommitSig(
        BlockIdFlag(flag),
        _hexadecimal(_member(item, "validator_address")),
        ZERO_TIME if item.get("timestamp") is None else time_of_json(item["timestamp"]),
        _base64(signature) if signature else b"",
    )


def _block_id(item: Any) -> BlockId:
    if item is None:
        return BlockId(b"", 0, b"")
    parts = _member(item, "parts")
    return BlockId(_hexadecimal(item.get("hash")), _integer(_member(parts, "total")), _hexadecimal(parts.get("hash")))


def _json_of_block_id(block_id: BlockId) -> dict[str, Any]:
    return {
        "hash": _upper(block_id.hash),
        "parts": {"total": block_id.parts_total, "hash": _upper(block_id.parts_hash)},
    }


def _member(item: Any, name: str) -> Any:
    if not isinstance(item, Mapping) or name not in item:
        raise _bad(name)
    return item[name]


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is str and _INTEGER.fullmatch(value):
        return int(value)
    raise _bad("an integer")


def _hexadecimal(value: Any) -> bytes:
    if value is None:
        return b""
    if type(value) is not str or not value.isascii() or len(value) > 1024 or (not value.isalnum() and value):
        raise _bad("hexadecimal")
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise _bad("hexadecimal") from None


def _base64(value: Any) -> bytes:
    if type(value) is not str or len(value) > 1024:
        raise _bad("base64")
    try:
        return b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _bad("base64") from None


def _upper(data: bytes) -> str:
    return data.hex().upper()


def _civil(days: int) -> tuple[int, int, int]:
    # The Gregorian date of a day since 1970: years begin in March here, so that leap days come last.
    shifted = days + 719_468
    era, of_era = divmod(shifted, _DAYS_OF_400_YEARS)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return year + era * 400 + (month <= 2), month, day


def _bad(what: str) -> ProtocolError:
    return ProtocolError("block.json", f"CometBFT's JSON of a block does not hold {what} in its form")
