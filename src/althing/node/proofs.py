"""Building proof files and trust files from what a node has: ledger, blocks and archive. Also used on a stopped home."""

from __future__ import annotations

from typing import Protocol

from althing.ledger.query import LedgerView
from althing.ledger.state.store import StateStore
from althing.protocol.batch import Origin, parse_leaf
from althing.protocol.block import SignedHeader, ValidatorSet
from althing.protocol.errors import UnavailableError
from althing.protocol.proof import MAGIC, Proof, SignedHeaderPart, ValidatorPart
from althing.protocol.stateproof import PresenceProof
from althing.protocol.trust import Trust

__all__ = ["BlockSource", "LeafSource", "ProofBuilder"]


class LeafSource(Protocol):
    """Where leaves are kept (the archive)."""

    def leaf_with_path(
        self, stream: int, sequence: int, batch_root: bytes, batch_size: int, index: int
    ) -> tuple[bytes, tuple[bytes, ...]]:
        """Leaf bytes and batch path; UnavailableError `archive.segment_unavailable` when the segment is not there."""
        ...


class BlockSource(Protocol):
    """Committed headers (the engine, or its store on a stopped home)."""

    @property
    def latest_height(self) -> int: ...

    def signed_header(self, height: int) -> SignedHeader: ...

    def validators(self, height: int) -> ValidatorSet: ...


class ProofBuilder:
    """Proofs against the newest header whose state root is known."""

    def __init__(
        self, chain_id: str, genesis_hash: bytes, store: StateStore, blocks: BlockSource, leaves: LeafSource
    ) -> None:
        self._chain_id = chain_id
        self._genesis_hash = genesis_hash
        self._store = store
        self._blocks = blocks
        self._leaves = leaves

    def trust(self, height: int | None = None) -> Trust:
        """What to pin: a block of this chain, by default the latest."""
        at = self._blocks.latest_height if height is None else height
        header = self._blocks.signed_header(at).header
        return Trust(self._chain_id, self._genesis_hash, at, header.hash(), self._blocks.validators(at))

    def proof(self, stream: str, sequence: int) -> bytes:
        """The proof file of one message, or NotFoundError / UnavailableError."""
        view, header_height = self._provable()
        part = view.row_proof(stream, sequence)
        row = part.row
        leaf_bytes, leaf_path = self._leaves.leaf_with_path(
            part.definition.id, sequence, row.batch_root, row.batch_size, row.offset + sequence - row.first
        )
        origin = parse_leaf(leaf_bytes).origin
        holder = part.definition.device_address if origin == Origin.DEVICE else row.gateway
        account = view.account_proof(holder)
        assert part.head.value is not None
        assert account.value is not None
        assert isinstance(part.head.proof, PresenceProof)
        assert isinstance(account.proof, PresenceProof)
        return Proof(
            magic=MAGIC,
            version=1,
            chain_id=self._chain_id,
            genesis_hash=self._genesis_hash,
            leaf=leaf_bytes,
            leaf_path=leaf_path,
            row=part.row_bytes,
            row_index=part.row_index,
            row_path=part.row_path,
            head=part.head.value,
            head_proof=part.head.proof,
            definition=part.definition_bytes,
            account=account.value,
            account_proof=account.proof,
            signed_header=self._signed(header_height),
            links=(),
            history=None,
        ).to_bytes()

    def _provable(self) -> tuple[LedgerView, int]:
        """The state whose root stands in the latest header: one version behind it."""
        height = self._blocks.latest_height
        if height < 2:
            raise UnavailableError("proof.no_header", "there is no header over a state root yet", retry_after_s=1)
        return LedgerView(self._store, height - 1), height

    def _signed(self, height: int) -> SignedHeaderPart:
        signed = self._blocks.signed_header(height)
        members = tuple(ValidatorPart(v.public_key, v.power) for v in self._blocks.validators(height).validators)
        return SignedHeaderPart(signed.header.encode(), signed.commit.encode(), members)
