"""Bringing block store and application to the same height when the engine starts, as CometBFT's handshake does.

Whatever moment a crash came at, the store holds the application's height or one more, and the block that is missing is
executed again. Everything else is an operator's mistake (directories mixed up) and is refused without touching anything.
"""

from __future__ import annotations

from collections.abc import Callable

from althing import __version__
from althing.consensus.abci import Application, FinalizeBlockRequest, InfoRequest, InitChainRequest, ValidatorUpdate
from althing.consensus.engine import EngineError, Genesis
from althing.consensus.solo.chain import ChainState, commit_info, genesis_state, with_genesis_of_app
from althing.consensus.solo.store import BlockStore
from althing.protocol.block import BLOCK_VERSION, Block, ValidatorSet, results_hash
from althing.service.faultpoints import hit

__all__ = ["finalize_request", "handshake"]


def handshake(
    app: Application,
    store: BlockStore,
    genesis: Genesis,
    signer_key: bytes,
    commit: Callable[[], object],
) -> ChainState:
    """The state both agree on.

    1. Ask the application for its height.
    2. Find the stored state; without one there must be no application state either.
    3. An application without state gets InitChain; its answer is stored while there is no block.
    4. Compare heights, and app hashes where they meet.
    5. Execute and commit every stored block the application lacks.
    """
    info = app.info(InfoRequest(version=__version__, block_version=BLOCK_VERSION))  # 1
    height, app_hash = info.last_block_height, info.last_block_app_hash
    state = store.state()  # 2
    if state is None:
        if height:
            raise EngineError(
                "engine.app_ahead",
                f"the application is at height {height}, but there are no stored blocks",
                hint="application state and block store belong together: restore both from the same backup",
            )
        state = genesis_state(genesis, signer_key, info.app_version)
    if height == 0:  # 3
        response = app.init_chain(_init_request(genesis, signer_key))
        app_hash = response.app_hash
        if state.height == 0:
            state = with_genesis_of_app(genesis_state(genesis, signer_key, info.app_version), response)
            hit("solo.genesis")
            store.save_genesis(state)
            hit("solo.genesis_stored")
    _compare(state, store, height, app_hash)  # 4
    first = height + 1 if height else state.initial_height
    for missing in range(first, state.height + 1):  # 5
        app_hash = _replay(app, store, missing, app_hash, commit)
    if app_hash != state.app_hash:
        raise _diverged(state.height)
    return state


def finalize_request(block: Block, block_hash: bytes, last_validators: ValidatorSet | None) -> FinalizeBlockRequest:
    """A decided block as the application gets it."""
    header = block.header
    return FinalizeBlockRequest(
        txs=block.txs,
        decided_last_commit=commit_info(block.last_commit, last_validators),
        misbehavior=(),
        hash=block_hash,
        height=header.height,
        time=header.time,
        next_validators_hash=header.next_validators_hash,
        proposer_address=header.proposer_address,
    )


def _init_request(genesis: Genesis, signer_key: bytes) -> InitChainRequest:
    return InitChainRequest(
        time=genesis.time,
        chain_id=genesis.chain_id,
        consensus_params=genesis.consensus_params,
        validators=genesis.validators or (ValidatorUpdate(signer_key, 10),),
        app_state=genesis.app_state,
        initial_height=genesis.initial_height,
    )


def _compare(state: ChainState, store: BlockStore, height: int, app_hash: bytes) -> None:
    if height > state.height:
        raise EngineError(
            "engine.app_ahead",
            f"the application is at height {height}, the stored blocks end at {state.height}",
            hint="application state and block store belong together: restore both from the same backup",
        )
    if height < state.height:
        first = height + 1 if height else state.initial_height
        base, _ = store.bases()
        if first < base:
            raise EngineError(
                "engine.app_behind",
                f"the application is at height {height}, but blocks below {base} are pruned",
                hint="restore a newer state of the application",
            )
        header = store.header(first)
        if header is None:
            raise EngineError("engine.store", f"the header of height {first} is missing")
        expected = header.app_hash
    else:
        expected = state.app_hash
    if app_hash != expected:
        raise EngineError(
            "engine.foreign_chain",
            f"the application's state at height {height} is not that of this chain's blocks",
            hint="application state and block store belong together: use the directories of one chain",
        )


def _replay(app: Application, store: BlockStore, height: int, app_hash: bytes, commit: Callable[[], object]) -> bytes:
    block, recorded = store.block(height), store.results(height)
    if block is None or recorded is None:
        raise EngineError("engine.store", f"the block of height {height} is missing")
    if block.header.app_hash != app_hash:
        raise _diverged(height - 1)
    last_validators = None if block.header.last_block_id.is_zero else store.validators(height - 1)
    response = app.finalize_block(finalize_request(block, block.header.hash(), last_validators))
    same = response.app_hash == recorded.app_hash and results_hash(
        result.hashed for result in response.tx_results
    ) == results_hash(result.hashed for result in recorded.tx_results)
    if not same:
        raise _diverged(height)
    hit("solo.replayed")
    commit()
    return response.app_hash


def _diverged(height: int) -> EngineError:
    return EngineError(
        "engine.diverged",
        f"executing block {height} again gave another result than the first time",
        hint="the application is not deterministic, or is another version than the one that made this chain",
    )
