"""Proofs made for a trust file: whatever the validators did in between, the file verifies under it, or none is made."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from althing.light.verifier import ProofError, verify_proof
from althing.node.proofs import ProofBuilder
from althing.node.trustway import Pin, UntiedError
from althing.protocol.errors import StateError, UnavailableError
from althing.protocol.message import sign_message
from althing.protocol.messages.governance import SetValidator, Validator
from althing.protocol.proof import Proof, parse_proof
from althing.protocol.trust import Trust
from althing.testing.harness import seeded_key
from althing.testing.proofs import ProofChain, seeded_validators

PATH = "lock/state"
KEYS = [key for key, _ in seeded_validators(5)]


class Chain(ProofChain):
    """Four validators at first, the fifth key waits; a device with a stream."""

    def __init__(self, founders: int = 4) -> None:
        super().__init__(chain_id="ways", validators=seeded_validators(founders))
        for key in KEYS:
            self.add_signer(key)
        self._key = seeded_key("lock")
        self.device("lock", self._key)
        self.define("lock", "state")

    def read(self) -> int:
        """Anchor one more message; its sequence."""
        counter = self.height
        sequence = self.send(PATH, sign_message(self._key, self.genesis_hash, self.chain_id, PATH, counter, b"x"))
        self.anchor()
        return sequence

    def power(self, number: int, power: int) -> bool:
        key = KEYS[number]
        done = self.run(self.admin, SetValidator(Validator(key.public, power, self.admin.address))).ok
        return done

    def hand_over(self) -> None:
        """From the first founder to the fifth key alone, in steps that each leave a third of the old power."""
        for number in range(1, 5):
            assert self.power(number, 10)
        for number in range(4):
            assert self.power(number, 0)
            self.block()
        self.block()
        self.block()


@pytest.fixture(scope="module")
def handed() -> tuple[Chain, int, int]:
    """A chain, and a height before and one after nobody of its founders is left."""
    chain = Chain(founders=1)
    chain.read()
    chain.block()
    early = chain.height
    chain.hand_over()
    chain.read()
    chain.block()
    return chain, early, chain.height


def made(chain: ProofChain, sequence: int, trust: Trust, height: int | None = None) -> Proof:
    """The proof made for a trust file; it verifies under that."""
    data = chain.builder().proof(PATH, sequence, Pin.of(trust), height)
    verify_proof(data, trust)
    return parse_proof(data)


def test_older_trust_is_followed_over_links(handed: tuple[Chain, int, int]) -> None:
    chain, early, late = handed
    proof = made(chain, 1, chain.trust(early))
    assert proof.history is None
    assert 2 <= len(proof.links) < late - early, "links skip what they can"
    with pytest.raises(ProofError) as refused:
        verify_proof(chain.builder().proof(PATH, 1), chain.trust(early))
    assert refused.value.step == 9, "without links the same proof does not hold"


def test_newer_trust_goes_through_the_header_log(handed: tuple[Chain, int, int]) -> None:
    chain, early, late = handed
    proof = made(chain, 0, chain.trust(late), early)
    assert proof.history is not None
    assert not proof.links


def test_the_trusted_header_itself_needs_no_way_and_no_assumption(handed: tuple[Chain, int, int]) -> None:
    chain, early, _ = handed
    proof = made(chain, 0, chain.trust(early))
    assert proof.history is None
    assert not proof.links
    detail = verify_proof(proof.to_bytes(), chain.trust(early)).steps[8].detail
    assert "assumes" not in detail


def test_an_old_proof_outlives_its_validators(handed: tuple[Chain, int, int]) -> None:
    chain, early, late = handed
    old = chain.proof(PATH, 0, at=early).to_bytes()
    with pytest.raises(ProofError):
        verify_proof(old, chain.trust(late))
    tied = chain.builder().tied(old, Pin.of(chain.trust(late)))
    verify_proof(tied, chain.trust(late))
    assert chain.builder().tied(tied, Pin.of(chain.trust(early))) == old


@pytest.mark.parametrize("older", [True, False])
def test_what_is_altered_on_the_way_fails_at_step_nine(handed: tuple[Chain, int, int], older: bool) -> None:
    chain, early, late = handed
    trust = chain.trust(early if older else late)
    proof = made(chain, 1, trust) if older else made(chain, 0, trust, early)
    if older:
        link = proof.links[-1]
        spoiled = replace(link, commit=link.commit[:-1] + bytes((link.commit[-1] ^ 1,)))
        altered = [
            replace(proof, links=proof.links[1:]),
            replace(proof, links=(proof.links[0], proof.links[0], *proof.links[1:])),
            replace(proof, links=(*proof.links[:-1], spoiled)),
            replace(proof, links=proof.links[:1]),
        ]
    else:
        history = proof.history
        assert history is not None
        altered = [
            replace(proof, history=replace(history, index=history.index - 1)),
            replace(proof, history=replace(history, path=history.path[:-1])),
            replace(proof, history=replace(history, entry=history.entry[:-1] + bytes((history.entry[-1] ^ 1,)))),
            replace(proof, history=replace(history, descent=(*history.descent, history.checkpoint))),
            replace(proof, history=replace(history, checkpoint=chain.signed_header(late - 1).header.encode())),
            replace(proof, history=None),
        ]
    for number, changed in enumerate(altered):
        with pytest.raises(ProofError) as refused:
            verify_proof(changed.to_bytes(), trust)
        assert refused.value.step == 9, number


def test_a_trust_file_of_another_chain_is_refused(handed: tuple[Chain, int, int]) -> None:
    chain, early, late = handed
    for trust in (chain.trust(early), chain.trust(late)):
        pin = Pin.of(trust)
        for foreign in (replace(pin, header_hash=bytes(32)), replace(pin, validators_hash=bytes(32))):
            with pytest.raises(UntiedError) as refused:
                chain.builder().proof(PATH, 0, foreign)
            assert refused.value.code == "proof.foreign_trust"


def test_a_proof_of_another_chain_is_not_tied(handed: tuple[Chain, int, int]) -> None:
    chain, _, late = handed
    other = ProofChain(chain_id="ways", validators=seeded_validators(2))
    key = seeded_key("lock")
    other.device("lock", key)
    other.define("lock", "state")
    other.send(PATH, sign_message(key, other.genesis_hash, "ways", PATH, 1, b"x"))
    other.anchor()
    with pytest.raises(UntiedError) as refused:
        chain.builder().tied(other.proof(PATH, 0).to_bytes(), Pin.of(chain.trust(late)))
    assert refused.value.code == "proof.foreign_trust"


def test_a_node_that_is_behind_says_so(handed: tuple[Chain, int, int]) -> None:
    chain, _, late = handed
    for pin in (Pin(late + 9, bytes(32), bytes(32)), Pin(late + 9)):
        with pytest.raises(UnavailableError) as refused:
            chain.builder().proof(PATH, 0, pin)
        assert refused.value.code == "proof.behind"
    ahead = replace(chain.trust(late), height=late + 9, header_hash=bytes(32))
    verify_proof(chain.builder().proof(PATH, 0, Pin.of(ahead)), ahead)  # the same validators: no way is needed


def test_a_header_that_no_log_knows_is_refused_where_sets_differ() -> None:
    """In the two blocks before a change takes effect without other content, nothing is logged behind the header."""
    chain = Chain()
    chain.read()
    chain.block()
    assert chain.power(4, 10)
    changed = chain.height
    chain.block()
    chain.block()
    newer = chain.trust(changed + 2)
    assert chain.validators_at(changed + 1) != newer.validators
    with pytest.raises(UntiedError) as refused:
        chain.builder().proof(PATH, 0, Pin.of(newer), changed + 1)
    assert refused.value.code == "proof.no_way"
    made(chain, 0, newer, changed)


def test_too_long_a_descent_is_refused() -> None:
    chain = Chain()
    chain.read()
    chain.block()
    early = chain.height
    for _ in range(130):
        chain.block()
    assert chain.power(4, 10)
    for _ in range(3):
        chain.block()
    with pytest.raises(UntiedError) as refused:
        chain.builder().proof(PATH, 0, Pin.of(chain.trust()), early)
    assert refused.value.code == "proof.no_way"
    assert made(chain, 0, chain.trust(), early + 3).history is not None
    assert not made(chain, 0, chain.trust()).history, "left to choose, the maker takes the trusted header"


def test_pruned_state_still_proves_by_links() -> None:
    chain = Chain()
    chain.read()
    chain.block()
    early, trust = chain.height, chain.trust()
    assert chain.power(4, 10)
    for _ in range(4):
        chain.block()
    while chain.ledger.store.prune(2):
        pass
    assert made(chain, 0, trust).links
    with pytest.raises(StateError) as refused:
        chain.builder().proof(PATH, 0, Pin.of(trust), early)
    assert refused.value.code == "state.pruned"


Step = tuple[str, int, int]
STEPS = st.one_of(
    st.tuples(st.just("power"), st.integers(0, 4), st.sampled_from([0, 1, 10, 40])),
    st.tuples(st.just("blocks"), st.integers(1, 3), st.just(0)),
    st.tuples(st.just("read"), st.just(0), st.just(0)),
)


@settings(max_examples=25)
@given(st.lists(STEPS, max_size=25), st.data())
def test_any_trust_file_of_the_chain(script: list[Step], data: st.DataObject) -> None:
    """Random changes of power; for any trusted height, and any header it may be proved against, the file verifies."""
    chain = Chain()
    chain.read()
    chain.block()
    first = chain.height
    for what, number, power in script:
        if what == "power":
            chain.power(number, power)
        elif what == "read":
            chain.read()
        else:
            for _ in range(number):
                chain.block()
    builder = chain.builder()
    for _ in range(4):
        trust = chain.trust(data.draw(st.integers(1, chain.height)))
        height = data.draw(st.one_of(st.none(), st.integers(first, chain.height)))
        _verifies(builder, chain, trust, height)


def _verifies(builder: ProofBuilder, chain: Chain, trust: Trust, height: int | None) -> None:
    try:
        proof = builder.proof(PATH, 0, Pin.of(trust), height)
    except UntiedError:
        assert height is not None, "left to choose, the maker finds a header"
        roots = {chain.signed_header(at).header.app_hash for at in range(height, trust.height + 1)}
        assert len(roots) == 1, "it is refused only where no block between the two has changed, so logged, anything"
        return
    verify_proof(proof, trust)
