"""Transactions: payload, identifier, signing and taking apart (docs/spec/transactions.md).

The identifier is SHA-256(domain ‖ genesis hash ‖ payload) and the signatures cover the payload under the same domain and
genesis hash, so neither another encoding of the envelope nor another chain of the same name makes a second transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cbor2 import dumps

from althing.protocol.address import ADDRESS_BYTES, key_id
from althing.protocol.catalog import MESSAGE_TYPES, MessageBody, body_from_item, body_to_item
from althing.protocol.codec import Item, decode
from althing.protocol.cose import Envelope, Signature, parse_sign, sign, sign1
from althing.protocol.errors import EncodingError
from althing.protocol.hashing import DOMAIN_TX, sha256
from althing.protocol.limits import INT_MAX, NONCE_BYTES, TX_BYTES_MAX, TX_MESSAGES_MAX, TX_SIGNERS_MAX
from althing.protocol.signatures import PrivateKey

__all__ = ["SignedTransaction", "Transaction", "parse_transaction", "sign_transaction", "transaction_id"]

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Transaction:
    """What signers agree to. `expiry` is ledger time in seconds; `messages` take effect all or not at all."""

    signers: tuple[bytes, ...]
    payer: bytes
    gas_limit: int
    fee: int
    expiry: int
    nonce: bytes
    messages: tuple[MessageBody, ...]

    def to_payload(self) -> bytes:
        _check(self)
        messages = [body_to_item(message) for message in self.messages]
        # Forms hold no map that is not in order, so the encoder's own order is the deterministic one.
        return dumps(
            [_VERSION, list(self.signers), self.payer, self.gas_limit, self.fee, self.expiry, self.nonce, messages]
        )


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction with its identifier, its bytes and the signatures to verify."""

    id: bytes
    transaction: Transaction
    signatures: tuple[Signature, ...]
    size: int


def transaction_id(genesis_hash: bytes, payload: bytes) -> bytes:
    """SHA-256(domain ‖ genesis hash ‖ payload), 32 bytes."""
    return sha256(DOMAIN_TX + genesis_hash + payload)


def sign_transaction(transaction: Transaction, keys: Sequence[PrivateKey], genesis_hash: bytes) -> bytes:
    """The signed envelope: COSE_Sign1 for one key, COSE_Sign for several."""
    payload = transaction.to_payload()
    aad = DOMAIN_TX + genesis_hash
    pairs = [(key, key_id(key.suite, key.public)) for key in keys]
    if len(pairs) == 1:
        return sign1(pairs[0][0], pairs[0][1], payload, aad)
    return sign(pairs, payload, aad)


def parse_transaction(
    data: bytes, genesis_hash: bytes, types: Mapping[str, type[MessageBody]] = MESSAGE_TYPES
) -> SignedTransaction:
    """Take a transaction apart; EncodingError or CoseError when it is not of the form. Signatures are not verified here.

    `types` are the messages that the rules in force know: a program that knows newer ones must refuse them too.
    """
    envelope: Envelope = parse_sign(data, DOMAIN_TX + genesis_hash, bytes_max=TX_BYTES_MAX)
    transaction = _from_item(decode(envelope.payload, bytes_max=TX_BYTES_MAX), types)
    identifier = transaction_id(genesis_hash, envelope.payload)
    return SignedTransaction(identifier, transaction, envelope.signatures, len(data))


def _from_item(item: Item, types: Mapping[str, type[MessageBody]]) -> Transaction:
    match item:
        case [
            int() as version,
            list() as signers,
            bytes() as payer,
            gas,
            fee,
            expiry,
            bytes() as nonce,
            list() as messages,
        ]:
            if type(version) is not int or version != _VERSION:
                raise EncodingError("tx.version", f"transaction version {version} is not known here", hint="upgrade")
            if len(messages) > TX_MESSAGES_MAX:
                raise EncodingError("tx.messages", f"a transaction has at most {TX_MESSAGES_MAX} messages")
        case _:
            raise EncodingError("tx.form", "a transaction's payload is an array of eight fields")
    bodies = tuple(body_from_item(message, types) for message in messages)
    transaction = Transaction(tuple(signers), payer, gas, fee, expiry, nonce, bodies)
    _check(transaction)
    return transaction


def _check(tx: Transaction) -> None:
    signers = tx.signers
    if not 1 <= len(signers) <= TX_SIGNERS_MAX:
        raise EncodingError("tx.signers", f"a transaction has 1 to {TX_SIGNERS_MAX} signers")
    last = b""
    for signer in signers:
        if type(signer) is not bytes or len(signer) != ADDRESS_BYTES or signer <= last:
            raise EncodingError("tx.signers", "signers are addresses in ascending order, each once")
        last = signer
    if tx.payer not in signers:
        raise EncodingError("tx.payer", "the payer must be one of the signers")
    for value in (tx.gas_limit, tx.fee, tx.expiry):
        if type(value) is not int or not 0 <= value <= INT_MAX:
            raise EncodingError("tx.range", "gas limit, fee and expiry are integers of 63 bits")
    if type(tx.nonce) is not bytes or len(tx.nonce) != NONCE_BYTES:
        raise EncodingError("tx.nonce", f"the nonce has {NONCE_BYTES} bytes")
    if not 1 <= len(tx.messages) <= TX_MESSAGES_MAX:
        raise EncodingError("tx.messages", f"a transaction has 1 to {TX_MESSAGES_MAX} messages")
