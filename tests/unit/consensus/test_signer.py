from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from althing.consensus.engine import EngineError
from althing.consensus.solo.signer import Signer, ValidatorKey, load_or_create_key
from althing.protocol.block import BlockId, BlockIdFlag, Timestamp, Validator, ValidatorSet
from althing.protocol.signatures import Suite, verify

CHAIN = "signer-test"
BLOCK_A, BLOCK_B = BlockId(b"a" * 32, 1, b"p" * 32), BlockId(b"b" * 32, 1, b"p" * 32)
TIME = Timestamp(1_700_000_000, 5)


@pytest.fixture
def key(tmp_path: Path) -> ValidatorKey:
    return load_or_create_key(tmp_path / "key.json")


def test_key_file_is_cometbfts_and_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "priv_validator_key.json"
    key = load_or_create_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    document = json.loads(path.read_text())
    assert document["pub_key"]["type"] == "tendermint/PubKeyEd25519"
    assert document["priv_key"]["type"] == "tendermint/PrivKeyEd25519"
    assert document["address"] == key.address.hex().upper()
    assert load_or_create_key(path) == key
    assert sorted(path.parent.iterdir()) == [path]
    assert key.secret.hex() not in repr(key)


@pytest.mark.parametrize("damage", ["", "{}", '{"priv_key": 3}', "flip"])
def test_damaged_key_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "key.json"
    load_or_create_key(path)
    text = path.read_text()
    path.write_text(damage if damage != "flip" else text.replace('"address": "', '"address": "0'))
    with pytest.raises(EngineError) as error:
        load_or_create_key(path)
    assert error.value.code == "engine.key"


def test_key_readable_by_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    load_or_create_key(path)
    os.chmod(path, 0o640)
    with pytest.raises(EngineError) as error:
        load_or_create_key(path)
    assert error.value.code == "engine.key"
    assert "chmod 600" in error.value.hint


def test_commit_verifies_and_others_are_absent(key: ValidatorKey) -> None:
    signer = Signer(key, CHAIN, None)
    other = Validator(b"o" * 32, 4)
    validators = ValidatorSet.of([other, Validator(key.public, 10)])
    commit = signer.commit(7, 0, BLOCK_A, TIME, TIME.ns + 5_000_000, validators)
    own = next(i for i, v in enumerate(validators.validators) if v.public_key == key.public)
    assert verify(Suite.ED25519, key.public, commit.sign_bytes(CHAIN, own), commit.signatures[own].signature)
    assert commit.signatures[1 - own].flag is BlockIdFlag.ABSENT
    assert commit.signatures[own].timestamp.ns == TIME.ns + 5_000_000


def test_a_vote_is_at_least_a_millisecond_after_its_block(key: ValidatorKey) -> None:
    validators = ValidatorSet.of([Validator(key.public, 10)])
    for now in (0, TIME.ns, TIME.ns + 999_999):
        commit = Signer(key, CHAIN, None).commit(7, 0, BLOCK_A, TIME, now, validators)
        assert commit.signatures[0].timestamp.ns == TIME.ns + 1_000_000


def test_never_two_blocks_at_one_place(key: ValidatorKey) -> None:
    validators = ValidatorSet.of([Validator(key.public, 10)])
    signer = Signer(key, CHAIN, None)
    first = signer.commit(7, 0, BLOCK_A, TIME, TIME.ns, validators)
    again = Signer(key, CHAIN, signer.last)  # as after a restart
    assert again.commit(7, 0, BLOCK_A, TIME, TIME.ns + 10**12, validators) == first, "the old signature, not a new one"
    for height, round_, block_id in ((7, 0, BLOCK_B), (6, 0, BLOCK_A), (6, 3, BLOCK_B)):
        with pytest.raises(EngineError) as error:
            again.commit(height, round_, block_id, TIME, TIME.ns, validators)
        assert error.value.code == "engine.double_sign"
    assert again.commit(7, 1, BLOCK_B, TIME, TIME.ns, validators).round == 1
    assert again.commit(8, 0, BLOCK_B, TIME, TIME.ns, validators).height == 8
