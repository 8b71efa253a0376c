"""Evidence of a block: from the RPC's form to the bytes that `evidence_hash` commits to, and to what applications are told."""

from __future__ import annotations

import base64
from typing import Any

from althing.consensus.abci import Misbehavior, MisbehaviorKind
from althing.consensus.cometbft.proto.tendermint.types import evidence_pb2, types_pb2, validator_pb2
from althing.protocol.block import Timestamp

__all__ = ["evidence_bytes", "misbehavior_of"]


def evidence_bytes(item: Any) -> bytes:
    """tendermint.types.Evidence of one entry of `block.evidence.evidence`; KeyError or ValueError where it is none."""
    kind, value = item["type"], item["value"]
    evidence = evidence_pb2.Evidence()
    if kind == "tendermint/DuplicateVoteEvidence":
        twice = evidence.duplicate_vote_evidence
        _vote(twice.vote_a, value["vote_a"])
        _vote(twice.vote_b, value["vote_b"])
        twice.total_voting_power = int(value["TotalVotingPower"])
        twice.validator_power = int(value["ValidatorPower"])
        twice.timestamp.FromJsonString(value["Timestamp"])
    elif kind == "tendermint/LightClientAttackEvidence":
        attack = evidence.light_client_attack_evidence
        _light_block(attack.conflicting_block, value["ConflictingBlock"])
        attack.common_height = int(value["CommonHeight"])
        for member in value["ByzantineValidators"] or ():
            _validator(attack.byzantine_validators.add(), member)
        attack.total_voting_power = int(value["TotalVotingPower"])
        attack.timestamp.FromJsonString(value["Timestamp"])
    else:
        raise ValueError(f"evidence of an unknown kind {kind!r}")
    return evidence.SerializeToString(deterministic=True)


def misbehavior_of(evidence: bytes) -> tuple[Misbehavior, ...]:
    """What FinalizeBlock carries for one of a block's evidence (`Evidence.ABCI`): one entry, or one for each attacker."""
    found = evidence_pb2.Evidence.FromString(evidence)
    if found.HasField("duplicate_vote_evidence"):
        twice = found.duplicate_vote_evidence
        vote = twice.vote_a
        return (
            Misbehavior(
                MisbehaviorKind.DUPLICATE_VOTE,
                vote.validator_address,
                twice.validator_power,
                vote.height,
                _timestamp(twice.timestamp),
                twice.total_voting_power,
            ),
        )
    attack = found.light_client_attack_evidence
    return tuple(
        Misbehavior(
            MisbehaviorKind.LIGHT_CLIENT_ATTACK,
            member.address,
            member.voting_power,
            attack.common_height,
            _timestamp(attack.timestamp),
            attack.total_voting_power,
        )
        for member in attack.byzantine_validators
    )


def _timestamp(found: Any) -> Timestamp:
    return Timestamp(found.seconds, found.nanos)


def _vote(vote: types_pb2.Vote, found: Any) -> None:
    vote.type = int(found["type"])  # type: ignore[assignment]
    vote.height = int(found["height"])
    vote.round = int(found["round"])
    _block_id(vote.block_id, found["block_id"])
    vote.timestamp.FromJsonString(found["timestamp"])
    vote.validator_address = bytes.fromhex(found["validator_address"])
    vote.validator_index = int(found["validator_index"])
    vote.signature = _base64(found.get("signature"))
    vote.extension = _base64(found.get("extension"))
    vote.extension_signature = _base64(found.get("extension_signature"))


def _block_id(block_id: types_pb2.BlockID, found: Any) -> None:
    block_id.hash = bytes.fromhex(found["hash"])
    block_id.part_set_header.total = int(found["parts"]["total"])
    block_id.part_set_header.hash = bytes.fromhex(found["parts"]["hash"])


def _light_block(block: types_pb2.LightBlock, found: Any) -> None:
    header, signed = found["signed_header"]["header"], block.signed_header
    own = signed.header
    own.version.block = int(header["version"]["block"])
    own.version.app = int(header["version"].get("app") or 0)
    own.chain_id = header["chain_id"]
    own.height = int(header["height"])
    own.time.FromJsonString(header["time"])
    _block_id(own.last_block_id, header["last_block_id"])
    for name in (
        "last_commit_hash",
        "data_hash",
        "validators_hash",
        "next_validators_hash",
        "consensus_hash",
        "app_hash",
        "last_results_hash",
        "evidence_hash",
        "proposer_address",
    ):
        setattr(own, name, bytes.fromhex(header[name]))
    commit = found["signed_header"]["commit"]
    signed.commit.height = int(commit["height"])
    signed.commit.round = int(commit["round"])
    _block_id(signed.commit.block_id, commit["block_id"])
    for entry in commit["signatures"]:
        signature = signed.commit.signatures.add()
        signature.block_id_flag = int(entry["block_id_flag"])  # type: ignore[assignment]
        signature.validator_address = bytes.fromhex(entry["validator_address"])
        signature.timestamp.FromJsonString(entry["timestamp"])
        signature.signature = _base64(entry.get("signature"))
    validators = found["validator_set"]
    for member in validators["validators"]:
        _validator(block.validator_set.validators.add(), member)
    _validator(block.validator_set.proposer, validators["proposer"])


def _validator(validator: validator_pb2.Validator, found: Any) -> None:
    validator.address = bytes.fromhex(found["address"])
    validator.pub_key.ed25519 = _base64(found["pub_key"]["value"])
    validator.voting_power = int(found["voting_power"])
    validator.proposer_priority = int(found.get("proposer_priority") or 0)


def _base64(text: str | None) -> bytes:
    return base64.b64decode(text, validate=True) if text else b""
