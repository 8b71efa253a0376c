"""Bisection over chains made here; CometBFT's own questions and verdicts are in tests/vectors."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from hashlib import sha256
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from althing.light.blocks import LightBlock
from althing.light.detection import Attack, attack_of, examine, make_evidence
from althing.light.errors import ExpiredError, InvalidHeaderError, NotEnoughTrustError
from althing.light.following import follow_back, follow_by_skipping, follow_each
from althing.light.headers import Freshness, TrustLevel
from althing.light.verification import verify, verify_first
from althing.protocol.block import (
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    Header,
    SignedHeader,
    Timestamp,
    Validator,
    ValidatorSet,
    precommit_sign_bytes,
)
from althing.protocol.signatures import PrivateKey, Suite

CHAIN = "light-test"
HASH = b"\x11" * 32
START = 1_700_000_000
KEYS = [PrivateKey(Suite.ED25519, sha256(bytes((i,))).digest()) for i in range(40)]
BY_PUBLIC = {key.public: key for key in KEYS}
HOUR_NS = 3_600 * 10**9
T = TypeVar("T")


def members(first: int, count: int) -> ValidatorSet:
    return ValidatorSet.of(Validator(KEYS[i].public, 10) for i in range(first, first + count))


def block_at(
    height: int,
    validators: ValidatorSet,
    following: ValidatorSet,
    last: bytes = HASH,
    *,
    app: bytes = HASH,
    data: bytes = HASH,
    round_: int = 0,
) -> LightBlock:
    time = Timestamp(START + height, 0)
    header = Header(
        app_version=1,
        chain_id=CHAIN,
        height=height,
        time=time,
        last_block_id=BlockId(last, 1, HASH),
        last_commit_hash=HASH,
        data_hash=data,
        validators_hash=validators.hash(),
        next_validators_hash=following.hash(),
        consensus_hash=HASH,
        app_hash=app,
        last_results_hash=HASH,
        evidence_hash=HASH,
        proposer_address=validators.validators[0].address,
    )
    block_id = BlockId(header.hash(), 1, HASH)
    message = precommit_sign_bytes(CHAIN, height, round_, block_id, time)
    entries = tuple(
        CommitSig(BlockIdFlag.COMMIT, v.address, time, BY_PUBLIC[v.public_key].sign(message))
        for v in validators.validators
    )
    return LightBlock(SignedHeader(header, Commit(height, round_, block_id, entries)), validators)


def chain_of(top: int, steps: list[int], size: int = 4) -> dict[int, LightBlock]:
    """At height h the set begins at the h-th of the summed `steps`."""
    sets = {1: members(0, size)}
    at = 0
    for height in range(2, top + 2):
        at += steps[height % len(steps)]
        sets[height] = members(at % (len(KEYS) - size), size)
    blocks: dict[int, LightBlock] = {}
    for height in range(1, top + 1):
        last = blocks[height - 1].hash if height > 1 else HASH
        blocks[height] = block_at(height, sets[height], sets[height + 1], last)
    return blocks


def drive(steps: Generator[int, LightBlock, T], source: dict[int, LightBlock], asked: list[int] | None = None) -> T:
    try:
        height = next(steps)
        while True:
            if asked is not None:
                asked.append(height)
            height = steps.send(source[height])
    except StopIteration as end:
        result: T = end.value
        return result


def fresh(height: int) -> Freshness:
    return Freshness(Timestamp(START + height + 1, 0), HOUR_NS, 10**9)


@settings(max_examples=15)
@given(st.integers(2, 18), st.lists(st.sampled_from([0, 0, 1, 2, 4]), min_size=1, max_size=5))
def test_skipping_reaches_what_one_by_one_reaches(top: int, steps: list[int]) -> None:
    blocks = chain_of(top, steps)
    asked: list[int] = []
    trace = drive(follow_by_skipping(blocks[1], blocks[top], fresh(top)), blocks, asked)
    assert (trace[0], trace[-1]) == (blocks[1], blocks[top])
    assert len(set(asked)) == len(asked), "no height is asked for twice"
    assert {block.height for block in trace} <= {1, top, *asked}
    assert drive(follow_each(blocks[1], blocks[top], fresh(top)), blocks) == tuple(blocks.values())
    assert drive(follow_back(blocks[top], blocks[1]), blocks) == tuple(reversed(blocks.values()))


def test_an_unchanging_set_needs_no_header_in_between() -> None:
    blocks = {1: block_at(1, members(0, 4), members(0, 4)), 900: block_at(900, members(0, 4), members(0, 4))}
    assert drive(follow_by_skipping(blocks[1], blocks[900], fresh(900)), {}) == tuple(blocks.values())


def test_the_three_outcomes() -> None:
    one, far = block_at(1, members(0, 4), members(0, 4)), block_at(9, members(3, 4), members(3, 4))
    with pytest.raises(NotEnoughTrustError):
        verify(one.header, one.validators, far, fresh(9))
    near = block_at(9, members(2, 4), members(2, 4))
    verify(one.header, one.validators, near, fresh(9))
    with pytest.raises(NotEnoughTrustError):
        verify(one.header, one.validators, near, fresh(9), TrustLevel(1, 2))
    with pytest.raises(ExpiredError):
        verify(one.header, one.validators, near, Freshness(Timestamp(START + 1 + 3600, 0), HOUR_NS, 0))
    verify(one.header, one.validators, near, Freshness(Timestamp(START + 3600, 999_999_999), HOUR_NS, 0))
    with pytest.raises(InvalidHeaderError):
        verify(one.header, members(1, 4), near, fresh(9))
    with pytest.raises(InvalidHeaderError):
        verify_first("another-chain", one)


def test_only_signatures_that_count_are_looked_at() -> None:
    """As CometBFT; three of four make two thirds, so the fourth may be broken, and the third may not."""
    one, good = block_at(1, members(0, 4), members(0, 4)), block_at(9, members(0, 4), members(0, 4))
    for index, accepted in ((3, True), (2, False), (0, False)):
        entries = list(good.commit.signatures)
        entries[index] = replace(entries[index], signature=bytes(64))
        block = LightBlock(SignedHeader(good.header, replace(good.commit, signatures=tuple(entries))), good.validators)
        if accepted:
            verify(one.header, one.validators, block, fresh(9))
            continue
        with pytest.raises(InvalidHeaderError) as error:
            verify(one.header, one.validators, block, fresh(9))
        assert error.value.code == "light.signature"


def test_a_source_that_answers_with_another_height() -> None:
    blocks = chain_of(9, [2])
    steps = follow_by_skipping(blocks[1], blocks[9], fresh(9))
    asked = next(steps)
    with pytest.raises(InvalidHeaderError):
        steps.send(blocks[asked + 1])


def forked(kind: Attack, at: int = 5, top: int = 8) -> tuple[dict[int, LightBlock], dict[int, LightBlock]]:
    honest = chain_of(top, [0, 0, 1])
    forged = dict(honest)
    for height in range(at, top + 1):
        block = honest[height]
        following = honest[height + 1].validators if height < top else block.validators
        forged[height] = block_at(
            height,
            block.validators,
            following,
            forged[height - 1].hash,
            app=b"\x22" * 32 if kind is Attack.LUNATIC else HASH,
            data=b"\x33" * 32,
            round_=1 if kind is Attack.AMNESIA else 0,
        )
    return honest, forged


@pytest.mark.parametrize("kind", list(Attack))
def test_an_attack_is_told_from_its_two_histories(kind: Attack) -> None:
    honest, forged = forked(kind)
    # The last block announces other validators on one side only where the sets differ.
    trace = drive(follow_by_skipping(forged[1], forged[7], fresh(8)), forged)
    found = drive(examine(trace, honest[7], fresh(8)), honest)
    assert found.block.hash == forged[found.block.height].hash
    assert found.common.hash == honest[found.common.height].hash == forged[found.common.height].hash
    assert attack_of(found.block, found.source_block) is kind
    evidence = make_evidence(found.block, found.source_block, found.common)
    guilty = {validator.public_key for validator in evidence.byzantine_validators}
    assert bool(guilty) == (kind is not Attack.AMNESIA)
    assert guilty <= {validator.public_key for validator in found.block.validators.validators}


def test_noise_is_not_an_attack() -> None:
    """A witness whose block is not signed, or whose history begins elsewhere, proves nothing."""
    honest, forged = forked(Attack.LUNATIC)
    trace = drive(follow_by_skipping(honest[1], honest[7], fresh(8)), honest)
    unsigned = forged[7]
    entries = tuple(replace(entry, signature=bytes(64)) for entry in unsigned.commit.signatures)
    noise = LightBlock(SignedHeader(unsigned.header, replace(unsigned.commit, signatures=entries)), unsigned.validators)
    with pytest.raises(InvalidHeaderError):
        drive(examine(trace, noise, fresh(8)), forged | {7: noise})
    elsewhere = forged | {1: block_at(1, members(9, 4), members(9, 4))}
    with pytest.raises(InvalidHeaderError):
        drive(examine(trace, forged[7], fresh(8)), elsewhere)
    with pytest.raises(InvalidHeaderError):
        drive(examine(trace, honest[7], fresh(8)), honest)
