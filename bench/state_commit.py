"""What a commit costs per touched key, and what a state proof costs; one process, on the disk that holds --folder.

    python bench/state_commit.py [--sizes 10000,100000,1000000] [--rounds 15] [--folder DIR] [--json FILE]

Keys of 25 bytes with values of 100 random bytes; each commit changes keys drawn at random, which is the worst case for
any tree kept on disk. The states of all sizes are measured in turns, so that what else the machine does falls on all
alike; a growth is the median of the rounds' own quotients, of elapsed and of processor time (the one to compare where
others use the machine). A commit is `stage` + `commit` (write and fsync). Pruning to three versions runs between, with
figures of its own: work moved there must show. `bytes written` is what the process handed to the kernel. The state of
10^5 keys is also listed in key order and loaded into an empty store from that list, as a snapshot is.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from althing.ledger.state.loading import StateLoader
from althing.ledger.state.store import StateStore
from althing.protocol.codec import encode
from althing.protocol.stateproof import AbsenceProof, PresenceProof, proof_to_cbor_obj, verify_absence, verify_presence
from althing.storage.lmdb import LmdbBackend

BATCHES = (100, 5_000)
LOAD = 50_000
GROWTH_MAX = 2.2
PER_KEY_US_MAX = 40.0
COPIED = 100_000
RANDOM = random.Random(11)


def key_of(number: int) -> bytes:
    return b"acct/%020d" % (number * 2654435761 % 2**61)


@dataclass
class Measured:
    """Per touched key, one entry per round."""

    stage_us: list[float] = field(default_factory=list)
    commit_us: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)
    prune_us: list[float] = field(default_factory=list)
    prune_written: list[float] = field(default_factory=list)

    @property
    def total_us(self) -> list[float]:
        return [stage + commit for stage, commit in zip(self.stage_us, self.commit_us, strict=True)]


class Subject:
    """A state of one size."""

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        path = folder / str(size)
        bulk = LmdbBackend(path, durable=False)
        store = StateStore(bulk)
        for version, start in enumerate(range(0, size, LOAD), start=1):
            numbers = range(start, min(size, start + LOAD))
            store.commit(store.stage(version, {key_of(number): RANDOM.randbytes(100) for number in numbers}))
            store.prune(1, entries_max=2 * LOAD)
        bulk.sync()
        bulk.close()
        self.backend = LmdbBackend(path)
        self.store = StateStore(self.backend)
        self.by_batch = {count: Measured() for count in BATCHES}

    def one_commit(self, count: int, *, keep: bool) -> None:
        writes = {key_of(number): RANDOM.randbytes(100) for number in RANDOM.sample(range(self.size), count)}
        version = (self.store.latest_version or 0) + 1
        written, cpu, start = written_bytes(), time.process_time(), time.perf_counter()
        staged = self.store.stage(version, writes)
        middle = time.perf_counter()
        self.store.commit(staged)
        end, cpu_end, written_end = time.perf_counter(), time.process_time(), written_bytes()
        while self.store.prune(3):
            pass
        cpu_pruned, written_pruned = time.process_time(), written_bytes()
        if keep:
            measured = self.by_batch[count]
            measured.stage_us.append((middle - start) * 1e6 / count)
            measured.commit_us.append((end - middle) * 1e6 / count)
            measured.cpu_us.append((cpu_end - cpu) * 1e6 / count)
            measured.written.append((written_end - written) / count)
            measured.prune_us.append((cpu_pruned - cpu_end) * 1e6 / count)
            measured.prune_written.append((written_pruned - written_end) / count)


def written_bytes() -> int:
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("wchar:"):
            return int(line.split()[1])
    return 0


def median_us(call: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e6)
    return statistics.median(times)


def fsync_us(folder: Path) -> float:
    """One page, written and forced to disk."""
    with open(folder / "fsync", "wb", buffering=0) as file:

        def once() -> None:
            os.pwrite(file.fileno(), bytes(4096), 0)
            os.fsync(file.fileno())

        return median_us(once, 50)


def commit_figures(subjects: Sequence[Subject], sync_us: float) -> list[dict[str, Any]]:
    rows = []
    for count in BATCHES:
        first = subjects[0].by_batch[count]
        for subject in subjects:
            own = subject.by_batch[count]
            value = statistics.median(own.total_us)
            limit = PER_KEY_US_MAX if (count, subject.size) == (5_000, 100_000) else None
            name = f"commit per touched key, {count} keys over {subject.size}"
            rows.append(row(name, value, "us", "fsync of the disk", value * count / sync_us, limit))
            for part, values in (
                ("stage", own.stage_us),
                ("write and fsync", own.commit_us),
                ("processor", own.cpu_us),
                ("processor of pruning, not included", own.prune_us),
            ):
                rows.append(row(f"{name}: {part}", statistics.median(values), "us"))
            rows.append(row(f"{name}: bytes written", statistics.median(own.written), "B"))
            rows.append(row(f"{name}: bytes written by pruning", statistics.median(own.prune_written), "B"))
        last = subjects[-1]
        growth = statistics.median(
            [big / small for big, small in zip(last.by_batch[count].total_us, first.total_us, strict=True)]
        )
        name = f"growth of commit per key, {count} keys, {subjects[0].size} to {last.size}"
        rows.append(row(name, growth, "x", "the smallest state", growth, GROWTH_MAX))
        cpu = statistics.median(
            [big / small for big, small in zip(last.by_batch[count].cpu_us, first.cpu_us, strict=True)]
        )
        rows.append(row(f"{name}: processor", cpu, "x"))
    return rows


def copy_figures(subject: Subject, folder: Path) -> list[dict[str, Any]]:
    """Listing the latest version, and loading it elsewhere."""
    start = time.process_time()
    entries = list(subject.store.iterate())
    listed = time.process_time()
    target = LmdbBackend(folder / "copy", durable=False)
    loader = StateLoader(target, 1)
    loader.add(entries)
    loader.finish(subject.store.root())
    target.sync()
    loaded = time.process_time()
    at = f"over {subject.size} keys, per key"
    rows = [
        row(f"listing in key order, {at}: processor", (listed - start) * 1e6 / len(entries), "us"),
        row(f"loading, {at}: processor", (loaded - listed) * 1e6 / len(entries), "us"),
        row(f"disk of a loaded state, {at}", target.bytes_used() / len(entries), "B"),
    ]
    target.close()
    return rows


def proof_figures(subject: Subject) -> list[dict[str, Any]]:
    view = subject.store.view()
    present = [key_of(number) for number in RANDOM.sample(range(subject.size), 300)]
    absent = [b"absent/%d" % number for number in range(300)]
    sizes: dict[str, list[int]] = {"presence": [], "absence": []}
    build, verify = [], []
    for key in [*present, *absent]:
        start = time.perf_counter()
        value, proof = view.prove(key)
        middle = time.perf_counter()
        if isinstance(proof, PresenceProof):
            verify_presence(view.root, key, value or b"", proof)
        else:
            verify_absence(view.root, key, proof)
        build.append((middle - start) * 1e6)
        verify.append((time.perf_counter() - middle) * 1e6)
        kind = "absence" if isinstance(proof, AbsenceProof) else "presence"
        sizes[kind].append(len(encode(proof_to_cbor_obj(proof))))
    at = f"over {subject.size} keys"
    rows = [row(f"state proof of {kind}, {at}", statistics.median(found), "B") for kind, found in sizes.items()]
    rows.append(row(f"state proof built, {at}", statistics.median(build), "us"))
    rows.append(row(f"state proof verified, {at}", statistics.median(verify), "us"))
    rows.append(row(f"value read, {at}", median_us(lambda: view.get(present[0]), 2000), "us"))
    rows.append(row(f"disk per key, {at}", subject.backend.bytes_used() / subject.size, "B"))
    return rows


def row(
    figure: str, value: float, unit: str, reference: str = "", ratio: float | None = None, target: float | None = None
) -> dict[str, Any]:
    met = None if target is None else value <= target
    return {
        "figure": figure,
        "value": round(value, 2),
        "unit": unit,
        "reference": reference,
        "ratio": None if ratio is None else round(ratio, 2),
        "target": None if target is None else f"<= {target:g}",
        "met": met,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sizes = sorted(int(size) for size in options.sizes.split(","))
    if sizes[0] < max(BATCHES):
        parser.error(f"a commit of {max(BATCHES)} keys needs a state of at least as many")
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        sync_us = fsync_us(folder)
        subjects = [Subject(folder, size) for size in sizes]
        for turn in range(options.rounds + 2):  # two rounds bring the pages into memory
            for subject in subjects:
                for count in BATCHES:
                    subject.one_commit(count, keep=turn >= 2)
        sha_us = median_us(lambda: sha256(bytes(65)).digest(), 20_000)
        rows = [row("fsync of the disk", sync_us, "us"), row("one SHA-256 of 65 bytes", sha_us, "us")]
        rows += commit_figures(subjects, sync_us)
        for subject in subjects:
            rows += proof_figures(subject)
            if subject.size == COPIED:
                rows += copy_figures(subject, folder)
            subject.backend.close()
    for entry in rows:
        verdict = {None: "", True: "met", False: "MISSED"}[entry["met"]]
        ratio = "" if entry["ratio"] is None else f"{entry['ratio']:.2f} x {entry['reference']}"
        print(
            f"{entry['figure']:<82} {entry['value']:>9.2f} {entry['unit']:<3} {ratio:<28} {entry['target'] or ''} {verdict}"
        )
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
