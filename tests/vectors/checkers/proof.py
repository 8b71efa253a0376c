"""Proof files: what they prove, or the step that refuses them; and bytes of some of them changed (proof.md)."""

from __future__ import annotations

import json
from typing import Any

from althing.light.verifier import ProofError, Verified, verify_proof
from althing.protocol.errors import EncodingError
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
    if "flipped" in case:
        places = range(0, len(data), case["stride"])
        for at, step in zip(places, case["flipped"], strict=True):
            changed = data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]
            assert failing(changed)[0] == int(step), f"byte {at}"


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
