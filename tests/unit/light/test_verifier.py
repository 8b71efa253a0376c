"""Proof files from strangers: whatever the bytes, the answer is a verdict; every bit is under the check."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.light.verifier import STEPS, ProofError, verify_proof
from althing.protocol.batch import Origin
from althing.protocol.codec import decode, encode
from althing.protocol.message import sign_message
from althing.protocol.messages.governance import SetValidator, Validator
from althing.protocol.proof import Proof
from althing.protocol.trust import Trust, format_trust, parse_trust
from althing.testing.harness import seeded_key
from althing.testing.proofs import ProofChain, seeded_validators

PATH = "lock/state"


class Kept:
    """A chain whose validators changed, and one proof of each way from header to trust."""

    def __init__(self) -> None:
        founder, joining = seeded_validators(2)
        chain = ProofChain(chain_id="kept", validators=[founder])
        key = seeded_key("lock")
        chain.device("lock", key)
        chain.define("lock", "state")
        chain.add_signer(joining[0])
        for counter in range(3):
            body = sign_message(key, chain.genesis_hash, chain.chain_id, PATH, counter, b"%d" % counter)
            chain.send(PATH, body, content_type="text/plain")
            chain.send(PATH, b"plain", origin=Origin.GATEWAY)
        chain.anchor()
        chain.block()
        chain.block()
        early = chain.height
        assert chain.run(chain.admin, SetValidator(Validator(joining[0].public, 10, chain.admin.address))).ok
        for _ in range(3):
            chain.block()
        late = chain.height
        direct = chain.proof(PATH, 0, at=late)
        self.chain = chain
        self.proofs: dict[str, tuple[Proof, Trust]] = {
            "direct": (direct, chain.trust(late)),
            "attested": (chain.proof(PATH, 1, at=late), chain.trust(late)),
            "links": (chain.proof(PATH, 0, at=late, links=[early, early + 1]), chain.trust(early)),
            "history": (chain.proof(PATH, 0, at=early - 1, checkpoint=late), chain.trust(late)),
        }


@pytest.fixture(scope="module")
def kept() -> Kept:
    return Kept()


WAYS = ("direct", "attested", "links", "history")


@pytest.mark.parametrize("way", WAYS)
def test_holds_and_says_how(kept: Kept, way: str) -> None:
    proof, trust = kept.proofs[way]
    verified = verify_proof(proof.to_bytes(), trust)
    assert tuple(step.name for step in verified.steps) == STEPS
    expected = {
        "direct": "it is the trusted header",
        "attested": "it is the trusted header",
        "links": "followed 2 linking headers",
        "history": "is in the header log of trusted height",
    }
    assert expected[way] in verified.steps[8].detail
    assert ("the device did not sign" in verified.steps[6].detail) == (way == "attested")


def test_names_its_assumption(kept: Kept) -> None:
    """Tied by nothing but the same validators, the report says what it relies on."""
    proof, trust = kept.proofs["direct"]
    later = replace(trust, height=trust.height + 5, header_hash=bytes(32))
    assert "assumes that two thirds" in verify_proof(proof.to_bytes(), later).steps[8].detail


def _refused(data: bytes, trust: Trust) -> int:
    with pytest.raises(ProofError) as caught:
        verify_proof(data, trust)
    assert caught.value.code == f"proof.{STEPS[caught.value.step - 1].replace(' ', '_')}"
    return caught.value.step


@pytest.mark.parametrize("way", WAYS)
def test_any_part_of_another_proof_is_refused(kept: Kept, way: str) -> None:
    """Each field replaced by the same field of every other proof, where they differ."""
    proof, trust = kept.proofs[way]
    items = decode(proof.to_bytes())
    for other, _ in kept.proofs.values():
        for index, item in enumerate(decode(other.to_bytes())):
            if item == items[index] or Proof._fields()[index][0] in ("links", "history"):
                continue
            _refused(encode([*items[:index], item, *items[index + 1 :]]), trust)


@pytest.mark.parametrize("way", ["direct", "links", "history"])
def test_each_trusted_validator_counts(kept: Kept, way: str) -> None:
    proof, trust = kept.proofs[way]
    stranger = seeded_key("stranger").public.hex()
    for number, member in enumerate(trust.validators.validators):
        text = format_trust(trust).replace(member.public_key.hex(), stranger)
        assert _refused(proof.to_bytes(), parse_trust(text.encode())) == 9, number


def _mangled(item: Any, random_: random.Random) -> Any:
    """The item with one node, chosen anywhere inside, replaced, left out or doubled."""
    if isinstance(item, list) and item and random_.random() < 0.9:
        at = random_.randrange(len(item))
        choice = random_.random()
        if choice < 0.05:
            return item[:at] + item[at + 1 :]
        if choice < 0.1:
            return [*item[: at + 1], *item[at:]]
        return [*item[:at], _mangled(item[at], random_), *item[at + 1 :]]
    if isinstance(item, bytes) and len(item) > 8 and random_.random() < 0.7:
        try:
            inner = decode(item)
        except Exception:  # noqa: BLE001 -- not CBOR inside: a hash, a header, a path
            at = random_.randrange(len(item))
            return item[:at] + bytes((random_.randrange(256),)) + item[at + random_.randrange(3) :]
        return encode(_mangled(inner, random_))
    odd = [
        0,
        1,
        -1,
        2**63,
        2**64 - 1,
        -(2**63),
        b"",
        b"\x00",
        bytes(32),
        "",
        "a",
        "\x00",
        [],
        {},
        [[]],
        {0: 0},
        None,
        True,
    ]
    return random_.choice(odd)


@given(st.integers(0, 2**32), st.sampled_from(WAYS))
def test_no_bytes_break_the_verifier(kept: Kept, seed: int, way: str) -> None:
    """Well-encoded nonsense, at any depth: a verdict, never a crash, and never an acceptance."""
    proof, trust = kept.proofs[way]
    data = proof.to_bytes()
    mangled = encode(_mangled(decode(data), random.Random(seed)))
    if mangled != data:
        _refused(mangled, trust)


@given(st.binary(max_size=64))
def test_no_noise_breaks_the_verifier(kept: Kept, noise: bytes) -> None:
    assert _refused(noise, kept.proofs["direct"][1]) == 1


def _flips(data: bytes, step: int) -> Iterator[bytes]:
    for bit in range(0, 8 * len(data), step):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_every_bit_is_under_the_check(kept: Kept, way: str) -> None:
    proof, trust = kept.proofs[way]
    for changed in _flips(proof.to_bytes(), 1):
        _refused(changed, trust)


@pytest.mark.parametrize("way", WAYS)
def test_bits_are_under_the_check(kept: Kept, way: str) -> None:
    """A sample over all bytes; the long test takes every bit."""
    proof, trust = kept.proofs[way]
    for changed in _flips(proof.to_bytes(), 61):
        _refused(changed, trust)
