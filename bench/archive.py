"""Bytes on disk per payload byte, write speed, and queries over many batches; one process, no network.

    python bench/archive.py [--batches 1000000] [--folder DIR] [--json bench/results/archive.json]

Sizes: messages of 1, 10 and 100 SenML records (JSON), one message per batch — the worst case for overhead — and many; once
with values that compress well, once with values that do not. Bytes are blocks of the file system. Chain and state are not
in these figures. Queries: batches of two messages over 1,000 streams, one of them in every batch, all merged; everything is
in the page cache, so this is the processor's time, not a disk's. `target` of queries, 250 ms, is our own, not the issue's.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from althing.archive import (
    ArchiveReader,
    AsOf,
    ReadingsQuery,
    Sealed,
    SegmentWriter,
    SeriesQuery,
    StreamPart,
    open_objects,
)
from althing.archive.compaction import compact
from althing.archive.query import Axis
from althing.archive.verify import verify_archive
from althing.protocol.batch import Leaf, Origin, build_batch
from althing.protocol.hashing import sha256
from althing.protocol.schema import Quantity, StreamSchema

SECOND = 10**9
T0 = 1_700_000_000
GENESIS = sha256(b"bench")
GATEWAY = b"g" * 20
SCHEMA = StreamSchema(
    (Quantity("temperature", "Cel"), Quantity("humidity", "%RH")), content_type="application/senml+json"
)
RANDOM = random.Random(7)


class Walk:
    """A sensor of small steps with two decimals, one record per second: what compresses well."""

    name = "two decimals, regular times"

    def __init__(self) -> None:
        self.hundredths = 2150

    def next(self) -> str:
        self.hundredths += 5 * RANDOM.randint(-3, 3)
        return f"{self.hundredths // 100}.{self.hundredths % 100:02d}"

    def time(self, second: int) -> str:
        return str(second)


class Noise(Walk):
    """Full-precision values at times with random milliseconds: what compresses badly."""

    name = "eight random decimals, irregular times"

    def next(self) -> str:
        return f"{RANDOM.randint(10, 99)}.{RANDOM.randint(0, 10**8 - 1):08d}"

    def time(self, second: int) -> str:
        return f"{second}.{RANDOM.randint(0, 999):03d}"


def senml(walk: Walk, records: int, start_s: int) -> bytes:
    names = ('"temperature","u":"Cel"', '"humidity","u":"%RH"')
    return (
        "["
        + ",".join(f'{{"n":{names[at % 2]},"v":{walk.next()},"t":{walk.time(start_s + at)}}}' for at in range(records))
        + "]"
    ).encode()


def sealed(number: int, parts: Sequence[tuple[int, int, Sequence[bytes]]], arrival_s: int) -> Sealed:
    """A batch of (stream, first sequence, bodies)."""
    groups = []
    for stream, first, bodies in parts:
        leaves = [
            Leaf(1, RANDOM.randbytes(16), f"device-{stream:05d}/main", first + at, arrival_s * SECOND, SCHEMA.content_type,
                 Origin.GATEWAY, body).to_bytes()
            for at, body in enumerate(bodies)
        ]  # fmt: skip
        groups.append((stream, first, leaves))
    batch = build_batch(groups)
    table = tuple(StreamPart(s, f"device-{s:05d}/main", first, len(bodies), 0, SCHEMA) for s, first, bodies in parts)
    return Sealed(GATEWAY, number, batch.root, number + 2, arrival_s * SECOND, table, batch.leaves)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def sizes(records: int, streams: int, batches: int, kind: type[Walk] = Walk) -> list[dict[str, Any]]:
    """Bytes per payload byte, fresh and compacted, and readings per second written."""
    walks = [kind() for _ in range(streams)]
    made, payloads = [], []
    for number in range(batches):
        start = T0 + number * records
        parts = [(stream, number, [senml(walks[stream], records, start)]) for stream in range(streams)]
        payloads.append(sum(len(bodies[0]) for _, _, bodies in parts))
        made.append(sealed(number, parts, start + records))
    # Never compacted: only the writes, so that their time is theirs alone.
    with tempfile.TemporaryDirectory() as name:
        writer = SegmentWriter(open_objects(name), GENESIS)
        started = time.perf_counter()
        for batch in made:
            writer.write(batch)
        took = time.perf_counter() - started
        fresh = on_disk(Path(name))
    # As a gateway runs: a compaction after every 16 batches. The worst moment is just before one, so the disk is read
    # after each write of the second half and the largest ratio to the payload so far counts.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = SegmentWriter(open_objects(name), GENESIS)
        worst, written = 0.0, 0
        for number, batch in enumerate(made):
            writer.write(batch)
            written += payloads[number]
            if number >= batches // 2:
                worst = max(worst, on_disk(folder) / written)
            if number % 16 == 15:
                compact(writer)
        files = len(writer.catalogue.segments())
        compact(writer, everything=True)
        merged = on_disk(folder)
        started = time.perf_counter()
        assert all(result.ok for result in verify_archive(writer.store, GENESIS))
        checked = time.perf_counter() - started
    payload = sum(payloads)
    readings = records * streams * batches
    shape = f"packs of {records}, {streams} messages a batch, {batches} batches, {kind.name}"
    target = 1.5 if records == 100 else None
    return [
        figure(f"disk, worst moment while compacting: {shape}", worst, "x payload", target_value=target),
        figure(f"segments at the end of that: {shape}", files, "files"),
        figure(f"disk, all merged: {shape}", merged / readings, "B/reading", payload / readings, target=target),
        figure(f"disk, never compacted: {shape}", fresh / readings, "B/reading", payload / readings),
        figure(f"write: {shape}", readings / took, "readings/s"),
        figure(f"write one batch: {shape}", took / batches * 1e3, "ms"),
        figure(f"verify: {shape}", readings / checked, "readings/s"),
    ]


def queries(batches: int, folder: Path) -> list[dict[str, Any]]:
    """Queries over many batches of two messages: one of stream 0, which is in every batch, one of 999 others in turn."""
    streams = 1000
    writer = SegmentWriter(open_objects(str(folder)), GENESIS)
    next_sequences = [0] * streams
    walk = Walk()
    chunk = []
    started = time.perf_counter()
    for number in range(batches):
        parts = []
        for stream in (0, 1 + number % (streams - 1)):
            parts.append((stream, next_sequences[stream], [senml(walk, 1, T0 + number)]))
            next_sequences[stream] += 1
        chunk.append(sealed(number, parts, T0 + number))
        if len(chunk) == 4096 or number == batches - 1:
            writer.write_all(chunk)
            chunk = []
    filled = time.perf_counter() - started
    started = time.perf_counter()
    compact(writer, everything=True)
    merged = time.perf_counter() - started
    started = time.perf_counter()
    reader = ArchiveReader(open_objects(str(folder), read_only=True), wait_s=0)
    reader.catalogue.refresh()
    opened = time.perf_counter() - started
    everywhere, rare = AsOf(batches + 2, next_sequences[0]), AsOf(batches + 2, next_sequences[10])
    started = time.perf_counter()
    reader.readings(ReadingsQuery(0, everywhere, limit=100, descending=True))
    first = time.perf_counter() - started
    middle = (T0 + batches // 2) * SECOND
    hour = (middle, middle + 3600 * SECOND)
    rng = random.Random(1)

    def path_of_random() -> None:
        reader.batch_path(reader.message(0, rng.randrange(next_sequences[0])))

    asked: list[tuple[str, Callable[[], object]]] = []
    for stream, head in ((0, everywhere), (10, rare)):
        of = f"of a stream with {head.next_sequence:,} readings"
        for what, query in (
            ("newest 100", ReadingsQuery(stream, head, limit=100, descending=True)),
            ("oldest 1,000", ReadingsQuery(stream, head, limit=1000)),
            ("one hour by device time, first 1,000", ReadingsQuery(stream, head, Axis.DEVICE, *hour, limit=1000)),
            ("one hour by block time, first 1,000", ReadingsQuery(stream, head, Axis.BLOCK, *hour, limit=1000)),
        ):
            asked.append((f"{what} {of}", lambda query=query: reader.readings(query)))  # type: ignore[misc]
        chart = SeriesQuery(stream, head, "temperature")
        asked.append((f"chart of all, 500 points, {of}", lambda chart=chart: reader.series(chart)))  # type: ignore[misc]
    asked.append(("a random message with its batch path", path_of_random))
    shape = f"over {batches:,} batches"
    figures = [
        figure(f"fill {shape}", filled, "s"),
        figure(f"merge {shape}", merged, "s"),
        figure(f"segments {shape}", len(reader.catalogue.segments()), "files"),
        figure(f"bytes {shape}", size_of(folder) / 1e6, "MB"),
        figure(f"open the catalogue {shape}", opened * 1e3, "ms"),
        figure(f"first query (checks a segment's hash) {shape}", first * 1e3, "ms"),
    ]
    for what, ask in asked:
        times = []
        for _ in range(9):
            started = time.perf_counter()
            ask()
            times.append(time.perf_counter() - started)
        figures.append(figure(f"{what} {shape}", statistics.median(times) * 1e3, "ms", target_value=250))
    return figures


def figure(
    name: str,
    value: float,
    unit: str,
    reference: float | None = None,
    *,
    target: float | None = None,
    target_value: float | None = None,
) -> dict[str, Any]:
    ratio = None if reference is None else round(value / reference, 3)
    aim = target if target is not None else target_value
    measured = ratio if target is not None else value
    return {
        "figure": name,
        "value": round(value, 3),
        "unit": unit,
        "reference": None if reference is None else round(reference, 2),
        "ratio": ratio,
        "target": aim,
        "met": None if aim is None or measured is None else measured <= aim,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = []
    for records, streams, count in ((1, 1, 500), (10, 1, 500), (100, 1, 500), (1, 1000, 20), (100, 100, 20)):
        figures += sizes(records, streams, count)
    for records, streams, count in ((10, 1, 500), (100, 1, 500), (100, 100, 20)):
        figures += sizes(records, streams, count, Noise)
    with tempfile.TemporaryDirectory() as name:
        figures += queries(arguments.batches, arguments.folder or Path(name))
    for one in figures:
        ratio = "" if one["ratio"] is None else f"  {one['ratio']} x payload"
        met = {True: "  met", False: "  MISSED", None: ""}[one["met"]]
        print(f"{one['figure']:<75} {one['value']:>12,.2f} {one['unit']}{ratio}{met}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
