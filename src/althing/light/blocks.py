"""Light blocks: a signed header with the validators that signed it, and what a header says about itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from althing.light.errors import InvalidHeaderError
from althing.protocol.block import BlockIdFlag, Commit, Header, SignedHeader, Timestamp, ValidatorSet

__all__ = ["LightBlock"]


@dataclass(frozen=True, slots=True)
class LightBlock:
    """Header, commit and validators of one height, not verified. `hash` is the header's, computed once."""

    signed: SignedHeader
    validators: ValidatorSet
    hash: bytes = field(init=False, compare=False, repr=False)
    _sound_on: str = field(init=False, compare=False, repr=False)  # chain for which `check` has passed

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", self.signed.header.hash())
        object.__setattr__(self, "_sound_on", "")

    @property
    def header(self) -> Header:
        return self.signed.header

    @property
    def commit(self) -> Commit:
        return self.signed.commit

    @property
    def height(self) -> int:
        return self.signed.header.height

    @property
    def time(self) -> Timestamp:
        return self.signed.header.time

    def check(self, chain_id: str) -> None:
        """The parts belong together (`LightBlock.ValidateBasic`); nothing is said about signatures.

        1. The header is of the chain, the commit for the header's height and hash.
        2. The validators are those that the header names.
        3. The commit has one entry per validator, in the order of the set, as every commit of a correct node has.
        Looked at once, however often a bisection tries the block.
        """
        if self._sound_on == chain_id:
            return
        header, commit = self.signed.header, self.signed.commit
        if header.chain_id != chain_id:  # 1
            raise InvalidHeaderError("light.chain", f"the header is of chain {header.chain_id!r}, not {chain_id!r}")
        if commit.height != header.height:
            raise InvalidHeaderError("light.commit", f"the commit is for height {commit.height}, not {header.height}")
        if commit.block_id.hash != self.hash:
            raise InvalidHeaderError("light.commit", "the commit is for another block")
        if header.validators_hash != self.validators.hash():  # 2
            raise InvalidHeaderError("light.validators", "the validators are not those the header names")
        self._check_order()  # 3
        object.__setattr__(self, "_sound_on", chain_id)

    def _check_order(self) -> None:
        entries, addresses = self.signed.commit.signatures, self.validators.addresses
        if len(entries) != len(addresses):
            raise InvalidHeaderError("light.commit", "the commit does not list one precommit per validator")
        for entry, address in zip(entries, addresses, strict=True):
            if entry.address != address and entry.flag is not BlockIdFlag.ABSENT:
                raise InvalidHeaderError(
                    "light.commit", "the commit does not list its precommits in the order of the validators"
                )
