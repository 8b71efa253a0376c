"""Merging changes files only; a crash at any operation leaves every batch readable exactly once."""

from __future__ import annotations

from pathlib import Path

import pytest

from althing.archive import ArchiveReader, ReadingsQuery, SegmentWriter, open_objects
from althing.archive.compaction import Policy, compact, plan
from althing.archive.objects import ObjectInfo, ObjectStore
from althing.archive.verify import verify_archive
from althing.protocol.errors import UnavailableError

from .conftest import GENESIS, SECOND, T0, Chain, Message, pack

S0 = T0 // SECOND


class Crash(Exception):
    pass


class Failing:
    """A store whose n-th change fails, before or after it was made."""

    def __init__(self, inner: ObjectStore, after: int, *, done: bool) -> None:
        self.inner, self.left, self.done = inner, after, done

    def _step(self) -> bool:
        self.left -= 1
        if self.left == 0 and not self.done:
            raise Crash
        return self.left == 0

    def put(self, name: str, data: bytes) -> None:
        crash = self._step()
        self.inner.put(name, data)
        if crash:
            raise Crash

    def put_file(self, name: str, path: Path) -> None:
        crash = self._step()
        self.inner.put_file(name, path)
        if crash:
            raise Crash

    def delete(self, name: str) -> None:
        crash = self._step()
        self.inner.delete(name)
        if crash:
            raise Crash

    def get(self, name: str) -> bytes:
        return self.inner.get(name)

    def list(self, prefix: str) -> list[ObjectInfo]:
        return self.inner.list(prefix)

    def local_path(self, name: str) -> Path:
        return self.inner.local_path(name)

    def scratch(self) -> Path:
        return self.inner.scratch()


def fill(folder: Path, chain: Chain, batches: int) -> SegmentWriter:
    writer = SegmentWriter(open_objects(str(folder)), GENESIS)
    for at in range(batches):
        writer.write(
            chain.anchor({1: [Message(pack([f"{at}.0", "2"], S0 + 50 - at), T0)], 2: [Message(b"raw", T0, "text/csv")]})
        )
    return writer


def contents(folder: Path, chain: Chain) -> list[object]:
    reader = ArchiveReader(open_objects(str(folder), read_only=True), wait_s=0)
    rows = reader.readings(ReadingsQuery(1, chain.head(1), limit=1000)).readings
    return [*rows, *[(m.leaf_bytes, reader.batch_path(m)) for m in reader.messages(2, 0, chain.next_sequences[2])]]


def test_merging_changes_no_answer_and_verifies(tmp_path: Path) -> None:
    chain = Chain()
    writer = fill(tmp_path, chain, 40)
    before = contents(tmp_path, chain)
    outcome = compact(writer, Policy(fan_in=4))
    assert outcome.made > 0
    assert len(list(tmp_path.rglob("*.parquet"))) < 13
    assert contents(tmp_path, chain) == before
    compact(writer, everything=True)
    assert len(list(tmp_path.rglob("*.parquet"))) == 1
    assert contents(tmp_path, chain) == before
    assert all(result.ok for result in verify_archive(writer.store, GENESIS))
    # The writer goes on where it was, also after a restart, and knows what it has.
    SegmentWriter(writer.store, GENESIS).write(chain.anchor({1: [Message(pack(["1"], S0), T0)]}))
    assert len(contents(tmp_path, chain)) == len(before) + 1
    assert all(result.ok for result in verify_archive(writer.store, GENESIS))


def test_a_reader_that_looked_before_a_merge_still_answers(tmp_path: Path) -> None:
    chain = Chain()
    writer = fill(tmp_path, chain, 6)
    reader = ArchiveReader(open_objects(str(tmp_path), read_only=True), wait_s=0)
    query = ReadingsQuery(1, chain.head(1), limit=5)
    first = reader.readings(query)
    compact(writer, everything=True)
    assert len(reader.readings(ReadingsQuery(1, chain.head(1), limit=5, cursor=first.next)).readings) == 5
    assert reader.message(1, 3).sequence == 3


@pytest.mark.parametrize("done", [False, True])
def test_a_crash_at_any_change_leaves_every_batch_once(tmp_path: Path, done: bool) -> None:
    at = 0
    while True:
        at += 1
        folder = tmp_path / str(at)
        chain = Chain()
        fill(folder, chain, 5)
        before = contents(folder, chain)
        store = Failing(open_objects(str(folder)), at, done=done)
        try:
            compact(SegmentWriter(store, GENESIS), everything=True)
        except Crash:
            assert contents(folder, chain) == before
            fresh = SegmentWriter(open_objects(str(folder)), GENESIS)
            assert fresh.next_number(chain.gateway) == 5
            compact(fresh, everything=True)
            assert contents(folder, chain) == before
            assert len(list(folder.rglob("*.parquet"))) == 1
            assert list((folder / "scratch").iterdir()) == []
        else:
            break
    assert at > 5


def test_a_damaged_merge_result_does_not_hide_what_it_replaced(tmp_path: Path) -> None:
    chain = Chain()
    writer = fill(tmp_path, chain, 3)
    before = contents(tmp_path, chain)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    compact(writer, everything=True)
    (merged,) = tmp_path.rglob("*.parquet")
    for path, data in kept.items():
        path.write_bytes(data)
    merged.write_bytes(merged.read_bytes()[:-20])
    assert contents(tmp_path, chain) == before


def test_gateways_and_gaps_are_never_merged(tmp_path: Path) -> None:
    store = open_objects(str(tmp_path))
    writer = SegmentWriter(store, GENESIS)
    one, two = Chain(), Chain(gateway=b"h" * 20, next_sequences={1: 2, 2: 2})
    for chain in (one, one, two, two):
        writer.write(chain.anchor({1: [Message(pack(["1"], S0), T0)], 2: [Message(b"", T0, "text/csv")]}))
    one.number += 1
    writer.write(one.anchor({3: [Message(b"", T0, "text/csv")]}))
    compact(writer, everything=True)
    assert [(s.name.gateway[:1], s.name.first, s.name.last) for s in writer.catalogue.segments()] == [
        (b"g", 0, 1), (b"g", 3, 3), (b"h", 0, 1),
    ]  # fmt: skip


def test_small_ones_wait_for_their_own_kind(tmp_path: Path) -> None:
    chain = Chain()
    writer = fill(tmp_path, chain, 15)
    assert plan(writer.catalogue.segments(), Policy(fan_in=16)) == []
    writer.write(chain.anchor({1: [Message(pack(["1"], S0), T0)]}))
    assert [len(group) for group in plan(writer.catalogue.segments(), Policy(fan_in=16))] == [16]


def test_a_full_disk_is_named_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain()
    writer = fill(tmp_path, chain, 3)
    before = contents(tmp_path, chain)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(UnavailableError) as caught:
            compact(writer, everything=True)
        assert caught.value.code == "archive.full"
        batch = chain.anchor({1: [Message(pack(["1"], S0), T0)]})
        with pytest.raises(UnavailableError):
            writer.write(batch)
    assert list((tmp_path / "scratch").iterdir()) == []
    writer.write(batch)
    assert len(contents(tmp_path, chain)) == len(before) + 1
