"""Building proof files and trust files from what a node has: ledger, blocks and archive. Also used on a stopped home."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from althing.ledger.query import LedgerView, RowProof
from althing.ledger.runtime.errors import NotFoundError
from althing.ledger.state.store import StateStore
from althing.light.verifier import ProofError
from althing.node.trustway import BlockSource, Pin, TrustWays, UntiedError, signed_part
from althing.protocol.batch import Origin, parse_leaf
from althing.protocol.block import Header
from althing.protocol.errors import ProtocolError, StateError, UnavailableError
from althing.protocol.limits import PROOF_BYTES_MAX
from althing.protocol.proof import MAGIC, Proof, parse_proof
from althing.protocol.stateproof import PresenceProof
from althing.protocol.trust import Trust

__all__ = ["LeafSource", "ProofBuilder"]


class LeafSource(Protocol):
    """Where leaves are kept (the archive)."""

    def leaf_with_path(
        self, stream: int, sequence: int, batch_root: bytes, batch_size: int, index: int
    ) -> tuple[bytes, tuple[bytes, ...]]:
        """Leaf bytes and batch path; UnavailableError `archive.segment_unavailable` when the segment is not there."""
        ...


class ProofBuilder:
    """Makes proofs from one chain's state, blocks and leaves; safe from any thread."""

    def __init__(
        self, chain_id: str, genesis_hash: bytes, store: StateStore, blocks: BlockSource, leaves: LeafSource
    ) -> None:
        self._chain_id = chain_id
        self._genesis_hash = genesis_hash
        self._store = store
        self._blocks = blocks
        self._leaves = leaves
        self._ways = TrustWays(store, blocks)

    def trust(self, height: int | None = None) -> Trust:
        """What to pin: a block of this chain, by default the latest."""
        at = self._blocks.latest_height if height is None else height
        header = self._blocks.signed_header(at).header
        return Trust(self._chain_id, self._genesis_hash, at, header.hash(), self._blocks.validators(at))

    def proof(self, stream: str, sequence: int, pin: Pin | None = None, height: int | None = None) -> bytes:
        """The proof file of one message, or NotFoundError / UnavailableError / UntiedError.

        Without `pin` it verifies under trust files that name the same validators. With it, it verifies under a trust
        file of that block: made against the trusted header where that still states the message, else against the
        newest (or the one of `height`), with the way between the two.
        """
        view, part = self._stated(stream, sequence, pin, height)
        at = view.version + 1  # the root after a block stands in the next header
        links, history = ((), None) if pin is None else self._ways.way(at, pin)
        row, head = part.row, part.head
        leaf_bytes, leaf_path = self._leaves.leaf_with_path(
            part.definition.id, sequence, row.batch_root, row.batch_size, row.offset + sequence - row.first
        )
        origin = parse_leaf(leaf_bytes).origin
        holder = part.definition.device_address if origin == Origin.DEVICE else row.gateway
        account = view.account_proof(holder)
        assert head.value is not None
        assert account.value is not None
        assert isinstance(head.proof, PresenceProof)
        assert isinstance(account.proof, PresenceProof)
        return _encoded(
            Proof(
                magic=MAGIC,
                version=1,
                chain_id=self._chain_id,
                genesis_hash=self._genesis_hash,
                leaf=leaf_bytes,
                leaf_path=leaf_path,
                row=part.row_bytes,
                row_index=part.row_index,
                row_path=part.row_path,
                head=head.value,
                head_proof=head.proof,
                definition=part.definition_bytes,
                account=account.value,
                account_proof=account.proof,
                signed_header=signed_part(self._blocks, at),
                links=links,
                history=history,
            )
        )

    def tied(self, data: bytes, pin: Pin) -> bytes:
        """An existing proof file with another way to trust: the same message against the same header, so an old proof
        outlives the validators that signed it. Nothing else of it is checked here; the verifier does that."""
        try:
            proof = parse_proof(data)
            header = Header.decode(proof.signed_header.header)
        except ProtocolError as exc:
            raise ProofError(1, f"this is not a proof file: {exc.message}") from exc
        if header.height > self._blocks.latest_height or header != self._blocks.signed_header(header.height).header:
            raise UntiedError(
                "proof.foreign_trust", f"the proof's header of height {header.height} is not of this chain"
            )
        links, history = self._ways.way(header.height, pin)
        return _encoded(replace(proof, links=links, history=history))

    def _stated(self, stream: str, sequence: int, pin: Pin | None, height: int | None) -> tuple[LedgerView, RowProof]:
        """The state to prove against, and what it says of the message."""
        latest = self._blocks.latest_height
        if latest < 2:
            raise UnavailableError("proof.no_header", "there is no header over a state root yet", retry_after_s=1)
        if pin is not None:
            self._ways.check(pin)
            if height is None and pin.height < latest:
                try:
                    return self._state(stream, sequence, pin.height)
                except (NotFoundError, StateError):
                    pass  # anchored later, or that state is pruned: the newest header then
        return self._state(stream, sequence, latest if height is None else height)

    def _state(self, stream: str, sequence: int, header_height: int) -> tuple[LedgerView, RowProof]:
        view = LedgerView(self._store, header_height - 1)
        return view, view.row_proof(stream, sequence)


def _encoded(proof: Proof) -> bytes:
    data = proof.to_bytes()
    if len(data) > PROOF_BYTES_MAX:
        raise UntiedError("proof.no_way", f"with its way to trust the proof would have {len(data)} bytes, too many")
    return data
