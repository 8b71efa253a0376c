"""Refusals are durable, listed newest first, each once, whatever compaction did."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from althing.archive import QueryError, SegmentUnavailable, open_objects
from althing.archive.refusals import Refusal, RefusalLog, RefusalReader

A, B = b"a" * 20, b"b" * 20


def refusal(time_ns: int, reason: str = "no token") -> Refusal:
    return Refusal(time_ns, "dev", "dev/main", "mqtt", "auth.token", reason, bytes(32), 17)


def listed(reader: RefusalReader, limit: int) -> list[tuple[int, bytes, int]]:
    found, cursor = [], None
    while True:
        page = reader.page(limit=limit, cursor=cursor)
        found += [(one.time_ns, one.gateway, one.number) for one in page.refusals]
        cursor = page.next
        if cursor is None:
            return found


@settings(max_examples=25)
@given(
    appends=st.lists(
        st.tuples(st.sampled_from([A, B]), st.lists(st.integers(0, 30), min_size=1, max_size=5)), max_size=40
    ),
    limit=st.integers(1, 7),
    compacted=st.booleans(),
)
def test_pages_hold_every_refusal_once_newest_first(
    tmp_path_factory: pytest.TempPathFactory, appends: list[tuple[bytes, list[int]]], limit: int, compacted: bool
) -> None:
    store = open_objects(str(tmp_path_factory.mktemp("archive")))
    expected = []
    numbers = {A: 0, B: 0}
    logs = {A: RefusalLog(store, A), B: RefusalLog(store, B)}
    for gateway, times in appends:
        expected += [(time, gateway, numbers[gateway] + at) for at, time in enumerate(times)]
        new = [refusal(time, str(numbers[gateway] + at)) for at, time in enumerate(times)]
        numbers[gateway] += len(times)
        assert logs[gateway].append(new) == numbers[gateway]
    if compacted:
        for log in logs.values():
            log.compact()
    assert listed(RefusalReader(store), limit) == sorted(expected, reverse=True)
    assert RefusalLog(store, A).append([]) == numbers[A]


def test_compaction_leaves_few_files_and_the_same_pages(tmp_path: Path) -> None:
    store = open_objects(str(tmp_path))
    log = RefusalLog(store, A)
    for at in range(50):
        log.append([refusal(at, "a"), refusal(at, "b")])
    reader = RefusalReader(store)
    before = listed(reader, 30)
    first = reader.page(limit=10)
    assert log.compact() == 49
    assert len(list(tmp_path.rglob("*.ndjson"))) == 1
    assert listed(reader, 30) == before
    log.append([refusal(99)])
    assert reader.page(limit=10, cursor=first.next).refusals[0].number == before[10][2]
    assert log.compact() == 0


def test_a_merge_that_was_cut_off_shows_nothing_twice(tmp_path: Path) -> None:
    store = open_objects(str(tmp_path))
    log = RefusalLog(store, A)
    for at in range(20):
        log.append([refusal(at)])
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.ndjson")}
    log.compact()
    for path, data in kept.items():
        path.write_bytes(data)
    assert len(listed(RefusalReader(store), 3)) == 20
    assert RefusalLog(store, A).compact() == 20


def test_texts_are_bounded_and_kept(tmp_path: Path) -> None:
    store = open_objects(str(tmp_path))
    RefusalLog(store, A).append([refusal(1, "ä" * 10_000)])
    (one,) = RefusalReader(store).page().refusals
    assert (one.reason, one.hash, one.size, one.code) == ("ä" * 512, bytes(32), 17, "auth.token")


def test_damage_and_wrong_questions_are_named(tmp_path: Path) -> None:
    store = open_objects(str(tmp_path))
    RefusalLog(store, A).append([refusal(1)])
    for limit, cursor in ((0, None), (1001, None), (1, "?"), (1, "AAAA"), (1, "A" * 300)):
        with pytest.raises(QueryError):
            RefusalReader(store).page(limit=limit, cursor=cursor)
    (path,) = tmp_path.rglob("*.ndjson")
    path.write_bytes(path.read_bytes().replace(b"mqtt", b"http"))
    with pytest.raises(SegmentUnavailable):
        RefusalReader(store).page()


def test_what_a_crashed_gateway_repeats_is_stored_once(tmp_path: Path) -> None:
    store = open_objects(str(tmp_path))
    first, second = [refusal(at) for at in range(5)], [refusal(9)]
    RefusalLog(store, A).append(first)
    log = RefusalLog(store, A)
    assert log.append(first) == 5
    assert log.append([*first, *second]) == 6
    assert log.append(second) == 6
    assert log.append([refusal(7)]) == 7
    assert [number for _, _, number in listed(RefusalReader(store), 3)] == [5, 6, 4, 3, 2, 1, 0]
