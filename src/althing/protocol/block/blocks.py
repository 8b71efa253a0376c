"""Whole blocks: header, transactions, evidence and last commit; their encoding, part set and block id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from althing.protocol.block.commit import COMMIT_BYTES_MAX, Commit
from althing.protocol.block.header import HEADER_BYTES_MAX, BlockId, Header
from althing.protocol.block.params import BLOCK_BYTES_MAX
from althing.protocol.block.wire import WireReader, message_field, uvarint
from althing.protocol.errors import ProtocolError
from althing.protocol.merkle import leaf_hash, root_of

__all__ = [
    "PART_BYTES",
    "Block",
    "SignedHeader",
    "data_bytes_max",
    "data_hash",
    "decode_data",
    "encode_data",
    "evidence_hash",
    "part_set",
    "tx_size",
]

PART_BYTES = 65_536
_TXS_MAX = 1_000_000  # more would not fit the largest block with one-byte transactions that carry anything
_EVIDENCE_MAX = 10_000


def data_hash(txs: Sequence[bytes]) -> bytes:
    """`data_hash` of a header: the leaves are SHA-256 of each transaction (`Txs.Hash`)."""
    return root_of([leaf_hash(sha256(tx).digest()) for tx in txs])


def evidence_hash(evidence: Sequence[bytes]) -> bytes:
    """`evidence_hash` of a header (`EvidenceList.Hash`): the leaves are the messages inside each Evidence's `oneof`."""
    return root_of([leaf_hash(_evidence_leaf(item)) for item in evidence])


def _evidence_leaf(item: bytes) -> bytes:
    reader = WireReader(item, "evidence", bytes_max=BLOCK_BYTES_MAX)
    kind = 1 if item[:1] == b"\x0a" else 2  # duplicate vote, or light-client attack
    leaf = reader.take_message(kind, bytes_max=BLOCK_BYTES_MAX)
    reader.end()
    return leaf


def encode_data(txs: Sequence[bytes]) -> bytes:
    """tendermint.types.Data."""
    return b"".join(message_field(1, tx) for tx in txs)


def decode_data(data: bytes) -> tuple[bytes, ...]:
    """Strict inverse of `encode_data`."""
    reader = WireReader(data, "block data", bytes_max=BLOCK_BYTES_MAX)
    txs = reader.take_repeated(1, bytes_max=BLOCK_BYTES_MAX, count_max=_TXS_MAX)
    reader.end()
    return tuple(txs)


def tx_size(tx: bytes) -> int:
    """Bytes a transaction takes in a block (`ComputeProtoSizeForTxs`)."""
    return 1 + len(uvarint(len(tx))) + len(tx)


def data_bytes_max(block_bytes_max: int, evidence_bytes: int, validator_count: int) -> int:
    """Bytes left for transactions beside header, commit and evidence (`MaxDataBytes`)."""
    block_bytes_max = BLOCK_BYTES_MAX if block_bytes_max == -1 else block_bytes_max
    commit = 94 + (131 + 10 + 3) * validator_count
    left = block_bytes_max - 11 - 626 - commit - evidence_bytes
    if left < 0:
        raise ProtocolError("block.params", f"blocks of {block_bytes_max} bytes have no room for a header and commit")
    return left


def part_set(encoded_block: bytes) -> tuple[int, bytes]:
    """Number of 64 KiB parts of an encoded block and the root over them (`NewPartSetFromData`)."""
    starts = range(0, len(encoded_block), PART_BYTES)
    return len(starts), root_of([leaf_hash(encoded_block[i : i + PART_BYTES]) for i in starts])


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """A header and the commit for it: what a light client needs of a block."""

    header: Header
    commit: Commit


@dataclass(frozen=True, slots=True)
class Block:
    """A block; `evidence` holds encoded tendermint.types.Evidence, which `solo` never produces."""

    header: Header
    txs: tuple[bytes, ...]
    evidence: tuple[bytes, ...]
    last_commit: Commit

    def check(self) -> None:
        """The header commits to what the block carries (`Block.ValidateBasic`)."""
        if self.header.data_hash != data_hash(self.txs):
            raise ProtocolError("block.data_hash", "the header does not commit to the block's transactions")
        if self.header.evidence_hash != evidence_hash(self.evidence):
            raise ProtocolError("block.evidence_hash", "the header does not commit to the block's evidence")
        if self.header.last_commit_hash != self.last_commit.hash():
            raise ProtocolError("block.last_commit_hash", "the header does not commit to the block's last commit")

    def block_id(self) -> BlockId:
        """Header hash and part set: what validators sign."""
        total, parts_hash = part_set(self.encode())
        return BlockId(self.header.hash(), total, parts_hash)

    def encode(self) -> bytes:
        """tendermint.types.Block."""
        evidence = b"".join(message_field(1, item) for item in self.evidence)
        return (
            message_field(1, self.header.encode())
            + message_field(2, encode_data(self.txs))
            + message_field(3, evidence)
            + message_field(4, self.last_commit.encode())
        )

    @classmethod
    def decode(cls, data: bytes) -> Block:
        """Strict inverse of `encode`; also runs `check`."""
        reader = WireReader(data, "block", bytes_max=BLOCK_BYTES_MAX)
        header = Header.decode(reader.take_message(1, bytes_max=HEADER_BYTES_MAX))
        txs = decode_data(reader.take_message(2, bytes_max=BLOCK_BYTES_MAX))
        evidence = WireReader(reader.take_message(3, bytes_max=BLOCK_BYTES_MAX), "evidence", bytes_max=BLOCK_BYTES_MAX)
        last_commit = Commit.decode(reader.take_message(4, bytes_max=COMMIT_BYTES_MAX))
        reader.end()
        items = evidence.take_repeated(1, bytes_max=BLOCK_BYTES_MAX, count_max=_EVIDENCE_MAX)
        evidence.end()
        block = cls(header, txs, tuple(items), last_commit)
        block.check()
        return block
