"""Evidence of an attack on light clients, in the forms that CometBFT's evidence pool and its RPC take.

Source: CometBFT v0.39.4 `types/evidence.go`, `proto/tendermint/types/evidence.proto`; docs/spec/light-client.md §6.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from althing.protocol.block.blocks import SignedHeader
from althing.protocol.block.jsonform import (
    json_of_signed_header,
    json_of_time,
    json_of_validator,
    json_of_validators,
)
from althing.protocol.block.times import Timestamp
from althing.protocol.block.validators import Validator, ValidatorSet
from althing.protocol.block.wire import int_field, message_field, uvarint

__all__ = ["LightClientAttackEvidence"]


@dataclass(frozen=True, slots=True)
class LightClientAttackEvidence:
    """A header that should not exist, with its commit and validators, and who can be held to it.

    `common_height` is the last height both histories share (lunatic), or the conflicting height itself.
    """

    signed: SignedHeader
    validators: ValidatorSet
    common_height: int
    byzantine_validators: tuple[Validator, ...]
    total_power: int
    timestamp: Timestamp

    @property
    def proposer(self) -> Validator:
        """CometBFT wants one named, and no hash covers it: the header's, or else the first of the set."""
        return self.validators.find(self.signed.header.proposer_address) or self.validators.validators[0]

    def encode(self) -> bytes:
        """tendermint.types.LightClientAttackEvidence: the leaf of a header's `evidence_hash`."""
        signed = message_field(1, self.signed.header.encode()) + message_field(2, self.signed.commit.encode())
        members = self.validators.encode() + message_field(2, self.proposer.encode())
        return (
            message_field(1, message_field(1, signed) + message_field(2, members))
            + int_field(2, self.common_height)
            + b"".join(message_field(3, validator.encode()) for validator in self.byzantine_validators)
            + int_field(4, self.total_power)
            + message_field(5, self.timestamp.encode())
        )

    def encode_evidence(self) -> bytes:
        """tendermint.types.Evidence: as blocks and the evidence reactor carry it."""
        return message_field(2, self.encode())

    def hash(self) -> bytes:
        """The name the pool knows it by (`LightClientAttackEvidence.Hash`): 31 bytes of the header's hash, one of zero,
        and the common height as a zigzag varint."""
        return sha256(self.signed.header.hash()[:31] + b"\x00" + uvarint(2 * self.common_height)).digest()

    def to_json(self) -> dict[str, Any]:
        """The parameter `evidence` of the RPC's `broadcast_evidence`."""
        return {
            "type": "tendermint/LightClientAttackEvidence",
            "value": {
                "ConflictingBlock": {
                    "signed_header": json_of_signed_header(self.signed),
                    "validator_set": {
                        "validators": json_of_validators(self.validators.validators),
                        "proposer": json_of_validator(self.proposer),
                    },
                },
                "CommonHeight": str(self.common_height),
                # An empty list CometBFT refuses where it expects none (amnesia).
                "ByzantineValidators": json_of_validators(self.byzantine_validators) or None,
                "TotalVotingPower": str(self.total_power),
                "Timestamp": json_of_time(self.timestamp),
            },
        }
