"""Signatures are accepted, and keys registered, by the one rule of each suite (docs/spec/signatures.md)."""

from __future__ import annotations

from typing import Any

from althing.protocol.errors import CoseError
from althing.protocol.signatures import PrivateKey, Suite, check_public_key, verify


def check(case: dict[str, Any]) -> None:
    suite = Suite(case["algorithm"])
    if "seed" in case:
        key = PrivateKey(suite, bytes.fromhex(case["seed"]))
        assert key.public.hex() == case["public_key"]
        assert key.sign(bytes.fromhex(case["message"])).hex() == case["signature"]
        return
    public = bytes.fromhex(case["public_key"])
    if "key_error" in case:
        code = None
        try:
            check_public_key(suite, public)
        except CoseError as exc:
            code = exc.code
        assert code == case["key_error"], code or "accepted"
        return
    message, signature = bytes.fromhex(case["message"]), bytes.fromhex(case["signature"])
    assert verify(suite, public, message, signature) == case["valid"]
