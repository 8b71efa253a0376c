"""What every storage backend promises (`ledger.state.backend`): run on each one in the registry and on small disks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from althing.ledger.state.backend import Backend, bind_identity
from althing.protocol.errors import StateError
from althing.storage.lmdb import LmdbBackend
from althing.storage.memory import MemoryBackend
from althing.storage.registry import BACKENDS, open_backend

CHAIN = bytes(range(32))


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    opened = open_backend(request.param, tmp_path / "state", durable=False)
    yield opened
    opened.close()


@pytest.fixture(params=["lmdb", "memory"])
def small_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """A disk of one mebibyte."""
    opened: Backend
    if request.param == "lmdb":
        opened = LmdbBackend(tmp_path / "state", durable=False, map_bytes_start=1 << 18, map_bytes_max=1 << 20)
    else:
        opened = MemoryBackend(bytes_max=1 << 20)
    yield opened
    opened.close()


def content(backend: Backend, table: str) -> list[tuple[bytes, bytes]]:
    with backend.read() as snapshot:
        return list(snapshot.scan(table))


def test_a_batch_over_several_tables_is_visible_whole(backend: Backend) -> None:
    backend.write({"a": {b"1": b"x", b"2": b""}, "b": {b"1": b"y"}})
    backend.write({"a": {b"1": None, b"absent": None, b"3": b"z"}, "b": {}})
    with backend.read() as snapshot:
        assert snapshot.get("a", b"1") is None
        assert snapshot.get("a", b"2") == b""
        assert snapshot.get("b", b"1") == b"y"
        assert snapshot.get("never", b"1") is None
        assert snapshot.get_many("a", [b"3", b"1", b"2"]) == [b"z", None, b""]
        assert snapshot.get_many("never", [b"3", b"1"]) == [None, None]
        assert list(snapshot.scan("never")) == []


def test_scans_are_half_open_and_in_byte_order(backend: Backend) -> None:
    keys = [b"\x00", b"a", b"a\x00", b"ab", b"b", b"\xff", b"\xff\xff"]
    backend.write({"t": {key: key for key in reversed(keys)}})
    with backend.read() as snapshot:

        def scan(start: bytes, stop: bytes | None, *, reverse: bool = False) -> list[bytes]:
            return [key for key, _ in snapshot.scan("t", start, stop, reverse=reverse)]

        for reverse in (False, True):
            for start in [b"", *keys, b"a\x01", b"\xff\xff\xff"]:
                for stop in [None, *keys, b"a\x01", b"\xff\xff\xff"]:
                    expected = [key for key in keys if key >= start and (stop is None or key < stop)]
                    assert scan(start, stop, reverse=reverse) == (expected[::-1] if reverse else expected)


BATCHES = st.lists(
    st.dictionaries(
        st.binary(min_size=1, max_size=3), st.one_of(st.none(), st.binary(max_size=4)), min_size=1, max_size=12
    ),
    max_size=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES)
def test_any_sequence_of_batches_equals_a_dict(backend: Backend, batches: list[dict[bytes, bytes | None]]) -> None:
    backend.write({"t": {key: None for key, _ in content(backend, "t")}})
    model: dict[bytes, bytes] = {}
    for batch in batches:
        backend.write({"t": batch})
        for key, value in batch.items():
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
        assert content(backend, "t") == sorted(model.items())


def test_a_large_batch_equals_a_dict(backend: Backend) -> None:
    model = {b"%05d" % (index * 7919 % 20011): b"v" * (index % 50) for index in range(3000)}
    backend.write({"t": model})
    gone = sorted(model)[::3]
    backend.write({"t": dict.fromkeys(gone)})
    for key in gone:
        del model[key]
    assert content(backend, "t") == sorted(model.items())


def test_a_snapshot_does_not_see_later_writes(backend: Backend) -> None:
    backend.write({"t": {b"k": b"old"}})
    with backend.read() as snapshot:
        lazy = snapshot.scan("t")
        backend.write({"t": {b"k": b"new", b"l": b"new"}, "later": {b"k": b"new"}})
        assert snapshot.get("t", b"k") == b"old"
        assert snapshot.get("t", b"l") is None
        assert list(lazy) == [(b"k", b"old")]
    assert content(backend, "t") == [(b"k", b"new"), (b"l", b"new")]


def test_readers_in_other_threads_see_whole_batches(backend: Backend) -> None:
    backend.write({"a": {b"k": b"0"}, "b": {b"k": b"0"}})
    stop = threading.Event()
    torn: list[tuple[bytes | None, bytes | None]] = []

    def look() -> None:
        while not stop.is_set():
            with backend.read() as snapshot:
                pair = snapshot.get("a", b"k"), snapshot.get("b", b"k")
            if pair[0] != pair[1]:
                torn.append(pair)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(200):
        backend.write({"a": {b"k": b"%d" % number}, "b": {b"k": b"%d" % number}})
    stop.set()
    for thread in threads:
        thread.join()
    assert torn == []


def test_a_full_disk_refuses_the_batch_and_keeps_what_was_there(small_backend: Backend) -> None:
    small_backend.write({"t": {b"keep": b"1"}})
    with pytest.raises(StateError) as caught:
        small_backend.write({"t": {b"keep": b"2", **{b"%04d" % number: bytes(4000) for number in range(400)}}})
    assert caught.value.code == "state.disk_full"
    assert caught.value.hint
    assert content(small_backend, "t") == [(b"keep", b"1")]
    small_backend.write({"t": {b"keep": b"3"}})
    assert content(small_backend, "t") == [(b"keep", b"3")]


def test_bytes_used_grows_with_content(backend: Backend) -> None:
    backend.write({"t": {b"a": b"1"}})
    before = backend.bytes_used()
    backend.write({"t": {b"%d" % number: bytes(1000) for number in range(1000)}})
    backend.sync()
    assert backend.bytes_used() > before


def test_a_closed_backend_says_so(backend: Backend) -> None:
    backend.close()
    backend.close()
    with pytest.raises(StateError, match=r"state\.closed"):
        backend.write({"t": {b"a": b"1"}})
    with pytest.raises(StateError, match=r"state\.closed"), backend.read():
        pass


def test_identity_is_claimed_once_and_checked_ever_after(backend: Backend) -> None:
    bind_identity(backend, chain=CHAIN, format_version=2)
    bind_identity(backend, chain=CHAIN, format_version=2)
    with pytest.raises(StateError) as caught:
        bind_identity(backend, chain=CHAIN, format_version=3)
    assert caught.value.code == "state.older_format"
    assert caught.value.hint
    with pytest.raises(StateError) as caught:
        bind_identity(backend, chain=bytes(32), format_version=2)
    assert caught.value.code == "state.foreign_chain"
    with pytest.raises(StateError) as caught:
        bind_identity(backend, chain=CHAIN, format_version=1)
    assert caught.value.code == "state.newer_format"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(StateError) as caught:
        open_backend("cloud", None)
    assert caught.value.code == "state.unknown_backend"
    assert "lmdb" in caught.value.hint


def test_a_snapshot_older_than_a_table_finds_it_empty(backend: Backend) -> None:
    """The first block with content makes tables while admission reads: its snapshot must not break."""
    backend.write({"a": {b"1": b"x"}})
    with backend.read() as older:
        backend.write({"new": {b"1": b"y"}})
        assert older.get("new", b"1") is None
        assert older.get_many("new", [b"1", b"2"]) == [None, None]
        assert list(older.scan("new")) == []
        assert older.get("a", b"1") == b"x"
        with backend.read() as newer:
            assert newer.get("new", b"1") == b"y"


def test_tables_made_beside_readers(backend: Backend) -> None:
    """Every snapshot is whole: once the marker is there, so is the table it speaks of."""
    backend.write({"marker": {b"n": b"0"}})
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            with backend.read() as snapshot:
                marker = snapshot.get("marker", b"n")
                assert marker is not None
                found = [snapshot.get(f"table.{number}", b"k") for number in range(1, 8)]
                assert found == [b"v"] * int(marker) + [None] * (7 - int(marker))

    with ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(look) for _ in range(3)]
        for number in range(1, 8):
            backend.write({f"table.{number}": {b"k": b"v"}, "marker": {b"n": b"%d" % number}})
        done.set()
        for reader in readers:
            reader.result()
