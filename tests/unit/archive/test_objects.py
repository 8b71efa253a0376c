"""Local objects: durable when `put` returns, atomic, and readable on a read-only home."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from althing.archive.errors import ArchiveError
from althing.archive.objects import LocalObjects, ObjectMissing, RemoteObjects, open_objects


def test_put_syncs_the_file_before_and_the_folders_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalObjects(tmp_path / "a")
    steps: list[str] = []
    sync, rename = os.fsync, os.rename

    def record_sync(descriptor: int) -> None:
        steps.append(
            "sync " + os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path / "a").split("-")[0]
        )
        sync(descriptor)

    def record_rename(source: str, target: str) -> None:
        steps.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "rename", record_rename)
    store.put("x/y/name", b"data")
    assert steps == [f"sync scratch/{os.getpid()}", "sync .", "sync x", "rename", "sync x/y"]
    assert store.get("x/y/name") == b"data"


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_a_store_keeps_objects_by_name(tmp_path: Path, kind: str) -> None:
    store = LocalObjects(tmp_path) if kind == "local" else RemoteObjects(MemoryStore(), tmp_path)
    assert store.list("p") == []
    store.put("p/b", b"1")
    store.put("p/a/c", b"22")
    store.put("q/a", b"")
    file = store.scratch() / "f"
    file.write_bytes(b"333")
    store.put_file("p/c", file)
    assert not file.exists()
    assert [(info.name, info.size) for info in store.list("p")] == [("p/a/c", 2), ("p/b", 1), ("p/c", 3)]
    assert store.local_path("p/c").read_bytes() == store.get("p/c") == b"333"
    store.delete("p/c")
    store.delete("p/c")
    with pytest.raises(ObjectMissing):
        store.get("p/c")


def test_a_remote_stores_cache_is_bounded(tmp_path: Path) -> None:
    store = RemoteObjects(MemoryStore(), tmp_path, cache_bytes_max=250)
    for name in "abcd":
        store.put(name, name.encode() * 100)
        assert store.local_path(name).read_bytes() == name.encode() * 100
    assert sum(path.stat().st_size for path in (tmp_path / "fetched").iterdir()) <= 250


def test_opening_leaves_other_processes_unfinished_files_alone(tmp_path: Path) -> None:
    LocalObjects(tmp_path)
    mine, dead = tmp_path / "scratch" / f"{os.getpid()}-1.put", tmp_path / "scratch" / "4194305-1.put"
    mine.write_bytes(b"")
    dead.write_bytes(b"")
    LocalObjects(tmp_path)
    assert (mine.exists(), dead.exists()) == (True, False)


def test_reading_creates_nothing(tmp_path: Path) -> None:
    store = open_objects(str(tmp_path / "none"), read_only=True)
    assert store.list("segments") == []
    assert not (tmp_path / "none").exists()


def test_an_unknown_scheme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError) as caught:
        open_objects("gopher://x/y", cache=tmp_path)
    assert caught.value.code == "archive.location"
