"""Golden state proofs: the compact form holds or is refused with its code, and the ICS-23 form is these very bytes."""

from __future__ import annotations

from typing import Any

from althing.protocol.codec import decode, encode
from althing.protocol.errors import MerkleError
from althing.protocol.stateproof import (
    ICS23_SPEC,
    AbsenceProof,
    PresenceProof,
    absence_to_ics23,
    presence_to_ics23,
    proof_from_cbor_obj,
    proof_to_cbor_obj,
    verify_absence,
    verify_presence,
)


def check(case: dict[str, Any]) -> None:
    if "ics23_spec" in case:
        assert ICS23_SPEC.hex() == case["ics23_spec"]
        return
    outcome = None
    try:
        _verify(case)
    except MerkleError as error:
        outcome = error.code
    assert outcome == case.get("error"), f"{outcome or 'accepted'} instead of {case.get('error') or 'accepted'}"


def _verify(case: dict[str, Any]) -> None:
    root, key, raw = (bytes.fromhex(case[name]) for name in ("root", "key", "proof"))
    proof = proof_from_cbor_obj(decode(raw))
    assert encode(proof_to_cbor_obj(proof)) == raw
    if "value" in case:
        assert isinstance(proof, PresenceProof)
        value = bytes.fromhex(case["value"])
        verify_presence(root, key, value, proof)
        if "ics23" in case:
            assert presence_to_ics23(key, value, proof).hex() == case["ics23"]
        return
    assert isinstance(proof, AbsenceProof)
    verify_absence(root, key, proof)
    if "ics23" in case:
        assert absence_to_ics23(key, _neighbour(case["left"]), _neighbour(case["right"])).hex() == case["ics23"]


def _neighbour(stated: dict[str, str] | None) -> tuple[bytes, bytes, PresenceProof] | None:
    if stated is None:
        return None
    proof = proof_from_cbor_obj(decode(bytes.fromhex(stated["proof"])))
    assert isinstance(proof, PresenceProof)
    return bytes.fromhex(stated["key"]), bytes.fromhex(stated["value"]), proof
