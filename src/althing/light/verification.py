"""CometBFT's light client verification, rule by rule: adjacent headers, skipping, and backwards.

A header is checked as `light.Verify` of CometBFT v0.39.4 does: signatures are looked at only until enough power has
signed, and no clock is read. Where `headers` checks every byte of a stored proof, this decides online about headers of
any chain with Ed25519 keys. Never laxer than CometBFT; stricter in two points: a signature must hold by the rule of
docs/spec/signatures.md, and a commit lists its entries in the order of the validators. See docs/spec/light-client.md.
"""

from __future__ import annotations

from althing.light.blocks import LightBlock
from althing.light.errors import ExpiredError, InvalidHeaderError, NotEnoughTrustError
from althing.light.headers import ONE_THIRD, Freshness, TrustLevel
from althing.protocol.block import BlockIdFlag, CommitSig, Header, ValidatorSet
from althing.protocol.block.commit import precommit_frame
from althing.protocol.block.wire import delimited, message_field
from althing.protocol.signatures import Suite
from althing.protocol.signatures import verify as verify_signature

__all__ = ["expired", "verify", "verify_backwards", "verify_first"]


def verify(
    trusted: Header,
    trusted_validators: ValidatorSet,
    untrusted: LightBlock,
    freshness: Freshness,
    trust_level: TrustLevel = ONE_THIRD,
) -> None:
    """`untrusted` follows from `trusted`; `trusted_validators` are those of its height or the next (`light.Verify`).

    1. The trusted header is within the trusting period (ExpiredError).
    2. The new header is consistent, of the same chain, higher, later, and not from the future.
    3. If it is the next: its validators are those that the trusted header announces.
    4. Else more than `trust_level` of the trusted power signed it (NotEnoughTrustError: bisect).
    5. More than two thirds of its own validators' power signed it.
    """
    header = untrusted.header
    if expired(trusted, freshness):  # 1
        raise ExpiredError(f"the trusting period of the header of height {trusted.height} is over")
    _check_new(trusted, untrusted, freshness)  # 2
    if header.height == trusted.height + 1:  # 3
        if header.validators_hash != trusted.next_validators_hash:
            raise InvalidHeaderError(
                "light.validators", "the header's validators are not those the trusted header announces"
            )
        first: list[int] = []
    else:  # 4
        if trusted_validators.hash() not in (trusted.validators_hash, trusted.next_validators_hash):
            raise InvalidHeaderError(
                "light.validators", "the trusted validators are not those the trusted header names"
            )
        first = _trusted_signers(trusted_validators, untrusted, trust_level)
    _check_signed(untrusted, first)  # 4, 5


def verify_first(chain_id: str, block: LightBlock) -> None:
    """The block that trust begins with: consistent, and signed by two thirds of its own validators.

    Its hash must have been compared with the one trusted.
    """
    block.check(chain_id)
    _check_signed(block, [])


def verify_backwards(older: Header, newer: Header) -> None:
    """`older` is the predecessor that the trusted `newer` names (`light.VerifyBackwards`); needs no signature."""
    if older.chain_id != newer.chain_id:
        raise InvalidHeaderError("light.chain", f"the header is of chain {older.chain_id!r}, not {newer.chain_id!r}")
    if older.time >= newer.time:
        raise InvalidHeaderError("light.time", "the older header's time is not before the newer one's")
    if older.hash() != newer.last_block_id.hash:
        raise InvalidHeaderError("light.chain", "the header is not the predecessor that the newer one names")


def expired(header: Header, freshness: Freshness) -> bool:
    """True when the header's trusting period is over (`light.HeaderExpired`)."""
    return header.time.ns + freshness.trusting_period_ns <= freshness.now.ns


def _check_new(trusted: Header, untrusted: LightBlock, freshness: Freshness) -> None:
    header = untrusted.header
    untrusted.check(trusted.chain_id)
    if header.height <= trusted.height:
        raise InvalidHeaderError("light.height", f"height {header.height} is not beyond {trusted.height}")
    if header.time <= trusted.time:
        raise InvalidHeaderError("light.time", "the header's time is not after the trusted header's")
    if header.time.ns >= freshness.now.ns + freshness.clock_drift_ns:
        raise InvalidHeaderError("light.future", "the header's time is in the future")


def _trusted_signers(trusted: ValidatorSet, untrusted: LightBlock, level: TrustLevel) -> list[int]:
    """The first signers whose trusted power together exceeds the level; their signatures are still to be checked."""
    needed = trusted.total_power * level.numerator // level.denominator
    signed = 0
    signers: list[int] = []
    entries = zip(untrusted.commit.signatures, untrusted.validators.validators, strict=True)
    for index, (entry, validator) in enumerate(entries):
        power = trusted.power_of(validator.public_key) if entry.flag is BlockIdFlag.COMMIT else 0
        if not power:
            continue
        signers.append(index)
        signed += power
        if signed > needed:
            return signers
    raise NotEnoughTrustError(
        f"{signed} of {trusted.total_power} trusted power signed height {untrusted.height}, more than {needed} must"
    )


def _check_signed(block: LightBlock, first: list[int]) -> None:
    """Two thirds signed, and the signatures that count for it, and those of `first`, verify (`VerifyCommitLight`)."""
    commit, members = block.commit, block.validators.validators
    needed = block.validators.total_power * 2 // 3
    signed = 0
    counted: list[int] = []
    for index, (entry, validator) in enumerate(zip(commit.signatures, members, strict=True)):
        if entry.flag is not BlockIdFlag.COMMIT:
            continue
        counted.append(index)
        signed += validator.power
        if signed > needed:
            break
    else:
        raise InvalidHeaderError("light.quorum", f"{signed} power signed, more than {needed} must")
    checked = frozenset(first)
    before, after = precommit_frame(block.header.chain_id, commit.height, commit.round, commit.block_id)
    for index in [*first, *(index for index in counted if index not in checked)]:
        _check_signature(commit.signatures[index], members[index].public_key, before, after)


def _check_signature(entry: CommitSig, public_key: bytes, before: bytes, after: bytes) -> None:
    message = delimited(before + message_field(5, entry.timestamp.encode()) + after)
    if not verify_signature(Suite.ED25519, public_key, message, entry.signature):
        raise InvalidHeaderError("light.signature", f"the signature of validator {entry.address.hex()} does not verify")
