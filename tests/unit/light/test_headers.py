"""The light client over chains signed here; verdicts of CometBFT's own verifier are in tests/vectors."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from althing.light.headers import (
    Freshness,
    LightError,
    TrustLevel,
    verify_adjacent,
    verify_commit,
    verify_skipping,
)
from althing.protocol.block import (
    ZERO_BLOCK_ID,
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
from althing.protocol.errors import ProtocolError

CHAIN = "light-test"
HASH = b"\x11" * 32
START = Timestamp(1_700_000_000, 0)
KEYS = [crypto_sign_seed_keypair(sha256(bytes((i,))).digest()) for i in range(6)]


def members(*powers: int) -> ValidatorSet:
    return ValidatorSet.of(Validator(KEYS[i][0], power) for i, power in enumerate(powers) if power)


def signed(header: Header, validators: ValidatorSet, flags: dict[int, BlockIdFlag] | None = None) -> SignedHeader:
    """By the keys that `flags` names; by all by default."""
    block_id = BlockId(header.hash(), 1, b"\x22" * 32)
    entries = []
    for validator in validators.validators:
        number = next(i for i, key in enumerate(KEYS) if key[0] == validator.public_key)
        flag = BlockIdFlag.COMMIT if flags is None else flags.get(number, BlockIdFlag.ABSENT)
        if flag is BlockIdFlag.ABSENT:
            entries.append(CommitSig.absent())
            continue
        time = Timestamp(START.seconds + header.height, number)
        target = block_id if flag is BlockIdFlag.COMMIT else None
        message = precommit_sign_bytes(CHAIN, header.height, 0, target, time)
        signature = crypto_sign(message, KEYS[number][1])[:64]
        entries.append(CommitSig(flag, validator.address, time, signature))
    return SignedHeader(header, Commit(header.height, 0, block_id, tuple(entries)))


def header_at(height: int, validators: ValidatorSet, following: ValidatorSet, last: bytes = HASH) -> Header:
    return Header(
        app_version=1,
        chain_id=CHAIN,
        height=height,
        time=Timestamp(START.seconds + height, 0),
        last_block_id=BlockId(last, 1, HASH),
        last_commit_hash=HASH,
        data_hash=HASH,
        validators_hash=validators.hash(),
        next_validators_hash=following.hash(),
        consensus_hash=HASH,
        app_hash=HASH,
        last_results_hash=HASH,
        evidence_hash=HASH,
        proposer_address=validators.validators[0].address,
    )


ONE = members(10)
FOUR = members(10, 10, 10, 10)


def test_one_signer() -> None:
    good = signed(header_at(5, ONE, ONE), ONE)
    verify_commit(CHAIN, good.header, good.commit, ONE)


@given(st.dictionaries(st.integers(0, 3), st.sampled_from([BlockIdFlag.COMMIT, BlockIdFlag.NIL])))
def test_quorum_is_more_than_two_thirds_of_power_for_the_block(flags: dict[int, BlockIdFlag]) -> None:
    powers = (5, 4, 2, 1)
    validators = members(*powers)
    block = signed(header_at(5, validators, validators), validators, flags)
    power = sum(powers[i] for i, flag in flags.items() if flag is BlockIdFlag.COMMIT)
    if 3 * power > 2 * sum(powers):
        verify_commit(CHAIN, block.header, block.commit, validators)
    else:
        with pytest.raises(LightError) as error:
            verify_commit(CHAIN, block.header, block.commit, validators)
        assert error.value.code == "light.quorum"


def test_no_byte_of_a_commit_is_outside_the_check() -> None:
    """Every changed byte that still decodes is refused: votes for nil and surplus votes included."""
    flags = {0: BlockIdFlag.COMMIT, 1: BlockIdFlag.COMMIT, 2: BlockIdFlag.COMMIT, 3: BlockIdFlag.NIL}
    block = signed(header_at(5, FOUR, FOUR), FOUR, flags)
    encoded = block.commit.encode()
    refused = 0
    for position in range(len(encoded)):
        changed = bytearray(encoded)
        changed[position] ^= 0x01
        try:
            commit = Commit.decode(bytes(changed))
        except ProtocolError:
            continue
        with pytest.raises(LightError):
            verify_commit(CHAIN, block.header, commit, FOUR)
        refused += 1
    assert refused > 300


def test_no_byte_of_a_header_is_outside_the_check() -> None:
    block = signed(header_at(5, FOUR, FOUR), FOUR)
    encoded = block.header.encode()
    for position in range(len(encoded)):
        changed = bytearray(encoded)
        changed[position] ^= 0x01
        try:
            header = Header.decode(bytes(changed))
        except ProtocolError:
            continue
        with pytest.raises(LightError):
            verify_commit(CHAIN, header, block.commit, FOUR)


def test_another_chain_or_set() -> None:
    block = signed(header_at(5, FOUR, FOUR), FOUR)
    for chain, validators, code in (
        ("other", FOUR, "light.chain"),
        (CHAIN, ONE, "light.validators"),
        (CHAIN, members(10, 10, 10, 11), "light.validators"),
    ):
        with pytest.raises(LightError) as error:
            verify_commit(chain, block.header, block.commit, validators)
        assert error.value.code == code


def test_a_chain_header_by_header_across_changes_of_the_set() -> None:
    sets = [ONE, ONE, members(10, 3), members(10, 3), members(10, 9, 9), FOUR, FOUR]
    trusted = header_at(1, sets[0], sets[1])
    for height in range(2, 6):
        header = header_at(height, sets[height - 1], sets[height], trusted.hash())
        verify_adjacent(trusted, signed(header, sets[height - 1]), sets[height - 1], freshness=None)
        trusted = header


def test_adjacent_must_fit() -> None:
    trusted = header_at(4, FOUR, FOUR)
    good = header_at(5, FOUR, FOUR, trusted.hash())
    verify_adjacent(trusted, signed(good, FOUR), FOUR, freshness=None)
    # After a change of engine a header names no predecessor; it must still be the announced validators'.
    first = replace(good, last_block_id=ZERO_BLOCK_ID)
    verify_adjacent(trusted, signed(first, FOUR), FOUR, freshness=None)
    for bad, code in (
        (replace(first, validators_hash=ONE.hash()), "light.validators"),
        (replace(good, height=6), "light.height"),
        (replace(good, time=trusted.time), "light.time"),
        (replace(good, chain_id="other"), "light.chain"),
        (replace(good, last_block_id=BlockId(HASH, 1, HASH)), "light.chain"),
        (replace(good, validators_hash=ONE.hash()), "light.validators"),
    ):
        with pytest.raises(LightError) as error:
            verify_adjacent(trusted, signed(bad, FOUR), FOUR, freshness=None)
        assert error.value.code == code


def test_skipping_needs_trusted_power() -> None:
    trusted = header_at(4, FOUR, FOUR)
    later = members(10, 10, 0, 0, 10, 10)
    good = signed(header_at(90, later, later), later)
    verify_skipping(trusted, FOUR, good, later, freshness=None)
    with pytest.raises(LightError) as error:
        verify_skipping(trusted, FOUR, good, later, freshness=None, trust_level=TrustLevel(1, 2))
    assert error.value.code == "light.trust"
    newcomers = members(0, 0, 0, 0, 10, 10)
    with pytest.raises(LightError) as error:
        verify_skipping(
            trusted, FOUR, signed(header_at(90, newcomers, newcomers), newcomers), newcomers, freshness=None
        )
    assert error.value.code == "light.trust"
    with pytest.raises(LightError) as error:
        verify_skipping(trusted, ONE, good, later, freshness=None)
    assert error.value.code == "light.validators", "the trusted set must be the trusted header's"
    with pytest.raises(LightError) as error:
        verify_skipping(trusted, FOUR, signed(header_at(5, FOUR, FOUR), FOUR), FOUR, freshness=None)
    assert error.value.code == "light.height"


def test_trusted_signatures_are_not_taken_on_trust() -> None:
    """Power is counted before signatures are checked, but nothing is accepted unchecked."""
    trusted = header_at(4, FOUR, FOUR)
    good = signed(header_at(90, FOUR, FOUR), FOUR)
    entries = list(good.commit.signatures)
    entries[2] = replace(entries[2], signature=bytes(64))
    forged = SignedHeader(good.header, replace(good.commit, signatures=tuple(entries)))
    with pytest.raises(LightError) as error:
        verify_skipping(trusted, FOUR, forged, FOUR, freshness=None)
    assert error.value.code == "light.signature"


def test_freshness_is_a_matter_of_nanoseconds() -> None:
    trusted = header_at(4, ONE, ONE)
    good = signed(header_at(5, ONE, ONE, trusted.hash()), ONE)
    period, drift = 3600 * 10**9, 10**9

    def verdict(now_ns: int) -> str:
        try:
            freshness = Freshness(Timestamp.from_ns(now_ns), period, drift)
            verify_adjacent(trusted, good, ONE, freshness=freshness)
        except LightError as exc:
            return exc.code
        return "ok"

    assert verdict(good.header.time.ns - drift) == "light.future"
    assert verdict(good.header.time.ns - drift + 1) == "ok"
    assert verdict(trusted.time.ns + period - 1) == "ok"
    assert verdict(trusted.time.ns + period) == "light.expired"


@pytest.mark.parametrize(("numerator", "denominator"), [(1, 4), (2, 1), (0, 3)])
def test_trust_levels_outside_a_third_and_one(numerator: int, denominator: int) -> None:
    with pytest.raises(AssertionError):
        TrustLevel(numerator, denominator)
