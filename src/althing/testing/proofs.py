"""A chain in process whose blocks are real and signed, and proof files of what it anchored. Seeded, without a clock.

chain = ProofChain()
device = chain.device("press-1", seeded_key("press-1"))
chain.define("press-1", "temperature")
chain.send("press-1/temperature", sign_message(device.key, chain.genesis_hash, chain.chain_id, ...))
chain.anchor()
verify_proof(chain.proof("press-1/temperature", 0).to_bytes(), chain.trust())
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from althing.consensus.engine import EngineError
from althing.ledger.query import LedgerView
from althing.ledger.state.backend import Backend
from althing.node.proofs import ProofBuilder
from althing.protocol.address import address_of_key, address_of_name
from althing.protocol.batch import Batch, Leaf, Origin, build_batch
from althing.protocol.block import (
    ZERO_BLOCK_ID,
    Block,
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    ConsensusParams,
    Header,
    SignedHeader,
    Timestamp,
    TxResult,
    Validator,
    ValidatorSet,
    data_hash,
    evidence_hash,
    precommit_sign_bytes,
    results_hash,
)
from althing.protocol.codec import decode
from althing.protocol.merkle import EMPTY_ROOT
from althing.protocol.messages.devices import RegisterDevice
from althing.protocol.messages.streams import Anchor, DefineStream
from althing.protocol.proof import MAGIC, HeaderHistory, Proof, SignedHeaderPart, ValidatorPart
from althing.protocol.receipt import Receipt
from althing.protocol.schema import StreamSchema
from althing.protocol.signatures import PrivateKey
from althing.protocol.stateproof import PresenceProof
from althing.protocol.trust import Trust
from althing.testing.harness import Actor, LedgerHarness, seeded_key

__all__ = ["ProofChain", "seeded_validators"]

_APP_VERSION = 1
_SECOND_NS = 1_000_000_000


def seeded_validators(count: int, *, power: int = 10) -> list[tuple[PrivateKey, int]]:
    """Validator keys that are the same in every run, of equal power."""
    return [(seeded_key(f"validator-{number}"), power) for number in range(count)]


class ProofChain(LedgerHarness):
    """A harness chain that keeps, for every height, a header in CometBFT's form and a commit of all its validators.

    Validators vote one second after a block's time, so with the default pace a block's time is the median of the votes
    before it. Keys of validators that join later are made known by `add_signer`.
    """

    def __init__(
        self,
        *,
        chain_id: str = "test",
        validators: Sequence[tuple[PrivateKey, int]] | None = None,
        backend: Backend | None = None,
    ) -> None:
        founders = list(validators or seeded_validators(1))
        self._signers = {key.public: key for key, _ in founders}
        self._sets = [ValidatorSet.of(Validator(key.public, power) for key, power in founders)] * 2
        self._signed: list[SignedHeader] = []
        self._last_id = ZERO_BLOCK_ID
        self._last_results = EMPTY_ROOT
        self._absent: frozenset[bytes] = frozenset()
        self._anchors = 0
        self._sequences: dict[str, int] = {}
        self._pending: dict[int, list[bytes]] = {}
        self._firsts: dict[int, int] = {}
        self._batches: dict[bytes, Batch] = {}
        super().__init__(chain_id=chain_id, validators=founders, backend=backend)

    @property
    def chain_id(self) -> str:
        return self.genesis.chain_id

    # --- blocks ---------------------------------------------------------------------------------------------------

    def add_signer(self, key: PrivateKey) -> None:
        """Let this key sign blocks once governance has made it a validator."""
        self._signers[key.public] = key

    def silence(self, keys: Iterable[PrivateKey]) -> None:
        """These validators are absent from the commits of the blocks that follow."""
        self._absent = frozenset(key.public for key in keys)

    def block_of(self, items: tuple[bytes, ...], *, seconds: int = 1) -> list[Receipt]:
        """Propose, sign, execute and commit a block of engine items."""
        self.height += 1
        self.time_s += seconds
        validators = self._sets[self.height - 1]
        last_commit = self._signed[-1].commit if self._signed else Commit.empty()
        header = Header(
            app_version=_APP_VERSION,
            chain_id=self.chain_id,
            height=self.height,
            time=Timestamp.from_ns(self.time_s * _SECOND_NS),
            last_block_id=self._last_id,
            last_commit_hash=last_commit.hash(),
            data_hash=data_hash(items),
            validators_hash=validators.hash(),
            next_validators_hash=self._sets[self.height].hash(),
            consensus_hash=ConsensusParams(app_version=_APP_VERSION).hash(),
            app_hash=self.ledger.app_hash,
            last_results_hash=self._last_results,
            evidence_hash=evidence_hash(()),
            proposer_address=validators.validators[self.height % len(validators.validators)].address,
        )
        block_id = Block(header, items, (), last_commit).block_id()
        self._signed.append(SignedHeader(header, self._commit(block_id, validators)))
        self._last_id = block_id
        done = self.ledger.finalize(self.height, self.time_s * _SECOND_NS, header.hash(), items)
        self.ledger.commit()
        self.blocks.append(done)
        bundles = done.result.bundles
        self._last_results = results_hash(TxResult(b.code, b.data, b.gas_wanted, b.gas_used) for b in bundles)
        changed = [Validator(v.public, v.power) for v in done.result.validators if v.power]
        removed = [v.public for v in done.result.validators if not v.power]
        self._sets.append(self._sets[-1].updated(changed, removed))
        return [Receipt.from_bytes(data) for bundle in bundles for data in bundle.receipts]

    def _commit(self, block_id: BlockId, validators: ValidatorSet) -> Commit:
        entries = []
        for number, validator in enumerate(validators.validators):
            if validator.public_key in self._absent:
                entries.append(CommitSig.absent())
                continue
            time = Timestamp.from_ns((self.time_s + 1) * _SECOND_NS + number)
            message = precommit_sign_bytes(self.chain_id, self.height, 0, block_id, time)
            signature = self._signers[validator.public_key].sign(message)
            entries.append(CommitSig(BlockIdFlag.COMMIT, validator.address, time, signature))
        return Commit(self.height, 0, block_id, tuple(entries))

    def signed_header(self, height: int) -> SignedHeader:
        return self._signed[height - 1]

    def validators_at(self, height: int) -> ValidatorSet:
        """The set that signs `height`."""
        return self._sets[height - 1]

    def trust(self, height: int | None = None) -> Trust:
        """A trust file's content for a height, by default the latest."""
        at = self.height if height is None else height
        header = self.signed_header(at).header
        return Trust(self.chain_id, self.genesis_hash, at, header.hash(), self.validators_at(at))

    # --- devices and their messages -------------------------------------------------------------------------------

    def device(self, name: str, key: PrivateKey) -> Actor:
        """Register a device with a key."""
        actor = Actor(key, address_of_key(key.suite, key.public))
        assert self.run([self.admin, actor], RegisterDevice(name, self.admin.address, actor.public, None, ())).ok
        return actor

    def legacy_device(self, name: str) -> bytes:
        """Register a device that cannot sign; its address."""
        assert self.run(self.admin, RegisterDevice(name, self.admin.address, None, None, ())).ok
        return address_of_name(self.admin.address, "device", name)

    def define(self, device: str, stream: str, schema: StreamSchema | None = None) -> str:
        """Define a stream of a device, written by the harness's gateway; its path."""
        definition = DefineStream(device, stream, self.gateway.address, schema or StreamSchema())
        assert self.run(self.admin, definition).ok
        return f"{device}/{stream}"

    def send(
        self,
        stream: str,
        body: bytes,
        *,
        origin: Origin = Origin.DEVICE,
        content_type: str = "",
        arrival_ns: int | None = None,
    ) -> int:
        """Put a message into the batch that is being collected, as the gateway would; its sequence."""
        number = LedgerView(self.ledger.store).stream(stream).id
        sequence = self._sequences.get(stream, 0)
        self._sequences[stream] = sequence + 1
        salt = sha256(f"salt {stream} {sequence}".encode()).digest()[:16]
        arrival = self.time_s * _SECOND_NS if arrival_ns is None else arrival_ns
        leaf = Leaf(1, salt, stream, sequence, arrival, content_type, origin, body)
        self._firsts.setdefault(number, sequence)
        self._pending.setdefault(number, []).append(leaf.to_bytes())
        return sequence

    def anchor(self) -> Batch:
        """Anchor what was sent since the last time in one batch."""
        groups = [(number, self._firsts[number], self._pending[number]) for number in sorted(self._pending)]
        batch = build_batch(groups)
        message = Anchor(self.gateway.address, self._anchors, batch.root, batch.tree.size, batch.entries, ())
        assert self.run(self.gateway, message).ok
        self._anchors += 1
        self._batches[batch.root] = batch
        self._pending, self._firsts = {}, {}
        return batch

    # --- proofs ---------------------------------------------------------------------------------------------------

    def builder(self) -> ProofBuilder:
        """The node's maker of proofs over this chain."""
        return ProofBuilder(self.chain_id, self.genesis_hash, self.ledger.store, _Blocks(self), _Leaves(self._batches))

    def proof(
        self,
        stream: str,
        sequence: int,
        *,
        at: int | None = None,
        links: Sequence[int] = (),
        checkpoint: int | None = None,
    ) -> Proof:
        """The proof of one message against the header of height `at` (default: the latest, or a new empty block).

        `links` are heights of linking headers, the trusted one first; `checkpoint` is the trusted height of a proof
        through the header log.
        """
        if at is None:
            self.block()  # the header that states the newest root
            at = self.height
        view = LedgerView(self.ledger.store, at - 1)
        part = view.row_proof(stream, sequence)
        row = part.row
        batch = self._batches[row.batch_root]
        index = row.offset + sequence - row.first
        leaf = Leaf.from_bytes(batch.leaves[index])
        holder = part.definition.device_address if leaf.origin is Origin.DEVICE else row.gateway
        account = view.account_proof(holder)
        assert isinstance(part.head.proof, PresenceProof)
        assert isinstance(account.proof, PresenceProof)
        assert part.head.value is not None
        assert account.value is not None
        return Proof(
            magic=MAGIC,
            version=1,
            chain_id=self.chain_id,
            genesis_hash=self.genesis_hash,
            leaf=batch.leaves[index],
            leaf_path=tuple(batch.tree.path(index)),
            row=part.row_bytes,
            row_index=part.row_index,
            row_path=part.row_path,
            head=part.head.value,
            head_proof=part.head.proof,
            definition=part.definition_bytes,
            account=account.value,
            account_proof=account.proof,
            signed_header=self.signed_part(at),
            links=tuple(self.signed_part(height) for height in links),
            history=None if checkpoint is None else self.history(at, checkpoint),
        )

    def signed_part(self, height: int) -> SignedHeaderPart:
        """Header, commit and validators of a height as a proof carries them."""
        signed = self.signed_header(height)
        members = tuple(ValidatorPart(v.public_key, v.power) for v in self.validators_at(height).validators)
        return SignedHeaderPart(signed.header.encode(), signed.commit.encode(), members)

    def history(self, height: int, checkpoint: int) -> HeaderHistory:
        """The way from the trusted header of `checkpoint` down to the header of `height` through the header log."""
        view = LedgerView(self.ledger.store, checkpoint - 1)
        size, answer = view.header_log()
        assert answer.value is not None
        assert isinstance(answer.proof, PresenceProof)
        for index in range(size):
            entry, path = view.header_entry(index, size)
            logged = decode(entry)[0]
            if logged >= height:
                break
        else:
            raise AssertionError("no block with content stands between the header and the checkpoint")
        descent = tuple(self.signed_header(h).header.encode() for h in range(logged, height, -1))
        return HeaderHistory(
            checkpoint=self.signed_header(checkpoint).header.encode(),
            head=answer.value,
            head_proof=answer.proof,
            entry=entry,
            index=index,
            path=path,
            descent=descent,
        )


class _Blocks:
    """`node.trustway.BlockSource`: every height up to the latest."""

    def __init__(self, chain: ProofChain) -> None:
        self._chain = chain

    @property
    def latest_height(self) -> int:
        return self._chain.height

    def signed_header(self, height: int) -> SignedHeader:
        self._known(height)
        return self._chain.signed_header(height)

    def validators(self, height: int) -> ValidatorSet:
        self._known(height)
        return self._chain.validators_at(height)

    def _known(self, height: int) -> None:
        if not 1 <= height <= self._chain.height:
            raise EngineError("engine.unknown_height", f"there is no block {height}")


class _Leaves:
    """`node.proofs.LeafSource`: the batches that were anchored."""

    def __init__(self, batches: Mapping[bytes, Batch]) -> None:
        self._batches = batches

    def leaf_with_path(
        self, stream: int, sequence: int, batch_root: bytes, batch_size: int, index: int
    ) -> tuple[bytes, tuple[bytes, ...]]:
        batch = self._batches[batch_root]
        return batch.leaves[index], tuple(batch.tree.path(index))
