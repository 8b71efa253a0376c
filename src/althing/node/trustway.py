"""The way from the block a verifier trusts to a proof's header: linking headers, or the header log (docs/spec/proof.md §3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

from althing.consensus.engine import EngineError
from althing.ledger.query import LedgerView
from althing.ledger.state.store import StateStore
from althing.light.headers import ONE_THIRD, trusted_power
from althing.protocol.block import SignedHeader, ValidatorSet
from althing.protocol.codec import decode
from althing.protocol.errors import AlthingError, StateError, UnavailableError
from althing.protocol.limits import PROOF_LINKS_MAX
from althing.protocol.proof import HeaderHistory, SignedHeaderPart, ValidatorPart
from althing.protocol.stateproof import PresenceProof
from althing.protocol.trust import Trust

__all__ = ["BlockSource", "Pin", "TrustWays", "UntiedError", "signed_part"]


class UntiedError(AlthingError):
    """No proof can be made for this trust file. Codes:

    proof.foreign_trust: the trust file, or the proof to be tied, is of another chain than this node's;
    proof.no_way: neither linking headers nor the header log lead from the trusted block to the proof's header.
    """

    http_status = 409


class BlockSource(Protocol):
    """Committed headers (the engine, or its store on a stopped home)."""

    @property
    def latest_height(self) -> int: ...

    def signed_header(self, height: int) -> SignedHeader: ...

    def validators(self, height: int) -> ValidatorSet: ...


@dataclass(frozen=True, slots=True)
class Pin:
    """The block that a verifier trusts. What is None is not compared with this chain."""

    height: int
    header_hash: bytes | None = None
    validators_hash: bytes | None = None

    @classmethod
    def of(cls, trust: Trust) -> Self:
        """The block that a trust file pins."""
        return cls(trust.height, trust.header_hash, trust.validators.hash())


Way = tuple[tuple[SignedHeaderPart, ...], HeaderHistory | None]
"""Links and history of a proof; at most one of them is there."""


class TrustWays:
    """Ways between the heights of one chain. A way it gives is one that the verifier's step 9 accepts."""

    def __init__(self, store: StateStore, blocks: BlockSource) -> None:
        self._store = store
        self._blocks = blocks

    def way(self, height: int, pin: Pin) -> Way:
        """From the pinned block to the header of `height`. UntiedError or UnavailableError when there is none.

        1. The trusted header itself needs no way.
        2. A trusted header above `height` proves it through the header log, whoever signed then.
        3. The same validators need none, but leave the long-range assumption to the verifier.
        4. A trusted header below is followed over linking headers.
        """
        self.check(pin)
        if pin.height == height:  # 1
            return (), None
        same = self._same_validators(height, pin)
        if pin.height > height:  # 2
            try:
                return (), self._history(height, pin.height)
            except (UntiedError, StateError, EngineError, UnavailableError):
                if not same:
                    raise
        if same:  # 3
            return (), None
        return tuple(signed_part(self._blocks, at) for at in self._links(pin.height, height)), None  # 4

    def check(self, pin: Pin) -> None:
        """The pinned block is one of this chain, as far as it is kept here; else UntiedError `proof.foreign_trust`."""
        try:
            header = self._blocks.signed_header(pin.height).header
        except EngineError:
            return
        if pin.header_hash not in (None, header.hash()) or pin.validators_hash not in (None, header.validators_hash):
            raise UntiedError(
                "proof.foreign_trust",
                f"the trust file names another block at height {pin.height} than this chain has",
                hint="find out which of the two is false before you believe either: compare with other members",
            )

    def _same_validators(self, height: int, pin: Pin) -> bool:
        trusted = pin.validators_hash
        if trusted is None:
            if pin.height > self._blocks.latest_height:
                return False
            trusted = self._blocks.validators(pin.height).hash()
        return trusted == self._blocks.validators(height).hash()

    def _history(self, height: int, checkpoint: int) -> HeaderHistory:
        if checkpoint > self._blocks.latest_height:
            raise UnavailableError(
                "proof.behind", f"this node has not reached height {checkpoint} of the trust file", retry_after_s=2
            )
        view = LedgerView(self._store, checkpoint - 1)
        size, answer = view.header_log()
        index = _first_from(view, size, height)
        if index == size:
            raise _no_way(f"no block that the state of height {checkpoint - 1} has logged follows height {height}")
        entry, path = view.header_entry(index, size)
        logged, _ = decode(entry)
        if logged - height > PROOF_LINKS_MAX:
            raise _no_way(f"{logged - height} headers stand between height {height} and the next that is logged")
        descent = [self._blocks.signed_header(at).header for at in range(logged, height, -1)]
        if any(header.last_block_id.is_zero for header in descent):
            raise _no_way(
                "the chain was carried over to another engine in between, whose first header names no predecessor"
            )
        assert answer.value is not None
        assert isinstance(answer.proof, PresenceProof)
        return HeaderHistory(
            checkpoint=self._blocks.signed_header(checkpoint).header.encode(),
            head=answer.value,
            head_proof=answer.proof,
            entry=entry,
            index=index,
            path=path,
            descent=tuple(header.encode() for header in descent),
        )

    def _links(self, trusted: int, height: int) -> list[int]:
        """Heights of linking headers, the trusted one first: from each as far as its validators' signatures carry.

        How far is found by halving, as a light client does: the next height is always in reach.
        """
        found = [trusted]
        while not self._carries(found[-1], height):
            if len(found) == PROOF_LINKS_MAX:
                raise _no_way(f"more than {PROOF_LINKS_MAX} linking headers are needed from height {trusted}")
            low, high = found[-1] + 1, height
            while high - low > 1:
                middle = (low + high) // 2
                if self._carries(found[-1], middle):
                    low = middle
                else:
                    high = middle
            found.append(low)
        return found

    def _carries(self, trusted: int, height: int) -> bool:
        if height == trusted + 1:
            return True
        members = self._blocks.validators(trusted)
        commit = self._blocks.signed_header(height).commit
        return ONE_THIRD.reached(trusted_power(members, commit, self._blocks.validators(height)), members)


def signed_part(blocks: BlockSource, height: int) -> SignedHeaderPart:
    """Header, commit and validators of a height as a proof carries them."""
    signed = blocks.signed_header(height)
    members = tuple(ValidatorPart(v.public_key, v.power) for v in blocks.validators(height).validators)
    return SignedHeaderPart(signed.header.encode(), signed.commit.encode(), members)


def _first_from(view: LedgerView, size: int, height: int) -> int:
    """Index of the first entry of the header log at or above a height; `size` if there is none."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if decode(view.header_entry(middle, size)[0])[0] < height:
            low = middle + 1
        else:
            high = middle
    return low


def _no_way(message: str) -> UntiedError:
    return UntiedError("proof.no_way", message, hint="use a trust file of another height, or have the proof made anew")
