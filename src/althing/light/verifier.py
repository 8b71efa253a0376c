"""Checks a proof file against a trust file, without I/O (docs/spec/proof.md §3). The same steps exist for the browser.

1. Form: the file is the deterministic encoding of a proof of a known version.
2. Chain: it is of the trusted chain, by chain id and genesis hash.
3. Batch: the leaf stands in the anchored batch, at the place the row gives its stream and sequence (RFC 9162 §2.1.3.2).
4. Log: the anchor row stands in its stream's log.
5. Stream: the state holds the stream's head, and the head names the definition.
6. Key record: the state holds the account of the device, or of the gateway that attests.
7. Origin: the device's signature verifies under a key valid then; or the gateway alone attests.
8. Header: the header carries the state's root, and more than two thirds of its validators signed it.
9. Trust: those validators are the trusted ones, by the pinned set, by linking headers, or through the header log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from althing.light.headers import LightError, verify_adjacent, verify_commit, verify_skipping
from althing.protocol.address import key_id
from althing.protocol.batch import Leaf, Origin, parse_leaf
from althing.protocol.block import Commit, Header, SignedHeader, Validator, ValidatorSet
from althing.protocol.errors import AlthingError, ProtocolError
from althing.protocol.hashing import sha256
from althing.protocol.merkle import leaf_hash, verify_inclusion
from althing.protocol.message import parse_message
from althing.protocol.messages.identity import Account, AccountKind, KeyEntry
from althing.protocol.messages.streams import AnchorRow, StreamDefinition, StreamHead
from althing.protocol.proof import MAGIC, HeaderHistory, Proof, SignedHeaderPart, parse_proof
from althing.protocol.record import HASH, UINT, Record, of
from althing.protocol.signatures import verify
from althing.protocol.stateproof import verify_presence
from althing.protocol.trust import Trust

__all__ = ["STEPS", "ProofError", "Step", "Verified", "verify_proof"]

STEPS: Final = ("form", "chain", "batch", "log", "stream", "key record", "origin", "header", "trust")
KEY_ACCOUNT: Final = b"identity/account/"
KEY_HEAD: Final = b"streams/head/"
KEY_HEADERS: Final = b"runtime/headers"
_SECOND_NS: Final = 1_000_000_000

T = TypeVar("T")


class ProofError(AlthingError):
    """A proof does not verify. `step` counts from 1 as in the module's docstring; codes are `proof.<step's name>`."""

    http_status = 422

    def __init__(self, step: int, message: str, *, hint: str = "") -> None:
        super().__init__(
            f"proof.{STEPS[step - 1].replace(' ', '_')}", f"step {step} ({STEPS[step - 1]}): {message}", hint=hint
        )
        self.step = step


@dataclass(frozen=True, slots=True)
class Step:
    """A step that held, with what it found in words."""

    number: int
    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What a proof has proved. Times in nanoseconds since 1970; `trusted_height` is where trust was pinned."""

    stream: str
    sequence: int
    origin: Origin
    leaf: Leaf
    row: AnchorRow
    definition: StreamDefinition
    height: int
    trusted_height: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class _HeaderHead(Record):
    """Head of the header log as the state holds it."""

    size: int = of(UINT)
    root: bytes = of(HASH)


@dataclass(frozen=True, slots=True)
class _HeaderEntry(Record):
    """An entry of the header log."""

    height: int = of(UINT)
    hash: bytes = of(HASH)


def verify_proof(data: bytes, trust: Trust, *, require_device: bool = False) -> Verified:
    """Check a proof file's bytes; ProofError names the first step that fails.

    With `require_device` a message that only its gateway attests fails at step 7.
    """
    proof = _step(1, lambda: _form(data))
    validators, *link_validators = _step(1, lambda: _validator_sets(proof))
    header, commit = _step(1, lambda: _signed_header(proof.signed_header))
    _step(2, lambda: _chain(proof, trust))
    leaf, row = _step(3, lambda: _batch(proof))
    head = _step(4, lambda: _log(proof))
    definition = _step(5, lambda: _stream(proof, leaf, head, header.app_hash))
    account = _step(6, lambda: _key_record(proof, leaf, row, definition, header.app_hash))
    origin = _step(7, lambda: _origin(proof, leaf, row, account, require_device))
    _step(8, lambda: verify_commit(trust.chain_id, header, commit, validators))
    anchored = _step(9, lambda: _trust(proof, trust, SignedHeader(header, commit), validators, link_validators))
    details = (
        f"proof file version {proof.version}, {len(data)} bytes",
        f"chain {proof.chain_id}, genesis {proof.genesis_hash.hex()}",
        f"{leaf.stream} sequence {leaf.sequence} is leaf {_index(leaf, row)} of {row.batch_size} under {row.batch_root.hex()}",
        f"anchored at height {row.height}, entry {proof.row_index} of {head.log_size} in the stream's log",
        f"stream {definition.path} (number {definition.id}) in the state with root {header.app_hash.hex()}",
        f"account of {account.name} ({account.kind.name.lower()}), keys on record: {len(account.keys)}",
        origin,
        f"height {header.height}, header {header.hash().hex()}, signed by more than two thirds of {len(validators.validators)}",
        anchored,
    )
    steps = tuple(Step(i + 1, name, detail) for i, (name, detail) in enumerate(zip(STEPS, details, strict=True)))
    return Verified(leaf.stream, leaf.sequence, leaf.origin, leaf, row, definition, header.height, trust.height, steps)


def _step(number: int, check: Callable[[], T]) -> T:
    """Gives every failure the number of its step."""
    try:
        return check()
    except (ProtocolError, LightError) as exc:
        raise ProofError(number, exc.message, hint=exc.hint) from exc


def _form(data: bytes) -> Proof:
    proof = parse_proof(data)
    if proof.magic != MAGIC:
        raise ProofError(1, "this is not a proof file")
    if proof.links and proof.history is not None:
        raise ProofError(1, "a proof goes by linking headers or through the header log, not both")
    return proof


def _chain(proof: Proof, trust: Trust) -> None:
    if proof.chain_id != trust.chain_id or proof.genesis_hash != trust.genesis_hash:
        raise ProofError(2, f"the proof is of chain {proof.chain_id} with another genesis than the trusted one")


def _index(leaf: Leaf, row: AnchorRow) -> int:
    return row.offset + leaf.sequence - row.first


def _batch(proof: Proof) -> tuple[Leaf, AnchorRow]:
    leaf = parse_leaf(proof.leaf)
    row = AnchorRow.from_bytes(proof.row)
    if not row.first <= leaf.sequence < row.first + row.count or row.offset + row.count > row.batch_size:
        raise ProofError(3, "the anchor row does not cover the leaf's sequence")
    verify_inclusion(row.batch_root, row.batch_size, _index(leaf, row), leaf_hash(proof.leaf), proof.leaf_path)
    return leaf, row


def _log(proof: Proof) -> StreamHead:
    head = StreamHead.from_bytes(proof.head)
    verify_inclusion(head.log_root, head.log_size, proof.row_index, leaf_hash(proof.row), proof.row_path)
    return head


def _validator_sets(proof: Proof) -> list[ValidatorSet]:
    """That of the signed header, then those of the links."""
    return [_validators(part) for part in (proof.signed_header, *proof.links)]


def _validators(part: SignedHeaderPart) -> ValidatorSet:
    members = tuple(Validator(validator.public, validator.power) for validator in part.validators)
    validators = ValidatorSet.of(members)
    if validators.validators != members:
        raise ProofError(1, "validators do not stand in CometBFT's order")
    return validators


def _signed_header(part: SignedHeaderPart) -> tuple[Header, Commit]:
    return Header.decode(part.header), Commit.decode(part.commit)


def _stream(proof: Proof, leaf: Leaf, head: StreamHead, app_hash: bytes) -> StreamDefinition:
    definition = StreamDefinition.from_bytes(proof.definition)
    if sha256(proof.definition) != head.definition_hash:
        raise ProofError(5, "the stream's head names another definition")
    if definition.path != leaf.stream:
        raise ProofError(5, f"the definition is of stream {definition.path}, the leaf of {leaf.stream}")
    verify_presence(app_hash, KEY_HEAD + definition.id.to_bytes(8, "big"), proof.head, proof.head_proof)
    return definition


def _key_record(proof: Proof, leaf: Leaf, row: AnchorRow, definition: StreamDefinition, app_hash: bytes) -> Account:
    address = definition.device_address if leaf.origin == Origin.DEVICE else row.gateway
    verify_presence(app_hash, KEY_ACCOUNT + address, proof.account, proof.account_proof)
    account = Account.from_bytes(proof.account)
    wanted = AccountKind.DEVICE if leaf.origin == Origin.DEVICE else AccountKind.GATEWAY
    if account.kind != wanted:
        raise ProofError(6, f"the account is not that of a {wanted.name.lower()}")
    return account


def _origin(proof: Proof, leaf: Leaf, row: AnchorRow, account: Account, require_device: bool) -> str:
    """A key counts if it was valid when anchored (its beginning), when it arrived (its end), and not revoked before
    it was anchored: the arrival is the gateway's word, which must not help a compromised key."""
    if leaf.origin == Origin.GATEWAY:
        if require_device:
            raise ProofError(7, "only the gateway attests this message; the device did not sign it")
        return f"attested by gateway {account.name}: the device did not sign this message"
    message = parse_message(leaf.body, proof.genesis_hash)
    if message.chain_id != proof.chain_id or message.stream != leaf.stream:
        raise ProofError(7, f"the device signed for stream {message.stream} of chain {message.chain_id}")
    signature = message.signature
    for entry in account.keys:
        key = entry.key
        if key.suite == signature.suite and key_id(key.suite, key.public) == signature.kid:
            if not _valid_then(entry, leaf.arrival, row.time):
                raise ProofError(7, "the device's key was not valid when the message arrived and was anchored")
            if not verify(key.suite, key.public, signature.signed, signature.value):
                raise ProofError(7, "the device's signature does not verify")
            return f"signed by device {account.name} ({key.suite.name}, key {signature.kid.hex()}, counter {message.counter})"
    raise ProofError(7, "the device's record has no such key")


def _valid_then(entry: KeyEntry, arrival_ns: int, anchored_ns: int) -> bool:
    if entry.valid_from * _SECOND_NS > anchored_ns:
        return False
    if entry.valid_to is not None and arrival_ns >= entry.valid_to * _SECOND_NS:
        return False
    return entry.revoked_at is None or anchored_ns < entry.revoked_at * _SECOND_NS


def _trust(
    proof: Proof, trust: Trust, signed: SignedHeader, validators: ValidatorSet, link_validators: list[ValidatorSet]
) -> str:
    header = signed.header
    if proof.links:
        links = [(SignedHeader(*_signed_header(p)), v) for p, v in zip(proof.links, link_validators, strict=True)]
        _follow([*links, (signed, validators)], trust)
        return f"followed {len(links)} linking headers from trusted height {trust.height}"
    if proof.history is not None:
        _descend(proof.history, trust, header)
        return f"height {header.height} is in the header log of trusted height {trust.height}"
    if header.height == trust.height and header.hash() != trust.header_hash:
        raise ProofError(9, f"at height {header.height} the trusted header is another one")
    if validators.hash() != trust.validators.hash():
        raise ProofError(
            9,
            "the validators that signed are not the trusted ones, and the proof carries no link to them",
            hint="make the proof again for your trust file, or get a trust file of a later height",
        )
    relation = "at" if header.height == trust.height else ("before" if header.height < trust.height else "after")
    return (
        f"signed by the validators trusted as of height {trust.height} ({relation} it); assumes that two thirds of them "
        "have not signed another history with these keys since"
        if relation != "at"
        else f"it is the trusted header of height {trust.height}"
    )


def _follow(chain: list[tuple[SignedHeader, ValidatorSet]], trust: Trust) -> None:
    """From the first link, which is the trusted header, to the proof's own header."""
    first, validators = chain[0]
    trusted = first.header
    if trusted.height != trust.height or trusted.hash() != trust.header_hash:
        raise ProofError(9, "the first linking header is not the trusted one")
    if validators.hash() != trust.validators.hash():
        raise ProofError(9, "the first linking header's validators are not the trusted ones")
    verify_commit(trust.chain_id, trusted, first.commit, validators)
    for signed, members in chain[1:]:
        if signed.header.height == trusted.height + 1:
            verify_adjacent(trusted, signed, members, freshness=None)
        else:
            verify_skipping(trusted, validators, signed, members, freshness=None)
        trusted, validators = signed.header, members


def _descend(history: HeaderHistory, trust: Trust, header: Header) -> None:
    checkpoint = Header.decode(history.checkpoint)
    if checkpoint.height != trust.height or checkpoint.hash() != trust.header_hash:
        raise ProofError(9, "the checkpoint is not the trusted header")
    if checkpoint.validators_hash != trust.validators.hash():
        raise ProofError(9, "the trusted header does not name the trusted validators")
    verify_presence(checkpoint.app_hash, KEY_HEADERS, history.head, history.head_proof)
    head = _HeaderHead.from_bytes(history.head)
    verify_inclusion(head.root, head.size, history.index, leaf_hash(history.entry), history.path)
    expected = _HeaderEntry.from_bytes(history.entry).hash
    for data in history.descent:
        logged = Header.decode(data)
        if logged.hash() != expected:
            raise ProofError(9, "a header on the way down is not the one named before it")
        expected = logged.last_block_id.hash
    if header.hash() != expected:
        raise ProofError(9, "the way through the header log does not lead to the proof's header")
