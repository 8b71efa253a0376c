"""Schedules of faults around real ledgers; and bugs put in on purpose, which the schedules must find.

A failure names its seed and how to run it again, event by event.
"""

from __future__ import annotations

from random import Random

import pytest

from althing.ledger.app import Ledger
from althing.ledger.runtime.replay import EXECUTED
from althing.ledger.state.store import StateStore
from althing.testing.journal import Disk, JournalBackend
from althing.testing.replicas import run_schedule

FEW = 40  # seeds within which a bug must show


@pytest.mark.parametrize("tenth", range(10))
def test_a_few_hundred_schedules(tenth):
    done = [run_schedule(f"{tenth}.{number}") for number in range(20)]
    assert any(one.power_losses for one in done)
    assert any(one.torn_writes for one in done)
    assert any(one.lost_messages for one in done)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(10))
def test_thousands_of_schedules(part):
    for number in range(500):
        run_schedule(f"long {part}.{number}")


def test_a_seed_is_repeated_exactly():
    events: list[list[str]] = [[], []]
    first, again = (run_schedule("7", told=lines.append) for lines in events)
    assert first == again
    assert events[0] == events[1]
    assert len(events[0]) > 50
    assert run_schedule("8").digest != first.digest


def found(**bugs):
    """The first complaint of the schedules."""
    for seed in range(FEW):
        said = complaint(str(seed), **bugs)
        if said:
            assert f"python -m althing.testing.replicas --seed {seed}" in said
            assert complaint(str(seed), **bugs) == said, "the seed gives another failure the second time"
            return said
    raise AssertionError(f"{FEW} schedules did not find it")


def complaint(seed, **bugs):
    try:
        run_schedule(seed, **bugs)
    except AssertionError as error:
        return str(error)
    return ""


class LocalClock(Ledger):
    """Executes with a clock of its own instead of the block's time."""

    number = 0

    def finalize(self, height, time_ns, block_hash, items, misconduct=()):
        return super().finalize(height, time_ns + 60_000_000_000 * self.number, block_hash, items, misconduct)


class OwnOrder(Ledger):
    """Executes a block's items in an order that differs between processes."""

    number = 0

    def finalize(self, height, time_ns, block_hash, items, misconduct=()):
        mixed = tuple(sorted(items, key=lambda item: hash((self.number, item[-8:]))))
        return super().finalize(height, time_ns, block_hash, mixed, misconduct)


@pytest.mark.parametrize("broken", [LocalClock, OwnOrder])
def test_execution_that_is_not_deterministic_is_found(broken):
    def make(number, backend, genesis):
        ledger = broken(backend, genesis)
        ledger.number = number
        return ledger

    assert "another state at height" in found(make_ledger=make)


class NoSync(JournalBackend):
    """Says that a write is durable before it is."""

    def write(self, batch):
        sync, self._disk.sync = self._disk.sync, lambda: None
        try:
            super().write(batch)
        finally:
            self._disk.sync = sync


class LosesRows(JournalBackend):
    """Its journal leaves the table out that says what was executed where."""

    def write(self, batch):
        super().write({table: rows for table, rows in batch.items() if table != EXECUTED})


@pytest.mark.parametrize(("broken", "words"), [(NoSync, "lost blocks"), (LosesRows, "does not find")])
def test_lost_writes_are_found(broken, words):
    assert words in found(make_backend=lambda _number, disk, fault: broken(disk, fault=fault))


class TwoWrites(StateStore):
    """Commits its side tables in a write of their own, after the state."""

    def commit(self, staged, side=None):
        super().commit(staged, {})
        self.backend.write(side or {})


def test_a_commit_in_two_writes_is_found():
    def make(_number, backend, genesis):
        ledger = Ledger(backend, genesis)
        ledger.store = TwoWrites(backend)
        return ledger

    assert "state.log_damaged" in found(make_ledger=make)


def test_a_disk_tears_what_was_not_synced():
    seen = set()
    for seed in range(20):
        disk = Disk()
        disk.append(b"a" * 100)
        disk.sync()
        disk.append(b"b" * 300)
        disk.lose_power(Random(seed))
        assert disk.read().startswith(b"a" * 100)
        seen.add(disk.read())
    assert any(b"\0" in data and b"b" in data for data in seen)
