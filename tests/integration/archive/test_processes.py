"""A node reads while a gateway writes and compacts, and a killed gateway loses nothing that it had written."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from althing.archive import ArchiveReader, AsOf, ReadingsQuery, SegmentWriter, open_objects
from althing.archive.verify import verify_archive

from .writing_process import GATEWAY, GENESIS, sealed

SCRIPT = Path(__file__).with_name("writing_process.py")


def start(folder: Path, batches: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), str(folder), str(batches)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def whole(reader: ArchiveReader, count: int) -> list[int]:
    found, cursor = [], None
    while True:
        page = reader.readings(ReadingsQuery(0, AsOf(count, count), limit=40, cursor=cursor))
        found += [row.sequence for row in page.readings]
        cursor = page.next
        if cursor is None:
            return found


def test_a_node_reads_while_a_gateway_writes_and_compacts(tmp_path: Path) -> None:
    reader = ArchiveReader(open_objects(str(tmp_path), read_only=True), wait_s=0)
    with start(tmp_path, 40) as process:
        assert process.stdout is not None
        counts = 0
        for line in process.stdout:
            count = int(line)
            # What the writer has called durable is found at once, in one piece, whatever is being merged.
            assert whole(reader, count) == list(range(count))
            assert reader.batch_path(reader.message(0, count // 2)).size == 1
            counts += 1
    assert (process.returncode, counts) == (0, 40)
    assert len(list(tmp_path.rglob("*.parquet"))) < 20


def kill_rounds(tmp_path: Path, rounds: int, seed: int) -> None:
    rng = random.Random(seed)
    durable = 0
    for _ in range(rounds):
        with start(tmp_path, durable + 60) as process:
            assert process.stdout is not None
            for _ in range(rng.randint(1, 12)):
                durable = int(process.stdout.readline())
            process.kill()
            durable = max([durable, *[int(line) for line in process.stdout.read().split()]])
        reader = ArchiveReader(open_objects(str(tmp_path), read_only=True), wait_s=0)
        assert whole(reader, durable) == list(range(durable))
        reader.close()
        # A batch may have been stored without the writer having said so; writing it again is no second one.
        writer = SegmentWriter(open_objects(str(tmp_path)), GENESIS)
        stored = writer.next_number(GATEWAY)
        assert durable <= stored <= durable + 1
        writer.write(sealed(stored - 1))
        assert writer.next_number(GATEWAY) == stored
        durable = stored
    assert all(result.ok for result in verify_archive(open_objects(str(tmp_path), read_only=True), GENESIS))


def test_a_killed_writer_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    kill_rounds(tmp_path, 4, seed=1)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_writer_killed_a_hundred_times(tmp_path: Path) -> None:
    kill_rounds(tmp_path, 100, seed=2)
