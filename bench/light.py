"""The light client: one header, and 10,000 heights by skipping, against the signature checks they need.

Chains are signed here; validators leave and join one at a time, over and over. Reference is PyNaCl's check of the very
signatures that were looked at, in the same process; both sides are CPU time. Blocks come as bytes, as from a store: what
decoding takes stands beside.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

from nacl.bindings import crypto_sign_open
from rich.console import Console

from althing.light import verification
from althing.light.blocks import LightBlock
from althing.light.following import follow_by_skipping
from althing.light.headers import Freshness
from althing.light.stored import decode_light_block, encode_light_block
from althing.light.verification import verify
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
from althing.protocol.signatures import verify as verify_signature
from bench.figures import Figure, at_most, median, reported

__all__ = ["measure"]

_CHAIN = "bench-light"
_HASH = b"\x11" * 32
_START = 1_700_000_000
_DAY_NS = 86_400 * 10**9


@dataclass
class Rotating:
    """A chain whose oldest validator is replaced every `every` heights. Blocks are made when asked for, and kept."""

    size: int
    every: int
    made: dict[int, bytes] = field(default_factory=dict)

    def key(self, number: int) -> PrivateKey:
        return PrivateKey(Suite.ED25519, sha256(b"bench light %d" % number).digest())

    def members(self, height: int) -> ValidatorSet:
        first = height // self.every
        return ValidatorSet.of(Validator(self.key(first + i).public, 10 + i % 3) for i in range(self.size))

    def block(self, height: int) -> LightBlock:
        if height not in self.made:
            self.made[height] = encode_light_block(self._make(height))
        return decode_light_block(self.made[height])

    def _make(self, height: int) -> LightBlock:
        members, at = self.members(height), Timestamp(_START + height, 123_456_789)
        header = Header(
            app_version=1,
            chain_id=_CHAIN,
            height=height,
            time=at,
            last_block_id=BlockId(_HASH, 1, _HASH),
            last_commit_hash=_HASH,
            data_hash=_HASH,
            validators_hash=members.hash(),
            next_validators_hash=self.members(height + 1).hash(),
            consensus_hash=_HASH,
            app_hash=_HASH,
            last_results_hash=_HASH,
            evidence_hash=_HASH,
            proposer_address=members.validators[0].address,
        )
        block_id = BlockId(header.hash(), 1, _HASH)
        keys = {self.key(height // self.every + i).public: self.key(height // self.every + i) for i in range(self.size)}
        entries = []
        for number, validator in enumerate(members.validators):
            own = Timestamp(at.seconds, at.nanos + number)
            message = precommit_sign_bytes(_CHAIN, height, 0, block_id, own)
            signature = keys[validator.public_key].sign(message)
            entries.append(CommitSig(BlockIdFlag.COMMIT, validator.address, own, signature))
        return LightBlock(SignedHeader(header, Commit(height, 0, block_id, tuple(entries))), members)


Check = tuple[bytes, bytes, bytes]


def measure(folder: Path, console: Console, *, quick: bool) -> list[Figure]:
    rounds = 20 if quick else 300
    top = 500 if quick else 10_000
    figures: list[Figure] = []
    for size in (4, 20):
        chain = Rotating(size, 10**9)
        for name, height in (("adjacent header", 2), ("header skipped to", 900)):
            figures += one_header(f"{name}, {size} validators", chain, height, rounds)
    for size, every in ((4, 1_000), (4, 100), (20, 100)):
        console.log(f"{top:,} heights, {size} validators")
        name = f"{top:,} heights, {size} validators, one replaced every {every}"
        figures += many_heights(name, Rotating(size, every), top, 3 if quick else 7)
    return figures


def one_header(name: str, chain: Rotating, height: int, rounds: int) -> list[Figure]:
    trusted = chain.block(1)
    freshness = Freshness(Timestamp(_START + height + 1, 0), _DAY_NS)

    def run() -> Callable[[], None]:
        # A block of its own each time: nothing that was computed for the last one is there.
        block = chain.block(height)
        parts = (block.signed, ValidatorSet(block.validators.validators))

        def work() -> None:
            verify(trusted.header, trusted.validators, LightBlock(*parts), freshness)

        return work

    checks = looked_at(run())
    took, reference = compare(run, checks, rounds)
    text = f"{len(checks)} signature checks ({reference * 1e6:.0f} us)"
    return [at_most(name, took * 1e6, "us", 1.5, text, took / reference)]


def many_heights(name: str, chain: Rotating, top: int, rounds: int) -> list[Figure]:
    freshness = Freshness(Timestamp(_START + top + 1, 0), _DAY_NS)
    asked: list[int] = []
    follow(chain.block, top, freshness, asked)  # makes the blocks

    def run() -> Callable[[], None]:
        ready = {height: chain.block(height) for height in (1, top, *asked)}
        parts = {height: (block.signed, ValidatorSet(block.validators.validators)) for height, block in ready.items()}
        return lambda: follow(lambda height: LightBlock(*parts[height]), top, freshness, [])

    def decoding() -> Callable[[], None]:
        return lambda: follow(chain.block, top, freshness, [])

    checks = looked_at(run())
    took, reference = compare(run, checks, rounds)
    whole, again = compare(decoding, checks, rounds)
    text = f"{len(checks)} signature checks ({reference * 1e3:.1f} ms)"
    return [
        at_most(f"{name}: {len(asked)} headers between", took * 1e3, "ms", 1.5, text, took / reference),
        reported(f"{name}: with decoding", whole * 1e3, "ms", text, whole / again),
    ]


def follow(source: Callable[[int], LightBlock], top: int, freshness: Freshness, asked: list[int]) -> None:
    steps = follow_by_skipping(source(1), source(top), freshness)
    try:
        height = next(steps)
        while True:
            asked.append(height)
            height = steps.send(source(height))
    except StopIteration:
        return


def looked_at(work: Callable[[], None]) -> list[Check]:
    """The signatures that a piece of work checks."""
    checks: list[Check] = []

    def noting(suite: Suite, public_key: bytes, message: bytes, signature: bytes) -> bool:
        checks.append((public_key, message, signature))
        return verify_signature(suite, public_key, message, signature)

    with patch.object(verification, "verify_signature", noting):
        work()
    assert checks
    return checks


def compare(prepare: Callable[[], Callable[[], None]], checks: list[Check], rounds: int) -> tuple[float, float]:
    """CPU seconds of the work and of its bare signature checks: medians of turns taken one after the other."""
    works, references = [], []
    for _ in range(rounds):
        work = prepare()
        began = time.process_time()
        work()
        middle = time.process_time()
        for public_key, message, signature in checks:
            crypto_sign_open(signature + message, public_key)
        references.append(time.process_time() - middle)
        works.append(middle - began)
    return median(works), median(references)
