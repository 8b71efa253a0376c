"""Block headers and block ids, field by field as CometBFT hashes them."""

from __future__ import annotations

from dataclasses import dataclass

from althing.protocol.block.times import TIMESTAMP_BYTES_MAX, Timestamp
from althing.protocol.block.wire import WireReader, bytes_field, int_field, message_field
from althing.protocol.errors import ProtocolError
from althing.protocol.merkle import leaf_hash, root_of

__all__ = ["BLOCK_VERSION", "CHAIN_ID_BYTES_MAX", "HEADER_BYTES_MAX", "ZERO_BLOCK_ID", "BlockId", "Header"]

BLOCK_VERSION = 11  # CometBFT `version.BlockProtocol` in the 0.38 and 0.39 lines
CHAIN_ID_BYTES_MAX = 50  # CometBFT `MaxChainIDLen`
HEADER_BYTES_MAX = 1024  # CometBFT's own soft bound is 626, for app hashes of 32 bytes
_APP_HASH_BYTES_MAX = 256  # CometBFT has no bound; other chains' applications choose the length
_BLOCK_ID_BYTES_MAX = 96
_PARTS_MAX = 1601  # 100 MiB in parts of 64 KiB, and one
_U64_MAX = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class BlockId:
    """A block's header hash, and the number and root of the parts its encoding is split into."""

    hash: bytes
    parts_total: int
    parts_hash: bytes

    def __post_init__(self) -> None:
        if self.is_zero:
            return
        if len(self.hash) != 32 or len(self.parts_hash) != 32 or not 1 <= self.parts_total <= _PARTS_MAX:
            raise ProtocolError("block.id", "a block id is two 32-byte hashes and a part count, or empty")

    @property
    def is_zero(self) -> bool:
        """True for the empty id that stands before the first block and in votes for nil."""
        return not self.hash and not self.parts_hash and self.parts_total == 0

    def encode(self) -> bytes:
        """tendermint.types.BlockID; equal to CanonicalBlockID for ids that are not empty."""
        parts = int_field(1, self.parts_total) + bytes_field(2, self.parts_hash)
        return bytes_field(1, self.hash) + message_field(2, parts)

    @classmethod
    def decode(cls, data: bytes) -> BlockId:
        """Strict inverse of `encode`."""
        reader = WireReader(data, "block id", bytes_max=_BLOCK_ID_BYTES_MAX)
        hash_ = reader.take_bytes(1, bytes_max=32)
        parts = WireReader(reader.take_message(2, bytes_max=48), "part set header", bytes_max=48)
        reader.end()
        total = parts.take_uint(1)
        parts_hash = parts.take_bytes(2, bytes_max=32)
        parts.end()
        return cls(hash_, total, parts_hash)


ZERO_BLOCK_ID = BlockId(b"", 0, b"")


@dataclass(frozen=True, slots=True)
class Header:
    """The fourteen fields of tendermint.types.Header; `app_hash` is the root after height - 1.

    Made directly it may be of any chain, by the rules of `Header.ValidateBasic`: a hash has 32 bytes or is left out.
    """

    app_version: int
    chain_id: str
    height: int
    time: Timestamp
    last_block_id: BlockId
    last_commit_hash: bytes
    data_hash: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    consensus_hash: bytes
    app_hash: bytes
    last_results_hash: bytes
    evidence_hash: bytes
    proposer_address: bytes
    block_version: int = BLOCK_VERSION

    def __post_init__(self) -> None:
        if self.block_version != BLOCK_VERSION or not 0 <= self.app_version <= _U64_MAX:
            raise ProtocolError("block.version", f"block version {self.block_version}.{self.app_version} is unknown")
        if not 1 <= len(self.chain_id.encode()) <= CHAIN_ID_BYTES_MAX:
            raise ProtocolError("block.chain_id", f"a chain id has 1 to {CHAIN_ID_BYTES_MAX} bytes")
        if not 1 <= self.height < 1 << 63:
            raise ProtocolError("block.height", f"height {self.height} is out of range")
        hashes = (
            self.last_commit_hash,
            self.data_hash,
            self.validators_hash,
            self.next_validators_hash,
            self.consensus_hash,
            self.last_results_hash,
            self.evidence_hash,
        )
        if any(len(value) not in (0, 32) for value in hashes) or len(self.app_hash) > _APP_HASH_BYTES_MAX:
            raise ProtocolError("block.hash", "a hash in the header does not have 32 bytes")
        if not self.validators_hash:
            raise ProtocolError("block.hash", "a header without its validators has no hash")
        if len(self.proposer_address) != 20:
            raise ProtocolError("block.proposer", "a proposer address has 20 bytes")

    def check_complete(self) -> None:
        """No hash is left out, as on every chain of ours (docs/spec/blocks.md §4)."""
        hashes = (
            self.last_commit_hash,
            self.data_hash,
            self.next_validators_hash,
            self.consensus_hash,
            self.last_results_hash,
            self.evidence_hash,
        )
        if not all(hashes) or len(self.app_hash) > 32:
            raise ProtocolError("block.hash", "a hash in the header does not have 32 bytes")

    def hash(self) -> bytes:
        """RFC 6962 root over the fourteen encoded fields (`Header.Hash`): the block's hash.

        Scalars are leaves in the form of google.protobuf wrappers: the value as field 1, empty when it is a default.
        """
        leaves = (
            self._version(),
            bytes_field(1, self.chain_id.encode()),
            int_field(1, self.height),
            self.time.encode(),
            self.last_block_id.encode(),
            bytes_field(1, self.last_commit_hash),
            bytes_field(1, self.data_hash),
            bytes_field(1, self.validators_hash),
            bytes_field(1, self.next_validators_hash),
            bytes_field(1, self.consensus_hash),
            bytes_field(1, self.app_hash),
            bytes_field(1, self.last_results_hash),
            bytes_field(1, self.evidence_hash),
            bytes_field(1, self.proposer_address),
        )
        return root_of([leaf_hash(leaf) for leaf in leaves])

    def encode(self) -> bytes:
        """tendermint.types.Header."""
        return (
            message_field(1, self._version())
            + bytes_field(2, self.chain_id.encode())
            + int_field(3, self.height)
            + message_field(4, self.time.encode())
            + message_field(5, self.last_block_id.encode())
            + bytes_field(6, self.last_commit_hash)
            + bytes_field(7, self.data_hash)
            + bytes_field(8, self.validators_hash)
            + bytes_field(9, self.next_validators_hash)
            + bytes_field(10, self.consensus_hash)
            + bytes_field(11, self.app_hash)
            + bytes_field(12, self.last_results_hash)
            + bytes_field(13, self.evidence_hash)
            + bytes_field(14, self.proposer_address)
        )

    @classmethod
    def decode(cls, data: bytes, *, complete: bool = True) -> Header:
        """Strict inverse of `encode`. With `complete` no hash may be left out, else it may be a header of any chain."""
        reader = WireReader(data, "header", bytes_max=HEADER_BYTES_MAX)
        version = WireReader(reader.take_message(1, bytes_max=22), "header version", bytes_max=22)
        block_version = version.take_uint(1)
        app_version = version.take_uint(2)
        version.end()
        try:
            chain_id = reader.take_bytes(2, bytes_max=CHAIN_ID_BYTES_MAX).decode()
        except UnicodeDecodeError:
            raise ProtocolError("block.chain_id", "the chain id is not UTF-8") from None
        header = cls(
            block_version=block_version,
            app_version=app_version,
            chain_id=chain_id,
            height=reader.take_int(3),
            time=Timestamp.decode(reader.take_message(4, bytes_max=TIMESTAMP_BYTES_MAX)),
            last_block_id=BlockId.decode(reader.take_message(5, bytes_max=_BLOCK_ID_BYTES_MAX)),
            last_commit_hash=reader.take_bytes(6, bytes_max=32),
            data_hash=reader.take_bytes(7, bytes_max=32),
            validators_hash=reader.take_bytes(8, bytes_max=32),
            next_validators_hash=reader.take_bytes(9, bytes_max=32),
            consensus_hash=reader.take_bytes(10, bytes_max=32),
            app_hash=reader.take_bytes(11, bytes_max=_APP_HASH_BYTES_MAX),
            last_results_hash=reader.take_bytes(12, bytes_max=32),
            evidence_hash=reader.take_bytes(13, bytes_max=32),
            proposer_address=reader.take_bytes(14, bytes_max=20),
        )
        reader.end()
        if complete:
            header.check_complete()
        return header

    def _version(self) -> bytes:
        return int_field(1, self.block_version) + int_field(2, self.app_version)
