"""State proofs as bytes from strangers: one encoding each, every alteration noticed, small."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.ledger.state.store import StateStore
from althing.ledger.state.view import StateView
from althing.protocol.codec import encode
from althing.protocol.errors import MerkleError
from althing.protocol.stateproof import (
    EMPTY_HASH,
    AbsenceProof,
    PresenceProof,
    Terminal,
    proof_from_cbor_obj,
    proof_to_cbor_obj,
    verify_absence,
    verify_presence,
)
from althing.storage.memory import MemoryBackend


@pytest.fixture(scope="module")
def view() -> StateView:
    store = StateStore(MemoryBackend())
    store.commit(store.stage(1, {b"key/%d" % number: b"value/%d" % number for number in range(500)}))
    return store.view()


PRESENT = [b"key/%d" % number for number in range(40)]
ABSENT = [b"absent/%d" % number for number in range(40)]


def code(call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(MerkleError) as caught:
        call(*arguments)
    return caught.value.code


def presence(view: StateView, key: bytes) -> tuple[bytes, PresenceProof]:
    value, proof = view.prove(key)
    assert value is not None
    assert isinstance(proof, PresenceProof)
    return value, proof


def absences(view: StateView) -> list[tuple[bytes, AbsenceProof]]:
    found = []
    for key in ABSENT:
        proof = view.prove(key)[1]
        assert isinstance(proof, AbsenceProof)
        found.append((key, proof))
    return found


def test_both_ends_of_an_absent_path_occur(view: StateView) -> None:
    ends = {proof.terminal is None for _, proof in absences(view)}
    assert ends == {True, False}


def test_every_altered_sibling_root_key_or_value_is_noticed(view: StateView) -> None:
    for key in PRESENT:
        value, proof = presence(view, key)
        verify_presence(view.root, key, value, proof)
        assert code(verify_presence, sha256(b"").digest(), key, value, proof) == "state_proof.root"
        assert code(verify_presence, view.root, key + b"x", value, proof) == "state_proof.root"
        assert code(verify_presence, view.root, key, value + b"x", proof) == "state_proof.root"
        for at in range(len(proof.siblings)):
            altered = [*proof.siblings]
            altered[at] = sha256(altered[at]).digest()
            changed = PresenceProof(tuple(altered))
            assert code(verify_presence, view.root, key, value, changed) == "state_proof.root"
            shorter = PresenceProof(proof.siblings[:at] + proof.siblings[at + 1 :])
            with pytest.raises(MerkleError):
                verify_presence(view.root, key, value, shorter)


def test_an_absence_proof_does_not_hold_for_another_place(view: StateView) -> None:
    for key, proof in absences(view):
        verify_absence(view.root, key, proof)
        assert code(verify_absence, sha256(b"").digest(), key, proof) == "state_proof.root"
        for other in PRESENT:
            with pytest.raises(MerkleError):
                verify_absence(view.root, other, proof)


def test_a_present_key_cannot_be_shown_absent(view: StateView) -> None:
    key = PRESENT[0]
    value, proof = presence(view, key)
    own = Terminal(sha256(key).digest(), sha256(value).digest())
    assert code(verify_absence, view.root, key, AbsenceProof(proof.siblings, own)) == "state_proof.present"
    assert code(verify_absence, view.root, key, AbsenceProof(proof.siblings, None)) == "state_proof.root"
    # a true leaf and its true siblings, offered for a key whose path parts from them above
    away = next(name for name in ABSENT if sha256(name).digest()[0] >> 7 != own.path[0] >> 7)
    assert code(verify_absence, view.root, away, AbsenceProof(proof.siblings, own)) == "state_proof.place"


def test_an_inner_node_cannot_pose_as_a_leaf(view: StateView) -> None:
    """The two preimages have one length; their first bytes keep them apart."""
    _, proof = presence(view, PRESENT[0])
    path = sha256(PRESENT[0]).digest()
    left, right = (proof.siblings[-1], b"\x00" * 32) if path[0] >> 7 else (b"\x00" * 32, proof.siblings[-1])
    forged = AbsenceProof((), Terminal(left, right))
    assert code(verify_absence, view.root, PRESENT[0], forged) == "state_proof.root"


def test_empty_keys_values_and_misshapen_parts_are_refused(view: StateView) -> None:
    value, proof = presence(view, PRESENT[0])
    assert code(verify_presence, view.root, b"", value, proof) == "state_proof.form"
    assert code(verify_presence, view.root, PRESENT[0], b"", proof) == "state_proof.form"
    assert code(verify_absence, view.root, b"", AbsenceProof((), None)) == "state_proof.form"
    for siblings in ((b"x",), (EMPTY_HASH,), (b"x" * 32,) * 257):
        assert code(verify_presence, view.root, b"k", b"v", PresenceProof(siblings)) == "state_proof.form"
        assert code(verify_absence, view.root, b"k", AbsenceProof(siblings, None)) == "state_proof.form"
    short = AbsenceProof((), Terminal(b"x", b"y"))
    assert code(verify_absence, view.root, b"k", short) == "state_proof.form"


H = b"h" * 32
MALFORMED: list[object] = [
    None,
    {},
    [],
    (0, 0, b"", b""),
    [0, 0, b""],
    [0, 0, b"", b"", b""],
    [3, 0, b"", b""],
    [-1, 0, b"", b""],
    [True, 0, b"", b""],
    ["0", 0, b"", b""],
    [0, -1, b"", b""],
    [0, 257, b"\x01" + b"\x00" * 32, H],
    [0, True, b"\x01", H],
    [0, 1, 1, H],
    [0, 1, bytearray(b"\x01"), H],
    [0, 1, b"", b""],
    [0, 1, b"\x01\x00", H],
    [0, 1, b"\x03", H + H],
    [0, 1, b"\x00", b""],
    [0, 2, b"\x02", H],
    [0, 1, b"\x01", H + H],
    [0, 1, b"\x01", H[1:]],
    [0, 1, b"\x01", b""],
    [0, 1, b"\x01", "h" * 32],
    [0, 1, b"\x01", EMPTY_HASH],
    [0, 2, b"\x03", H + EMPTY_HASH],
    [1, 0, b"", b"", H, H],
    [2, 0, b"", b""],
    [2, 0, b"", b"", H],
    [2, 0, b"", b"", H, H[1:]],
    [2, 0, b"", b"", "h" * 32, H],
]


@pytest.mark.parametrize("obj", MALFORMED, ids=str)
def test_malformed_encodings_are_refused(obj: object) -> None:
    assert code(proof_from_cbor_obj, obj) == "state_proof.form"


SIBLINGS = st.lists(st.one_of(st.just(EMPTY_HASH), st.binary(min_size=32, max_size=32)), max_size=256).filter(
    lambda siblings: not siblings or siblings[0] != EMPTY_HASH
)
HASHES = st.binary(min_size=32, max_size=32)
PROOFS = st.one_of(
    st.builds(PresenceProof, SIBLINGS.map(tuple)),
    st.builds(AbsenceProof, SIBLINGS.map(tuple), st.one_of(st.none(), st.builds(Terminal, HASHES, HASHES))),
)


@given(PROOFS)
def test_encoding_and_decoding_are_inverse(proof: PresenceProof | AbsenceProof) -> None:
    assert proof_from_cbor_obj(proof_to_cbor_obj(proof)) == proof


@given(
    st.lists(
        st.one_of(st.integers(-1, 3), st.integers(0, 9), st.sampled_from([b"", b"\x01", b"\x03", b"\x05", H, H + H])),
        min_size=4,
        max_size=6,
    )
)
def test_what_decodes_encodes_to_the_same(obj: list[object]) -> None:
    try:
        proof = proof_from_cbor_obj(obj)
    except MerkleError:
        return
    assert proof_to_cbor_obj(proof) == obj


def test_a_proof_of_twenty_siblings_has_about_650_bytes() -> None:
    proof = PresenceProof(tuple(sha256(b"%d" % number).digest() for number in range(20)))
    assert len(encode(proof_to_cbor_obj(proof))) == 650
