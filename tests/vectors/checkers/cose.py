"""COSE envelopes: made byte for byte, taken apart, verified; or refused (docs/spec/cose.md)."""

from __future__ import annotations

from typing import Any

from althing.protocol.address import key_id
from althing.protocol.cose import parse_sign, sign, sign1
from althing.protocol.errors import ProtocolError
from althing.protocol.signatures import PrivateKey, Suite, verify


def check(case: dict[str, Any]) -> None:
    envelope, aad = bytes.fromhex(case["envelope"]), bytes.fromhex(case["aad"])
    if "error" in case:
        code = ""
        try:
            parse_sign(envelope, aad, bytes_max=1_000_000)
        except ProtocolError as exc:
            code = exc.code
        assert code == case["error"], code or "accepted"
        return
    payload = bytes.fromhex(case["payload"])
    pairs = [
        (PrivateKey(Suite(s["algorithm"]), bytes.fromhex(s["seed"])), bytes.fromhex(s["kid"])) for s in case["signers"]
    ]
    made = sign1(*pairs[0], payload, aad) if len(pairs) == 1 else sign(pairs[::-1], payload, aad)
    assert made == envelope
    parsed = parse_sign(envelope, aad, bytes_max=1_000_000)
    assert parsed.payload == payload
    found = zip(parsed.signatures, pairs, case["signers"], case["sig_structures"], strict=True)
    for signature, (key, kid), signer, structure in found:
        assert key.public.hex() == signer["public_key"]
        assert key_id(key.suite, key.public) == kid == signature.kid
        assert signature.suite == key.suite
        assert signature.signed.hex() == structure
        assert verify(key.suite, key.public, signature.signed, signature.value)
