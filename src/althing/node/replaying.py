"""A chain executed again from its genesis in an empty store: every root and every result must be what its headers say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from althing.consensus.abci import Misbehavior
from althing.ledger.app import FinalizedBlock, Ledger
from althing.ledger.assembly import Rulebook
from althing.ledger.runtime.misconduct import Misconduct
from althing.ledger.state.backend import Backend
from althing.protocol.block import Block, TxResult, results_hash
from althing.protocol.errors import AlthingError
from althing.protocol.messages.governance import Genesis

__all__ = ["Replay", "ReplayError", "StoredChain", "replay"]


class ReplayError(AlthingError):
    """The chain as stored does not follow from its genesis: `replay.diverged`, `replay.broken`, `replay.pruned`."""


class StoredChain(Protocol):
    """Blocks that an engine has left behind."""

    @property
    def latest_height(self) -> int: ...

    def block(self, height: int) -> Block:
        """The block of a height; its parts fit its header."""

    def misbehavior(self, block: Block) -> tuple[Misbehavior, ...]:
        """What the block's evidence says, as the application is told."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What was executed, and the root after it."""

    blocks: int
    transactions: int
    height: int
    app_hash: bytes


def replay(
    genesis: Genesis,
    chain: StoredChain,
    backend: Backend,
    *,
    rulebook: Rulebook | None = None,
    told: Callable[[int], None] = lambda _height: None,
) -> Replay:
    """Execute every stored block on an empty backend. For each height

    1. the block names the one before it, and its data are those of its header,
    2. `app_hash` is the root after the block before,
    3. `last_results_hash` is that of the results of the block before.
    """
    ledger = Ledger(backend, genesis, keep_versions=2, rulebook=rulebook)
    app_hash, _ = ledger.init_chain()
    before: tuple[bytes, FinalizedBlock] | None = None
    count = transactions = 0
    for height in range(genesis.initial_height, chain.latest_height + 1):
        block = chain.block(height)
        header = block.header
        block.check()  # 1.
        if header.height != height or (before is not None and header.last_block_id.hash != before[0]):
            raise ReplayError("replay.broken", f"the block stored for height {height} does not follow the one before")
        if header.app_hash != app_hash:  # 2.
            raise _diverged(height - 1, "state", app_hash, header.app_hash)
        if before is not None and header.last_results_hash != (found := _results(before[1])):  # 3.
            raise _diverged(height - 1, "results", found, header.last_results_hash)
        name = header.hash()
        misconduct = tuple(Misconduct(int(one.kind), one.address, one.height) for one in chain.misbehavior(block))
        done = ledger.finalize(height, header.time.ns, name, block.txs, misconduct, header.proposer_address)
        ledger.commit()
        app_hash, before = done.app_hash, (name, done)
        count += 1
        transactions += sum(len(bundle.receipts) for bundle in done.result.bundles)
        told(height)
    return Replay(count, transactions, ledger.height, app_hash)


def _results(done: FinalizedBlock) -> bytes:
    return results_hash(TxResult(b.code, b.data, b.gas_wanted, b.gas_used) for b in done.result.bundles)


def _diverged(height: int, what: str, found: bytes, named: bytes) -> ReplayError:
    return ReplayError(
        "replay.diverged",
        f"executing block {height} gives the {what} {found.hex()[:16]}, the chain says {named.hex()[:16]}",
        hint="the program is not the one that made this chain, or the stored blocks were altered",
    )
