"""The spool: nothing answered before it is durable, nothing durable forgotten, damage told apart from a torn end."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from althing.gateway.errors import SpoolCorruptError, SpoolError
from althing.gateway.ingest.port import Accepted, Busy, Outcome, Refused
from althing.gateway.spool.records import MessageRecord, RefusalRecord
from althing.gateway.spool.recovery import segments_of
from althing.gateway.spool.segment import segment_path
from althing.gateway.spool.spool import Spool, SpoolConfig
from althing.service import faultpoints

GENESIS = bytes(32)
SMALL = SpoolConfig(segment_bytes=4096)


@pytest.fixture(autouse=True)
def _no_faults() -> Iterator[None]:
    yield
    faultpoints.install(None)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def put(
    spool: Spool, stream: str, body: bytes, *, counter: int | None = None, key: bytes = b""
) -> asyncio.Future[Outcome]:
    answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    device = stream.partition("/")[0]
    spool.adopt(stream, 0)
    spool.append_message(
        stream, stream.encode(), 1, device, 1_000, b"text/plain", True, body, counter, key, answer.set_result
    )
    return answer


def bodies(spool: Spool) -> list[bytes]:
    end = spool.stretch(10**9, 10**9)
    found = spool.read(spool.state.confirmed, end)
    return [record.body for record in found if isinstance(record, MessageRecord)]


def test_sequences_and_content_survive_a_restart(tmp_path: Path) -> None:
    async def test() -> None:
        spool = Spool(tmp_path, GENESIS)
        answers = [put(spool, "d/a", b"%d" % n, counter=n) for n in range(5)] + [put(spool, "d/b", b"x", key=b"k")]
        assert await asyncio.gather(*answers) == [Accepted(n) for n in range(5)] + [Accepted(0)]
        await spool.close()
        spool = Spool(tmp_path, GENESIS)
        assert bodies(spool) == [b"0", b"1", b"2", b"3", b"4", b"x"]
        assert spool.pending.messages == 6
        assert spool.index.find_counter("d", 4) is not None
        assert spool.index.find_counter("d", 5) is None
        assert spool.index.find_key("d/b", b"k") is not None
        assert await put(spool, "d/a", b"5") == Accepted(5)
        await spool.close()

    run(test)


def test_a_crash_at_every_passage_loses_no_answered_message(tmp_path: Path) -> None:
    """Another process is killed at a fault point; what it had printed as accepted is there, in order, without a gap."""
    script = Path(__file__).with_name("spool_crash.py")
    for name, count in (("spool.open_segment", 2), ("spool.write", 7), ("spool.fsync", 9), ("spool.synced", 11)):
        folder = tmp_path / name
        done = subprocess.run(
            [sys.executable, str(script), str(folder)],
            env={**os.environ, "ALTHING_FAULT": f"{name}:{count}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == -9, done.stderr
        answered = [int(line) for line in done.stdout.split()]
        assert answered == list(range(len(answered)))

        async def check(folder: Path = folder, answered: list[int] = answered) -> None:
            spool = Spool(folder, GENESIS)
            found = [int(body.split()[0]) for body in bodies(spool)]
            assert found[: len(answered)] == answered
            assert found == list(range(len(found)))
            assert await put(spool, "d/a", b"next") == Accepted(len(found))
            await spool.close()

        run(check)


def test_torn_end_is_cut(tmp_path: Path) -> None:
    async def fill() -> None:
        spool = Spool(tmp_path, GENESIS)
        await put(spool, "d/a", b"first")
        await put(spool, "d/a", b"second")
        await spool.close()

    async def reopened() -> None:
        spool = Spool(tmp_path, GENESIS)
        assert bodies(spool) == [b"first"]
        assert spool.cut_bytes > 0
        assert await put(spool, "d/a", b"again") == Accepted(1)
        await spool.close()
        spool = Spool(tmp_path, GENESIS)
        assert bodies(spool) == [b"first", b"again"]
        await spool.close()

    run(fill)
    path = segment_path(tmp_path, 1)
    os.truncate(path, path.stat().st_size - 3)
    run(reopened)


def test_a_body_cannot_pose_as_a_group(tmp_path: Path) -> None:
    """The end is torn within a message that holds the bytes of an earlier group: it is cut all the same."""

    async def fill() -> None:
        spool = Spool(tmp_path, GENESIS)
        await put(spool, "d/a", b"first")
        data = segment_path(tmp_path, 1).read_bytes().rstrip(b"\0")
        # Without the salt of its own file, which no device knows.
        forged = data[68:].replace(data[8:16], b"saltsalt")
        await put(spool, "d/a", forged + b"tail")
        await spool.close()

    async def reopened() -> None:
        spool = Spool(tmp_path, GENESIS)
        assert bodies(spool) == [b"first"]
        await spool.close()

    run(fill)
    path = segment_path(tmp_path, 1)
    os.truncate(path, path.stat().st_size - 1)
    run(reopened)


def test_damage_before_the_end_is_told(tmp_path: Path) -> None:
    async def fill() -> None:
        spool = Spool(tmp_path, GENESIS)
        for n in range(5):
            await put(spool, "d/a", b"body-%d" % n)
        await spool.close()

    run(fill)
    path = segment_path(tmp_path, 1)
    data = bytearray(path.read_bytes())
    at = data.find(b"body-2")
    data[at] ^= 1
    path.write_bytes(data)

    async def open_it() -> None:
        Spool(tmp_path, GENESIS)

    with pytest.raises(SpoolCorruptError) as raised:
        run(open_it)
    assert raised.value.code == "spool.corrupt"
    assert raised.value.path == path
    assert 0 < raised.value.offset < at


@pytest.mark.parametrize("lost", [1, 2])
def test_a_missing_or_shortened_segment_is_told(tmp_path: Path, lost: int) -> None:
    async def fill() -> None:
        spool = Spool(tmp_path, GENESIS, SMALL)
        for n in range(30):
            await put(spool, "d/a", b"%d" % n + b"." * 1000)
        await spool.close()

    async def open_it() -> None:
        Spool(tmp_path, GENESIS, SMALL)

    run(fill)
    path = segment_path(tmp_path, 2)
    if lost == 1:
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(SpoolCorruptError) as raised:
        run(open_it)
    assert raised.value.path == path


def test_second_process_and_foreign_chain_are_refused(tmp_path: Path) -> None:
    async def test() -> None:
        spool = Spool(tmp_path, GENESIS)
        with pytest.raises(SpoolError) as raised:
            Spool(tmp_path, GENESIS)
        assert raised.value.code == "spool.locked"
        assert str(os.getpid()) in raised.value.message
        await spool.close()
        with pytest.raises(SpoolError) as raised:
            Spool(tmp_path, b"\1" * 32)
        assert raised.value.code == "spool.foreign_chain"
        await Spool(tmp_path, GENESIS).close()

    run(test)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    async def test() -> None:
        with pytest.raises(SpoolError) as raised:
            Spool(tmp_path / "spool", GENESIS)
        assert raised.value.code == "spool.unwritable"

    run(test)


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("not a folder")

    async def test() -> None:
        with pytest.raises(SpoolError) as raised:
            Spool(tmp_path / "spool", GENESIS)
        assert raised.value.code == "spool.unwritable"

    run(test)


def test_full_disk_is_busy_and_nothing_is_taken(tmp_path: Path) -> None:
    async def test() -> None:
        spool = Spool(tmp_path, GENESIS, SpoolConfig(retry_s=0))
        assert await put(spool, "d/a", b"before", counter=1) == Accepted(0)
        full = True

        def hook(name: str) -> None:
            if full and name == "spool.write":
                raise OSError(errno.ENOSPC, "no space left on device")

        faultpoints.install(hook)
        answers = [put(spool, "d/a", b"lost", counter=2), put(spool, "d/b", b"lost", key=b"k")]
        assert await asyncio.gather(*answers) == [Busy(0), Busy(0)]
        assert spool.failure == "spool.full"
        assert spool.index.find_counter("d", 2) is None
        assert spool.index.find_key("d/b", b"k") is None
        full = False
        assert await put(spool, "d/a", b"after", counter=2) == Accepted(1)
        assert spool.failure == ""
        await spool.close()
        spool = Spool(tmp_path, GENESIS)
        assert bodies(spool) == [b"before", b"after"]
        await spool.close()

    run(test)


@pytest.mark.parametrize("where", ["spool.write", "spool.fsync"])
def test_room_is_found_again_without_a_message_and_nothing_is_taken_before(tmp_path: Path, where: str) -> None:
    async def test() -> None:
        spool = Spool(tmp_path, GENESIS, SpoolConfig(retry_s=0, segment_bytes=64 * 1024))
        assert await put(spool, "d/a", b"before") == Accepted(0)
        full = True

        def hook(name: str) -> None:
            if full and name in (where, "spool.room"):
                raise OSError(errno.ENOSPC, "no space left on device")

        faultpoints.install(hook)
        assert await put(spool, "d/a", b"lost" * 9_000) == Busy(0)
        for _ in range(20):
            await asyncio.sleep(0.001)
            assert (spool.failure, spool.room) == ("spool.full", False)
        full = False
        while not spool.room:
            await asyncio.sleep(0.001)
        assert spool.failure == ""
        assert await put(spool, "d/a", b"after") == Accepted(1)
        await spool.close()
        spool = Spool(tmp_path, GENESIS)
        assert bodies(spool) == [b"before", b"after"]
        await spool.close()

    run(test)


def test_a_first_segment_that_finds_no_room(tmp_path: Path) -> None:
    async def test() -> None:
        spool = Spool(tmp_path, GENESIS, SpoolConfig(retry_s=0))
        full = True

        def hook(name: str) -> None:
            if full and name == "spool.open_segment":
                raise OSError(errno.ENOSPC, "no space left on device")

        faultpoints.install(hook)
        assert await put(spool, "d/a", b"lost") == Busy(0)
        full = False
        while not spool.room:
            await asyncio.sleep(0.001)
        assert await put(spool, "d/a", b"first") == Accepted(0)
        await spool.close()
        spool = Spool(tmp_path, GENESIS)
        assert bodies(spool) == [b"first"]
        await spool.close()

    run(test)


def test_after_a_failed_fsync_only_a_restart_helps(tmp_path: Path) -> None:
    async def test() -> None:
        spool = Spool(tmp_path, GENESIS, SpoolConfig(retry_s=0))
        assert await put(spool, "d/a", b"before") == Accepted(0)

        def hook(name: str) -> None:
            if name == "spool.fsync":
                raise OSError(errno.EIO, "input/output error")

        faultpoints.install(hook)
        assert await put(spool, "d/a", b"unsure") == Busy(0)
        faultpoints.install(None)
        assert spool.failure == "spool.failed"
        assert not spool.room
        await spool.close()
        spool = Spool(tmp_path, GENESIS)
        # It reached the disk after all, unanswered; its sender comes again.
        assert bodies(spool)[:1] == [b"before"]
        assert spool.room
        await spool.close()

    run(test)


def test_bounds_make_it_busy(tmp_path: Path) -> None:
    async def test() -> None:
        spool = Spool(tmp_path, GENESIS, SpoolConfig(bytes_max=3000, segment_bytes=4096))
        assert spool.room
        for n in range(3):
            await put(spool, "d/a", b"." * 1000)
            assert n == 2 or spool.room
        assert not spool.room
        assert spool.fill >= 1
        end = spool.stretch(10**9, 10**9)
        await spool.release(end, 1, {"d/a": 3})
        assert spool.room
        await spool.close()

    run(test)


def test_released_segments_go_and_their_memory_stays(tmp_path: Path) -> None:
    async def test() -> None:
        spool = Spool(tmp_path, GENESIS, SMALL)
        for n in range(40):
            await put(spool, "d/a", b"%d " % n + b"." * 1000, counter=n)
        assert len(segments_of(tmp_path)) > 5
        end = spool.stretch(10**9, 10**9)
        await spool.release(end, 1, {"d/a": 40})
        assert len(segments_of(tmp_path)) == 1
        assert spool.pending.messages == 0
        assert spool.waiting == {}
        await put(spool, "d/a", b"later", counter=40)
        await spool.close()
        spool = Spool(tmp_path, GENESIS, SMALL)
        assert bodies(spool) == [b"later"]
        assert spool.sequences["d/a"] == 41
        assert spool.index.find_counter("d", 39) is not None
        await spool.close()

    run(test)


def test_a_batchs_range_stays_its_own(tmp_path: Path) -> None:
    """What arrives after a range was fixed belongs to the next one, however little it is."""

    async def test() -> None:
        spool = Spool(tmp_path, GENESIS)
        await put(spool, "d/a", b"one")
        end = spool.stretch(10**9, 10**9)
        await put(spool, "d/a", b"two")
        assert [r.body for r in spool.read(spool.state.confirmed, end)] == [b"one"]  # type: ignore[union-attr]
        await spool.release(end, 1, {"d/a": 1})
        assert spool.pending.messages == 1
        assert spool.waiting == {"d/a": 1}
        assert bodies(spool) == [b"two"]
        await spool.close()

    run(test)


def test_refusals_are_durable_before_they_are_told(tmp_path: Path) -> None:
    async def test() -> None:
        spool = Spool(tmp_path, GENESIS)
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        record = RefusalRecord(5, "d", "a", "mqtt", "payload.json", "not JSON", b"h" * 32, 9)
        spool.append_refusal(record, answer.set_result)
        assert not answer.done()
        assert await answer == Refused("payload.json", "not JSON")
        await spool.close()
        spool = Spool(tmp_path, GENESIS)
        assert list(spool.refusals) == [record]
        assert spool.pending == (0, 1, spool.pending.bytes, 5)
        await spool.close()

    run(test)
