"""The proof file: everything an outsider needs to check one message, given only a trust file (docs/spec/proof.md).

leaf → batch root → anchor row → stream's log → state (with the key record) → header → validators' signatures. Encoded as
a record in deterministic CBOR; `light.verifier` uses every field, so no byte of a file is outside the check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from althing.protocol.limits import (
    DEFINITION_BYTES_MAX,
    LEAF_BYTES_MAX,
    MERKLE_PATH_MAX,
    PROOF_BYTES_MAX,
    PROOF_LINKS_MAX,
)
from althing.protocol.messages.governance import VALIDATORS_MAX
from althing.protocol.record import CHAIN_ID, HASH, UINT, Form, Record, array, blob, integer, of, optional, record, text
from althing.protocol.stateproof import PresenceProof, proof_from_cbor_obj, proof_to_cbor_obj

__all__ = ["MAGIC", "HeaderHistory", "Proof", "SignedHeaderPart", "ValidatorPart", "parse_proof"]

MAGIC: Final = "althing-proof"
_STATE_VALUE_MAX: Final = 64 * 1024
_HEADER_BYTES_MAX: Final = 1024
_COMMIT_BYTES_MAX: Final = 256 + 192 * VALIDATORS_MAX


def _presence(item: object) -> PresenceProof:
    proof = proof_from_cbor_obj(item)
    if not isinstance(proof, PresenceProof):
        raise ValueError("not a proof of presence")
    return proof


PRESENCE: Final = Form(proof_to_cbor_obj, _presence)
PATH: Final = array(HASH, MERKLE_PATH_MAX)


@dataclass(frozen=True, slots=True)
class ValidatorPart(Record):
    """A validator of the set that signed: Ed25519 public key and power."""

    public: bytes = of(blob(32, 32))
    power: int = of(integer(1, 2**60))


VALIDATORS: Final = array(record(ValidatorPart), VALIDATORS_MAX, 1)


@dataclass(frozen=True, slots=True)
class SignedHeaderPart(Record):
    """A header, the commit for it and the set that signed; header and commit in CometBFT's protobuf encoding."""

    header: bytes = of(blob(1, _HEADER_BYTES_MAX))
    commit: bytes = of(blob(1, _COMMIT_BYTES_MAX))
    validators: tuple[ValidatorPart, ...] = of(VALIDATORS)


@dataclass(frozen=True, slots=True)
class HeaderHistory(Record):
    """How a later, trusted header proves an earlier one whose validators are no longer trusted.

    `checkpoint` is the trusted header. Its state holds the header log's head; entry `index` of that log is [height, hash]
    of a block. `descent` leads from that block's header back to the proof's, each naming its predecessor's hash; empty
    when the entry is the proof's header itself.
    """

    checkpoint: bytes = of(blob(1, _HEADER_BYTES_MAX))
    head: bytes = of(blob(1, 256))
    head_proof: PresenceProof = of(PRESENCE)
    entry: bytes = of(blob(1, 64))
    index: int = of(UINT)
    path: tuple[bytes, ...] = of(PATH)
    descent: tuple[bytes, ...] = of(array(blob(1, _HEADER_BYTES_MAX), PROOF_LINKS_MAX))


@dataclass(frozen=True, slots=True)
class Proof(Record):
    """One message's proof. The path of each step is named in docs/spec/proof.md, in the order of the steps."""

    BYTES_MAX: ClassVar[int] = PROOF_BYTES_MAX

    magic: str = of(text(13, 13))
    version: int = of(integer(1, 1))
    chain_id: str = of(CHAIN_ID)
    genesis_hash: bytes = of(HASH)
    leaf: bytes = of(blob(1, LEAF_BYTES_MAX))
    leaf_path: tuple[bytes, ...] = of(PATH)
    row: bytes = of(blob(1, 512))
    row_index: int = of(UINT)
    row_path: tuple[bytes, ...] = of(PATH)
    head: bytes = of(blob(1, 256))
    head_proof: PresenceProof = of(PRESENCE)
    definition: bytes = of(blob(1, DEFINITION_BYTES_MAX))
    account: bytes = of(blob(1, _STATE_VALUE_MAX))
    account_proof: PresenceProof = of(PRESENCE)
    signed_header: SignedHeaderPart = of(record(SignedHeaderPart))
    links: tuple[SignedHeaderPart, ...] = of(array(record(SignedHeaderPart), PROOF_LINKS_MAX))
    history: HeaderHistory | None = of(optional(record(HeaderHistory)))


def parse_proof(data: bytes) -> Proof:
    """The proof of its bytes, or EncodingError / MerkleError naming the first thing that is not of the form."""
    return Proof.from_bytes(data, bytes_max=PROOF_BYTES_MAX)
