"""Who must have signed a transaction, and whether they did."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from althing.ledger.modules.identity.module import IdentityModule
from althing.ledger.runtime.errors import TxError
from althing.ledger.runtime.overlay import State
from althing.protocol.address import format_address, key_id
from althing.protocol.bundle import Bundle
from althing.protocol.cose import Signature
from althing.protocol.messages.devices import RegisterDevice
from althing.protocol.messages.governance import AdmitOrganisation
from althing.protocol.messages.identity import Account, AccountKind, CreateAccount, Key
from althing.protocol.messages.staking import Join
from althing.protocol.signatures import verify
from althing.protocol.transaction import SignedTransaction

__all__ = ["Check", "SignatureCache", "bundle_maker", "require_bundle_signature", "required_checks"]

Check = tuple[Key, Signature]
"""A signature and the registered key it must verify under."""

_CACHE_BYTES_MAX: Final = 64 * 1024 * 1024  # of signed bytes, of which an entry holds all


class SignatureCache:
    """Signatures that have verified, keyed on suite, key, signed bytes and value: nothing is checked twice.

    It remembers a fact about bytes only. Whether the key is still valid is read from the state each time.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, bytes, bytes, bytes], None] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, checks: Iterable[Check]) -> None:
        """Remember that these have verified."""
        with self._lock:
            for key, signature in checks:
                entry = (int(key.suite), key.public, signature.signed, signature.value)
                size = len(signature.signed) + 64
                if self._bytes + size > _CACHE_BYTES_MAX:
                    self._known.clear()
                    self._bytes = 0
                if entry not in self._known:
                    self._known[entry] = None
                    self._bytes += size

    def check(self, key: Key, signature: Signature) -> bool:
        """As `holds`, and what verifies is remembered."""
        verifies = self.holds(key, signature)
        if verifies:
            self.add(((key, signature),))
        return verifies

    def holds(self, key: Key, signature: Signature) -> bool:
        """True when the signature is known to verify, or verifies now."""
        entry = (int(key.suite), key.public, signature.signed, signature.value)
        if entry in self._known:
            return True
        return verify(key.suite, key.public, signature.signed, signature.value)

    def take(self, key: Key, signature: Signature) -> bool:
        """As `holds`, for the last time: what is executed is not asked for again."""
        entry = (int(key.suite), key.public, signature.signed, signature.value)
        with self._lock:
            if entry in self._known:
                del self._known[entry]
                self._bytes -= len(signature.signed) + 64
                return True
        return verify(key.suite, key.public, signature.signed, signature.value)

    def forget(self, key: Key, signature: Signature) -> None:
        """It will not be asked for again."""
        entry = (int(key.suite), key.public, signature.signed, signature.value)
        with self._lock:
            if entry in self._known:
                del self._known[entry]
                self._bytes -= len(signature.signed) + 64


def bundle_maker(identity: IdentityModule, state: State, bundle: Bundle) -> Account:
    """The active node account that a bundle names, or TxError `bundle.node`."""
    node = identity.account(state, bundle.node)
    if node is None or node.kind != AccountKind.NODE or not identity.usable(state, node):
        raise TxError("bundle.node", "the bundle's maker has no active node account")
    return node


def require_bundle_signature(node: Account, bundle: Bundle, time_s: int, signatures: SignatureCache) -> Key:
    """The active key of its node that signed the bundle, or TxError `bundle.signature`."""
    signature = bundle.signature
    for entry in node.keys:
        key = entry.key
        if (
            key_id(key.suite, key.public) == signature.kid
            and key.suite == signature.suite
            and entry.active_at(time_s)
            and signatures.check(key, signature)
        ):
            return key
    raise TxError("bundle.signature", "the bundle's signature is not that of an active key of its node")


def required_checks(identity: IdentityModule, state: State, tx: SignedTransaction, time_s: int) -> list[Check]:
    """The checks that authorise `tx` at ledger time `time_s`, or TxError; nothing is computed before accounts are known.

    1. Every signer has a usable account, or is the address of a first key that a message of this transaction brings.
    2. Every signature's key id belongs to an active key of a signer, of the same suite. It counts for every signer
       that holds this key; two signers' different keys of one id are refused, for nobody could tell whose it is.
    3. Every signer has as many signatures as its threshold asks for.
    """
    body = tx.transaction
    if len(body.signers) == 1 == len(tx.signatures):
        plain = _plain_check(identity, state, body.signers[0], tx.signatures[0], time_s)
        if plain is not None:
            return [plain]
    keys: dict[bytes, tuple[Key, list[bytes]]] = {}
    missing: dict[bytes, int] = {}
    # 1
    for signer in body.signers:
        account = identity.account(state, signer)
        if account is None:
            key = _introduced(tx, signer)
            if key is None:
                raise TxError("tx.unknown_account", f"there is no account {format_address(signer)}")
            _hold(keys, key, signer)
            missing[signer] = 1
            continue
        if not identity.usable(state, account):
            raise TxError("tx.suspended", f"account {format_address(signer)} or its organisation is not active")
        if account.threshold == 0:
            raise TxError("tx.keyless", f"account {format_address(signer)} has no keys")
        if account.kind == AccountKind.READER:
            raise TxError("tx.reader", f"account {format_address(signer)} reads and sends nothing")
        missing[signer] = account.threshold
        for entry in account.keys:
            if entry.active_at(time_s):
                _hold(keys, entry.key, signer)
    # 2
    checks = []
    for signature in tx.signatures:
        found = keys.get(signature.kid)
        if found is None or found[0].suite != signature.suite:
            raise TxError(
                "tx.unknown_key", "a signature's key is not an active key of a signer", hint="was the key rotated?"
            )
        for signer in found[1]:
            missing[signer] -= 1
        checks.append((found[0], signature))
    # 3
    if any(count > 0 for count in missing.values()):
        raise TxError("tx.threshold", "a signer has fewer signatures than its account asks for")
    return checks


def _plain_check(
    identity: IdentityModule, state: State, signer: bytes, signature: Signature, time_s: int
) -> Check | None:
    """The check of the usual transaction, of one signer with one key of this id; None sends any other the long way."""
    account = identity.account(state, signer)
    if account is None or account.threshold != 1 or not identity.usable(state, account):
        return None
    if account.kind == AccountKind.READER:
        return None
    kid, found = signature.kid, None
    for entry in account.keys:
        key = entry.key
        if entry.active_at(time_s) and key_id(key.suite, key.public) == kid:
            if found is not None:
                return None
            found = key
    return None if found is None or found.suite != signature.suite else (found, signature)


def _hold(keys: dict[bytes, tuple[Key, list[bytes]]], key: Key, signer: bytes) -> None:
    known, holders = keys.setdefault(key_id(key.suite, key.public), (key, []))
    if known != key:
        raise TxError("tx.ambiguous_key", "two signers have different keys with one key id", hint="rotate one of them")
    holders.append(signer)


def _introduced(tx: SignedTransaction, signer: bytes) -> Key | None:
    for message in tx.transaction.messages:
        match message:
            case RegisterDevice():
                key = message.key
            case CreateAccount():
                key = message.keys[0]
            case AdmitOrganisation():
                key = message.organisation.keys[0]
            case Join():
                key = message.keys[0]
            case _:
                continue
        if key is not None and key.address == signer:
            return key
    return None
