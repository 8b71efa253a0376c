"""State sync between two applications: snapshots made beside the chain, served, and restored against bad peers."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from althing.consensus.abci import (
    ApplyChunkRequest,
    ApplyChunkResult,
    CommitInfo,
    FinalizeBlockRequest,
    InfoRequest,
    LoadChunkRequest,
    OfferSnapshotRequest,
    OfferSnapshotResult,
    Snapshot,
)
from althing.ledger.app import Ledger
from althing.ledger.snapshots.format import FORMAT, Content, pack
from althing.ledger.state.backend import Batch
from althing.node.application import LedgerApplication
from althing.node.snapshots import SnapshotMaker, SnapshotStore
from althing.protocol.block import Timestamp
from althing.protocol.errors import StateError
from althing.protocol.merkle import leaf_hash
from althing.protocol.messages.identity import SetAttribute
from althing.storage.memory import MemoryBackend
from althing.testing.harness import LedgerHarness

INFO = InfoRequest(version="test", block_version=11)


class Node:
    """A ledger, its application and its snapshots."""

    def __init__(self, folder: Path, chain: LedgerHarness | None = None, *, every: int = 5, keep: int = 2) -> None:
        self.chain = chain or LedgerHarness()
        self.ledger = self.chain.ledger
        self.app = LedgerApplication(self.ledger, lambda: self.chain.time_s * 1_000_000_000)
        self.store = self.app.snapshots = SnapshotStore(folder)
        self.maker = SnapshotMaker(self.ledger, self.store, every=every, keep=keep)
        self.app.after_commit = self.maker.committed

    def block(self, *transactions: bytes) -> bytes:
        """A block through the application, as an engine makes it; the app hash."""
        chain = self.chain
        chain.height += 1
        chain.time_s += 1
        done = self.app.finalize_block(
            FinalizeBlockRequest(
                txs=(chain.bundle(*transactions),) if transactions else (),
                decided_last_commit=CommitInfo(),
                misbehavior=(),
                hash=bytes(31) + bytes((chain.height % 256,)),
                height=chain.height,
                time=Timestamp(chain.time_s, 0),
                next_validators_hash=bytes(32),
                proposer_address=bytes(20),
            )
        )
        self.app.commit()
        return done.app_hash

    def note(self, text: str) -> bytes:
        return self.chain.sign(self.chain.admin, SetAttribute(self.chain.admin.address, "note", text))

    def to(self, height: int) -> None:
        while self.chain.height < height:
            self.block(self.note(str(self.chain.height)))
            self.maker.wait(30)


def filler(chain: LedgerHarness) -> None:
    numbers = random.Random(3)
    chain.height += 1
    writes: dict[bytes, bytes | None] = {b"filler/%d" % n: numbers.randbytes(65_536) for n in range(160)}
    chain.ledger.store.commit(chain.ledger.store.stage(chain.height, writes))


@pytest.fixture
def giver(tmp_path: Path) -> Node:
    chain = LedgerHarness()
    filler(chain)
    node = Node(tmp_path / "giver", chain)
    node.to(10)
    return node


class Joining:
    """The engine's side of state sync: which chunk is asked for next, and from whom no more."""

    def __init__(self, giver: Node, backend: MemoryBackend | None = None) -> None:
        self.backend = backend or MemoryBackend()
        self.giver = giver
        self.ledger = Ledger(self.backend, giver.chain.genesis)
        self.app = LedgerApplication(self.ledger, lambda: 0)
        self.rejected: list[str] = []

    def offer(self, snapshot: Snapshot, app_hash: bytes | None = None) -> OfferSnapshotResult:
        trusted = self.giver.ledger.store.root(snapshot.height) if app_hash is None else app_hash
        return self.app.offer_snapshot(OfferSnapshotRequest(snapshot, trusted)).result

    def chunk(self, snapshot: Snapshot, index: int) -> bytes:
        return self.giver.app.load_chunk(LoadChunkRequest(snapshot.height, snapshot.format, index)).chunk

    def apply(self, index: int, chunk: bytes, sender: str = "peer") -> ApplyChunkResult:
        answer = self.app.apply_chunk(ApplyChunkRequest(index, chunk, sender))
        self.rejected += answer.reject_senders
        if answer.result is ApplyChunkResult.RETRY:
            assert answer.refetch_chunks == (index,)
        return answer.result

    def all(self, snapshot: Snapshot) -> list[ApplyChunkResult]:
        return [self.apply(index, self.chunk(snapshot, index)) for index in range(snapshot.chunks)]


def test_a_joining_node_takes_the_state_and_goes_on(giver: Node, tmp_path: Path) -> None:
    newest, older = giver.app.list_snapshots()
    assert (newest.height, older.height) == (10, 5)
    assert newest.chunks == 3
    joining = Joining(giver)
    assert joining.app.info(INFO).last_block_height == 0
    assert joining.offer(newest) is OfferSnapshotResult.ACCEPT
    assert joining.all(newest) == [ApplyChunkResult.ACCEPT] * 3
    info = joining.app.info(INFO)
    assert (info.last_block_height, info.last_block_app_hash) == (10, giver.ledger.app_hash)
    assert info.app_version == giver.app.info(INFO).app_version

    # The engine may end before it knows: then it offers the snapshot again, and all is there.
    again = Joining(giver, joining.backend)
    assert again.offer(newest) is OfferSnapshotResult.ACCEPT
    assert [again.apply(index, b"") for index in range(3)] == [ApplyChunkResult.ACCEPT] * 3

    chain = LedgerHarness.__new__(LedgerHarness)
    chain.__dict__.update(giver.chain.__dict__, ledger=joining.ledger)
    other = Node(tmp_path / "other", chain, every=5)
    for height in range(11, 16):
        tx = giver.note(str(height))
        assert giver.block(tx) == other.block(tx)
    giver.maker.wait(30)
    other.maker.wait(30)
    # And gives the same snapshot to the next one.
    assert giver.app.list_snapshots()[0] == other.app.list_snapshots()[0]
    assert joining.offer(newest) is OfferSnapshotResult.ABORT  # it has a later state


def test_wrong_chunks_are_fetched_again_from_others(giver: Node) -> None:
    newest = giver.app.list_snapshots()[0]
    joining = Joining(giver)
    assert joining.offer(newest) is OfferSnapshotResult.ACCEPT
    good = [joining.chunk(newest, index) for index in range(newest.chunks)]
    wrong = [b"", good[1], good[0][:-1], good[0] + b"x", pack(b"something else"), bytes(1000)]
    for number, chunk in enumerate(wrong):
        assert joining.apply(0, chunk, f"liar-{number}") is ApplyChunkResult.RETRY
    assert joining.rejected == [f"liar-{number}" for number in range(len(wrong))]
    assert joining.apply(2, good[2]) is ApplyChunkResult.RETRY_SNAPSHOT  # out of order
    assert joining.all(newest)[-1] is ApplyChunkResult.ACCEPT
    assert joining.ledger.app_hash == giver.ledger.app_hash


def test_malformed_offers_are_refused_before_a_chunk_is_fetched(giver: Node) -> None:
    newest = giver.app.list_snapshots()[0]
    joining = Joining(giver)
    leaves = Content.from_bytes(newest.metadata).leaves
    assert joining.offer(replace(newest, format=2)) is OfferSnapshotResult.REJECT_FORMAT
    for bad in (
        replace(newest, metadata=b""),
        replace(newest, metadata=bytes(3_900_000)),
        replace(newest, metadata=newest.metadata + b"x"),
        replace(newest, hash=bytes(32)),
        replace(newest, chunks=newest.chunks + 1),
        replace(newest, metadata=Content(leaves[::-1]).to_bytes()),
    ):
        assert joining.offer(bad) is OfferSnapshotResult.REJECT_SENDER
    assert joining.offer(newest, app_hash=b"") is OfferSnapshotResult.REJECT_SENDER
    assert joining.offer(replace(newest, height=0), app_hash=bytes(32)) is OfferSnapshotResult.REJECT
    assert joining.apply(0, joining.chunk(newest, 0)) is ApplyChunkResult.RETRY_SNAPSHOT
    assert joining.offer(newest) is OfferSnapshotResult.ACCEPT


def test_a_snapshot_of_another_state_is_rejected_and_the_next_one_taken(giver: Node) -> None:
    """Its own hashes fit; the app hash that the light client verified does not."""
    newest = giver.app.list_snapshots()[0]
    joining = Joining(giver)
    liar = Joining(giver)
    assert liar.offer(newest) is OfferSnapshotResult.ACCEPT
    assert liar.all(newest)[-1] is ApplyChunkResult.ACCEPT
    lies: dict[bytes, bytes | None] = {b"filler/1": b"another"}
    liar.ledger.store.commit(liar.ledger.store.stage(11, lies))
    version = liar.ledger.hold()
    chunks = list(liar.ledger.snapshot(version))
    content = Content(tuple(map(leaf_hash, chunks)))
    false = Snapshot(10, 1, len(chunks), content.hash, content.to_bytes())
    assert joining.offer(false) is OfferSnapshotResult.ACCEPT
    results = [joining.apply(index, pack(chunk)) for index, chunk in enumerate(chunks)]
    assert results[-1] is ApplyChunkResult.REJECT_SNAPSHOT
    assert joining.ledger.height == 0
    assert joining.offer(newest) is OfferSnapshotResult.ACCEPT
    assert joining.all(newest)[-1] is ApplyChunkResult.ACCEPT
    assert joining.ledger.app_hash == giver.ledger.app_hash


def test_a_restart_in_the_middle_does_not_begin_again(giver: Node) -> None:
    newest = giver.app.list_snapshots()[0]
    first = Joining(giver)
    assert first.offer(newest) is OfferSnapshotResult.ACCEPT
    assert first.apply(0, first.chunk(newest, 0)) is ApplyChunkResult.ACCEPT
    assert first.apply(1, first.chunk(newest, 1)) is ApplyChunkResult.ACCEPT
    second = Joining(giver, first.backend)
    assert second.offer(newest) is OfferSnapshotResult.ACCEPT
    # What is there already is not looked at again.
    assert second.apply(0, b"") is ApplyChunkResult.ACCEPT
    assert second.apply(1, b"") is ApplyChunkResult.ACCEPT
    assert second.apply(2, second.chunk(newest, 2)) is ApplyChunkResult.ACCEPT
    assert second.ledger.app_hash == giver.ledger.app_hash


class _Gate(MemoryBackend):
    """A full disk, told of by the backend."""

    full = False

    def write(self, batch: Batch) -> None:
        if self.full:
            raise StateError("state.disk_full", "the disk is full")
        super().write(batch)


def test_a_full_disk_is_not_the_peers_fault(giver: Node) -> None:
    newest = giver.app.list_snapshots()[0]
    backend = _Gate()
    joining = Joining(giver, backend)
    assert joining.offer(newest) is OfferSnapshotResult.ACCEPT
    backend.full = True
    with pytest.raises(StateError, match="full"):
        joining.apply(0, joining.chunk(newest, 0))
    backend.full = False
    again = Joining(giver, backend)
    assert again.offer(newest) is OfferSnapshotResult.ACCEPT
    assert again.all(newest)[-1] is ApplyChunkResult.ACCEPT
    assert again.ledger.app_hash == giver.ledger.app_hash


def test_commits_do_not_wait_for_a_snapshot(tmp_path: Path) -> None:
    chain = LedgerHarness()
    node = Node(tmp_path / "node", chain, every=3)
    begun, go_on = threading.Event(), threading.Event()
    make = chain.ledger.snapshot

    def slow(version: int) -> Iterator[bytes]:
        begun.set()
        assert go_on.wait(60)
        yield from make(version)

    node.ledger.snapshot = slow  # type: ignore[method-assign]
    expected = {}
    while chain.height < 30:
        app_hash = node.block(node.note(str(chain.height)))
        expected[chain.height] = app_hash
        if chain.height == 3:
            assert begun.wait(30)
    assert node.app.list_snapshots() == ()  # it is still being made, and others were left out
    go_on.set()
    node.maker.wait(30)
    (made,) = node.app.list_snapshots()
    assert made.height == 3
    joining = Joining(node)
    assert joining.offer(made, expected[3]) is OfferSnapshotResult.ACCEPT
    assert joining.all(made) == [ApplyChunkResult.ACCEPT]


def test_the_newest_are_kept_and_what_is_torn_is_not_listed(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    node = Node(folder, every=2, keep=3)
    node.to(10)
    assert [snapshot.height for snapshot in node.app.list_snapshots()] == [10, 8, 6]
    assert sorted(path.name for path in folder.iterdir()) == ["10-1", "6-1", "8-1"]
    assert node.app.load_chunk(LoadChunkRequest(4, 1, 0)).chunk == b""
    assert node.app.load_chunk(LoadChunkRequest(10, 2, 0)).chunk == b""
    assert node.app.load_chunk(LoadChunkRequest(10, 1, 1)).chunk == b""
    (folder / ".making-12").mkdir()
    (folder / ".making-12" / "0").write_bytes(b"half")
    (folder / "8-1" / "content").unlink()
    reopened = SnapshotStore(folder)
    assert [snapshot.height for snapshot in reopened.held] == [10, 6]
    assert sorted(path.name for path in folder.iterdir()) == ["10-1", "6-1"]

    def failing() -> Iterable[bytes]:
        yield b"one"
        raise StateError("state.io", "the disk is gone")

    with pytest.raises(StateError):
        reopened.write(14, failing(), keep=3)
    assert sorted(path.name for path in folder.iterdir()) == ["10-1", "6-1"]


class _Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _made(store: SnapshotStore, *heights: int) -> None:
    for height in heights:
        store.write(height, [b"%d first" % height, b"%d second" % height], keep=2)


def _heights(store: SnapshotStore) -> list[int]:
    return [snapshot.height for snapshot in store.held]


def test_a_snapshot_that_is_being_fetched_stays_until_nobody_fetches_it(tmp_path: Path) -> None:
    folder, clock = tmp_path / "node", _Time()
    store = SnapshotStore(folder, clock)
    _made(store, 10, 20)
    assert [snapshot.height for snapshot in store.offer()] == [20, 10]
    _made(store, 30, 40)
    assert _heights(store) == [40, 30, 20]  # the newest of those that were offered; 10 is gone
    assert store.chunk(10, FORMAT, 0) == b""
    # A slow joining node: for half an hour, a chunk every four minutes, while the chain makes snapshots.
    for number in range(7):
        assert store.chunk(20, FORMAT, number % 2) == pack(b"20 first" if number % 2 == 0 else b"20 second")
        clock.now += 240
        _made(store, 50 + 20 * number, 60 + 20 * number)
        assert _heights(store) == [60 + 20 * number, 50 + 20 * number, 20]
    clock.now += 61
    _made(store, 200)
    assert _heights(store) == [200, 180]
    assert sorted(path.name for path in folder.iterdir()) == ["180-1", "200-1"]
    assert store.chunk(20, FORMAT, 0) == b""


def test_peers_that_ask_for_ever_hold_two_snapshots_at_most(tmp_path: Path) -> None:
    folder, clock = tmp_path / "node", _Time()
    store = SnapshotStore(folder, clock)
    _made(store, 10, 20)
    assert store.chunk(10, FORMAT, 0)
    for height in range(30, 130, 10):
        clock.now += 1
        assert store.chunk(height - 10, FORMAT, 1)
        assert store.offer()
        _made(store, height)
        assert _heights(store)[:2] == [height, height - 10]
        assert len(_heights(store)) <= 4
        assert sorted(int(path.name[:-2]) for path in folder.iterdir()) == sorted(_heights(store))
    assert _heights(store) == [120, 110, 100, 90]  # read last

    # What is fetched goes before what was offered only, also when that was later.
    for height in (130, 140):
        clock.now += 1
        assert store.chunk(90, FORMAT, 0)
        assert store.chunk(100, FORMAT, 0)
        assert store.offer()
        _made(store, height)
    _made(store, 150)
    assert _heights(store) == [150, 140, 100, 90]


def test_stopping_gives_up_what_is_being_made(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", every=2)
    begun, go_on = threading.Event(), threading.Event()

    def endless(_version: int) -> Iterator[bytes]:
        begun.set()
        while True:
            go_on.wait(60)
            yield b"chunk"

    node.ledger.snapshot = endless  # type: ignore[method-assign]
    node.to(1)
    node.block(node.note("two"))
    assert begun.wait(30)
    threading.Timer(0.05, go_on.set).start()
    node.maker.stop()
    assert node.app.list_snapshots() == ()
    assert list((tmp_path / "node").iterdir()) == []
