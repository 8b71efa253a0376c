"""Consensus parameters: the limits of a block, of evidence and of keys that all validators share."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from althing.protocol.block.wire import int_field
from althing.protocol.errors import ProtocolError

__all__ = ["BLOCK_BYTES_MAX", "ConsensusParams"]

BLOCK_BYTES_MAX = 104_857_600  # CometBFT `MaxBlockSizeBytes`: 100 MiB
_KEY_TYPES = ("ed25519", "secp256k1")
_AUTHORITY_MAX = 256


@dataclass(frozen=True, slots=True)
class ConsensusParams:
    """All fields of tendermint.types.ConsensusParams, with CometBFT's defaults and its rules of validity.

    Byte and gas limits of -1 mean unlimited (bytes: `BLOCK_BYTES_MAX`). Source: CometBFT `types/params.go`.
    """

    block_bytes_max: int = 22_020_096
    block_gas_max: int = -1
    evidence_age_blocks_max: int = 100_000
    evidence_age_ns_max: int = 48 * 3600 * 1_000_000_000
    evidence_bytes_max: int = 1_048_576
    key_types: tuple[str, ...] = ("ed25519",)
    app_version: int = 0
    vote_extensions_height: int = 0
    authority: str = ""

    def __post_init__(self) -> None:
        bytes_max = BLOCK_BYTES_MAX if self.block_bytes_max == -1 else self.block_bytes_max
        valid = (
            1 <= bytes_max <= BLOCK_BYTES_MAX
            and -1 <= self.block_gas_max < 1 << 63
            and self.evidence_age_blocks_max > 0
            and self.evidence_age_ns_max > 0
            and 0 <= self.evidence_bytes_max <= bytes_max
            and self.vote_extensions_height >= 0
            and self.app_version >= 0
            and len(self.key_types) > 0
            and all(kind in _KEY_TYPES for kind in self.key_types)
            and len(self.authority.encode()) <= _AUTHORITY_MAX
        )
        if not valid:
            raise ProtocolError("block.params", "consensus parameters are outside their allowed ranges")

    def hash(self) -> bytes:
        """`consensus_hash` of a header: SHA-256 of HashedParams, which holds block bytes and gas only."""
        return sha256(int_field(1, self.block_bytes_max) + int_field(2, self.block_gas_max)).digest()
