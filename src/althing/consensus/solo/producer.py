"""Making one block after another: propose, execute, sign, store, commit. Synchronous, on the one consensus thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from althing.consensus.abci import (
    Application,
    CommitResponse,
    PrepareProposalRequest,
    ProcessProposalRequest,
)
from althing.consensus.engine import Clock, CommittedBlock, EngineError
from althing.consensus.solo.chain import (
    ChainState,
    apply_block,
    commit_info,
    extended_commit_info,
    make_block,
)
from althing.consensus.solo.handshake import finalize_request
from althing.consensus.solo.pool import Pool
from althing.consensus.solo.settings import SoloSettings
from althing.consensus.solo.signer import Signer
from althing.consensus.solo.store import BlockStore
from althing.protocol.block import Block, BlockId, ValidatorSet, data_bytes_max, tx_size
from althing.protocol.errors import UnavailableError
from althing.service.faultpoints import hit

__all__ = ["Interrupted", "Producer", "require_majority", "require_turn"]

T = TypeVar("T")


class Interrupted(Exception):  # noqa: N818 -- not an error: the engine was asked to stop while it could not go on
    """Stopping while a durable write could not be done; a restart continues where this ended."""


class Producer:
    """Owns the chain state after start-up. `stalled` is told why a durable write fails, and None when it succeeds."""

    def __init__(
        self,
        app: Application,
        store: BlockStore,
        pool: Pool,
        signer: Signer,
        settings: SoloSettings,
        clock: Clock,
        *,
        stopping: threading.Event,
        stalled: Callable[[UnavailableError | None], None],
    ) -> None:
        self._app = app
        self._store = store
        self._pool = pool
        self._signer = signer
        self._settings = settings
        self._clock = clock
        self._stopping = stopping
        self._stalled = stalled
        self._retain_height = 0

    def limits(self, state: ChainState) -> tuple[int, int]:
        """Bytes of transactions and gas that the next block may hold."""
        room = data_bytes_max(state.params.block_bytes_max, 0, len(state.validators.validators))
        return room, state.params.block_gas_max

    def block(self, state: ChainState, *, with_work: bool) -> tuple[ChainState, CommittedBlock] | None:
        """Make, execute and commit the next block; None if there was only work that the application left out.

        1. Propose: from the pool, as the application chooses and accepts.
        2. Sign. The signature stays in memory until 4.
        3. Execute, and check that the result can be continued from.
        4. One durable write: block, commit, results, state, signer's state. The block is decided.
        5. The application commits.
        """
        proposed = self._propose(state, with_work=with_work)  # 1
        if proposed is None:
            return None
        block, block_id, round_ = proposed
        commit = self._signer.commit(  # 2
            block.header.height, round_, block_id, block.header.time, self._clock(), state.validators
        )
        response = self._app.finalize_block(finalize_request(block, block_id.hash, state.last_validators))  # 3
        after = apply_block(state, block, block_id, commit, response)
        if not self._settings.hand_over:
            require_majority(after.next_validators, self._signer.address)
        signed = self._signer.last
        assert signed is not None
        hit("solo.block_executed")
        self.durably(  # 4
            lambda: self._store.save_block(
                block,
                response,
                state,
                after,
                signed,
                retain_height=self._retain_height,
                keep_headers=self._settings.keep_headers,
            )
        )
        hit("solo.block_stored")
        self.commit()  # 5
        hit("solo.block_committed")
        self._pool.committed(block.txs)
        return after, CommittedBlock(block, block_id, commit, response)

    def commit(self) -> CommitResponse:
        """Have the application commit, again and again while it cannot."""
        response = self.durably(self._app.commit)
        self._retain_height = max(self._retain_height, response.retain_height)
        return response

    def durably(self, write: Callable[[], T]) -> T:
        """Repeat a write that fails for lack of room until it succeeds; Interrupted when told to stop meanwhile."""
        told = False
        while True:
            try:
                result = write()
            except UnavailableError as exc:
                self._stalled(exc)
                told = True
                if self._stopping.wait(self._settings.retry_ms / 1000):
                    raise Interrupted from exc
            else:
                if told:
                    self._stalled(None)
                return result

    def _propose(self, state: ChainState, *, with_work: bool) -> tuple[Block, BlockId, int] | None:
        """A block the application accepts, its id and its round; refused work is dropped and an empty block tried."""
        room, gas_max = self.limits(state)
        reaped = self._pool.reap(room, gas_max) if with_work else ()
        txs = self._prepare(state, reaped, room)
        if with_work and not txs and not state.unproven:
            self._pool.defer(reaped)
            return None
        if not txs:
            self._pool.defer(reaped)
        for round_, candidate in enumerate((txs, ()) if txs else ((),)):
            block = make_block(state, candidate, self._signer.address)
            block_id = block.block_id()
            if self._accepted(state, block, block_id.hash):
                return block, block_id, round_
            self._pool.drop(candidate)
        raise EngineError("engine.application", f"the application refuses even an empty block {state.next_height}")

    def _prepare(self, state: ChainState, reaped: tuple[bytes, ...], room: int) -> tuple[bytes, ...]:
        response = self._app.prepare_proposal(
            PrepareProposalRequest(
                max_tx_bytes=room,
                txs=reaped,
                local_last_commit=extended_commit_info(state.commit, state.last_validators),
                misbehavior=(),
                height=state.next_height,
                time=state.next_time,
                next_validators_hash=state.next_validators.hash(),
                proposer_address=self._signer.address,
            )
        )
        if sum(map(tx_size, response.txs)) > room:
            raise EngineError("engine.application", f"the prepared transactions take more than {room} bytes")
        return response.txs

    def _accepted(self, state: ChainState, block: Block, block_hash: bytes) -> bool:
        header = block.header
        return self._app.process_proposal(
            ProcessProposalRequest(
                txs=block.txs,
                proposed_last_commit=commit_info(block.last_commit, state.last_validators),
                misbehavior=(),
                hash=block_hash,
                height=header.height,
                time=header.time,
                next_validators_hash=header.next_validators_hash,
                proposer_address=header.proposer_address,
            )
        ).accept


def require_majority(validators: ValidatorSet, address: bytes) -> None:
    """The one signer must hold more than two thirds of the power, or no commit of this engine could be verified."""
    own = validators.find(address)
    if own is None or 3 * own.power <= 2 * validators.total_power:
        raise EngineError(
            "engine.validators",
            "the embedded engine's key does not hold more than two thirds of the voting power",
            hint="use the key this chain was started with; several validators need the distributed engine",
        )


def require_turn(validators: ValidatorSet, address: bytes) -> None:
    """EngineError `engine.handed_over` once others sign the next block: their engine makes it."""
    try:
        require_majority(validators, address)
    except EngineError as exc:
        raise EngineError("engine.handed_over", "the validators of the next block are others, as was decided") from exc
