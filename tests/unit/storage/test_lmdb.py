"""What only the LMDB backend can get wrong: processes, crashes, growth, disks and rights."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from althing.ledger.state.backend import bind_identity
from althing.ledger.state.store import StateStore
from althing.protocol.errors import StateError
from althing.storage.lmdb import LmdbBackend

FORK = multiprocessing.get_context("fork")


def in_child(body: Callable[[], None]) -> None:
    """Run in a forked process, for what changes the process itself; fails when `body` does."""
    child = FORK.Process(target=body)
    child.start()
    child.join(30)
    assert child.exitcode == 0


def test_a_second_writer_is_told_who_holds_the_state(tmp_path: Path) -> None:
    first = LmdbBackend(tmp_path / "state", durable=False)

    def second() -> None:
        with pytest.raises(StateError) as caught:
            LmdbBackend(tmp_path / "state")
        assert caught.value.code == "state.locked"
        assert str(os.getppid()) in caught.value.message
        assert "read-only" in caught.value.hint

    in_child(second)
    with pytest.raises(StateError, match=r"state\.locked"):
        LmdbBackend(tmp_path / "state")
    first.close()
    LmdbBackend(tmp_path / "state", durable=False).close()


def test_the_lock_of_a_killed_writer_is_free(tmp_path: Path) -> None:
    def writer() -> None:
        LmdbBackend(tmp_path / "state", durable=False).write({"t": {b"k": b"v"}})
        os.kill(os.getpid(), signal.SIGKILL)

    child = FORK.Process(target=writer)
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    backend = LmdbBackend(tmp_path / "state", durable=False)
    with backend.read() as snapshot:
        assert snapshot.get("t", b"k") == b"v"
    backend.close()


# A process of its own, as an explorer would be: it polls until the writer has added a table it did not know.
FOLLOW = """
import sys, time
from pathlib import Path
from althing.protocol.errors import StateError
from althing.storage.lmdb import LmdbBackend

backend = LmdbBackend(Path(sys.argv[1]), readonly=True)
print("open", flush=True)
while True:
    with backend.read() as snapshot:
        if snapshot.get("late", b"done") == b"yes":
            print(sum(1 for _ in snapshot.scan("t")), flush=True)
            break
    time.sleep(0.005)
try:
    backend.write({"t": {b"k": b"v"}})
except StateError as error:
    print(error.code, flush=True)
backend.close()
"""


def test_a_reading_process_follows_a_writer_that_grows_and_adds_tables(tmp_path: Path) -> None:
    path = tmp_path / "state"
    writer = LmdbBackend(path, durable=False, map_bytes_start=1 << 18)
    writer.write({"t": {b"first": b"v"}})
    command = [sys.executable, "-c", FOLLOW, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        for batch in range(8):
            writer.write({"t": {b"%d/%d" % (batch, number): bytes(2000) for number in range(200)}})
        writer.write({"late": {b"done": b"yes"}})
        assert reader.stdout.read().split() == ["1601", "state.read_only"]
        assert reader.wait(60) == 0
    writer.close()


def test_growing_waits_for_the_snapshots_of_other_threads(tmp_path: Path) -> None:
    backend = LmdbBackend(tmp_path / "state", durable=False, map_bytes_start=1 << 18)
    backend.write({"t": {b"k": b"old"}})
    opened, release = threading.Event(), threading.Event()
    seen: list[bytes | None] = []

    def hold() -> None:
        with backend.read() as snapshot:
            opened.set()
            release.wait(30)
            seen.append(snapshot.get("t", b"k"))

    def grow() -> None:
        backend.write({"t": {b"k": b"new", **{b"%d" % number: bytes(4000) for number in range(500)}}})

    holder, grower = threading.Thread(target=hold), threading.Thread(target=grow)
    holder.start()
    assert opened.wait(30)
    grower.start()
    grower.join(0.2)
    assert grower.is_alive()
    release.set()
    grower.join(30)
    holder.join(30)
    assert seen == [b"old"]
    with backend.read() as snapshot:
        assert snapshot.get("t", b"k") == b"new"
    backend.close()


def test_a_disk_that_fills_up_keeps_the_last_version(tmp_path: Path) -> None:
    """A limit on file size makes the kernel refuse the write, as a full disk does."""

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        backend = LmdbBackend(tmp_path / "state")
        backend.write({"t": {b"k": b"kept"}})
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        with pytest.raises(StateError) as caught:
            backend.write({"t": {b"k": b"lost", **{b"%d" % number: bytes(4000) for number in range(500)}}})
        assert caught.value.code == "state.disk_full"
        with backend.read() as snapshot:
            assert snapshot.get("t", b"k") == b"kept"
            assert snapshot.get("t", b"1") is None
        backend.write({"t": {b"k": b"kept again"}})

    in_child(fill)
    backend = LmdbBackend(tmp_path / "state")
    with backend.read() as snapshot:
        assert list(snapshot.scan("t")) == [(b"k", b"kept again")]
    backend.close()


def test_a_directory_without_the_right_to_write(tmp_path: Path) -> None:
    LmdbBackend(tmp_path / "state", durable=False).close()
    os.chmod(tmp_path / "state", 0o555)
    for name in os.listdir(tmp_path / "state"):
        os.chmod(tmp_path / "state" / name, 0o444)
    os.chmod(tmp_path, 0o755)

    def as_nobody() -> None:
        os.chdir(tmp_path)  # relative paths then need no rights on the directories above
        if os.getuid() == 0:  # for whom no right is missing
            os.setgid(65534)
            os.setuid(65534)
        for path in (Path("state"), Path("state/new")):
            with pytest.raises(StateError) as caught:
                LmdbBackend(path)
            assert caught.value.code == "state.read_only"
            assert caught.value.hint

    try:
        in_child(as_nobody)
    finally:
        os.chmod(tmp_path / "state", 0o755)


def test_files_that_are_no_state(tmp_path: Path) -> None:
    with pytest.raises(StateError) as caught:
        LmdbBackend(tmp_path / "none", readonly=True)
    assert caught.value.code == "state.uninitialised"
    assert not (tmp_path / "none").exists()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "data.mdb").write_bytes(random.Random(1).randbytes(8192))
    with pytest.raises(StateError) as caught:
        LmdbBackend(tmp_path / "bad")
    assert caught.value.code == "state.damaged"
    fresh = LmdbBackend(tmp_path / "fresh", durable=False)
    fresh.close()
    reader = LmdbBackend(tmp_path / "fresh", readonly=True)
    with pytest.raises(StateError, match=r"state\.uninitialised"):
        bind_identity(reader, chain=b"c", format_version=1)
    reader.close()


def test_what_was_written_is_there_after_closing(tmp_path: Path) -> None:
    backend = LmdbBackend(tmp_path / "state")
    backend.write({"t": {b"k": b"v"}})
    backend.close()
    again = LmdbBackend(tmp_path / "state", readonly=True)
    with again.read() as snapshot:
        assert list(snapshot.scan("t")) == [(b"k", b"v")]
    again.close()


def _writes(version: int) -> dict[bytes, bytes | None]:
    rng = random.Random(version)
    return {b"key/%d" % rng.randrange(900): rng.choice([None, rng.randbytes(40)]) for _ in range(300)}


def _commit_for_ever(path: Path, progress: object) -> None:
    store = StateStore(LmdbBackend(path))
    while True:
        version = (store.latest_version or 0) + 1
        staged = store.stage(version, _writes(version))
        progress.send(version)  # type: ignore[attr-defined]
        store.commit(staged, {"app.root": {b"%d" % version: staged.root}})
        store.prune(3)


def crash_rounds(path: Path, rounds: int, seed: int) -> None:
    """Kill the writer at a random moment of a commit; each time, one whole version must be there."""
    rng = random.Random(seed)
    latest = 0
    for _ in range(rounds):
        receive, send = FORK.Pipe(duplex=False)
        child = FORK.Process(target=_commit_for_ever, args=(path, send))
        child.start()
        for _ in range(rng.randrange(1, 4)):
            assert receive.poll(30)
            started = receive.recv()
        deadline = time.perf_counter() + rng.random() * 0.004
        while time.perf_counter() < deadline:
            pass
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join(30)
        send.close()
        while receive.poll():  # versions that began after the last one we waited for
            try:
                started = receive.recv()
            except EOFError:
                break
        backend = LmdbBackend(path)
        store = StateStore(backend)
        found = store.latest_version or 0
        assert latest <= found <= started
        if found:
            state: dict[bytes, bytes | None] = {}
            for version in range(1, found + 1):
                state.update(_writes(version))
            expected = {key: value for key, value in state.items() if value is not None}
            assert dict(store.iterate()) == expected
            with backend.read() as snapshot:
                assert snapshot.get("app.root", b"%d" % found) == store.root()
                assert snapshot.get("app.root", b"%d" % (found + 1)) is None
        latest = found
        backend.close()
    assert latest > rounds // 4, "the writer made hardly any progress"


def test_a_killed_writer_leaves_the_old_or_the_new_version(tmp_path: Path) -> None:
    crash_rounds(tmp_path / "state", rounds=12, seed=1)


@pytest.mark.long
def test_a_writer_killed_a_hundred_times(tmp_path: Path) -> None:
    crash_rounds(tmp_path / "state", rounds=120, seed=2)
