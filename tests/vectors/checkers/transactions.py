"""Transactions, messages and bundles: made byte for byte, taken apart, refused (docs/spec/transactions.md)."""

from __future__ import annotations

from typing import Any

from althing.protocol.address import address_of_key, key_id
from althing.protocol.bundle import make_bundle, parse_bundle
from althing.protocol.catalog import MESSAGE_TYPES, body_from_item, body_to_item
from althing.protocol.codec import decode, encode
from althing.protocol.cose import sign1
from althing.protocol.errors import ProtocolError
from althing.protocol.signatures import PrivateKey, Suite, verify
from althing.protocol.transaction import parse_transaction, sign_transaction, transaction_id


def check(case: dict[str, Any]) -> None:
    if "message" in case:
        data = bytes.fromhex(case["message"])
        body = body_from_item(decode(data))
        assert case["type"] == body.TYPE
        assert MESSAGE_TYPES[body.TYPE] is type(body)
        assert encode(body_to_item(body)) == data
    elif "error" in case:
        _refused(case)
    elif "bundle" in case:
        _bundle(case)
    else:
        _transaction(case)


def _refused(case: dict[str, Any]) -> None:
    """The payload in an envelope that would verify: only the payload is wrong."""
    key = PrivateKey(Suite.ED25519, bytes(range(1, 33)))
    aad = b"althing/tx/v1" + bytes(32)
    code = ""
    try:
        parse_transaction(sign1(key, key_id(key.suite, key.public), bytes.fromhex(case["payload"]), aad), bytes(32))
    except ProtocolError as exc:
        code = exc.code
    assert code == case["error"], code or "accepted"


def _transaction(case: dict[str, Any]) -> None:
    genesis, envelope = bytes.fromhex(case["genesis_hash"]), bytes.fromhex(case["envelope"])
    keys = [PrivateKey(Suite(suite), bytes.fromhex(seed)) for suite, seed in case["seeds"]]
    parsed = parse_transaction(envelope, genesis)
    tx = parsed.transaction
    assert [signer.hex() for signer in tx.signers] == case["signers"]
    assert {address_of_key(key.suite, key.public) for key in keys} == set(tx.signers)
    assert tx.payer.hex() == case["payer"]
    assert (tx.gas_limit, tx.fee, tx.expiry) == (case["gas_limit"], case["fee"], case["expiry"])
    assert tx.nonce.hex() == case["nonce"]
    assert [message.TYPE for message in tx.messages] == case["messages"]
    assert tx.to_payload().hex() == case["payload"]
    assert parsed.id.hex() == case["id"]
    assert transaction_id(genesis, tx.to_payload()) == parsed.id
    assert parsed.size == len(envelope)
    assert sign_transaction(tx, keys, genesis) == envelope
    by_kid = {key_id(key.suite, key.public): key for key in keys}
    assert {signature.kid for signature in parsed.signatures} == by_kid.keys()
    for signature in parsed.signatures:
        assert verify(signature.suite, by_kid[signature.kid].public, signature.signed, signature.value)


def _bundle(case: dict[str, Any]) -> None:
    genesis, data = bytes.fromhex(case["genesis_hash"]), bytes.fromhex(case["bundle"])
    key = PrivateKey(Suite.ED25519, bytes.fromhex(case["seed"]))
    transactions = [bytes.fromhex(item) for item in case["transactions"]]
    assert make_bundle(key, bytes.fromhex(case["node"]), transactions, genesis) == data
    parsed = parse_bundle(data, genesis)
    assert parsed.node.hex() == case["node"]
    assert list(parsed.transactions) == transactions
    assert verify(key.suite, key.public, parsed.signature.signed, parsed.signature.value)
