"""Blocks, headers, commits and light-client verdicts as CometBFT's own code prints them (docs/spec/blocks.md)."""

from __future__ import annotations

from collections.abc import Generator
from hashlib import sha256
from typing import Any, TypeVar

from althing.light.blocks import LightBlock
from althing.light.detection import attack_of, examine, make_evidence
from althing.light.errors import ExpiredError, InvalidHeaderError, LightError, NotEnoughTrustError
from althing.light.following import follow_back, follow_by_skipping, follow_each
from althing.light.headers import Freshness, TrustLevel, verify_adjacent, verify_commit, verify_skipping
from althing.light.verification import verify, verify_first
from althing.protocol.block import (
    Block,
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    ConsensusParams,
    Header,
    SignedHeader,
    Timestamp,
    TxResult,
    Validator,
    ValidatorSet,
    data_bytes_max,
    encode_data,
    median_time,
    results_hash,
)
from althing.protocol.block.evidence import LightClientAttackEvidence
from althing.protocol.block.jsonform import (
    json_of_signed_header,
    json_of_validators,
    signed_header_of_json,
    time_of_json,
    validators_of_json,
)

Case = dict[str, Any]
T = TypeVar("T")


def check(case: Case) -> None:
    _CHECKS[case["kind"]](case)


def _headers(case: Case) -> None:
    header, encoded = _header(case["header"]), bytes.fromhex(case["encoded"])
    assert header.encode() == encoded
    assert Header.decode(encoded) == header
    assert header.hash().hex() == case["hash"]


def _commits(case: Case) -> None:
    commit, encoded = _commit(case["commit"]), bytes.fromhex(case["encoded"])
    assert commit.encode() == encoded
    assert Commit.decode(encoded) == commit
    assert commit.hash().hex() == case["hash"]
    assert len(case["sign_bytes"]) == len(commit.signatures)
    for index, expected in enumerate(case["sign_bytes"]):
        absent = commit.signatures[index].flag is BlockIdFlag.ABSENT
        assert (b"" if absent else commit.sign_bytes(case["chain_id"], index)).hex() == expected
    if commit.height:
        assert median_time(commit, _validators(case["validators"])) == _time(case["median_time"])


def _validator_sets(case: Case) -> None:
    validators = _validators(case["validators"])
    assert ValidatorSet.of(reversed(validators.validators)) == validators
    assert [v.address.hex() for v in validators.validators] == case["addresses"]
    assert validators.hash().hex() == case["hash"]
    assert validators.encode().hex() == case["encoded"]
    assert ValidatorSet.decode(bytes.fromhex(case["encoded"])) == validators


def _blocks(case: Case) -> None:
    block = Block(
        _header(case["header"]),
        tuple(bytes((tx["byte"],)) * tx["length"] for tx in case["txs"] or ()),
        tuple(bytes.fromhex(item) for item in case["evidence"]),
        _commit(case["last_commit"]),
    )
    block.check()
    encoded = block.encode()
    assert len(encoded) == case["encoded_length"]
    assert sha256(encoded).hexdigest() == case["encoded_sha256"]
    assert case.get("encoded", encoded.hex()) == encoded.hex()
    assert block.block_id() == _block_id(case["block_id"])
    assert len(encode_data(block.txs)) == case["tx_data_size"]
    assert Block.decode(encoded) == block


def _results(case: Case) -> None:
    results = [
        TxResult(int(r["code"]), bytes.fromhex(r["data"]), int(r["gas_wanted"]), int(r["gas_used"]))
        for r in case["results"]
    ]
    assert [result.encode().hex() for result in results] == [r["encoded"] for r in case["results"]]
    assert results_hash(results).hex() == case["hash"]


def _params(case: Case) -> None:
    bytes_max = int(case["block_bytes_max"])
    params = ConsensusParams(block_bytes_max=bytes_max, block_gas_max=int(case["block_gas_max"]), evidence_bytes_max=0)
    assert params.hash().hex() == case["hash"]
    room = case["data_bytes_max_with_1000_evidence_bytes_and_4_validators"]
    if room >= 0:
        assert data_bytes_max(bytes_max, 1000, 4) == room


def _light(case: Case) -> None:
    trusted = _header(case["trusted_header"])
    untrusted = SignedHeader(_header(case["header"]), _commit(case["commit"]))
    validators = _validators(case["validators"])
    freshness = Freshness(_time(case["now"]), case["trusting_period_ns"], case["clock_drift_ns"])
    accepted = True
    try:
        if untrusted.header.height == trusted.height + 1:
            verify_adjacent(trusted, untrusted, validators, freshness=freshness)
        else:
            trusted_validators = _validators(case["trusted_validators"])
            trust = TrustLevel(*case["trust"])
            verify_skipping(trusted, trusted_validators, untrusted, validators, freshness=freshness, trust_level=trust)
    except LightError:
        accepted = False
    # What is marked `stricter` CometBFT accepts: a bad signature that is not needed, a predecessor it does not look at.
    assert accepted == (case["accepted"] and not case["stricter"])
    _light_online(case, trusted, LightBlock(untrusted, validators), freshness)


def _light_online(case: Case, trusted: Header, untrusted: LightBlock, freshness: Freshness) -> None:
    """The light client decides as CometBFT's, and for the same reason."""
    reason = ""
    try:
        verify(trusted, _validators(case["trusted_validators"]), untrusted, freshness, TrustLevel(*case["trust"]))
    except NotEnoughTrustError:
        reason = "cant trust new val set"
    except ExpiredError:
        reason = "old header has expired"
    except InvalidHeaderError as error:
        # This one CometBFT reports without a class of its own.
        reason = "expected old header next validators" if "announces" in error.message else "invalid header"
    said = case["cometbft_says"]
    assert (reason == "") == case["accepted"]
    assert said.startswith(reason)


def _chains(case: Case) -> None:
    """One by one, by bisection with CometBFT's own questions, and backwards to the same headers."""
    blocks = _light_blocks(case["blocks"])
    first, last = blocks[min(blocks)], blocks[max(blocks)]
    freshness = Freshness(time_of_json(case["now"]), case["trusting_period_ns"], case["clock_drift_ns"])
    verify_first(case["chain_id"], first)
    assert case["asked"][0] == last.height
    asked: list[int] = []
    trace = _drive(follow_by_skipping(first, last, freshness, TrustLevel(*case["trust"])), blocks, asked)
    assert asked == case["asked"][1:]
    assert [block.height for block in trace] == sorted({first.height, *asked, last.height})
    assert _drive(follow_each(first, last, freshness), blocks, []) == tuple(blocks.values())
    assert _drive(follow_back(last, first), blocks, []) == tuple(reversed(blocks.values()))
    for described, block in zip(case["blocks"], blocks.values(), strict=True):
        assert json_of_signed_header(block.signed) == described["signed_header"]
        assert json_of_validators(block.validators.validators) == described["validator_set"]["validators"]
        verify_commit(case["chain_id"], block.header, block.commit, block.validators)


def _attacks(case: Case) -> None:
    """Both sides' evidence is CometBFT's, byte for byte."""
    witness = _light_blocks(case["witness"])
    primary = {h: b for h, b in witness.items() if h < case["fork"]} | _light_blocks(case["primary"])
    freshness = Freshness(time_of_json(case["now"]), case["trusting_period_ns"], case["clock_drift_ns"])
    target = primary[case["target"]]
    trace = _drive(follow_by_skipping(primary[1], target, freshness), primary, [])
    challenge = witness.get(case["target"], witness[max(witness)])
    assert challenge.hash != target.hash
    found = _drive(examine(trace, challenge, freshness), witness, [])
    assert attack_of(found.block, found.source_block).value == case["attack"]
    against = [make_evidence(found.block, found.source_block, found.common)]
    _same_evidence(against, case["against_primary"])
    try:
        back = _drive(examine(found.trace, found.block, freshness), primary, [])
        against = [make_evidence(back.block, back.source_block, back.common)]
    except LightError:
        against = []
    _same_evidence(against, case["against_witness"])


def _same_evidence(made: list[LightClientAttackEvidence], expected: list[Case]) -> None:
    assert [evidence.to_json() for evidence in made] == [e["json"] for e in expected]
    assert [evidence.encode_evidence().hex() for evidence in made] == [e["encoded"] for e in expected]
    assert [evidence.hash().hex() for evidence in made] == [e["hash"] for e in expected]


def _light_blocks(described: list[Case]) -> dict[int, LightBlock]:
    blocks = {}
    for item in described:
        signed = signed_header_of_json(item["signed_header"])
        validators = ValidatorSet(tuple(validators_of_json(item["validator_set"]["validators"])))
        blocks[signed.header.height] = LightBlock(signed, validators)
    return blocks


def _drive(steps: Generator[int, LightBlock, T], source: dict[int, LightBlock], asked: list[int]) -> T:
    try:
        height = next(steps)
        while True:
            asked.append(height)
            height = steps.send(source[height])
    except StopIteration as end:
        result: T = end.value
        return result


def _header(described: Case) -> Header:
    hashes = {name: bytes.fromhex(value) for name, value in described.items() if name.endswith(("_hash", "_address"))}
    return Header(
        block_version=described["block_version"],
        app_version=int(described["app_version"]),
        chain_id=described["chain_id"],
        height=int(described["height"]),
        time=_time(described["time"]),
        last_block_id=_block_id(described["last_block_id"]),
        **hashes,
    )


def _commit(described: Case) -> Commit:
    signatures = tuple(
        CommitSig(
            BlockIdFlag(entry["flag"]),
            bytes.fromhex(entry["address"]),
            _time(entry["timestamp"]),
            bytes.fromhex(entry["signature"]),
        )
        for entry in described["signatures"]
    )
    return Commit(int(described["height"]), described["round"], _block_id(described["block_id"]), signatures)


def _validators(described: list[Case]) -> ValidatorSet:
    return ValidatorSet(tuple(Validator(bytes.fromhex(v["public_key"]), int(v["power"])) for v in described))


def _time(described: Case) -> Timestamp:
    return Timestamp(int(described["seconds"]), described["nanos"])


def _block_id(described: Case) -> BlockId:
    return BlockId(bytes.fromhex(described["hash"]), described["parts_total"], bytes.fromhex(described["parts_hash"]))


_CHECKS = {
    "headers": _headers,
    "commits": _commits,
    "validators": _validator_sets,
    "blocks": _blocks,
    "results": _results,
    "params": _params,
    "light": _light,
    "chains": _chains,
    "attacks": _attacks,
}
