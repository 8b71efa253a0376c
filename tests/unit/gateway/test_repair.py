"""Repair: of a damaged log everything that can be read is kept, what cannot is named, and the streams stay whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from althing.gateway.errors import SpoolCorruptError
from althing.gateway.ingest.port import Accepted, Outcome
from althing.gateway.spool.records import MessageRecord
from althing.gateway.spool.recovery import segments_of
from althing.gateway.spool.repair import repair_spool
from althing.gateway.spool.segment import HEADER_BYTES, segment_path
from althing.gateway.spool.spool import Spool, SpoolConfig

SMALL = SpoolConfig(segment_bytes=4096)
STREAMS = ("d/a", "d/b", "e/a")


async def fill(folder: Path) -> None:
    spool = Spool(folder, bytes(32), SMALL)
    for stream in STREAMS:
        spool.adopt(stream, 0)
    for turn in range(12):
        answers: list[asyncio.Future[Outcome]] = []
        for number, stream in enumerate(STREAMS):
            for _ in range(1 + (turn + number) % 3):
                answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
                body = f"{stream} {spool.sequences[stream]} ".encode().ljust(60, b".")
                device = stream.partition("/")[0]
                spool.append_message(
                    stream, stream.encode(), number, device, 7, b"text/plain", True, body, None, b"", answer.set_result
                )
                answers.append(answer)
        assert all(isinstance(outcome, Accepted) for outcome in await asyncio.gather(*answers))
    await spool.close()


async def read(folder: Path) -> dict[str, list[tuple[int, bytes]]]:
    spool = Spool(folder, bytes(32), SMALL)
    found: dict[str, list[tuple[int, bytes]]] = {stream: [] for stream in STREAMS}
    for record in spool.read(spool.state.confirmed, spool.stretch(10**9, 10**9)):
        assert isinstance(record, MessageRecord)
        found[record.stream].append((record.sequence, record.body))
    await spool.close()
    return found


@given(st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("spool")
    asyncio.run(fill(folder))
    before = asyncio.run(read(folder))
    numbers = segments_of(folder)
    assert len(numbers) > 1
    path = segment_path(folder, data.draw(st.sampled_from(numbers[:-1]), label="segment"))
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(HEADER_BYTES, len(content) - 1), label="at")
    length = data.draw(st.integers(1, 600), label="bytes")
    for at in range(start, min(start + length, len(content))):
        content[at] ^= 0x5A
    path.write_bytes(content)
    with pytest.raises(SpoolCorruptError):
        asyncio.run(read(folder))
    report = repair_spool(folder)
    after = asyncio.run(read(folder))
    lost = {(one.stream, one.first + index) for one in report.lost for index in range(one.count)}
    assert report.regions >= 1
    assert len(list(folder.glob("*.damaged"))) == report.regions
    for stream in STREAMS:
        kept = dict(after[stream])
        for sequence, body in before[stream]:
            if (stream, sequence) in lost:
                assert kept[sequence] == b"lost"
            elif sequence in kept:
                assert kept[sequence] == body
            else:
                # Only what nothing of its stream follows, or precedes, can vanish without a trace.
                assert not kept or sequence > max(kept) or sequence < min(kept)
        first = min(kept, default=0)
        assert [sequence for sequence, _ in after[stream]] == list(range(first, first + len(kept)))
    assert repair_spool(folder).regions == 0


def test_a_sound_log_is_left_alone(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.seg")}
    assert repair_spool(tmp_path).regions == 0
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.seg")} == before
