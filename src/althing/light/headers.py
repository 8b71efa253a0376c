"""Which header follows from a trusted one: CometBFT's light-client rules, pure, and stricter on signatures.

CometBFT stops counting at two thirds; here every signature a commit carries must verify, so no byte of a commit escapes
the check. Clock and trusting period come in as `Freshness`; without it (verification years later) nothing is said about
time but that it moves forward. Source: CometBFT v0.39.4 `light/verifier.go`, `types/validation.go`; docs/spec/blocks.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from althing.light.errors import ExpiredError, InvalidHeaderError, LightError, NotEnoughTrustError
from althing.protocol.block import BlockIdFlag, Commit, Header, SignedHeader, Timestamp, ValidatorSet
from althing.protocol.signatures import Suite, verify

__all__ = [
    "ONE_THIRD",
    "TIMELESS",
    "Freshness",
    "LightError",
    "TrustLevel",
    "trusted_power",
    "verify_adjacent",
    "verify_commit",
    "verify_skipping",
]


@dataclass(frozen=True, slots=True)
class TrustLevel:
    """The share of trusted power that must have signed a skipped-to header: between 1/3 and 1."""

    numerator: int
    denominator: int

    def __post_init__(self) -> None:
        assert 0 < self.numerator <= self.denominator <= 3 * self.numerator

    def reached(self, power: int, validators: ValidatorSet) -> bool:
        """More than this share of the set's power."""
        return power * self.denominator > validators.total_power * self.numerator


ONE_THIRD = TrustLevel(1, 3)


@dataclass(frozen=True, slots=True)
class Freshness:
    """Online rules: the trusted header is younger than the trusting period, the new one not from the future."""

    now: Timestamp
    trusting_period_ns: int
    clock_drift_ns: int = 10_000_000_000


# For checks that say nothing about time: nothing expires, nothing is from the future.
TIMELESS = Freshness(Timestamp(0, 0), 1 << 100, 1 << 100)


def verify_commit(chain_id: str, header: Header, commit: Commit, validators: ValidatorSet) -> None:
    """The validators of `header` committed it.

    1. The header is of this chain and names this validator set.
    2. The commit is for the header's height and hash, with one entry per validator, in the order of the set.
    3. Every signature it carries, also for nil, verifies.
    4. More than two thirds of the power signed for the block.
    """
    _check_header(chain_id, header, validators)  # 1
    _check_commit_form(header, commit, validators)  # 2
    signed = 0
    for index, (entry, validator) in enumerate(zip(commit.signatures, validators.validators, strict=True)):
        if entry.flag is BlockIdFlag.ABSENT:
            continue
        message = commit.sign_bytes(chain_id, index)
        if not verify(Suite.ED25519, validator.public_key, message, entry.signature):  # 3
            raise InvalidHeaderError(
                "light.signature", f"the signature of validator {entry.address.hex()} does not verify"
            )
        if entry.flag is BlockIdFlag.COMMIT:
            signed += validator.power
    if 3 * signed <= 2 * validators.total_power:  # 4
        raise InvalidHeaderError(
            "light.quorum", f"{signed} of {validators.total_power} power signed, more than two thirds must"
        )


def verify_adjacent(
    trusted: Header,
    untrusted: SignedHeader,
    validators: ValidatorSet,
    *,
    freshness: Freshness | None,
) -> None:
    """`untrusted` is the successor of `trusted` (`light.VerifyAdjacent`); `validators` are those of `untrusted`."""
    header = untrusted.header
    if header.height != trusted.height + 1:
        raise InvalidHeaderError("light.height", f"height {header.height} does not follow {trusted.height}")
    _check_progress(trusted, header, freshness)
    if header.validators_hash != trusted.next_validators_hash:
        raise InvalidHeaderError(
            "light.validators", "the header's validators are not those the trusted header announces"
        )
    # The first header after a change of engine names none (docs/spec/genesis.md §6): then its validators alone decide.
    if not header.last_block_id.is_zero and header.last_block_id.hash != trusted.hash():
        raise InvalidHeaderError("light.chain", "the header does not name the trusted header as its predecessor")
    verify_commit(trusted.chain_id, header, untrusted.commit, validators)


def verify_skipping(
    trusted: Header,
    trusted_validators: ValidatorSet,
    untrusted: SignedHeader,
    validators: ValidatorSet,
    *,
    freshness: Freshness | None,
    trust_level: TrustLevel = ONE_THIRD,
) -> None:
    """A later, not adjacent header whose commit more than `trust_level` of the trusted power signed.

    `trusted_validators` are those of the trusted header or of its successor (`light.VerifyNonAdjacent`).
    """
    header = untrusted.header
    if header.height <= trusted.height + 1:
        raise InvalidHeaderError(
            "light.height", f"height {header.height} is not beyond the successor of {trusted.height}"
        )
    if trusted_validators.hash() not in (trusted.validators_hash, trusted.next_validators_hash):
        raise InvalidHeaderError("light.validators", "the trusted validators are not those the trusted header names")
    _check_progress(trusted, header, freshness)
    _check_header(trusted.chain_id, header, validators)
    _check_commit_form(header, untrusted.commit, validators)
    signed = trusted_power(trusted_validators, untrusted.commit, validators)
    if not trust_level.reached(signed, trusted_validators):
        raise NotEnoughTrustError(
            f"{signed} of {trusted_validators.total_power} trusted power signed, too little to skip to {header.height}"
        )
    verify_commit(trusted.chain_id, header, untrusted.commit, validators)


def trusted_power(trusted_validators: ValidatorSet, commit: Commit, validators: ValidatorSet) -> int:
    """The power, in the trusted set, of those members of `validators` who signed for the block of `commit`."""
    by_key = {v.public_key: v.power for v in trusted_validators.validators}
    entries = zip(commit.signatures, validators.validators, strict=True)
    return sum(by_key.get(v.public_key, 0) for entry, v in entries if entry.flag is BlockIdFlag.COMMIT)


def _check_progress(trusted: Header, header: Header, freshness: Freshness | None) -> None:
    if header.chain_id != trusted.chain_id:
        raise InvalidHeaderError("light.chain", f"the header is of chain {header.chain_id!r}, not {trusted.chain_id!r}")
    if header.time <= trusted.time:
        raise InvalidHeaderError("light.time", "the header's time is not after the trusted header's")
    if freshness is None:
        return
    if trusted.time.ns + freshness.trusting_period_ns <= freshness.now.ns:
        raise ExpiredError("the trusting period of the trusted header is over")
    if header.time.ns >= freshness.now.ns + freshness.clock_drift_ns:
        raise InvalidHeaderError("light.future", "the header's time is in the future")


def _check_header(chain_id: str, header: Header, validators: ValidatorSet) -> None:
    if header.chain_id != chain_id:
        raise InvalidHeaderError("light.chain", f"the header is of chain {header.chain_id!r}, not {chain_id!r}")
    if header.validators_hash != validators.hash():
        raise InvalidHeaderError("light.validators", "the validators are not those the header names")


def _check_commit_form(header: Header, commit: Commit, validators: ValidatorSet) -> None:
    if commit.height != header.height:
        raise InvalidHeaderError("light.commit", f"the commit is for height {commit.height}, not {header.height}")
    if commit.block_id.hash != header.hash():
        raise InvalidHeaderError("light.commit", "the commit is for another block")
    if len(commit.signatures) != len(validators.validators):
        raise InvalidHeaderError("light.commit", "the commit does not list one precommit per validator")
    for entry, validator in zip(commit.signatures, validators.validators, strict=True):
        if entry.flag is not BlockIdFlag.ABSENT and entry.address != validator.address:
            raise InvalidHeaderError(
                "light.commit", "the commit does not list its precommits in the order of the validators"
            )
