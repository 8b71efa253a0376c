"""The store against a naive model: a dict per version, and the tree built recursively from the definition."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from althing.ledger.state.pinned import pinned
from althing.ledger.state.store import StateStore
from althing.protocol.errors import StateError
from althing.protocol.stateproof import (
    AbsenceProof,
    PresenceProof,
    proof_from_cbor_obj,
    proof_to_cbor_obj,
    verify_absence,
    verify_presence,
)
from althing.storage.lmdb import LmdbBackend
from althing.storage.memory import MemoryBackend

State = dict[bytes, bytes]

# Enough names to fill slots and pages, few enough to collide often; two share the first 24 bits of their paths,
# and nine more the first 16 with them, so that pages reach into the lower part of the tree.
TWINS = (b"twin/2926", b"twin/3193")
DEEP = [b"deep/%d" % number for number in (62143, 169743, 191049, 336834, 349812, 351019, 514627, 542467, 872636)]
NAMES = [*(b"%c/%d" % (b"abc"[number % 3], number) for number in range(90)), *TWINS, *DEEP]


def model_root(state: Mapping[bytes, bytes]) -> bytes:
    """docs/spec/state.md §2, word for word."""

    def below(leaves: list[tuple[str, bytes]], depth: int) -> bytes:
        if not leaves:
            return bytes(32)
        if len(leaves) == 1:
            return leaves[0][1]
        left = below([leaf for leaf in leaves if leaf[0][depth] == "0"], depth + 1)
        right = below([leaf for leaf in leaves if leaf[0][depth] == "1"], depth + 1)
        return sha256(b"\x01" + left + right).digest()

    leaves = []
    for key, value in state.items():
        path = sha256(key).digest()
        leaf = sha256(b"\x00" + path + sha256(value).digest()).digest()
        leaves.append((f"{int.from_bytes(path, 'big'):0256b}", leaf))
    return below(leaves, 0)


def advance(state: State, writes: Mapping[bytes, bytes | None]) -> State:
    after = dict(state)
    for key, value in writes.items():
        if value is None:
            after.pop(key, None)
        else:
            after[key] = value
    return after


def check_version(store: StateStore, version: int, state: State) -> None:
    view = store.view(version)
    assert view.root == model_root(state)
    assert view.keys == len(state)
    assert list(view.scan(b"")) == sorted(state.items())
    assert list(view.scan(b"b/", reverse=True)) == sorted(
        ((key, value) for key, value in state.items() if key.startswith(b"b/")), reverse=True
    )
    for key in [*NAMES[::7], *TWINS, b"never"]:
        value, proof = view.prove(key)
        assert value == state.get(key) == view.get(key)
        assert proof_from_cbor_obj(proof_to_cbor_obj(proof)) == proof
        if value is None:
            assert isinstance(proof, AbsenceProof)
            verify_absence(view.root, key, proof)
        else:
            assert isinstance(proof, PresenceProof)
            verify_presence(view.root, key, value, proof)


WRITES = st.dictionaries(st.sampled_from(NAMES), st.one_of(st.none(), st.binary(min_size=1, max_size=3)), max_size=70)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), WRITES),
        st.tuples(st.just("clear"), st.integers(0, 3)),
        st.tuples(st.just("prune"), st.tuples(st.integers(1, 4), st.integers(1, 60))),
        st.tuples(st.just("rollback"), st.integers(0, 3)),
    ),
    max_size=12,
)


@settings(max_examples=120)
@given(STEPS)
def test_any_history_equals_the_model(steps: list[tuple[str, object]]) -> None:
    backend = MemoryBackend()
    store = StateStore(backend)
    store.commit(store.stage(7, {b"genesis": b"1"}))
    versions: dict[int, State] = {7: {b"genesis": b"1"}}
    for step, argument in steps:
        latest = max(versions)
        if step == "commit" or step == "clear":
            if step == "commit":
                writes = argument
            else:  # remove nearly everything, so that pages shrink back
                writes = dict.fromkeys(list(versions[latest])[argument:])  # type: ignore[misc]
            staged = store.stage(latest + 1, writes)  # type: ignore[arg-type]
            versions[latest + 1] = advance(versions[latest], writes)  # type: ignore[arg-type]
            assert staged.root == model_root(versions[latest + 1])
            assert store.latest_version == latest
            store.commit(staged)
        elif step == "prune":
            keep, entries_max = argument  # type: ignore[misc]
            store.prune(keep, entries_max=entries_max)
            versions = {version: state for version, state in versions.items() if version > latest - keep}
        else:
            target = max(min(versions), latest - argument)  # type: ignore[operator]
            store.rollback(target)
            versions = {version: state for version, state in versions.items() if version <= target}
        assert store.oldest_version == min(versions)
    for version, state in versions.items():
        check_version(store, version, state)
    # once everything old is swept, nothing of it is left
    while store.prune(1, entries_max=50):
        pass
    latest = max(versions)
    store.commit(store.stage(latest + 1, {}))
    while store.prune(1, entries_max=50):
        pass
    check_version(store, latest + 1, versions[latest])
    with backend.read() as snapshot:
        assert [key for key, _ in snapshot.scan("state.order")] == sorted(versions[latest])
        assert list(snapshot.scan("state.leaf.undo")) == []
        assert list(snapshot.scan("state.page.undo")) == []
        assert len(list(snapshot.scan("state.versions"))) == 1
        leaves = [key for key, _ in snapshot.scan("state.tree") if len(key) == 33]
        assert len(leaves) == len(versions[latest])
        assert all(len(record) > 8 for _, record in snapshot.scan("state.tree"))
        assert all(len(record) > 8 for _, record in snapshot.scan("state.upper"))


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    backend = MemoryBackend() if request.param == "memory" else LmdbBackend(tmp_path / "state", durable=False)
    yield StateStore(backend)
    backend.close()


def test_both_backends_hold_a_long_history(store: StateStore) -> None:
    states: dict[int, State] = {0: {}}
    for version in range(1, 15):
        writes: dict[bytes, bytes | None] = {}
        for number in range(version * 37 % 400):
            value = None if (number + version) % 5 == 0 else b"%d.%d" % (version, number)
            writes[b"%d" % (number * version % 700)] = value
        staged = store.stage(version, writes)
        states[version] = advance(states[version - 1], writes)
        store.commit(staged)
    for version in range(1, 15):
        check_version(store, version, states[version])


def test_versions_without_writes_keep_the_root_and_cost_nothing(store: StateStore) -> None:
    store.commit(store.stage(1, {b"k": b"v"}))
    for version, writes in ((2, {}), (3, {b"k": b"v"}), (4, {b"absent": None})):
        staged = store.stage(version, writes)
        assert staged.root == store.root(1)
        assert set(staged.batch) == {"state.versions", "state.meta"}
        store.commit(staged)
    assert store.root(4) == store.root(1)


def test_an_empty_tree_has_the_zero_root_and_proves_absence(store: StateStore) -> None:
    store.commit(store.stage(1, {b"k": b"v"}))
    store.commit(store.stage(2, {b"k": None}))
    view = store.view()
    assert view.root == bytes(32)
    value, proof = view.prove(b"k")
    assert value is None
    assert isinstance(proof, AbsenceProof)
    verify_absence(view.root, b"k", proof)
    with pytest.raises(StateError, match=r"state\.empty"):
        view.prove_ics23(b"k")


def test_side_tables_are_written_in_the_same_step(store: StateStore) -> None:
    staged = store.stage(1, {b"k": b"v"})
    store.commit(staged, {"app.receipts": {b"1": b"r"}})
    with store.backend.read() as snapshot:
        assert snapshot.get("app.receipts", b"1") == b"r"
    store.commit(store.stage(2, {b"k": b"w"}), {"app.receipts": {b"2": b"r"}})
    store.rollback(1, {"app.receipts": {b"2": None}})
    with store.backend.read() as snapshot:
        assert snapshot.get("app.receipts", b"2") is None
    with pytest.raises(AssertionError):
        store.commit(store.stage(2, {}), {"state.tree": {b"k": b"v"}})


def test_what_cannot_be_read_says_why(store: StateStore) -> None:
    def code(call: object) -> str:
        with pytest.raises(StateError) as caught:
            call()  # type: ignore[operator]
        return caught.value.code

    assert code(lambda: store.view()) == "state.uninitialised"
    assert code(lambda: store.rollback(1)) == "state.uninitialised"
    assert store.latest_version is None
    for version in (5, 6, 7):
        store.commit(store.stage(version, {b"k": b"%d" % version}))
    held = store.view(5)
    assert held.get(b"k") == b"5"
    store.prune(2)
    assert store.oldest_version == 6
    assert code(lambda: store.view(5)) == "state.pruned"
    assert code(lambda: held.get(b"k")) == "state.pruned"
    assert code(lambda: held.prove(b"k")) == "state.pruned"
    assert code(lambda: list(held.scan(b""))) == "state.pruned"
    assert code(lambda: store.rollback(5)) == "state.pruned"
    assert code(lambda: store.view(8)) == "state.unknown_version"
    assert code(lambda: store.stage(9, {})) == "state.version_order"
    staged = store.stage(8, {b"k": b"8"})
    store.commit(store.stage(8, {b"k": b"9"}))
    assert code(lambda: store.commit(staged)) == "state.stale"
    assert store.view().get(b"k") == b"9"


def test_limits_of_keys_and_values(store: StateStore) -> None:
    largest = {b"\x00" * 255: b"z" * (1 << 20), b"\xff" * 255: b"a"}
    store.commit(store.stage(1, largest))
    assert dict(store.iterate()) == largest
    check_version(store, 1, largest)
    for key, value in ((b"", b"v"), (b"k" * 256, b"v"), (b"k", b""), (b"k", b"v" * ((1 << 20) + 1))):
        with pytest.raises(AssertionError):
            store.stage(2, {key: value})


def test_pages_that_vanish_and_come_back_keep_their_history(store: StateStore) -> None:
    many = dict.fromkeys(NAMES, b"1")
    states = {1: many, 2: {NAMES[0]: b"1"}, 3: dict.fromkeys(NAMES, b"3"), 4: {}, 5: many}
    before: State = {}
    for version, state in states.items():
        store.commit(store.stage(version, {**dict.fromkeys(before), **state}))
        before = state
    for version, state in states.items():
        check_version(store, version, state)
    for version in (4, 3, 2, 1):
        store.rollback(version)
        check_version(store, version, states[version])


def test_rolling_back_leaves_no_dead_record_that_nobody_can_read(store: StateStore) -> None:
    for version, value in enumerate((b"v", None, b"w"), start=1):
        store.commit(store.stage(version, {b"stays": b"v", b"k": value}))
    assert not store.prune(2)  # version 2, where the key is gone, becomes the oldest
    store.rollback(2)
    check_version(store, 2, {b"stays": b"v"})
    with store.backend.read() as snapshot:
        assert [key for key, _ in snapshot.scan("state.order")] == [b"stays"]
        assert len(list(snapshot.scan("state.tree"))) == 1


def test_scans_page_through_a_prefix_in_both_directions(store: StateStore) -> None:
    state = {b"p/%04d" % number: b"v" for number in range(0, 300, 2)} | {b"o": b"v", b"q": b"v", b"p/\xff\xff": b"v"}
    store.commit(store.stage(1, state))
    view = store.view()
    # later versions hide some of these keys and add others: the view must not notice
    store.commit(store.stage(2, {**dict.fromkeys(list(state)[::2]), **{b"p/%04d" % n: b"w" for n in range(1, 300, 2)}}))
    inside = sorted(key for key in state if key.startswith(b"p/"))

    def scan(**options: object) -> list[bytes]:
        return [key for key, _ in view.scan(b"p/", **options)]  # type: ignore[arg-type]

    assert scan() == inside
    assert scan(reverse=True) == inside[::-1]
    assert scan(limit=0) == []
    assert scan(limit=5) == inside[:5]
    assert scan(limit=5, reverse=True) == inside[-1:-6:-1]
    assert scan(start=b"p/0100", limit=2) == [b"p/0100", b"p/0102"]
    assert scan(start=b"p/0101", limit=1) == [b"p/0102"]
    assert scan(start=b"p/0101", limit=1, reverse=True) == [b"p/0100"]
    assert scan(start=b"p/0100", limit=1, reverse=True) == [b"p/0100"]
    assert scan(start=b"a") == inside
    assert scan(start=b"z") == []
    assert [key for key, _ in view.scan(b"\xff")] == []
    pages, at = [], b""
    while page := scan(start=at, limit=7):
        pages += page
        at = page[-1] + b"\x00"
    assert pages == inside


def test_a_pinned_view_reads_the_latest_version(store: StateStore) -> None:
    store.commit(store.stage(1, {b"k": b"v", b"gone": b"v"}), {"app.t": {b"s": b"side"}})
    store.commit(store.stage(2, {b"gone": None}))
    with pinned(store) as view:
        assert view.version == 2
        assert view.get(b"k") == b"v"
        assert view.get(b"gone") is None
        assert view.get(b"never") is None
        assert view.side("app.t", b"s") == b"side"
        assert list(view.scan(b"")) == [(b"k", b"v")]


GOLDEN = """
from althing.ledger.state.store import StateStore
from althing.storage.memory import MemoryBackend
store = StateStore(MemoryBackend())
for version in range(1, 6):
    names = {b"key/%d" % (number * version) for number in range(version * 200)}
    writes = {name: None if len(name) + version == 10 else b"%d" % version + name for name in names}
    store.commit(store.stage(version, writes))
    print(store.root(version).hex())
"""


def test_roots_do_not_depend_on_the_hash_seed() -> None:
    answers = set()
    for seed in ("0", "1", "31337"):
        run = subprocess.run(
            [sys.executable, "-c", GOLDEN],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        answers.add(run.stdout)
    assert len(answers) == 1
    assert (
        sha256(answers.pop().encode()).hexdigest() == "9b5db5505f934b835e29255f8b224fcbee1d7260f427084684eb24692790afb4"
    )


def test_names_reach_pages_near_the_root_and_far_from_it(store: StateStore) -> None:
    """What the other tests rely on: both tables have pages, and they come and go with their leaves."""
    store.commit(store.stage(1, dict.fromkeys(NAMES, b"1")))
    with store.backend.read() as snapshot:
        assert len([key for key, _ in snapshot.scan("state.tree") if len(key) < 33]) >= 1
        assert len(list(snapshot.scan("state.upper"))) >= 5
    store.commit(store.stage(2, dict.fromkeys(DEEP)))
    check_version(store, 2, dict.fromkeys([name for name in NAMES if name not in DEEP], b"1"))
    check_version(store, 1, dict.fromkeys(NAMES, b"1"))
    while store.prune(1):
        pass
    with store.backend.read() as snapshot:
        assert [key for key, _ in snapshot.scan("state.tree") if len(key) < 33] == []
