"""What CometBFT's RPC says, in our forms: times, parameters, evidence; and what its log says about why it ended."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.consensus.cometbft.evidence import evidence_bytes
from althing.consensus.cometbft.process import explain
from althing.consensus.cometbft.proto.tendermint.types import evidence_pb2
from althing.consensus.cometbft.rpcforms import (
    block_of,
    params_of,
    results_of,
    signed_header_of,
    timestamp_of,
    timestamp_text,
)
from althing.consensus.engine import EngineError
from althing.protocol.block import ConsensusParams, Timestamp
from althing.protocol.block.jsonform import json_of_params

TIMES = st.builds(Timestamp, st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999))


@given(TIMES)
def test_times_survive(time: Timestamp) -> None:
    assert timestamp_of(timestamp_text(time)) == time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0001-01-01T00:00:00Z", Timestamp(-62_135_596_800, 0)),
        ("2026-11-22T21:16:09.999706925Z", Timestamp(1_795_382_169, 999_706_925)),
        ("1970-01-01T00:00:00.5Z", Timestamp(0, 500_000_000)),
        ("1969-12-31T23:59:59.1Z", Timestamp(-1, 100_000_000)),
    ],
)
def test_times_as_go_writes_them(text: str, expected: Timestamp) -> None:
    assert timestamp_of(text) == expected


@pytest.mark.parametrize("text", ["", "2026-11-22", "2026-11-22T21:16:09+01:00", "2026-13-01T00:00:00Z", "x"])
def test_what_is_no_time_is_damage(text: str) -> None:
    with pytest.raises(EngineError) as error:
        timestamp_of(text)
    assert error.value.code == "engine.store"


def test_parameters_survive() -> None:
    params = ConsensusParams(1000, 7, 11, 13, 17, ("ed25519",), 5, 3, "someone")
    assert params_of(json.loads(json.dumps(json_of_params(params)))) == params
    assert params_of({**json_of_params(params), "version": {}, "abci": None, "authority": None}).app_version == 0


@pytest.mark.parametrize("read", [block_of, signed_header_of, params_of, results_of])
@pytest.mark.parametrize("answer", [None, {}, [], {"block": None}, {"txs_results": [1]}, "text", 7])
def test_an_answer_that_does_not_hang_together_is_damage(read: Any, answer: Any) -> None:
    with pytest.raises(EngineError) as error:
        read(answer)
    assert error.value.code == "engine.store"


HASHES = (
    "last_commit_hash",
    "data_hash",
    "validators_hash",
    "next_validators_hash",
    "consensus_hash",
    "app_hash",
    "last_results_hash",
    "evidence_hash",
)
BLOCK_ID = {"hash": "AA" * 32, "parts": {"total": 1, "hash": "BB" * 32}}
VOTE = {
    "type": 2,
    "height": "7",
    "round": 0,
    "block_id": BLOCK_ID,
    "timestamp": "2026-01-01T00:00:00.000000001Z",
    "validator_address": "CC" * 20,
    "validator_index": 3,
    "signature": base64.b64encode(b"s" * 64).decode(),
}


def test_evidence_of_two_votes() -> None:
    other = {**VOTE, "block_id": {**BLOCK_ID, "hash": "DD" * 32}, "extension": None}
    value = {
        "vote_a": VOTE,
        "vote_b": other,
        "TotalVotingPower": "40",
        "ValidatorPower": "10",
        "Timestamp": "2026-01-01T00:00:00Z",
    }
    made = evidence_bytes({"type": "tendermint/DuplicateVoteEvidence", "value": value})
    found = evidence_pb2.Evidence.FromString(made).duplicate_vote_evidence
    assert (found.vote_a.height, found.vote_a.validator_index, found.vote_a.timestamp.nanos) == (7, 3, 1)
    assert found.vote_a.block_id.hash == b"\xaa" * 32
    assert found.vote_b.block_id.hash == b"\xdd" * 32
    assert (found.total_voting_power, found.validator_power) == (40, 10)
    assert found.timestamp.seconds == 1_767_225_600


def test_evidence_of_an_attack_on_light_clients() -> None:
    header = {
        "version": {"block": "11", "app": "1"},
        "chain_id": "c",
        "height": "9",
        "time": "2026-01-01T00:00:00Z",
        "last_block_id": BLOCK_ID,
        **dict.fromkeys(HASHES, "EE" * 32),
        "proposer_address": "CC" * 20,
    }
    member = {
        "address": "CC" * 20,
        "pub_key": {"type": "tendermint/PubKeyEd25519", "value": base64.b64encode(b"k" * 32).decode()},
        "voting_power": "10",
        "proposer_priority": "-5",
    }
    entry = {
        "block_id_flag": 2,
        "validator_address": "CC" * 20,
        "timestamp": "2026-01-01T00:00:01Z",
        "signature": VOTE["signature"],
    }
    commit = {"height": "9", "round": 0, "block_id": BLOCK_ID, "signatures": [entry]}
    value = {
        "ConflictingBlock": {
            "signed_header": {"header": header, "commit": commit},
            "validator_set": {"validators": [member], "proposer": member},
        },
        "CommonHeight": "5",
        "ByzantineValidators": [member],
        "TotalVotingPower": "10",
        "Timestamp": "2026-01-01T00:00:00Z",
    }
    made = evidence_bytes({"type": "tendermint/LightClientAttackEvidence", "value": value})
    found = evidence_pb2.Evidence.FromString(made).light_client_attack_evidence
    assert (found.common_height, found.total_voting_power) == (5, 10)
    assert found.conflicting_block.signed_header.header.height == 9
    assert found.conflicting_block.signed_header.commit.signatures[0].signature == b"s" * 64
    assert found.byzantine_validators[0].proposer_priority == -5
    with pytest.raises(ValueError, match="unknown kind"):
        evidence_bytes({"type": "tendermint/Other", "value": {}})


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (
            "ERROR: error on replay: app block height (7) is higher than core (3)",
            "engine.app_ahead",
        ),
        ("panic: state.AppHash does not match AppHash after replay. Got", "engine.foreign_chain"),
        ("ERROR: failed to create node: resource temporarily unavailable", "engine.locked"),
        ("ERROR: failed to start node: listen tcp 127.0.1.1:26656: bind: address already in use", "engine.process"),
        ('{"level":"error","_msg":"failed to write","err":"write wal: no space left on device"}', "engine.disk_full"),
        ("", "engine.process"),
    ],
)
def test_why_it_ended(line: str, code: str) -> None:
    assert explain(["I[2026] starting", line]).code == code


def test_the_reason_is_the_last_error_it_told() -> None:
    lines = [
        '{"level":"error","_msg":"first"}',
        '{"level":"error","_msg":"second","err":"because"}',
        '{"level":"info","_msg":"x"}',
    ]
    assert "second because" in explain(lines).message


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    from althing.consensus.cometbft.settings import CometSettings

    for wrong in ({"idle_block_s": 0}, {"profile": "moon"}, {"tx_bytes_max": 0}, {"restarts_max": -1}):
        with pytest.raises(EngineError) as error:
            CometSettings(tmp_path, **wrong)  # type: ignore[arg-type]
        assert error.value.code == "engine.settings"
