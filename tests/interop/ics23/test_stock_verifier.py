"""Every proof our state makes is accepted by the stock ICS-23 verifier (cosmos/ics23, Go), every altered one refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from althing.ledger.state.store import StateStore
from althing.ledger.state.view import StateView
from althing.protocol.stateproof import ICS23_SPEC
from althing.storage.memory import MemoryBackend

pytestmark = pytest.mark.needs_go

HERE = Path(__file__).resolve().parent


class Judge:
    """The compiled verifier; answers for many proofs in one run."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary

    def verdicts(self, cases: Sequence[dict[str, Any]], *arguments: str) -> list[bool]:
        question = json.dumps({"spec": ICS23_SPEC.hex(), "cases": list(cases)})
        run = subprocess.run(
            [str(self._binary), *arguments], input=question, capture_output=True, text=True, timeout=120, check=True
        )
        answers: list[bool] = json.loads(run.stdout)
        assert len(answers) == len(cases)
        return answers


@pytest.fixture(scope="module")
def judge(go: str, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    binary = tmp_path_factory.mktemp("ics23") / "judge"
    subprocess.run([go, "build", "-o", str(binary), "."], cwd=HERE, check=True, timeout=280)
    return Judge(binary)


def path_bits(key: bytes) -> int:
    return int.from_bytes(sha256(key).digest(), "big")


def names(label: str) -> Iterator[bytes]:
    number = 0
    while True:
        yield f"{label}/{number}".encode()
        number += 1


def make_view(keys: Sequence[bytes]) -> StateView:
    store = StateStore(MemoryBackend())
    store.commit(store.stage(1, {key: b"value of " + key for key in keys}))
    return store.view()


def in_subtree(label: str, prefix: str, count: int) -> list[bytes]:
    """Keys whose path begins with these bits."""
    found: list[bytes] = []
    for key in names(label):
        if f"{path_bits(key):0256b}".startswith(prefix):
            found.append(key)
            if len(found) == count:
                break
    return found


def twins(bits: int) -> tuple[bytes, bytes]:
    """Two keys whose paths have at least this many first bits in common: a long chain of empty siblings."""
    seen: dict[int, bytes] = {}
    for key in names("twin"):
        other = seen.setdefault(path_bits(key) >> (256 - bits), key)
        if other != key:
            return other, key
    raise AssertionError("unreachable")


def trees() -> dict[str, list[bytes]]:
    few = list(zip(range(3000), names("key"), strict=False))
    keys = [key for _, key in few]
    one, other = twins(24)
    return {
        "one leaf": keys[:1],
        "two leaves": keys[:2],
        "three leaves": keys[:3],
        "seventeen leaves": keys[:17],
        "two hundred leaves": keys[:200],
        "three thousand leaves": keys,
        "all in the left half": in_subtree("left", "0", 9),
        "all in the right half": in_subtree("right", "1", 9),
        "all in the leftmost sixteenth": in_subtree("left", "0000", 5),
        "all in the rightmost sixteenth": in_subtree("right", "1111", 5),
        "both ends only": in_subtree("end", "000000", 1) + in_subtree("end", "111111", 1),
        "two groups with empty siblings between": in_subtree("gap", "0011", 3) + in_subtree("gap", "1001", 3),
        "twins": [one, other],
        "twins among others": [one, other, *keys[:30]],
    }


TREES = trees()


def absent_keys(keys: Sequence[bytes]) -> list[bytes]:
    """Left of all, right of all, in each sixteenth, and the nearest misses of some present keys that were found."""
    probes = [key for _, key in zip(range(4000), names("absent"), strict=False)]
    probes.sort(key=path_bits)
    chosen = {probes[0], probes[-1], *probes[:: len(probes) // 40]}
    leaves = sorted(path_bits(key) for key in keys)
    for leaf in (leaves[0], leaves[-1], leaves[len(leaves) // 2]):
        chosen.update(sorted(probes, key=lambda key: abs(path_bits(key) - leaf))[:4])
    return sorted(chosen - set(keys))


def case_of(view: StateView, key: bytes) -> dict[str, Any]:
    value, proof = view.prove_ics23(key)
    case = {"root": view.root.hex(), "key": key.hex(), "proof": proof.hex()}
    return case if value is None else {**case, "value": value.hex()}


@pytest.mark.parametrize("name", TREES)
def test_presence_is_accepted(name: str, judge: Judge) -> None:
    keys = TREES[name]
    view = make_view(keys)
    cases = [case_of(view, key) for key in keys[:300]]
    assert all("value" in case for case in cases)
    assert all(judge.verdicts(cases))
    assert all(judge.verdicts(cases, "smt")), "the library's own SmtSpec describes our tree too"


@pytest.mark.parametrize("name", TREES)
def test_absence_is_accepted(name: str, judge: Judge) -> None:
    keys = TREES[name]
    view = make_view(keys)
    cases = [case_of(view, key) for key in absent_keys(keys)]
    assert len(cases) >= 40
    assert all("value" not in case for case in cases)
    assert all(judge.verdicts(cases))
    assert all(judge.verdicts(cases, "smt"))


def test_the_edges_are_among_the_cases() -> None:
    """Guards the cases above: keys beside the first and the last leaf, whose proofs have one neighbour only."""
    for name, keys in TREES.items():
        leaves = sorted(path_bits(key) for key in keys)
        absent = [path_bits(key) for key in absent_keys(keys)]
        assert min(absent) < leaves[0] or leaves[0] >> 248 == 0, name
        assert max(absent) > leaves[-1] or leaves[-1] >> 248 == 255, name


def test_altered_proofs_are_refused(judge: Judge) -> None:
    keys = TREES["two hundred leaves"]
    view = make_view(keys)
    altered = []
    for key in [*keys[:30], *absent_keys(keys)[:30]]:
        case = case_of(view, key)
        altered.append({**case, "root": sha256(b"other").hexdigest()})
        altered.append({**case, "key": sha256(key).hexdigest()})
        if "value" in case:
            altered.append({**case, "value": case["value"] + "00"})
            altered.append({name: case[name] for name in ("root", "key", "proof")})
        else:
            altered.append({**case, "value": "00"})
    assert not any(judge.verdicts(altered))


def with_flipped_bits(case: dict[str, Any], start: int, stop: int) -> list[dict[str, Any]]:
    proof = bytes.fromhex(case["proof"])
    flipped = []
    for at in range(start, stop):
        for bit in range(8):
            flipped.append({**case, "proof": (proof[:at] + bytes((proof[at] ^ 1 << bit,)) + proof[at + 1 :]).hex()})
    return flipped


def test_no_bit_of_a_proof_can_be_changed(judge: Judge) -> None:
    """Except in NonExistenceProof.key, which the verifier never reads: it judges the key that it is asked about."""
    keys = TREES["two hundred leaves"]
    view = make_view(keys)
    presence = case_of(view, keys[0])
    assert not any(judge.verdicts(with_flipped_bits(presence, 0, len(presence["proof"]) // 2)))
    key = absent_keys(keys)[5]
    absence = case_of(view, key)
    proof = bytes.fromhex(absence["proof"])
    start = proof.index(b"\x0a" + bytes((len(key),)) + key)
    unread = range(start, start + 2 + len(key))
    assert start == 3  # tag and two bytes of length of the NonExistenceProof come before
    assert not any(judge.verdicts(with_flipped_bits(absence, 0, unread.start)))
    assert not any(judge.verdicts(with_flipped_bits(absence, unread.stop, len(proof))))
    assert any(judge.verdicts(with_flipped_bits(absence, unread.start, unread.stop)))


def test_absence_of_a_present_key_cannot_be_claimed(judge: Judge) -> None:
    """A proof of absence made before the key came does not hold under the root with it, and the other way round."""
    store = StateStore(MemoryBackend())
    key = b"late"
    store.commit(store.stage(1, dict.fromkeys(TREES["seventeen leaves"], b"v")))
    store.commit(store.stage(2, {key: b"v"}))
    before, after = case_of(store.view(1), key), case_of(store.view(2), key)
    assert judge.verdicts([before, after]) == [True, True]
    assert judge.verdicts([{**before, "root": after["root"]}, {**after, "root": before["root"]}]) == [False, False]


def test_the_golden_vectors_are_accepted(judge: Judge, root: Path) -> None:
    vectors = json.loads((root / "tests" / "vectors" / "state_proofs.json").read_text(encoding="utf-8"))["cases"]
    assert ICS23_SPEC.hex() == vectors[0]["ics23_spec"]
    cases = [
        {"root": case["root"], "key": case["key"], "proof": case["ics23"]}
        | ({"value": case["value"]} if "value" in case else {})
        for case in vectors
        if "ics23" in case
    ]
    assert len(cases) > 50
    assert all(judge.verdicts(cases))
