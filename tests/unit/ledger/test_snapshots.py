"""Snapshots of a ledger: the same bytes on every node, taken beside further blocks, and a copy that goes on alike."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from althing.ledger.app import Ledger
from althing.ledger.assembly import Rulebook, version_1
from althing.ledger.query import LedgerView, find_transaction
from althing.ledger.runtime.errors import HaltError, PrunedError
from althing.ledger.snapshots.format import (
    CHUNK_BYTES,
    CHUNK_BYTES_MAX,
    IDS,
    PEAK,
    STATE,
    Content,
    Entry,
    chunks_of,
    pack,
    records_of,
    unpack,
)
from althing.ledger.state.backend import Backend
from althing.protocol.codec import encode
from althing.protocol.errors import ProtocolError, StateError
from althing.protocol.merkle import leaf_hash
from althing.protocol.messages.identity import SetAttribute
from althing.protocol.messages.streams import Anchor, AnchorEntry
from althing.protocol.transaction import parse_transaction
from althing.storage.lmdb import LmdbBackend
from althing.storage.memory import MemoryBackend
from althing.testing.harness import LedgerHarness

from .conftest import Town


def fill(chain: LedgerHarness, megabytes: int) -> None:
    """A version with so much more state, written past the modules: what a snapshot is of does not matter to it."""
    numbers = random.Random(7)
    store = chain.ledger.store
    chain.height += 1
    writes: dict[bytes, bytes | None] = {b"filler/%06d" % n: numbers.randbytes(16_384) for n in range(64 * megabytes)}
    store.commit(store.stage(chain.height, writes))


def lively(megabytes: int = 0) -> Town:
    """Streams with row logs of several sizes, executed ids in two buckets, a header log."""
    town = Town()
    town.device("pump")
    streams = [town.stream("pump/" + name) for name in ("a", "b", "c")]
    for number in range(5):
        table = (AnchorEntry(streams[0], number, 1),)
        root = sha256(b"root %d" % number).digest()
        town.ok(town.chain.gateway, Anchor(town.chain.gateway.address, number, root, 1, table, ()))
        town.chain.block(seconds=20)
    if megabytes:
        fill(town.chain, megabytes)
    return town


def taken(ledger: Ledger) -> tuple[Content, list[bytes]]:
    """Content and packed chunks of the latest version."""
    version = ledger.hold()
    chunks = list(ledger.snapshot(version))
    ledger.release()
    return Content(tuple(map(leaf_hash, chunks))), [pack(chunk) for chunk in chunks]


def restored(chain: LedgerHarness, backend: Backend | None = None) -> LedgerHarness:
    """Another node of the chain, filled from a snapshot of its latest version."""
    content, chunks = taken(chain.ledger)
    copy = LedgerHarness.__new__(LedgerHarness)
    copy.__dict__.update(chain.__dict__, backend=backend or MemoryBackend())
    copy.ledger = Ledger(copy.backend, chain.genesis)
    work = copy.ledger.restore(chain.ledger.height, content, chain.ledger.app_hash)
    done = [work.add(chunk) for chunk in chunks]
    assert done == [False] * (len(chunks) - 1) + [True]
    return copy


def content_of(entries: list[Entry]) -> tuple[Content, list[bytes]]:
    chunks = list(chunks_of(entries))
    return Content(tuple(map(leaf_hash, chunks))), [pack(chunk) for chunk in chunks]


def test_two_nodes_make_the_same_bytes() -> None:
    first, second = lively(), lively()
    for town in (first, second):
        town.chain.ledger.store.prune(1 if town is second else 500)  # what a node keeps beside does not show
    assert taken(first.chain.ledger) == taken(second.chain.ledger)
    fill(second.chain, 9)
    content, chunks = taken(second.chain.ledger)
    assert len(chunks) == 3
    plain = [unpack(chunk, leaf) for chunk, leaf in zip(chunks, content.leaves, strict=True)]
    assert all(CHUNK_BYTES <= len(chunk) <= CHUNK_BYTES_MAX for chunk in plain[:-1])
    kinds = [(kind, key) for chunk in plain for kind, key, _ in records_of(chunk)]
    assert kinds == sorted(kinds)
    assert {kind for kind, _ in kinds} == {STATE, IDS, PEAK}
    assert Content.from_bytes(content.to_bytes()) == content


def test_a_restored_node_goes_on_like_the_others() -> None:
    town = lively(megabytes=9)
    chain = town.chain
    before = chain.sign(chain.admin, SetAttribute(chain.admin.address, "note", "before"))
    assert chain.block(before)[0].ok
    copy = restored(chain)
    assert (copy.ledger.height, copy.ledger.app_hash) == (chain.ledger.height, chain.ledger.app_hash)
    root = sha256(b"later").digest()
    anchor = Anchor(
        chain.gateway.address, 5, root, 1, (AnchorEntry(LedgerView(chain.ledger.store).stream("pump/a").id, 5, 1),), ()
    )
    items = [
        [before],  # executed before the snapshot: refused on both
        [chain.sign(chain.admin, SetAttribute(chain.admin.address, "note", "after"))],
        [chain.sign(chain.gateway, anchor)],
        [],
    ]
    for transactions in items:
        copy.height, copy.time_s = chain.height, chain.time_s
        receipts = chain.block(*transactions)
        assert copy.block(*transactions) == receipts
        assert copy.ledger.app_hash == chain.ledger.app_hash
        if transactions == [before]:
            assert receipts[0].code == "tx.replayed"
    # Entries of logs made since are proved as everywhere; older ones and receipts are elsewhere.
    view, other = LedgerView(copy.ledger.store), LedgerView(chain.ledger.store)
    assert view.row_proof("pump/a", 5) == other.row_proof("pump/a", 5)
    with pytest.raises(PrunedError, match="snapshot"):
        view.row_proof("pump/a", 2)
    size = other.header_log()[0]
    assert view.header_entry(size - 1, size) == other.header_entry(size - 1, size)
    with pytest.raises(PrunedError):
        view.header_entry(0, size)
    place = find_transaction(copy.ledger.store, parse_transaction(before, chain.genesis_hash).id)
    with pytest.raises(PrunedError):
        copy.ledger.outcome(place.height)
    assert taken(copy.ledger) == taken(chain.ledger)


def test_a_snapshot_is_of_its_height_while_the_chain_goes_on() -> None:
    town = lively(megabytes=9)
    chain = town.chain
    chain.ledger = Ledger(chain.backend, chain.genesis, keep_versions=2)
    expected = taken(chain.ledger)
    version = chain.ledger.hold()
    work = chain.ledger.snapshot(version)
    chunks = [next(work)]
    for number in range(70):  # its ids expire, and its version is older than what is kept
        chain.run(chain.admin, SetAttribute(chain.admin.address, "note", str(number)))
        chain.block(seconds=60)
    chunks.extend(work)
    assert [pack(chunk) for chunk in chunks] == expected[1]
    chain.ledger.release()
    for _ in range(17):
        chain.run(chain.admin, SetAttribute(chain.admin.address, "note", "x"))
    with pytest.raises(StateError, match="no longer kept"):
        chain.ledger.store.view(version)


def _swapped(entries: list[Entry]) -> list[Entry]:
    return [entries[1], entries[0], *entries[2:]]


def _value_changed(entries: list[Entry]) -> list[Entry]:
    kind, key, value = entries[0]
    return [(kind, key, value + b"x"), *entries[1:]]


def _without(kind: int) -> Callable[[list[Entry]], list[Entry]]:
    def change(entries: list[Entry]) -> list[Entry]:
        last = max(index for index, entry in enumerate(entries) if entry[0] == kind)
        return entries[:last] + entries[last + 1 :]

    return change


def _extra(kind: int, key: bytes, value: bytes) -> Callable[[list[Entry]], list[Entry]]:
    def change(entries: list[Entry]) -> list[Entry]:
        return sorted([*entries, (kind, key, value)], key=lambda entry: entry[:2])

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_swapped, "state.load_entry"),
        (_value_changed, "state.load_root"),
        (_without(STATE), "state.load_root"),
        (_extra(STATE, b"zzz", b"1"), "state.load_root"),
        (_without(IDS), "snapshot.content"),
        (_without(PEAK), "snapshot.content"),
        (_extra(IDS, bytes(16), bytes(32)), "snapshot.content"),
        (_extra(IDS, bytes(15), bytes(32)), "snapshot.content"),
        (_extra(PEAK, b"s" + bytes(17), bytes(32)), "snapshot.content"),
        (lambda entries: [*entries, entries[0]], "snapshot.content"),
    ],
)
def test_a_snapshot_that_lies_leaves_nothing(change: Callable[[list[Entry]], list[Entry]], code: str) -> None:
    """Its chunks fit its own hashes; its content does not fit the app hash."""
    chain = lively().chain
    honest = taken(chain.ledger)
    entries = [
        entry
        for chunk, leaf in zip(honest[1], honest[0].leaves, strict=True)
        for entry in records_of(unpack(chunk, leaf))
    ]
    content, chunks = content_of(change(entries))
    backend = MemoryBackend()
    ledger = Ledger(backend, chain.genesis)
    work = ledger.restore(chain.ledger.height, content, chain.ledger.app_hash)
    for chunk in chunks[:-1]:
        work.add(chunk)
    with pytest.raises(StateError) as error:
        work.add(chunks[-1])
    assert error.value.code == code
    assert ledger.store.latest_version is None
    with backend.read() as snapshot:
        tables = ("state.tree", "state.order", "executed", "executed_ids", "log_nodes")
        assert not any(list(snapshot.scan(table)) for table in tables)
    good = ledger.restore(chain.ledger.height, honest[0], chain.ledger.app_hash)
    assert good.add(honest[1][0])
    assert ledger.app_hash == chain.ledger.app_hash


def test_an_interrupted_restore_goes_on_where_it_was(tmp_path: Path) -> None:
    chain = lively(megabytes=9).chain
    content, chunks = taken(chain.ledger)
    for stop in range(len(chunks)):
        folder = tmp_path / str(stop)
        backend = LmdbBackend(folder, durable=False)
        work = Ledger(backend, chain.genesis).restore(chain.ledger.height, content, chain.ledger.app_hash)
        for chunk in chunks[:stop]:
            work.add(chunk)
        backend.close()
        backend = LmdbBackend(folder, durable=False)
        ledger = Ledger(backend, chain.genesis)
        assert ledger.height == 0
        work = ledger.restore(chain.ledger.height, content, chain.ledger.app_hash)
        assert work.next_chunk == stop
        assert [work.add(chunk) for chunk in chunks[stop:]][-1]
        assert ledger.app_hash == chain.ledger.app_hash
        assert taken(ledger) == (content, chunks)
        backend.close()


def test_rules_that_this_program_does_not_know_are_not_restored() -> None:
    chain = lively().chain
    content, chunks = taken(chain.ledger)
    ledger = Ledger(MemoryBackend(), chain.genesis)
    ledger.rulebook = Rulebook()
    work = ledger.restore(chain.ledger.height, content, chain.ledger.app_hash)
    with pytest.raises(HaltError):
        work.add(chunks[0])
    assert ledger.store.latest_version is None
    ledger.rulebook = Rulebook(version_1())  # the program was upgraded: the chunks are there
    again = ledger.restore(chain.ledger.height, content, chain.ledger.app_hash)
    assert again.next_chunk == 1
    again.finish()
    assert ledger.app_hash == chain.ledger.app_hash


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_chunk_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError) as error:
        unpack(data, bytes(32))
    assert error.value.code == "snapshot.chunk"


@pytest.mark.parametrize("size", [CHUNK_BYTES_MAX + 1, 60_000_000])
def test_a_chunk_that_unpacks_to_too_much_is_refused_in_bounded_memory(size: int) -> None:
    bomb = pack(bytes(size))
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="not the one"):
            unpack(bomb, leaf_hash(b""))
        assert tracemalloc.get_traced_memory()[1] < 4 * CHUNK_BYTES_MAX
    finally:
        tracemalloc.stop()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120) | st.builds(encode, st.lists(st.integers(0, 3) | st.binary(max_size=70), max_size=3)))
def test_metadata_are_a_list_of_hashes_or_refused(data: bytes) -> None:
    with suppress(ProtocolError):
        content = Content.from_bytes(data)
        assert content.to_bytes() == data
        assert content.leaves


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120))
def test_records_are_whole_or_refused(data: bytes) -> None:
    with suppress(StateError):
        assert b"".join(chunks_of(list(records_of(data)))) == data


@pytest.mark.long
def test_memory_is_bounded_at_a_hundred_thousand_keys(tmp_path: Path) -> None:
    chain = LedgerHarness(backend=LmdbBackend(tmp_path / "source", durable=False))
    numbers = random.Random(11)
    store = chain.ledger.store
    for start in range(0, 100_000, 20_000):
        chain.height += 1
        writes: dict[bytes, bytes | None] = {b"k/%d" % n: numbers.randbytes(200) for n in range(start, start + 20_000)}
        store.commit(store.stage(chain.height, writes))
    del writes
    copy = Ledger(LmdbBackend(tmp_path / "copy", durable=False), chain.genesis)
    version = chain.ledger.hold()
    content = Content(tuple(leaf_hash(chunk) for chunk in chain.ledger.snapshot(version)))
    work = copy.restore(version, content, chain.ledger.app_hash)

    def sent() -> Iterator[bytes]:
        for chunk in chain.ledger.snapshot(version):
            yield pack(chunk)

    tracemalloc.start()
    try:
        assert [work.add(chunk) for chunk in sent()][-1]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert copy.app_hash == chain.ledger.app_hash
    assert len(content.leaves) >= 5
    assert peak < 16 * CHUNK_BYTES, peak
