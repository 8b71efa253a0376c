from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from althing.consensus.abci import (
    Event,
    EventAttribute,
    ExecTxResult,
    FinalizeBlockResponse,
    InitChainResponse,
    ValidatorUpdate,
)
from althing.consensus.engine import EngineError, Genesis
from althing.consensus.solo.chain import ChainState, apply_block, genesis_state, make_block, with_genesis_of_app
from althing.consensus.solo.signer import LastSigned, Signer, load_or_create_key
from althing.consensus.solo.store import BlockStore
from althing.protocol.block import ConsensusParams, Timestamp, Validator
from althing.protocol.errors import UnavailableError

GENESIS = Genesis("store", Timestamp(1_700_000_000, 0), b"{}")
EVENTS = (Event("set", (EventAttribute("k", "v", index=True),)),)


class Chain:
    """Blocks made by hand, one after another."""

    def __init__(self, directory: Path, map_bytes_max: int = 1 << 30) -> None:
        self.directory = directory
        self.key = load_or_create_key(directory / "key.json")
        self.store = BlockStore(directory / "s", map_bytes_max=map_bytes_max)
        self.state = with_genesis_of_app(genesis_state(GENESIS, self.key.public, 3), InitChainResponse(b"g" * 32))
        self.signer = Signer(self.key, "store", None)

    def genesis(self) -> None:
        self.store.claim(GENESIS.fingerprint(), "store")
        self.store.save_genesis(self.state)

    def add(
        self,
        *txs: bytes,
        updates: tuple[ValidatorUpdate, ...] = (),
        params: ConsensusParams | None = None,
        retain_height: int = 0,
        keep_headers: bool = True,
    ) -> tuple[ChainState, FinalizeBlockResponse]:
        block = make_block(self.state, txs, self.key.address)
        block_id = block.block_id()
        commit = self.signer.commit(
            block.header.height, 0, block_id, block.header.time, block.header.time.ns + 10**9, self.state.validators
        )
        results = tuple(ExecTxResult(data=tx, log="l", events=EVENTS, gas_used=2) for tx in txs)
        response = FinalizeBlockResponse(results, bytes((len(txs),)) * 32, updates, params, EVENTS)
        after = apply_block(self.state, block, block_id, commit, response)
        assert self.signer.last is not None
        self.store.save_block(
            block, response, self.state, after, self.signer.last, retain_height=retain_height, keep_headers=keep_headers
        )
        self.state = after
        return after, response


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    chain = Chain(tmp_path)
    yield chain
    chain.store.close()


def reopened(chain: Chain) -> BlockStore:
    chain.store.close()
    chain.store = BlockStore(chain.directory / "s", map_bytes_max=1 << 30)
    return chain.store


def test_everything_is_read_as_written(chain: Chain) -> None:
    chain.genesis()
    own = chain.key.public
    _, first = chain.add(b"a", b"")
    params = ConsensusParams(block_gas_max=9, app_version=4, authority="x")
    after, second = chain.add(b"b", updates=(ValidatorUpdate(own, 20), ValidatorUpdate(b"n" * 32, 1)), params=params)
    store = reopened(chain)
    assert store.state() == after
    assert store.last_signed() == chain.signer.last
    assert store.results(1) == first
    assert store.results(2) == second
    block = store.block(2)
    assert block is not None
    assert block.txs == (b"b",)
    assert block.last_commit == store.commit(1)
    assert store.commit(2) == after.commit
    assert [len(store.validators(h).validators) for h in (1, 2, 3, 4, 99)] == [1, 1, 1, 2, 2]  # type: ignore[union-attr]
    assert [store.params(h).block_gas_max for h in (1, 2, 3, 99)] == [-1, -1, 9, 9]  # type: ignore[union-attr]
    assert store.block(3) is None
    assert store.header(0) is None
    assert store.validators(0) is None
    assert after.app_version == 4


def test_a_new_store_is_empty(chain: Chain) -> None:
    assert chain.store.state() is None
    assert chain.store.last_signed() is None
    assert chain.store.bases() == (0, 0)
    assert chain.store.block(1) is None


def test_it_belongs_to_one_chain(chain: Chain) -> None:
    chain.genesis()
    chain.store.claim(GENESIS.fingerprint(), "store")
    with pytest.raises(EngineError) as error:
        chain.store.claim(replace(GENESIS, app_state=b"other").fingerprint(), "store")
    assert error.value.code == "engine.foreign_chain"


def test_it_is_opened_once(chain: Chain) -> None:
    with pytest.raises(EngineError) as error:
        BlockStore(chain.directory / "s", map_bytes_max=1 << 30)
    assert error.value.code == "engine.locked"
    reopened(chain)


def test_pruning_keeps_headers_and_commits(chain: Chain) -> None:
    chain.genesis()
    for number in range(9):
        chain.add(b"%d" % number, retain_height=number - 2 if number > 2 else 0)
    assert chain.store.bases() == (6, 1)
    assert chain.store.block(5) is None
    assert chain.store.results(5) is None
    assert chain.store.block(6) is not None
    assert all(chain.store.signed_header(height) for height in range(1, 10))


def test_pruning_everything_keeps_blocks_whole(chain: Chain) -> None:
    chain.genesis()
    for number in range(9):
        chain.add(b"%d" % number, retain_height=number - 2 if number > 2 else 0, keep_headers=False)
    assert chain.store.bases() == (6, 6)
    assert chain.store.header(5) is None
    assert chain.store.commit(4) is None
    block = chain.store.block(6)
    assert block is not None
    block.check()


def test_the_last_block_is_never_pruned(chain: Chain) -> None:
    chain.genesis()
    chain.add(b"a")
    chain.add(b"b", retain_height=1000, keep_headers=False)
    assert chain.store.bases() == (2, 2)
    assert chain.store.block(2) is not None


def test_a_write_that_finds_no_room_changes_nothing(tmp_path: Path) -> None:
    chain = Chain(tmp_path, map_bytes_max=1 << 18)
    chain.genesis()
    before, _ = chain.add(b"small")
    with pytest.raises(UnavailableError) as error:
        chain.add(b"x" * 400_000)
    assert error.value.code == "engine.disk_full"
    store = reopened(chain)
    assert store.state() == before
    assert store.block(2) is None
    assert isinstance(store.last_signed(), LastSigned)
    assert store.last_signed().height == 1  # type: ignore[union-attr]
    store.close()


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s" / "blocks").mkdir(parents=True)
    (tmp_path / "s" / "blocks" / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(EngineError) as error:
        BlockStore(tmp_path / "s", map_bytes_max=1 << 20)
    assert error.value.code == "engine.store"


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError) as error:
        BlockStore(tmp_path / "file" / "s", map_bytes_max=1 << 20)
    assert error.value.code == "engine.store"


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (FinalizeBlockResponse((), b"h" * 32), "1 transactions gave 0 results"),
        (FinalizeBlockResponse((ExecTxResult(),), b"h" * 33), "32 bytes"),
        (FinalizeBlockResponse((ExecTxResult(),), b"", (ValidatorUpdate(b"u" * 32, 0),)), "validator updates"),
        (FinalizeBlockResponse((ExecTxResult(),), b"", (ValidatorUpdate(b"short", 1),)), "validator updates"),
    ],
)
def test_results_no_chain_could_continue_from(chain: Chain, response: FinalizeBlockResponse, words: str) -> None:
    block = make_block(chain.state, (b"tx",), chain.key.address)
    commit = chain.signer.commit(1, 0, block.block_id(), block.header.time, 0, chain.state.validators)
    with pytest.raises(EngineError, match=words):
        apply_block(chain.state, block, block.block_id(), commit, response)


def test_headers_follow_cometbfts_state_machine(chain: Chain) -> None:
    """App hash and results of H in H + 1, parameters at H + 1, validators at H + 2, time from the commit."""
    own = Validator(chain.key.public, 10)
    chain.genesis()
    assert chain.state.next_time == GENESIS.time
    after, _ = chain.add(b"a", params=ConsensusParams(block_gas_max=5), updates=(ValidatorUpdate(own.public_key, 9),))
    second = make_block(after, (), chain.key.address).header
    assert second.app_hash == b"\x01" * 32
    assert second.last_results_hash == after.last_results_hash
    assert second.consensus_hash == ConsensusParams(block_gas_max=5).hash()
    assert second.validators_hash != second.next_validators_hash
    assert second.time == after.commit.signatures[0].timestamp
    assert second.time.ns == GENESIS.time.ns + 10**9
    assert after.unproven
    later, _ = chain.add()
    assert later.unproven, "the app hash went back to its empty form"
    still, _ = chain.add()
    assert not still.unproven
