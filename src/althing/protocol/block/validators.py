"""Validators: their addresses, their set and its hash."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise

from althing.protocol.block.wire import WireReader, bytes_field, int_field, message_field
from althing.protocol.errors import ProtocolError
from althing.protocol.merkle import leaf_hash, root_of

__all__ = ["TOTAL_POWER_MAX", "VALIDATORS_MAX", "Validator", "ValidatorSet", "validator_address"]

VALIDATORS_MAX = 10_000  # CometBFT `MaxVotesCount`
TOTAL_POWER_MAX = ((1 << 63) - 1) // 8  # CometBFT `MaxTotalVotingPower`: sums never overflow 63 bits
_VALIDATOR_BYTES_MAX = 128
_SIMPLE_KEY = b"\x0a\x22\x0a\x20"  # field 1, a PublicKey of 34 bytes; its field 1, the key of 32


def validator_address(public_key: bytes) -> bytes:
    """The first 20 bytes of SHA-256 of the 32-byte Ed25519 key."""
    return sha256(public_key).digest()[:20]


@dataclass(frozen=True, slots=True)
class Validator:
    """An Ed25519 key and its voting power (>= 1)."""

    public_key: bytes
    power: int

    def __post_init__(self) -> None:
        if len(self.public_key) != 32:
            raise ProtocolError("block.validator", f"a validator key has 32 bytes, not {len(self.public_key)}")
        if not 1 <= self.power <= TOTAL_POWER_MAX:
            raise ProtocolError("block.validator", f"voting power {self.power} is out of range")

    @property
    def address(self) -> bytes:
        """See `validator_address`."""
        return validator_address(self.public_key)

    def encode_simple(self) -> bytes:
        """tendermint.types.SimpleValidator: the leaf of the set's hash."""
        return _SIMPLE_KEY + self.public_key + int_field(2, self.power)

    def encode(self) -> bytes:
        """tendermint.types.Validator with proposer priority 0, which no hash covers."""
        return (
            bytes_field(1, self.address) + message_field(2, bytes_field(1, self.public_key)) + int_field(3, self.power)
        )

    @classmethod
    def decode(cls, data: bytes) -> Validator:
        """Strict inverse of `encode`; the address must be the key's."""
        reader = WireReader(data, "validator", bytes_max=_VALIDATOR_BYTES_MAX)
        address = reader.take_bytes(1, bytes_max=20)
        key_reader = WireReader(reader.take_message(2, bytes_max=64), "validator key", bytes_max=64)
        power = reader.take_int(3)
        reader.end()
        public_key = key_reader.take_bytes(1, bytes_max=32)
        key_reader.end()
        validator = cls(public_key, power)
        if address != validator.address:
            raise ProtocolError("block.validator", "the validator's address is not that of its key")
        return validator


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    """Validators by falling power, then rising address: the order in which commits list their signatures.

    Not empty, no key twice, total power within CometBFT's cap. `ValidatorSet.of` sorts. What is asked of a set again and
    again (`addresses`, `total_power`, the hash) is computed once.
    """

    validators: tuple[Validator, ...]
    addresses: tuple[bytes, ...] = field(init=False, compare=False, repr=False)
    total_power: int = field(init=False, compare=False, repr=False)
    _hash: bytes = field(init=False, compare=False, repr=False)
    _powers: dict[bytes, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.validators) <= VALIDATORS_MAX:
            raise ProtocolError("block.validators", f"a validator set has 1 to {VALIDATORS_MAX} members")
        addresses = tuple(v.address for v in self.validators)
        object.__setattr__(self, "addresses", addresses)
        object.__setattr__(self, "total_power", sum(v.power for v in self.validators))
        object.__setattr__(self, "_hash", b"")
        object.__setattr__(self, "_powers", {})
        order = [(-v.power, address) for v, address in zip(self.validators, addresses, strict=True)]
        if any(a >= b for a, b in pairwise(order)):
            raise ProtocolError("block.validators", "validators are not in order of power and address")
        if len({address for _, address in order}) != len(order):
            raise ProtocolError("block.validators", "a validator is listed twice")
        if self.total_power > TOTAL_POWER_MAX:
            raise ProtocolError("block.validators", "total voting power is out of range")

    @classmethod
    def of(cls, validators: Iterable[Validator]) -> ValidatorSet:
        """A set from validators in any order."""
        return cls(tuple(sorted(validators, key=lambda v: (-v.power, v.address))))

    def hash(self) -> bytes:
        """`validators_hash` of a header (`ValidatorSet.Hash`)."""
        if not self._hash:
            object.__setattr__(self, "_hash", root_of([leaf_hash(v.encode_simple()) for v in self.validators]))
        return self._hash

    def power_of(self, public_key: bytes) -> int:
        """The power of a key; 0 when it is not in the set."""
        if not self._powers:
            self._powers.update((v.public_key, v.power) for v in self.validators)
        return self._powers.get(public_key, 0)

    def find(self, address: bytes) -> Validator | None:
        """The validator with this address, if any."""
        return next((v for v in self.validators if v.address == address), None)

    def updated(self, changes: Iterable[Validator], removals: Iterable[bytes] = ()) -> ValidatorSet:
        """The set after one block's validator updates (`UpdateWithChangeSet`): no key twice, no unknown removal."""
        members = {v.public_key: v for v in self.validators}
        touched: dict[bytes, Validator | None] = {}
        for public_key, change in [(v.public_key, v) for v in changes] + [(k, None) for k in removals]:
            if public_key in touched:
                raise ProtocolError("block.validators", "one validator is updated twice in a block")
            touched[public_key] = change
        for public_key, change in touched.items():
            if change is not None:
                members[public_key] = change
            elif members.pop(public_key, None) is None:
                raise ProtocolError("block.validators", "a validator that is not in the set cannot be removed")
        return ValidatorSet.of(members.values())

    def encode(self) -> bytes:
        """The members of tendermint.types.ValidatorSet, field 1; the proposer, which no hash covers, is left out."""
        return b"".join(message_field(1, v.encode()) for v in self.validators)

    @classmethod
    def decode(cls, data: bytes) -> ValidatorSet:
        """Strict inverse of `encode`."""
        reader = WireReader(data, "validator set", bytes_max=VALIDATORS_MAX * _VALIDATOR_BYTES_MAX)
        members = reader.take_repeated(1, bytes_max=_VALIDATOR_BYTES_MAX, count_max=VALIDATORS_MAX)
        reader.end()
        return cls(tuple(Validator.decode(member) for member in members))
