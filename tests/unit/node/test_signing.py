"""Who signed the latest blocks, over engines that prune, jump, and complete a commit late."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from althing.consensus.engine import Engine, EngineError
from althing.node.signing import WINDOW_MAX, SigningRecord, attendance_of
from althing.protocol.block import (
    ZERO_TIME,
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    Header,
    SignedHeader,
    Timestamp,
    Validator,
    ValidatorSet,
)

KEYS = [bytes([number]) * 32 for number in range(1, 5)]
SET = ValidatorSet.of([Validator(key, 10) for key in KEYS])
ADDRESSES = [member.address for member in SET.validators]
BLOCK = BlockId(b"\x02" * 32, 1, b"\x03" * 32)
ABSENT = CommitSig(BlockIdFlag.ABSENT, b"", ZERO_TIME, b"")


@dataclass
class Chain:
    """The reading side of an engine: who missed a height, how many precommits are known of the latest."""

    latest_height: int = 0
    base: int = 1
    missed: dict[int, int] = field(default_factory=dict)
    nil: dict[int, int] = field(default_factory=dict)
    late: set[int] = field(default_factory=set)
    reads: int = 0

    def signed_header(self, height: int) -> SignedHeader:
        if not self.base <= height <= self.latest_height:
            raise EngineError("engine.pruned" if height < self.base else "engine.unknown_height", "not there")
        self.reads += 1
        entries = []
        for number, member in enumerate(SET.validators):
            gone = self.missed.get(height) == number or (height in self.late and number == 0)
            flag = BlockIdFlag.NIL if self.nil.get(height) == number else BlockIdFlag.COMMIT
            entries.append(ABSENT if gone else CommitSig(flag, member.address, Timestamp(1, 0), b"\x01" * 64))
        hashes = (SET.hash(),) * 2 + (b"\x04" * 32,) * 4
        proposer = ADDRESSES[height % 4]
        header = Header(1, "c", height, Timestamp(1, 0), BLOCK, b"\x05" * 32, b"\x06" * 32, *hashes, proposer)
        return SignedHeader(header, Commit(height, height % 2, BLOCK, tuple(entries)))

    def validators(self, height: int) -> ValidatorSet:
        return SET


def record(chain: Chain, now: list[float]) -> SigningRecord:
    return SigningRecord(cast(Engine, chain), clock=lambda: now[0])


def test_signed_missed_nil_and_proposed_are_counted() -> None:
    chain = Chain(latest_height=11, missed={4: 1, 5: 1}, nil={10: 1})
    rows = record(chain, [0.0]).window(8)
    assert [row.height for row in rows] == [*range(3, 11)]  # the latest has no final commit yet
    assert [row.round for row in rows] == [height % 2 for height in range(3, 11)]
    found = attendance_of(ADDRESSES[1], rows)
    assert (found.marks, found.signed, found.missed, found.blocks) == ("smmssssn", 5, 3, 8)
    assert (found.proposed, found.last_signed) == (2, 9)
    whole = attendance_of(ADDRESSES[0], rows)
    assert (whole.marks, whole.missed) == ("s" * 8, 0)
    stranger = attendance_of(b"\x09" * 20, rows)
    assert (stranger.marks, stranger.blocks, stranger.last_signed) == ("-" * 8, 0, None)


def test_a_chain_without_a_finished_block_has_an_empty_window() -> None:
    for height in (0, 1):
        assert record(Chain(latest_height=height), [0.0]).window(100) == ()


def test_a_precommit_that_comes_late_is_counted() -> None:
    chain, now = Chain(latest_height=4, late={3}), [0.0]
    signing = record(chain, now)
    assert attendance_of(ADDRESSES[0], signing.window(10)).marks == "ssm"
    chain.late.clear()
    now[0] = 1.0
    assert attendance_of(ADDRESSES[0], signing.window(10)).marks == "sss"


def test_rows_are_read_once_they_are_final() -> None:
    chain, now = Chain(latest_height=500), [0.0]
    signing = record(chain, now)
    signing.window(400)
    now[0] = 60.0
    signing.window(400)
    before = chain.reads
    assert len(signing.window(400)) == 400
    assert chain.reads == before
    chain.latest_height += 1
    assert signing.window(400)[-1].height == 500
    assert chain.reads <= before + 2


def test_the_window_is_bounded_and_ends_where_blocks_are_pruned() -> None:
    chain, now = Chain(latest_height=5000, base=4900), [0.0]
    signing = record(chain, now)
    assert [row.height for row in signing.window(10**9)] == [*range(4900, 5000)]
    chain.latest_height = 5000 + 3 * WINDOW_MAX  # state sync jumped
    chain.base = chain.latest_height - 10
    assert len(signing.window(WINDOW_MAX)) == 10
    chain.latest_height += 2 * WINDOW_MAX
    chain.base = 1
    assert len(signing.window(10**9)) == WINDOW_MAX
