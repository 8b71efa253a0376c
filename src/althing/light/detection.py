"""Two signed histories of one chain: where they part, what kind of attack it is, and the evidence of it.

Source: CometBFT v0.39.4 `light/detector.go`, `types/evidence.go`; its specification `spec/light-client/detection` and
`attacks`; docs/spec/light-client.md §5, §6. Pure: like `following`, `examine` yields the heights that it needs.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum

from althing.light.blocks import LightBlock
from althing.light.errors import InvalidHeaderError
from althing.light.following import Trace, follow_by_skipping
from althing.light.headers import ONE_THIRD, Freshness, TrustLevel
from althing.protocol.block import BlockIdFlag, Header, Validator
from althing.protocol.block.evidence import LightClientAttackEvidence

__all__ = ["Attack", "Divergence", "attack_of", "examine", "make_evidence"]


class Attack(Enum):
    """How a header that should not exist came to be signed."""

    LUNATIC = "lunatic"  # its state, parameters or validators are not those that the chain's rules give
    EQUIVOCATION = "equivocation"  # validators signed two blocks in one round
    AMNESIA = "amnesia"  # they signed two blocks in different rounds; who forgot a lock cannot be told from here


@dataclass(frozen=True, slots=True)
class Divergence:
    """`trace` is the source's own way from the last common block to its side; `block` is the other side's."""

    trace: Trace
    block: LightBlock

    @property
    def common(self) -> LightBlock:
        return self.trace[0]

    @property
    def source_block(self) -> LightBlock:
        return self.trace[-1]


def examine(
    trace: Trace, target: LightBlock, freshness: Freshness, trust_level: TrustLevel = ONE_THIRD
) -> Generator[int, LightBlock, Divergence]:
    """Verify a source's own history along `trace`, which another source gave, up to the source's block `target`.

    1. The source has the same first block: trust begins there.
    2. At each height of the trace, the source's block follows from its block before, by bisection over the source.
    3. The first that differs is where the histories part (`examineConflictingHeaderAgainstTrace`).
    4. A target lower than the trace's next block, but not earlier, proves a header from the future (forward lunatic).
    InvalidHeaderError: the source cannot show a history, so it only made noise.
    """
    previous = trace[0]
    if target.height <= previous.height:
        raise InvalidHeaderError(
            "light.height", f"the conflicting block of height {target.height} is not beyond the trusted"
        )
    found: Trace = ()
    for number, block in enumerate(trace):
        if block.height > target.height:  # 4
            if block.time > target.time:
                raise InvalidHeaderError("light.time", "a lower and earlier header conflicts with nothing")
            if previous.height != target.height:
                found = yield from follow_by_skipping(previous, target, freshness, trust_level)
            return Divergence(found, block)
        source = target if block.height == target.height else (yield block.height)
        if source.height != block.height:
            raise InvalidHeaderError("light.height", f"asked for height {block.height}, got {source.height}")
        if number == 0:  # 1
            if source.hash != block.hash:
                raise InvalidHeaderError("light.chain", "the source does not have the block that trust began with")
        else:
            found = yield from follow_by_skipping(previous, source, freshness, trust_level)  # 2
            if source.hash != block.hash:  # 3
                return Divergence(found, block)
        previous = source
    raise InvalidHeaderError("light.chain", "the source's history does not differ after all")


def attack_of(conflicting: LightBlock, trusted: LightBlock) -> Attack:
    """The kind of attack that `conflicting` is evidence of, if `trusted` is what the chain decided."""
    if _is_invalid(conflicting.header, trusted.header):
        return Attack.LUNATIC
    return Attack.EQUIVOCATION if conflicting.commit.round == trusted.commit.round else Attack.AMNESIA


def make_evidence(conflicting: LightBlock, trusted: LightBlock, common: LightBlock) -> LightClientAttackEvidence:
    """Evidence against those who signed `conflicting` (`newLightClientAttackEvidence`).

    Lunatic: members of the common validators that signed it, as of the common height. Equivocation: those that signed
    both. Amnesia: nobody by name.
    """
    attack = attack_of(conflicting, trusted)
    basis = common if attack is Attack.LUNATIC else trusted
    guilty: list[Validator] = []
    if attack is Attack.LUNATIC:
        members = {validator.address: validator for validator in common.validators.validators}
        for entry in conflicting.commit.signatures:
            if entry.flag is BlockIdFlag.COMMIT and entry.address in members:
                guilty.append(members[entry.address])
    elif attack is Attack.EQUIVOCATION:
        entries = zip(
            conflicting.validators.validators, conflicting.commit.signatures, trusted.commit.signatures, strict=True
        )
        guilty = [v for v, a, b in entries if a.flag is BlockIdFlag.COMMIT and b.flag is BlockIdFlag.COMMIT]
    return LightClientAttackEvidence(
        signed=conflicting.signed,
        validators=conflicting.validators,
        common_height=basis.height,
        byzantine_validators=tuple(sorted(guilty, key=lambda v: (-v.power, v.address))),
        total_power=basis.validators.total_power,
        timestamp=basis.time,
    )


def _is_invalid(conflicting: Header, trusted: Header) -> bool:
    """What the chain's rules fix differs (`ConflictingHeaderIsInvalid`)."""
    return (
        conflicting.validators_hash != trusted.validators_hash
        or conflicting.next_validators_hash != trusted.next_validators_hash
        or conflicting.consensus_hash != trusted.consensus_hash
        or conflicting.app_hash != trusted.app_hash
        or conflicting.last_results_hash != trusted.last_results_hash
    )
