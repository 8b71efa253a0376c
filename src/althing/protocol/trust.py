"""The trust file: what a verifier takes on faith. JSON, so that people can read and compare it (docs/spec/proof.md §1)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from althing.protocol.address import is_chain_id
from althing.protocol.block import Validator, ValidatorSet
from althing.protocol.errors import EncodingError, ProtocolError

__all__ = ["FORMAT", "Trust", "format_trust", "parse_trust"]

FORMAT: Final = "althing-trust/1"
_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Trust:
    """A pinned chain: genesis hash, and one block's height, header hash and the validators that signed it."""

    chain_id: str
    genesis_hash: bytes
    height: int
    header_hash: bytes
    validators: ValidatorSet


def format_trust(trust: Trust) -> str:
    """The JSON text of a trust file."""
    validators = [{"public_key": v.public_key.hex(), "power": v.power} for v in trust.validators.validators]
    document = {
        "format": FORMAT,
        "chain_id": trust.chain_id,
        "genesis_hash": trust.genesis_hash.hex(),
        "height": trust.height,
        "header_hash": trust.header_hash.hex(),
        "validators": validators,
    }
    return json.dumps(document, indent=2) + "\n"


def parse_trust(data: bytes) -> Trust:
    """The trust of a file's bytes, or EncodingError `trust.form`."""
    try:
        if len(data) > _BYTES_MAX:
            raise ValueError("too large")
        document = json.loads(data.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_unique)
        if document["format"] != FORMAT:
            raise ValueError(f"format is not {FORMAT}")
        validators = ValidatorSet.of(
            Validator(_digest(entry["public_key"]), _count(entry["power"])) for entry in document["validators"]
        )
        chain_id = document["chain_id"]
        if not is_chain_id(chain_id):
            raise ValueError("chain_id is not a chain id")
        return Trust(
            chain_id,
            _digest(document["genesis_hash"]),
            _count(document["height"]),
            _digest(document["header_hash"]),
            validators,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, AssertionError, ProtocolError) as exc:
        raise EncodingError(
            "trust.form", "this is not a trust file of format althing-trust/1", hint="get one with: althing trust show"
        ) from exc


def _digest(value: str) -> bytes:
    data = bytes.fromhex(value)
    if len(data) != 32 or value != data.hex():
        raise ValueError("not 32 bytes in lower-case hexadecimal")
    return data


def _count(value: object) -> int:
    # Beyond 2^53 - 1 readers of JSON disagree about the number (RFC 8259 §6).
    if type(value) is not int or not 0 < value < 2**53:
        raise ValueError("not an integer from 1 to 2^53 - 1")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # Of two members of one name parsers take either: two readers would then trust different chains.
    found = dict(pairs)
    if len(found) != len(pairs) or any("\ud800" <= char <= "\udfff" for name in found for char in name):
        raise ValueError("a member is named twice")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(name)
