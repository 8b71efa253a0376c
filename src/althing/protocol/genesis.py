"""The genesis record as bytes, its hash, and the JSON string that engines carry as app_state (docs/spec/genesis.md)."""

from __future__ import annotations

import json
from typing import Final

from althing.protocol.errors import EncodingError
from althing.protocol.hashing import sha256
from althing.protocol.limits import CBOR_BYTES_MAX
from althing.protocol.messages.governance import Genesis

__all__ = ["app_state_of", "genesis_hash", "genesis_of_app_state"]

_DOMAIN: Final = b"althing/genesis/v1"


def genesis_hash(genesis: Genesis) -> bytes:
    """SHA-256(domain ‖ deterministic CBOR): names the chain in every transaction id and signature."""
    return sha256(_DOMAIN + genesis.to_bytes())


def app_state_of(genesis: Genesis) -> bytes:
    """The engine's app_state: a JSON string of the record's bytes in hex (CometBFT demands JSON there)."""
    return json.dumps(genesis.to_bytes().hex()).encode("ascii")


def genesis_of_app_state(data: bytes) -> Genesis:
    """The genesis record in an engine's app_state, or EncodingError `genesis.form`."""
    if len(data) > 2 * CBOR_BYTES_MAX + 2 or data[:1] != b'"' or data[-1:] != b'"':
        raise EncodingError("genesis.form", "app_state is a JSON string of hexadecimal digits")
    try:
        encoded = bytes.fromhex(data[1:-1].decode("ascii"))
    except ValueError as exc:
        raise EncodingError("genesis.form", "app_state is a JSON string of hexadecimal digits") from exc
    if encoded.hex().encode("ascii") != data[1:-1]:
        raise EncodingError("genesis.form", "app_state is written in lower case and without spaces")
    return Genesis.from_bytes(encoded)
