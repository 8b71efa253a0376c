"""Snapshots: what one store lists at a version, another takes, and is the same state from there on."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from althing.ledger.state.backend import Backend
from althing.ledger.state.loading import StateLoader
from althing.ledger.state.store import StateStore
from althing.protocol.errors import StateError
from althing.protocol.stateproof import AbsenceProof, PresenceProof, verify_absence, verify_presence
from althing.storage.lmdb import LmdbBackend
from althing.storage.memory import MemoryBackend

MANY = 5_000  # more than a subtree built in memory


@pytest.fixture(params=["memory", "lmdb"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    backend: Backend = MemoryBackend() if request.param == "memory" else LmdbBackend(tmp_path / "copy", durable=False)
    yield backend
    backend.close()


def filled(keys: int, backend: Backend | None = None, step: int = 50_000) -> StateStore:
    """A store with a second version over the first, so that not all records have the same age."""
    numbers = random.Random(5)
    store = StateStore(backend or MemoryBackend())
    for version, start in enumerate(range(0, keys, step), start=1):
        writes = {b"k/%d" % number: numbers.randbytes(20) for number in range(start, min(start + step, keys))}
        store.commit(store.stage(version, writes))
        store.prune(1, entries_max=4 * step)
    latest = store.latest_version or 0
    changed: dict[bytes, bytes | None] = {b"k/%d" % number: b"changed" for number in range(0, keys, 7)}
    changed |= {b"k/%d" % number: None for number in range(0, keys, 11)}
    store.commit(store.stage(latest + 1, changed))
    return store


def code_of(error: pytest.ExceptionInfo[StateError]) -> str:
    return error.value.code


def test_a_loaded_state_is_the_same_and_goes_on_alike(empty: Backend) -> None:
    source = filled(MANY)
    version = source.latest_version or 0
    entries = list(source.iterate(version))
    source.commit(source.stage(version + 1, {b"later": b"1"}))  # what is taken is the version, not the latest
    assert list(source.iterate(version)) == entries == sorted(entries)
    loader = StateLoader(empty, version)
    for start in range(0, len(entries), 999):
        loader.add(iter(entries[start : start + 999]))
    loader.finish(source.root(version), {"my.table": {b"height": b"2"}})
    copy = StateStore(empty)
    assert (copy.oldest_version, copy.latest_version) == (version, version)
    assert copy.root() == source.root(version)
    assert copy.view().keys == len(entries)
    assert list(copy.iterate()) == entries
    with empty.read() as snapshot:
        assert snapshot.get("my.table", b"height") == b"2"
    view = copy.view()
    for key in [entries[0][0], entries[MANY // 2][0], b"k/0", b"absent"]:
        value, proof = view.prove(key)
        if isinstance(proof, PresenceProof):
            verify_presence(view.root, key, value or b"", proof)
        else:
            assert isinstance(proof, AbsenceProof)
            verify_absence(view.root, key, proof)
    copy.commit(copy.stage(version + 1, {b"later": b"1"}))
    assert copy.root() == source.root()
    more: dict[bytes, bytes | None] = {key: None for key, _ in entries[::3]} | {b"new/%d" % n: b"1" for n in range(500)}
    for store in (source, copy):
        store.commit(store.stage(version + 2, more))
    assert copy.root() == source.root()
    copy.rollback(version)
    assert list(copy.iterate()) == entries
    while copy.prune(1):
        pass
    assert copy.view().get(entries[5][0]) == entries[5][1]


NAMES = [b"n%d" % number for number in range(60)]


@settings(max_examples=60)
@given(
    st.dictionaries(st.sampled_from(NAMES), st.binary(min_size=1, max_size=3)),
    st.dictionaries(st.sampled_from(NAMES), st.one_of(st.none(), st.binary(min_size=1, max_size=3))),
)
def test_any_set_of_entries(state: dict[bytes, bytes], writes: dict[bytes, bytes | None]) -> None:
    source = StateStore(MemoryBackend())
    source.commit(source.stage(1, dict(state)))
    backend = MemoryBackend()
    loader = StateLoader(backend, 1)
    loader.add(sorted(state.items()))
    loader.finish(source.root())
    copy = StateStore(backend)
    for store in (source, copy):
        store.commit(store.stage(2, writes))
    assert copy.root() == source.root()
    assert list(copy.iterate(1)) == sorted(state.items())
    assert list(copy.iterate()) == list(source.iterate())


def test_another_root_leaves_nothing_behind(empty: Backend) -> None:
    loader = StateLoader(empty, 4)
    loader.add([(b"a", b"1"), (b"b", b"2")])
    with pytest.raises(StateError) as error:
        loader.finish(bytes(32))
    assert code_of(error) == "state.load_root"
    store = StateStore(empty)
    assert store.latest_version is None
    store.commit(store.stage(1, {b"c": b"3"}))
    assert list(store.iterate()) == [(b"c", b"3")]


def test_an_interrupted_load_takes_no_version_until_it_is_done_again(empty: Backend) -> None:
    source = filled(300)
    entries = list(source.iterate())
    StateLoader(empty, 9).add([(b"garbage", b"1"), *entries])
    with pytest.raises(StateError) as error:
        StateStore(empty).stage(1, {b"c": b"3"})
    assert code_of(error) == "state.loading"
    with pytest.raises(StateError) as error:
        StateStore(empty).view()
    assert code_of(error) == "state.uninitialised"
    loader = StateLoader(empty, 9)
    loader.add(entries)
    loader.finish(source.root())
    assert list(StateStore(empty).iterate(9)) == entries


@pytest.mark.parametrize(
    "entries",
    [
        [(b"b", b"1"), (b"a", b"1")],
        [(b"a", b"1"), (b"a", b"1")],
        [(b"", b"1")],
        [(b"k" * 256, b"1")],
        [(b"a", b"")],
        [(b"a", bytes((1 << 20) + 1))],
    ],
)
def test_entries_that_no_snapshot_has(empty: Backend, entries: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(StateError) as error:
        StateLoader(empty, 1).add(entries)
    assert code_of(error) == "state.load_entry"


def test_a_state_with_versions_is_not_loaded_over(empty: Backend) -> None:
    store = StateStore(empty)
    store.commit(store.stage(1, {b"a": b"1"}))
    with pytest.raises(StateError) as error:
        StateLoader(empty, 2)
    assert code_of(error) == "state.not_empty"
    assert list(store.iterate()) == [(b"a", b"1")]


def test_listing_ends_when_its_version_is_pruned() -> None:
    store = filled(3_000)
    listing = store.iterate()
    next(listing)
    latest = store.latest_version or 0
    store.commit(store.stage(latest + 1, {b"a": b"1"}))
    store.prune(1)
    with pytest.raises(StateError) as error:
        list(listing)
    assert code_of(error) == "state.pruned"


def peak_of_copying(entries: int, folder: Path) -> int:
    """Memory that listing one state and loading another took at most, in bytes."""
    source = filled(entries, LmdbBackend(folder / "source", durable=False), step=5_000)
    target = LmdbBackend(folder / "copy", durable=False)
    tracemalloc.start()
    loader = StateLoader(target, source.latest_version or 0)
    loader.add(source.iterate())
    loader.finish(source.root())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert StateStore(target).root() == source.root()
    assert all(one == other for one, other in zip(StateStore(target).iterate(), source.iterate(), strict=True))
    source.backend.close()
    target.close()
    return peak


@pytest.mark.long
def test_copying_a_large_state_takes_no_more_memory_than_a_part_of_it(tmp_path: Path) -> None:
    some = peak_of_copying(30_000, tmp_path / "some")
    assert peak_of_copying(100_000, tmp_path / "many") < 1.2 * some
