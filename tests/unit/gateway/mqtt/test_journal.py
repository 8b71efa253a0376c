"""Group commit: nobody hears before the disk has it; a failing disk loses nothing."""

from __future__ import annotations

import asyncio
import threading

import pytest

from althing.gateway.ingest.mqtt import journal as journal_module
from althing.gateway.ingest.mqtt.errors import SessionStoreError
from althing.gateway.ingest.mqtt.journal import Journal
from althing.gateway.ingest.mqtt.metrics import MqttMetrics
from althing.gateway.ingest.mqtt.store import MemorySessionStore


class GatedStore(MemorySessionStore):
    """Writes when the test lets it; fails while `broken`."""

    blocking = True

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False
        self.groups = []

    def write(self, changes):
        assert self.gate.wait(5)
        if self.broken:
            raise SessionStoreError("mqtt_store.full", "no room")
        self.groups.append(dict(changes))
        super().write(changes)


def run(test):
    async def main():
        store = GatedStore()
        journal = Journal(store, asyncio.get_running_loop(), MqttMetrics())
        try:
            await asyncio.wait_for(test(store, journal), 10)
        finally:
            store.gate.set()
            store.broken = False
            await journal.drain()
            journal.close()

    asyncio.run(main())


async def told(journal):
    """Wait until all changes so far are durable."""
    event = asyncio.Event()
    journal.when_durable(event.set)
    await event.wait()


def test_nothing_pending_calls_at_once():
    async def test(store, journal):
        called = []
        journal.when_durable(lambda: called.append(1))
        assert called == [1]

    run(test)


def test_a_turn_is_one_write_and_a_write_gathers_the_next():
    async def test(store, journal):
        store.gate.clear()
        order = []
        for number in range(10):
            journal.put(bytes((number,)), b"x")
            journal.when_durable(lambda number=number: order.append(number))
        first_epoch = journal.epoch
        await asyncio.sleep(0)  # the write of the first ten begins
        await asyncio.sleep(0)
        for number in range(10, 20):
            journal.put(bytes((number,)), b"x")
            journal.when_durable(lambda number=number: order.append(number))
        assert order == []
        assert journal.committed < first_epoch < journal.epoch
        store.gate.set()
        await told(journal)
        assert order == list(range(20))
        assert [len(group) for group in store.groups] == [10, 10]
        assert journal.committed >= first_epoch + 1

    run(test)


def test_a_call_during_a_write_waits_for_that_write_only():
    async def test(store, journal):
        store.gate.clear()
        journal.put(b"a", b"1")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        called = asyncio.Event()
        journal.when_durable(called.set)
        assert not called.is_set()
        store.gate.set()
        await called.wait()
        assert len(store.groups) == 1

    run(test)


def test_the_last_change_of_a_key_wins():
    async def test(store, journal):
        journal.put(b"a", b"1")
        journal.delete(b"a")
        journal.put(b"b", b"1")
        journal.put(b"b", b"2")
        await told(journal)
        assert store.groups == [{b"a": None, b"b": b"2"}]

    run(test)


def test_lazy_changes_come_along_or_come_by_themselves():
    async def test(store, journal):
        journal.put(b"lazy", b"1", lazy=True)
        journal.put(b"urgent", b"1")
        await told(journal)
        assert set(store.groups[0]) == {b"lazy", b"urgent"}
        journal.delete(b"lazy", lazy=True)
        while len(store.groups) < 2:
            await asyncio.sleep(0.005)

    run(test)


@pytest.mark.usefixtures("quick_retry")
def test_a_failed_write_is_kept_and_tried_again_with_what_came_since():
    async def test(store, journal):
        store.broken = True
        order = []
        journal.put(b"a", b"1")
        journal.put(b"b", b"1")
        journal.when_durable(lambda: order.append("first"))
        while not journal.failing:
            await asyncio.sleep(0.001)
        journal.put(b"b", b"2")
        journal.when_durable(lambda: order.append("second"))
        assert order == []
        store.broken = False
        await told(journal)
        assert order == ["first", "second"]
        assert store.groups == [{b"a": b"1", b"b": b"2"}]

    run(test)


@pytest.fixture
def quick_retry(monkeypatch):
    monkeypatch.setattr(journal_module, "_RETRY_S", 0.02)
