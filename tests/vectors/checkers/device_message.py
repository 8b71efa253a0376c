"""Suite `device-message`: signing gives the bytes, parsing gives the fields back, altered messages are refused."""

from __future__ import annotations

from typing import Any

from althing.protocol.address import key_id
from althing.protocol.errors import ProtocolError
from althing.protocol.hashing import DOMAIN_MESSAGE
from althing.protocol.message import parse_message, sign_message
from althing.protocol.signatures import PrivateKey, Suite, verify


def check(case: dict[str, Any]) -> None:
    genesis = bytes.fromhex(case["genesis_hash"])
    message = bytes.fromhex(case["message"])
    if "error" in case:
        _refused(case, genesis, message)
        return
    key = PrivateKey(Suite(case["algorithm"]), bytes.fromhex(case["private_key"]))
    assert key.public.hex() == case["public_key"]
    assert key_id(key.suite, key.public).hex() == case["kid"]
    assert (DOMAIN_MESSAGE + genesis).hex() == case["external_aad"]
    payload = bytes.fromhex(case["payload"])
    time_ns = None if case["time_ns"] is None else int(case["time_ns"])
    made = sign_message(
        key,
        genesis,
        case["chain"],
        case["stream"],
        int(case["counter"]),
        payload,
        content_type=case["content_type"],
        time_ns=time_ns,
    )
    assert made == message
    parsed = parse_message(message, genesis)
    assert parsed.chain_id == case["chain"]
    assert parsed.stream == case["stream"]
    assert parsed.counter == int(case["counter"])
    assert parsed.time_ns == time_ns
    assert parsed.content_type == case["content_type"]
    assert parsed.payload == payload
    assert parsed.signature.signed.hex() == case["sig_structure"]
    assert parsed.signature.value.hex() == case["signature"]
    assert bytes.fromhex(case["protected"]) in message
    assert verify(key.suite, key.public, parsed.signature.signed, parsed.signature.value)
    assert not verify(key.suite, key.public, parsed.signature.signed + b"\0", parsed.signature.value)


def _refused(case: dict[str, Any], genesis: bytes, message: bytes) -> None:
    """A message that is refused for its form, or ("message.signature") because its signature does not verify."""
    try:
        parsed = parse_message(message, genesis)
    except ProtocolError as error:
        code = error.code
    else:
        code = "message.signature"
    assert code == case["error"], code
    if code != "message.signature":
        return
    signature = parsed.signature
    assert not verify(signature.suite, bytes.fromhex(case["public_key"]), signature.signed, signature.value)
