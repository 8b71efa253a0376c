"""Commits: the precommits of one height, what each validator signed, and block time from them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from althing.protocol.block.header import BlockId
from althing.protocol.block.times import TIMESTAMP_BYTES_MAX, ZERO_TIME, Timestamp
from althing.protocol.block.validators import VALIDATORS_MAX, ValidatorSet
from althing.protocol.block.wire import (
    WireReader,
    bytes_field,
    delimited,
    int_field,
    message_field,
    sfixed64_field,
)
from althing.protocol.errors import ProtocolError
from althing.protocol.merkle import leaf_hash, root_of

__all__ = [
    "COMMIT_BYTES_MAX",
    "BlockIdFlag",
    "Commit",
    "CommitSig",
    "median_time",
    "precommit_frame",
    "precommit_sign_bytes",
]

_PRECOMMIT = 2  # SIGNED_MSG_TYPE_PRECOMMIT
_SIG_BYTES_MAX = 128  # flag, 20-byte address, timestamp, 64-byte signature, tags
COMMIT_BYTES_MAX = 160 + VALIDATORS_MAX * (_SIG_BYTES_MAX + 3)


class BlockIdFlag(IntEnum):
    """What a validator's precommit was for."""

    ABSENT = 1
    COMMIT = 2
    NIL = 3


@dataclass(frozen=True, slots=True)
class CommitSig:
    """One validator's precommit in a commit; an absent one is empty and carries Go's zero time."""

    flag: BlockIdFlag
    address: bytes
    timestamp: Timestamp
    signature: bytes

    def __post_init__(self) -> None:
        if self.flag is BlockIdFlag.ABSENT:
            if self.address or self.signature or self.timestamp != ZERO_TIME:
                raise ProtocolError("block.commit_sig", "an absent precommit carries nothing")
        elif len(self.address) != 20 or len(self.signature) != 64:
            raise ProtocolError("block.commit_sig", "a precommit has a 20-byte address and a 64-byte signature")

    @classmethod
    def absent(cls) -> CommitSig:
        """The entry of a validator whose precommit was not received."""
        return cls(BlockIdFlag.ABSENT, b"", ZERO_TIME, b"")

    def encode(self) -> bytes:
        """tendermint.types.CommitSig: a leaf of the commit's hash."""
        return (
            int_field(1, self.flag)
            + bytes_field(2, self.address)
            + message_field(3, self.timestamp.encode())
            + bytes_field(4, self.signature)
        )

    @classmethod
    def decode(cls, data: bytes) -> CommitSig:
        """Strict inverse of `encode`."""
        reader = WireReader(data, "commit signature", bytes_max=_SIG_BYTES_MAX)
        flag = reader.take_uint(1)
        if flag not in (1, 2, 3):
            raise ProtocolError("block.commit_sig", f"block id flag {flag} is unknown")
        address = reader.take_bytes(2, bytes_max=20)
        timestamp = Timestamp.decode(reader.take_message(3, bytes_max=TIMESTAMP_BYTES_MAX))
        signature = reader.take_bytes(4, bytes_max=64)
        reader.end()
        return cls(BlockIdFlag(flag), address, timestamp, signature)


@dataclass(frozen=True, slots=True)
class Commit:
    """The precommits for `block_id` at `height`, one entry per validator in the order of the set.

    Before the first block stands the empty commit of height 0 (`Commit.empty`).
    """

    height: int
    round: int
    block_id: BlockId
    signatures: tuple[CommitSig, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.height < 1 << 63 or not 0 <= self.round < 1 << 31:
            raise ProtocolError("block.commit", "height or round of the commit is out of range")
        if self.height == 0 and (self.round or self.signatures or not self.block_id.is_zero):
            raise ProtocolError("block.commit", "the commit before the first block is empty")
        if self.height > 0 and (self.block_id.is_zero or not 1 <= len(self.signatures) <= VALIDATORS_MAX):
            raise ProtocolError("block.commit", "a commit names a block and carries at least one precommit")

    @classmethod
    def empty(cls) -> Commit:
        """The last commit of the first block."""
        return cls(0, 0, BlockId(b"", 0, b""), ())

    def hash(self) -> bytes:
        """`last_commit_hash` of the next header (`Commit.Hash`)."""
        return root_of([leaf_hash(signature.encode()) for signature in self.signatures])

    def sign_bytes(self, chain_id: str, index: int) -> bytes:
        """What the validator at `index` signed; its entry must not be absent."""
        entry = self.signatures[index]
        assert entry.flag is not BlockIdFlag.ABSENT
        block_id = self.block_id if entry.flag is BlockIdFlag.COMMIT else None
        return precommit_sign_bytes(chain_id, self.height, self.round, block_id, entry.timestamp)

    def encode(self) -> bytes:
        """tendermint.types.Commit."""
        return (
            int_field(1, self.height)
            + int_field(2, self.round)
            + message_field(3, self.block_id.encode())
            + b"".join(message_field(4, signature.encode()) for signature in self.signatures)
        )

    @classmethod
    def decode(cls, data: bytes) -> Commit:
        """Strict inverse of `encode`."""
        reader = WireReader(data, "commit", bytes_max=COMMIT_BYTES_MAX)
        height = reader.take_int(1)
        round_ = reader.take_int(2)
        block_id = BlockId.decode(reader.take_message(3, bytes_max=96))
        signatures = reader.take_repeated(4, bytes_max=_SIG_BYTES_MAX, count_max=VALIDATORS_MAX)
        reader.end()
        return cls(height, round_, block_id, tuple(CommitSig.decode(signature) for signature in signatures))


def precommit_sign_bytes(
    chain_id: str, height: int, round_: int, block_id: BlockId | None, timestamp: Timestamp
) -> bytes:
    """The length-delimited CanonicalVote of a precommit (`types.VoteSignBytes`); no block id for a vote for nil."""
    before, after = precommit_frame(chain_id, height, round_, block_id)
    return delimited(before + message_field(5, timestamp.encode()) + after)


def precommit_frame(chain_id: str, height: int, round_: int, block_id: BlockId | None) -> tuple[bytes, bytes]:
    """The CanonicalVote before and after the timestamp, which alone differs between precommits for one block."""
    before = (
        int_field(1, _PRECOMMIT)
        + sfixed64_field(2, height)
        + sfixed64_field(3, round_)
        + (b"" if block_id is None else message_field(4, block_id.encode()))
    )
    return before, bytes_field(6, chain_id.encode())


def median_time(commit: Commit, validators: ValidatorSet) -> Timestamp:
    """BFT time: the median of the precommits' times weighted by power (`state.MedianTime`): the next block's time."""
    weighted: list[tuple[Timestamp, int]] = []
    for entry in commit.signatures:
        if entry.flag is BlockIdFlag.ABSENT:
            continue
        validator = validators.find(entry.address)
        if validator is None:
            raise ProtocolError("block.commit", "a precommit is not from a member of the validator set")
        weighted.append((entry.timestamp, validator.power))
    median = sum(power for _, power in weighted) // 2
    for timestamp, power in sorted(weighted):
        if median <= power:
            return timestamp
        median -= power
    raise ProtocolError("block.commit", "a commit without precommits has no time")
