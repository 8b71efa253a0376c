"""The second verifier of proof files against the vectors, and against changes of single bits."""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import althing_verify as second

HERE = Path(__file__).parent
Case = dict[str, Any]


def cases_of(suite: str) -> list[Case]:
    text = (HERE.parent / "vectors" / f"{suite}.json").read_text(encoding="utf-8")
    cases: list[Case] = json.loads(text)["cases"]
    return cases


CASES = cases_of("proof")
ACCEPTED = {case["name"]: case for case in CASES if "result" in case}
REFUSED = {case["name"]: case for case in CASES if "failing_step" in case}
TRUST_FILES = {case["name"]: case for case in CASES if "trust_file" in case}
FLIPPED = [name for name, case in ACCEPTED.items() if "flipped" in case]
FIRST = "Ed25519, the trusted header itself"
OTHER_HEIGHT = "trusted height before the proof's"
# One for each way through step 9.
WAYS = [FIRST, OTHER_HEIGHT, "links that skip", "links one by one", "history with a descent"]


def trust_json(trust: object) -> bytes:
    return json.dumps(trust).encode()


def failing_step(proof: bytes, trust: object, require_device: bool) -> int | None:
    try:
        second.verify(proof, trust_json(trust), require_device)
    except second.Refused as refusal:
        return refusal.step
    return None


def flipped(data: bytes, offset: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[offset] ^= 1 << bit
    return bytes(changed)


def test_every_proof_vector_is_covered() -> None:
    assert len(ACCEPTED) + len(REFUSED) + len(TRUST_FILES) == len(CASES)
    assert min(len(ACCEPTED), len(REFUSED), len(TRUST_FILES), len(FLIPPED)) > 0


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepts_and_tells_the_same(name: str) -> None:
    case = ACCEPTED[name]
    result = second.verify(bytes.fromhex(case["proof"]), trust_json(case["trust"]), case["require_device"])
    body = result["body"]
    assert isinstance(body, bytes)
    told = {key: value for key, value in result.items() if key not in ("body", "notes")} | {"body": body.hex()}
    assert told == case["result"]


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_at_the_same_step(name: str) -> None:
    case = REFUSED[name]
    with pytest.raises(second.Refused) as refusal:
        second.verify(bytes.fromhex(case["proof"]), trust_json(case["trust"]), case["require_device"])
    assert (refusal.value.step, refusal.value.code) == (case["failing_step"], case["code"])


@pytest.mark.parametrize("name", TRUST_FILES)
def test_refuses_trust_files(name: str) -> None:
    case = TRUST_FILES[name]
    with pytest.raises(second.Refused) as refusal:
        second.verify(bytes.fromhex(ACCEPTED[FIRST]["proof"]), case["trust_file"].encode())
    assert (refusal.value.step, refusal.value.code) == (0, case["error"])


@pytest.mark.parametrize("name", FLIPPED)
def test_single_bits_fail_at_the_same_step(name: str) -> None:
    case = ACCEPTED[name]
    proof = bytes.fromhex(case["proof"])
    for index, expected in enumerate(case["flipped"]):
        offset = index * case["stride"]
        step = failing_step(flipped(proof, offset, offset % 8), case["trust"], case["require_device"])
        assert step == int(expected), f"byte {offset}"


def test_no_proof_survives_a_flipped_bit() -> None:
    places = [(name, offset) for name, case in ACCEPTED.items() for offset in range(len(case["proof"]) // 2)]
    chance = random.Random(20260301)
    for name, offset in chance.sample(places, 3000):
        case, bit = ACCEPTED[name], chance.randrange(8)
        proof = flipped(bytes.fromhex(case["proof"]), offset, bit)
        assert failing_step(proof, case["trust"], case["require_device"]), f"{name}: byte {offset}, bit {bit}"


@pytest.mark.parametrize("name", ACCEPTED)
def test_no_proof_survives_a_byte_more_or_less(name: str) -> None:
    case = ACCEPTED[name]
    proof = bytes.fromhex(case["proof"])
    for damaged in (proof[:-1], proof + b"\0", proof[1:], b"\0" + proof, proof * 2):
        assert failing_step(damaged, case["trust"], case["require_device"]) == 1


def changed_digits(text: str) -> Iterator[str]:
    for at, digit in enumerate(text):
        yield text[:at] + f"{int(digit, 16) ^ 1 << at % 4:x}" + text[at + 1 :]


def steps_of_changed(case: Case, place: str, validator: int | None = None) -> set[int | None]:
    """The failing steps with each digit of a hash or key in the trust file changed."""
    trust, steps = copy.deepcopy(case["trust"]), set()
    holder = trust if validator is None else trust["validators"][validator]
    for text in changed_digits(holder[place]):
        holder[place] = text
        steps.add(failing_step(bytes.fromhex(case["proof"]), trust, case["require_device"]))
    return steps


@pytest.mark.parametrize("name", WAYS)
def test_every_digit_of_the_trust_file_counts(name: str) -> None:
    case = ACCEPTED[name]
    assert steps_of_changed(case, "genesis_hash") == {2}
    for validator in range(len(case["trust"]["validators"])):
        assert steps_of_changed(case, "public_key", validator) == {9}
    # At another height, with neither links nor history, the trusted hash is not compared with anything.
    assert steps_of_changed(case, "header_hash") == ({None} if name == OTHER_HEIGHT else {9})


@pytest.mark.parametrize("name", WAYS)
def test_trusted_powers_count(name: str) -> None:
    case = ACCEPTED[name]
    for validator in range(len(case["trust"]["validators"])):
        trust = copy.deepcopy(case["trust"])
        trust["validators"][validator]["power"] += 1
        assert failing_step(bytes.fromhex(case["proof"]), trust, case["require_device"]) == 9


@pytest.mark.parametrize("name", WAYS)
def test_trusted_height_counts_where_a_way_starts_there(name: str) -> None:
    case = ACCEPTED[name]
    trust = case["trust"] | {"height": case["trust"]["height"] + 100}
    step = failing_step(bytes.fromhex(case["proof"]), trust, case["require_device"])
    assert step == (None if name in (FIRST, OTHER_HEIGHT) else 9)


def damaged_trust_files() -> Iterator[bytes]:
    text = trust_json(ACCEPTED[FIRST]["trust"]).decode()
    yield text.replace("{", '{"height": 11, ', 1).encode()
    yield text.replace("{", '{"\\u0068eight": 11, ', 1).encode()
    yield text.replace('"power"', '"power": 9, "power"').encode()
    yield text.replace("{", '{"note": {"a": 1, "a": 1}, ', 1).encode()
    yield b"\xef\xbb\xbf" + text.encode()
    yield text.encode("utf-16")
    yield text.replace("{", '{"note": "?", ', 1).encode().replace(b"?", b"\xed\xa0\x80")
    yield text.replace("{", '{"note": NaN, ', 1).encode()
    yield text.replace("{", '{"note": ' + "[" * 20_000 + "]" * 20_000 + ", ", 1).encode()
    yield text.ljust(65_537).encode()


def test_refuses_trust_files_that_parsers_read_differently() -> None:
    proof = bytes.fromhex(ACCEPTED[FIRST]["proof"])
    for text in damaged_trust_files():
        with pytest.raises(second.Refused) as refusal:
            second.verify(proof, text)
        assert refusal.value.code == "trust.form"


def test_ignores_other_members_of_a_trust_file() -> None:
    text = trust_json(ACCEPTED[FIRST]["trust"]).decode().replace("{", '{"note": {"a": [1.5, "é"]}, ', 1)
    assert second.verify(bytes.fromhex(ACCEPTED[FIRST]["proof"]), text.ljust(65_535).encode())


def test_order_of_trusted_validators_does_not_count() -> None:
    case = ACCEPTED["four validators"]
    trust = case["trust"] | {"validators": case["trust"]["validators"][::-1]}
    assert failing_step(bytes.fromhex(case["proof"]), trust, case["require_device"]) is None


def test_says_what_a_result_rests_on() -> None:
    def notes(name: str) -> object:
        case = ACCEPTED[name]
        return second.verify(bytes.fromhex(case["proof"]), trust_json(case["trust"]))["notes"]

    assert notes(FIRST) == []
    assert "no other history" in str(notes(OTHER_HEIGHT))
    assert "did not sign" in str(notes("attested by the gateway"))


# --- the parts, against the vectors of their own pages ---------------------------------------------------------------


def test_values_on_the_way() -> None:
    case = ACCEPTED[FIRST]
    told = {name: bytes.fromhex(value) for name, value in case["explained"].items()}
    check = second.Check(bytes.fromhex(case["proof"]), trust_json(case["trust"]), False)
    for step in (check.read_trust, check.form, check.chain, check.batch, check.log, check.stream, check.key_record):
        step()
    header, commit, validators = check.signed
    message = second.device_message_of(check.leaf.body)
    assert told["leaf_hash"] == second.digest(b"\0", check.proof.leaf)
    assert told["row_hash"] == second.digest(b"\0", check.proof.row)
    assert (told["batch_root"], told["log_root"]) == (check.row.batch_root, check.head.log_root)
    assert told["account_value_hash"] == second.digest(check.proof.account)
    assert told["kid"] == message.kid
    assert told["sig_structure"] == message.signed(check.proof.genesis_hash)
    assert (told["state_root"], told["header_hash"]) == (header.app_hash, header.hash)
    assert told["validators_hash"] == second.set_hash(validators)
    assert told["sign_bytes"] == second.sign_bytes(commit, commit.signatures[0], header.chain_id)


def test_signatures() -> None:
    for case in cases_of("signatures"):
        public = bytes.fromhex(case["public_key"])
        if "signature" in case:
            message, signature = bytes.fromhex(case["message"]), bytes.fromhex(case["signature"])
            verdict = second.signature_verifies(case["algorithm"], public, message, signature)
            assert verdict == case.get("valid", True), case["name"]
        elif case["algorithm"] == second.ED25519:
            assert (second.ed25519_key(public) is not None) == (case["key_error"] is None), case["name"]


def test_cbor() -> None:
    for case in cases_of("cbor"):
        if "bytes" not in case or "bytes_max" in case:
            continue
        try:
            second.cbor(bytes.fromhex(case["bytes"]), case.get("depth_max", 16))
            accepted = True
        except second.Bad:
            accepted = False
        assert accepted == ("error" not in case), case["name"]


def test_messages_of_devices() -> None:
    for case in cases_of("device_message"):
        try:
            message = second.device_message_of(bytes.fromhex(case["message"]))
        except second.Bad:
            assert "error" in case, case["name"]
            continue
        public = bytes.fromhex(case["public_key"])
        signed = message.signed(bytes.fromhex(case["genesis_hash"]))
        verdict = second.signature_verifies(message.algorithm, public, signed, message.signature)
        assert verdict == ("error" not in case), case["name"]


def test_proofs_of_presence() -> None:
    for case in cases_of("state_proofs"):
        if "value" not in case:
            continue
        root, key, value, proof = (bytes.fromhex(case[name]) for name in ("root", "key", "value", "proof"))
        try:
            second.check_present(root, key, value, second.presence_of(second.cbor(proof)))
            accepted = True
        except second.Bad:
            accepted = False
        assert accepted == ("error" not in case), case["name"]


def test_headers_of_cometbft() -> None:
    judged = 0
    for case in cases_of("cometbft_headers"):
        try:
            header = second.header_of(bytes.fromhex(case["encoded"]))
        except second.Bad:
            continue
        judged += 1
        assert header.hash.hex() == case["hash"], case["name"]
    assert judged == len(cases_of("cometbft_headers"))


def test_commits_of_cometbft() -> None:
    for case in cases_of("cometbft_commits"):
        commit = second.commit_of(bytes.fromhex(case["encoded"]))
        voted = [entry for entry in commit.signatures if entry.flag != 1]
        told = [text for text in case["sign_bytes"] if text]
        assert [second.sign_bytes(commit, entry, case["chain_id"].encode()).hex() for entry in voted] == told


def test_validator_sets_of_cometbft() -> None:
    for case in cases_of("cometbft_validators"):
        given = [second.Validator(bytes.fromhex(item["public_key"]), int(item["power"])) for item in case["validators"]]
        members = second.in_order(given)
        assert [member.address.hex() for member in members] == case["addresses"], case["name"]
        assert second.set_hash(members).hex() == case["hash"], case["name"]


# --- the command line ------------------------------------------------------------------------------------------------


def run(folder: Path, case: Case, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "proof.cbor").write_bytes(bytes.fromhex(case["proof"]))
    (folder / "trust.json").write_bytes(trust_json(case["trust"]))
    command = [sys.executable, str(HERE / "althing_verify.py"), "proof.cbor", "--trust", "trust.json", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_command_line_accepts(tmp_path: Path) -> None:
    done = run(tmp_path, ACCEPTED[FIRST], "--require", "device")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["stream"] == "press-1/temperature"


def test_command_line_refuses(tmp_path: Path) -> None:
    done = run(tmp_path, ACCEPTED["attested by the gateway"], "--require", "device")
    assert (done.returncode, done.stdout) == (1, "")
    assert "step 7, proof.origin" in done.stderr


def test_imports_nothing_of_the_package() -> None:
    code = (
        "import sys, althing_verify; print({name.split('.')[0] for name in sys.modules} & {'althing', 'cbor2', 'nacl'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "set()"
