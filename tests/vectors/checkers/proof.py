"""Proof files: what they prove, or the step that refuses them; and bytes of some of them changed (proof.md)."""

from __future__ import annotations

import json
from typing import Any

from althing.light.verifier import ProofError, Verified, verify_proof
from althing.protocol.batch import parse_leaf
from althing.protocol.block import Commit, Header
from althing.protocol.errors import EncodingError
from althing.protocol.hashing import sha256
from althing.protocol.merkle import leaf_hash
from althing.protocol.message import parse_message
from althing.protocol.messages.streams import AnchorRow, StreamDefinition, StreamHead
from althing.protocol.proof import parse_proof
from althing.protocol.trust import parse_trust


def check(case: dict[str, Any]) -> None:
    if "trust_file" in case:
        code = ""
        try:
            parse_trust(case["trust_file"].encode())
        except EncodingError as exc:
            code = exc.code
        assert code == case["error"]
        return
    trust = parse_trust(json.dumps(case["trust"]).encode())
    data, require = bytes.fromhex(case["proof"]), case["require_device"]

    def failing(changed: bytes) -> tuple[int, str]:
        try:
            verify_proof(changed, trust, require_device=require)
        except ProofError as exc:
            return exc.step, exc.code
        raise AssertionError("accepted")

    if "failing_step" in case:
        assert failing(data) == (case["failing_step"], case["code"])
        return
    assert _result(verify_proof(data, trust, require_device=require)) == case["result"]
    for name, value in case.get("explained", {}).items():
        assert explained(data)[name].hex() == value, name
    if "flipped" in case:
        places = range(0, len(data), case["stride"])
        for at, step in zip(places, case["flipped"], strict=True):
            changed = data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]
            assert failing(changed)[0] == int(step), f"byte {at}"


def explained(data: bytes) -> dict[str, bytes]:
    """The values on the way, as docs/spec/proof.md §6 shows them."""
    proof = parse_proof(data)
    row, definition = AnchorRow.from_bytes(proof.row), StreamDefinition.from_bytes(proof.definition)
    message = parse_message(parse_leaf(proof.leaf).body, proof.genesis_hash)
    header, commit = Header.decode(proof.signed_header.header), Commit.decode(proof.signed_header.commit)
    head_key = b"streams/head/" + definition.id.to_bytes(8, "big")
    account_key = b"identity/account/" + definition.device_address
    return {
        "leaf_hash": leaf_hash(proof.leaf),
        "batch_root": row.batch_root,
        "row_hash": leaf_hash(proof.row),
        "log_root": StreamHead.from_bytes(proof.head).log_root,
        "definition_hash": sha256(proof.definition),
        "head_key": head_key,
        "head_path": sha256(head_key),
        "head_value_hash": sha256(proof.head),
        "account_key": account_key,
        "account_path": sha256(account_key),
        "account_value_hash": sha256(proof.account),
        "state_root": header.app_hash,
        "kid": message.signature.kid,
        "sig_structure": message.signature.signed,
        "signature": message.signature.value,
        "header_hash": header.hash(),
        "validators_hash": header.validators_hash,
        "sign_bytes": commit.sign_bytes(header.chain_id, 0),
        "commit_signature": commit.signatures[0].signature,
    }


def _result(verified: Verified) -> dict[str, Any]:
    assert [step.number for step in verified.steps] == list(range(1, 10))
    return {
        "stream": verified.stream,
        "sequence": verified.sequence,
        "origin": verified.origin.name.lower(),
        "header_height": verified.height,
        "anchor_height": verified.row.height,
        "body": verified.leaf.body.hex(),
    }
