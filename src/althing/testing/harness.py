"""An in-process chain for tests: a real ledger on the memory backend, blocks on demand, seeded keys, no network, no clock.

chain = LedgerHarness()
receipt = chain.run(chain.admin, DefineStream(...))
assert receipt.ok
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from althing.ledger.app import FinalizedBlock, Ledger
from althing.ledger.assembly import Rulebook
from althing.ledger.query import LedgerView
from althing.ledger.runtime.misconduct import Misconduct
from althing.ledger.state.backend import Backend
from althing.protocol.block import validator_address
from althing.protocol.bundle import make_bundle
from althing.protocol.catalog import MessageBody
from althing.protocol.genesis import genesis_hash
from althing.protocol.messages.governance import (
    ChainKind,
    Genesis,
    GenesisNode,
    GenesisOrganisation,
    GenesisValidator,
    Parameters,
    Quota,
)
from althing.protocol.messages.identity import AccountKind, CreateAccount, Key
from althing.protocol.receipt import Receipt
from althing.protocol.signatures import PrivateKey, Suite
from althing.protocol.transaction import Transaction, sign_transaction
from althing.storage.memory import MemoryBackend

__all__ = ["GAS", "GENESIS_TIME", "Actor", "LedgerHarness", "default_parameters", "seeded_key"]

GENESIS_TIME = 1_700_000_000
GAS = 50_000_000


def seeded_key(seed: str, suite: Suite = Suite.ED25519) -> PrivateKey:
    """A key derived from text: the same in every run. For tests only."""
    return PrivateKey(suite, sha256(b"althing test key " + seed.encode()).digest())


def default_parameters() -> Parameters:
    """Parameters roomy enough for tests."""
    return Parameters(
        version=1,
        governors_threshold=1,
        tx_lifetime_max_s=600,
        quota_window_s=60,
        gas_price_min=0,
        block_gas_max=10_000_000_000,
        tx_bytes_max=1024 * 1024,
    )


@dataclass(frozen=True, slots=True)
class Actor:
    """An account with its key."""

    key: PrivateKey
    address: bytes

    @classmethod
    def seeded(cls, seed: str, suite: Suite = Suite.ED25519) -> Actor:
        key = seeded_key(seed, suite)
        return cls(key, Key(suite, key.public).address)

    def under(self, owner: Actor) -> Actor:
        """With the address of an account that `owner` creates without this actor's signature."""
        return Actor(self.key, self.public.address_under(owner.address))

    @property
    def public(self) -> Key:
        return Key(self.key.suite, self.key.public)


class LedgerHarness:
    """A chain with one organisation (`admin`), one node account and one gateway account."""

    def __init__(
        self,
        *,
        chain_id: str = "test",
        backend: Backend | None = None,
        parameters: Parameters | None = None,
        validators: Sequence[tuple[PrivateKey, int]] | None = None,
        quota: Quota | None = None,
        keep_versions: int = 1000,
        rulebook: Rulebook | None = None,
        kind: ChainKind | None = None,
    ) -> None:
        self.admin = Actor.seeded("admin")
        self.node = Actor.seeded("node")
        self.gateway = Actor.seeded("gateway")
        founders = validators or [(seeded_key("validator"), 10)]
        self.validator = founders[0][0]
        quota = quota or Quota(2**50, 2**50)
        self.genesis = Genesis(
            version=1 if kind is None else 2,
            chain_id=chain_id,
            time=GENESIS_TIME,
            initial_height=1,
            app_version=1,
            salt=bytes(16),
            parameters=parameters or default_parameters(),
            organisations=(GenesisOrganisation("acme", True, 1, (self.admin.public,), quota),),
            validators=tuple(GenesisValidator(key.public, power, "acme") for key, power in founders),
            nodes=(GenesisNode("node-1", "acme", self.node.public),),
            kind=kind,
        )
        self.proposer = validator_address(self.validator.public)
        self.genesis_hash = genesis_hash(self.genesis)
        self.backend = backend or MemoryBackend()
        self._keep_versions = keep_versions
        self.ledger = Ledger(self.backend, self.genesis, keep_versions=keep_versions, rulebook=rulebook)
        self.ledger.init_chain()
        self.time_s = GENESIS_TIME
        self.height = 0
        self._nonce = 0
        self.misconduct: tuple[Misconduct, ...] = ()  # that blocks carry from now on
        self.blocks: list[FinalizedBlock] = []
        create = CreateAccount(self.admin.address, AccountKind.GATEWAY, "gw-1", (), 1, (self.gateway.public,))
        assert self.run([self.admin, self.gateway], create).ok

    @property
    def price(self) -> int:
        """Least fee per unit of gas."""
        return LedgerView(self.ledger.store).parameters().gas_price_min

    def reopen(self, *, rulebook: Rulebook | None = None) -> None:
        """The store under a new ledger, as after a restart: no cache and no staged block survives."""
        self.ledger = Ledger(self.backend, self.genesis, keep_versions=self._keep_versions, rulebook=rulebook)

    def transaction(
        self, actors: Actor | list[Actor], *messages: MessageBody, expiry: int | None = None, gas: int = GAS
    ) -> Transaction:
        """A transaction of these signers with a nonce of its own; the first actor pays."""
        signers = [actors] if isinstance(actors, Actor) else actors
        self._nonce += 1
        return Transaction(
            signers=tuple(sorted(actor.address for actor in signers)),
            payer=signers[0].address,
            gas_limit=gas,
            fee=gas * self.price,
            expiry=self.time_s + 300 if expiry is None else expiry,
            nonce=self._nonce.to_bytes(8, "big"),
            messages=messages,
        )

    def sign(
        self, actors: Actor | list[Actor], *messages: MessageBody, expiry: int | None = None, gas: int = GAS
    ) -> bytes:
        """A signed transaction; the first actor pays."""
        signers = [actors] if isinstance(actors, Actor) else actors
        transaction = self.transaction(signers, *messages, expiry=expiry, gas=gas)
        return sign_transaction(transaction, [actor.key for actor in signers], self.genesis_hash)

    def signed(self, transaction: Transaction, *keys: PrivateKey) -> bytes:
        """A transaction signed by these very keys."""
        return sign_transaction(transaction, keys, self.genesis_hash)

    def bundle(self, *transactions: bytes, node: Actor | None = None) -> bytes:
        """An engine's item, made by the founding node unless another is named."""
        maker = node or self.node
        return make_bundle(maker.key, maker.address, transactions, self.genesis_hash)

    def block(self, *transactions: bytes, seconds: int = 1) -> list[Receipt]:
        """Execute and commit a block of one bundle (none without transactions); the receipts in order."""
        items: tuple[bytes, ...] = ()
        if transactions:
            items = (self.bundle(*transactions),)
        return self.block_of(items, seconds=seconds)

    def block_of(self, items: tuple[bytes, ...], *, seconds: int = 1) -> list[Receipt]:
        """Execute and commit a block of engine items."""
        self.height += 1
        self.time_s += seconds
        done = self.finalize(items)
        self.ledger.commit()
        self.blocks.append(done)
        return [Receipt.from_bytes(data) for bundle in done.result.bundles for data in bundle.receipts]

    def finalize(self, items: tuple[bytes, ...]) -> FinalizedBlock:
        """Execute `items` as block `height` at `time_s` without committing."""
        block_hash = sha256(b"block" + self.height.to_bytes(8, "big")).digest()
        time_ns = self.time_s * 1_000_000_000
        return self.ledger.finalize(self.height, time_ns, block_hash, items, self.misconduct, self.proposer)

    def run(self, actors: Actor | list[Actor], *messages: MessageBody) -> Receipt:
        """One transaction in a block of its own."""
        return self.block(self.sign(actors, *messages))[0]
