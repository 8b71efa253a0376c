"""What the guard lets through, on a real spool and a fake ledger: every answer, its code, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from althing.gateway.errors import LedgerError
from althing.gateway.ingest.port import Accepted, Busy, Outcome, Refused
from althing.gateway.intake import GuardConfig
from althing.protocol.message import CONTENT_TYPE_COSE, sign_message
from althing.protocol.messages.devices import DeviceState
from althing.protocol.readings import Quantity, StreamSchema
from althing.protocol.signatures import PrivateKey, Suite
from althing.testing.gateway_fakes import FakeLedger
from althing.testing.gateway_rig import GENESIS, Rig, inbound, new_ledger, running

KEYS = {suite: PrivateKey(suite, b"\x05" * 32) for suite in Suite}
SENML = StreamSchema((Quantity("t", "Cel"),), content_type="application/senml+json")


def drive(
    tmp_path: Path, test: Callable[[Rig], Awaitable[None]], ledger: FakeLedger | None = None, **more: object
) -> None:
    async def run() -> None:
        own = ledger or new_ledger()
        own.add_device("legacy")
        own.add_stream("legacy/raw")
        own.add_stream("legacy/senml", SENML)
        for suite, key in KEYS.items():
            name = suite.name.lower()
            own.add_device(name, key)
            own.add_stream(f"{name}/data")
            own.add_stream(f"{name}/senml", SENML)
        async with running(tmp_path, own, anchor=False, **more) as rig:  # type: ignore[arg-type]
            await test(rig)

    asyncio.run(run())


def code(outcome: Outcome) -> str:
    assert isinstance(outcome, Refused), outcome
    return outcome.code


def signed(suite: Suite, counter: int, payload: bytes = b"x", stream: str = "data", **more: object) -> bytes:
    chain = str(more.pop("chain", "test"))
    genesis = more.pop("genesis", GENESIS)
    key = more.pop("key", KEYS[suite])
    path = f"{suite.name.lower()}/{stream}"
    return sign_message(key, genesis, chain, path, counter, payload, **more)  # type: ignore[arg-type]


def test_unsigned_of_a_device_without_keys(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        assert await rig.send("legacy", "raw", b"\x00\xff") == Accepted(0)
        assert await rig.send("legacy", "raw", b"") == Accepted(1)
        assert await rig.send("legacy", "senml", b'[{"n":"t","v":1.5}]') == Accepted(0)
        assert code(await rig.send("legacy", "senml", b"[{")) == "payload.json"
        assert code(await rig.send("legacy", "senml", b"x", content_type="image/png")) == "payload.content_type"
        assert await rig.send("legacy", "senml", b"x", content_type="text/plain") == Accepted(1)
        # A signature that nobody can check says nothing.
        body = signed(Suite.ED25519, 1)
        assert code(await rig.send("legacy", "raw", body, content_type=CONTENT_TYPE_COSE)) == "message.key"

    drive(tmp_path, test)


@pytest.mark.parametrize("suite", list(Suite))
def test_signed(tmp_path: Path, suite: Suite) -> None:
    async def test(rig: Rig) -> None:
        name = suite.name.lower()
        first, second = signed(suite, 10), signed(suite, 11, b"y")
        assert await rig.send(name, "data", first) == Accepted(0)
        assert await rig.send(name, "data", second, content_type=CONTENT_TYPE_COSE) == Accepted(1)
        # The same message again is the same message, wherever it comes from.
        assert await rig.send(name, "data", first, transport="http") == Accepted(0, duplicate=True)
        # A gap may be filled later, once.
        late = signed(suite, 3, b"late")
        assert await rig.send(name, "data", late) == Accepted(2)
        assert await rig.send(name, "data", late) == Accepted(2, duplicate=True)
        # Another message under a used counter is refused, not swallowed.
        assert code(await rig.send(name, "data", signed(suite, 10, b"other"))) == "message.counter_reused"
        assert code(await rig.send(name, "senml", signed(suite, 10, b"[]", "senml"))) == "message.counter_reused"

    drive(tmp_path, test)


def test_signed_but_wrong(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        suite, name = Suite.ED25519, "ed25519"
        good = signed(suite, 1)
        assert code(await rig.send(name, "data", b"plain", content_type="text/plain")) == "message.unsigned"
        assert code(await rig.send(name, "data", b"plain")) == "cose.tag"
        assert code(await rig.send(name, "data", good[:-1] + bytes((good[-1] ^ 1,)))) == "message.signature"
        assert code(await rig.send(name, "data", signed(suite, 1, genesis=b"\1" * 32))) == "message.signature"
        stranger = PrivateKey(suite, b"\x09" * 32)
        assert code(await rig.send(name, "data", signed(suite, 1, key=stranger))) == "message.key"
        assert code(await rig.send(name, "data", signed(suite, 1, chain="other"))) == "message.chain"
        assert code(await rig.send(name, "senml", good)) == "message.stream"
        assert code(await rig.send(name, "senml", signed(suite, 1, b"[{", "senml"))) == "payload.json"
        # None of it used the counter up.
        assert await rig.send(name, "data", good) == Accepted(0)

    drive(tmp_path, test)


def test_old_counters_are_replays(tmp_path: Path) -> None:
    from althing.gateway.spool.spool import SpoolConfig

    async def test(rig: Rig) -> None:
        for counter in range(1, 30):
            assert await rig.send("ed25519", "data", signed(Suite.ED25519, counter)) == Accepted(counter - 1)
        assert code(await rig.send("ed25519", "data", signed(Suite.ED25519, 1))) == "message.replayed"
        assert code(await rig.send("ed25519", "data", signed(Suite.ED25519, 0))) == "message.replayed"
        assert await rig.send("ed25519", "data", signed(Suite.ED25519, 29)) == Accepted(28, duplicate=True)

    drive(tmp_path, test, spool=SpoolConfig(counter_window=8))


def test_idempotency_keys(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        assert await rig.send("legacy", "raw", b"a", dedup_key=b"k1") == Accepted(0)
        assert await rig.send("legacy", "raw", b"a", dedup_key=b"k1") == Accepted(0, duplicate=True)
        assert code(await rig.send("legacy", "raw", b"b", dedup_key=b"k1")) == "message.key_reused"
        assert await rig.send("legacy", "raw", b"a", dedup_key=b"k2") == Accepted(1)
        # Without a key the same bytes are another message: at least once.
        assert await rig.send("legacy", "raw", b"a") == Accepted(2)
        assert await rig.send("legacy", "raw", b"a") == Accepted(3)

    drive(tmp_path, test)


def test_duplicates_in_one_turn_wait_for_the_first(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        body = signed(Suite.ED25519, 1)
        answers = await rig.send_all([inbound("ed25519", "data", body)] * 3)
        assert answers == [Accepted(0), Accepted(0, True), Accepted(0, True)]

    drive(tmp_path, test)


def test_who_and_where(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        assert code(await rig.send("legacy", "raw", b"x", principal="ed25519")) == "auth.wrong_device"
        assert code(await rig.send("legacy", "raw", b"x", principal="")) == "auth.wrong_device"
        assert code(await rig.send("legacy", "nothing", b"x")) == "stream.unknown"
        assert code(await rig.send("nobody", "raw", b"x")) == "stream.unknown"
        assert code(await rig.send("legacy", "NOT A NAME", b"x")) == "stream.name"
        rig.ledger.hand_over("legacy/raw", b"\7" * 20)
        await _until(lambda: rig.registry.streams["legacy/raw"].definition.gateway == b"\7" * 20)
        assert code(await rig.send("legacy", "raw", b"x")) == "stream.other_gateway"

    drive(tmp_path, test)


def test_bounds(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        assert code(await rig.send("legacy", "raw", b"x" * 201)) == "message.too_large"
        assert code(await rig.send("legacy", "raw", b"x", content_type="a/" + "b" * 130)) == "message.header_too_large"
        assert code(await rig.send("legacy", "raw", b"x", dedup_key=b"k" * 256)) == "message.header_too_large"
        answers = await rig.send_all([inbound("legacy", "raw", b"x")] * 30)
        assert answers[:10] == [Accepted(n) for n in range(10)]
        # Above its rate a device is slowed, not refused; another one is not touched.
        assert answers[10:] == [Busy(1)] * 20
        assert await rig.send("ed25519", "data", signed(Suite.ED25519, 1, b"")) == Accepted(0)

    drive(tmp_path, test, guard=GuardConfig(message_bytes_max=200, rate_per_s=0.001, rate_burst=13))


def test_refusals_leave_a_durable_record(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        await rig.send("legacy", "senml", b"[{", transport="http")
        (kept,) = rig.spool.refusals
        assert (kept.device, kept.stream, kept.transport, kept.code) == ("legacy", "senml", "http", "payload.json")
        assert (kept.body_hash, kept.body_bytes) == (sha256(b"[{").digest(), 2)
        assert rig.spool.pending.records == 1

    drive(tmp_path, test)


def test_a_listeners_own_refusals_have_the_rate_of_all_strangers_and_are_recorded_first(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        refusal = Refused("auth.wrong_device", "another device's topic")
        answers: list[Outcome] = []
        for _ in range(500):
            rig.pipeline.record(inbound("other", "x", b"y", principal="legacy"), refusal, answers.append)
        assert [one for one in answers if isinstance(one, Refused)] == [], "not before they are durable"
        await rig.pipeline.settled()
        assert answers.count(Busy(1)) == 490
        assert answers.count(refusal) == 10
        assert rig.spool.refused_total == rig.spool.pending.records == 10
        # The same bucket for a message that another listener gives to the pipeline.
        assert await rig.send("other", "x", b"y", principal="legacy") == Busy(1)

    drive(tmp_path, test, guard=GuardConfig(rate_per_s=0.001, rate_burst=10))


def test_without_room_for_its_record_a_refusal_is_busy(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        rig.spool.failure = "spool.full"
        answers: list[Outcome] = []
        item = inbound("other", "x", b"y", principal="legacy")
        rig.pipeline.record(item, Refused("auth.wrong_device", "another device's topic"), answers.append)
        assert answers == [Busy(1)]
        rig.spool.failure = ""

    drive(tmp_path, test)


def test_suspension_ends_with_the_block_that_decides_it(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        told: list[tuple[str, bool]] = []
        rig.registry.on_device.append(lambda device: told.append((device.name, device.active)))
        assert await rig.send("legacy", "raw", b"x") == Accepted(0)
        rig.ledger.set_state("legacy", DeviceState.SUSPENDED)
        await _until(lambda: bool(told))
        assert told == [("legacy", False)]
        assert code(await rig.send("legacy", "raw", b"x")) == "device.inactive"
        rig.ledger.set_state("legacy", DeviceState.ACTIVE)
        await _until(lambda: len(told) == 2)
        assert await rig.send("legacy", "raw", b"x") == Accepted(1)

    drive(tmp_path, test)


def test_rotated_keys(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        new = PrivateKey(Suite.ED25519, b"\x0a" * 32)
        assert await rig.send("ed25519", "data", signed(Suite.ED25519, 1)) == Accepted(0)
        rig.ledger.set_keys("ed25519", new)
        await _until(lambda: rig.registry.devices["ed25519"].keys[0].key.public == new.public)
        assert code(await rig.send("ed25519", "data", signed(Suite.ED25519, 2))) == "message.key"
        assert await rig.send("ed25519", "data", signed(Suite.ED25519, 2, key=new)) == Accepted(1)
        assert rig.registry.device_of_key(new.suite, new.public) is not None
        assert rig.registry.device_of_key(Suite.ED25519, KEYS[Suite.ED25519].public) is None

    drive(tmp_path, test)


def test_an_update_during_an_outage_does_not_change_what_was_in_force_before(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        ledger = rig.ledger
        ledger.pass_time(1)
        await _until(lambda: rig.registry.height == ledger.height)
        before = ledger.height
        assert (await rig.registry.definition_at("legacy/raw", 0, before)).schema_version == 0
        ledger.away = True
        ledger.changed.set()
        await _until(lambda: not rig.registry.connected)
        view = ledger.known_streams["legacy/raw"]
        ledger.known_streams["legacy/raw"] = replace(view, definition=replace(view.definition, schema_version=1))
        ledger._emit("streams.updated", view.definition.id, 1)
        ledger.away = False
        async with asyncio.timeout(5):
            while rig.registry.streams["legacy/raw"].definition.schema_version == 0 or not rig.registry.connected:
                await asyncio.sleep(0.01)
        assert (await rig.registry.definition_at("legacy/raw", 0, before)).schema_version == 0
        with pytest.raises(LedgerError, match=r"no message"):  # the block of the update: only the anchor's row can tell
            await rig.registry.definition_at("legacy/raw", 0, ledger.height)
        ledger.pass_time(1)
        await _until(lambda: rig.registry.height == ledger.height)
        assert (await rig.registry.definition_at("legacy/raw", 0, ledger.height)).schema_version == 1
        # Of a stream that it has never seen it says so, in a way that is tried again.
        with pytest.raises(LedgerError, match=r"no message"):
            await rig.registry.definition_at("legacy/none", 0, before)

    drive(tmp_path, test)


def test_a_device_registered_a_moment_ago_is_asked_for(tmp_path: Path) -> None:
    """Its first message may be here before the event of its registration."""

    async def test(rig: Rig) -> None:
        rig.ledger.add_device("fresh")
        rig.ledger.add_stream("fresh/raw")
        assert "fresh" not in rig.registry.devices
        assert await rig.send("fresh", "raw", b"x") == Accepted(0)

    drive(tmp_path, test)


def test_without_a_ledger_the_cache_serves_for_a_while(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        rig.ledger.away = True
        rig.ledger.pass_time(1)
        await _until(lambda: not rig.registry.connected)
        assert await rig.send("legacy", "raw", b"x") == Accepted(0)
        # What the cache does not know, nobody can tell now.
        assert await rig.send("fresh", "raw", b"x") == Busy(1)
        rig.registry._age_max_ns = 0
        assert await rig.send("legacy", "raw", b"x") == Busy(1)
        assert not rig.registry.usable

    drive(tmp_path, test)


def test_the_cache_survives_a_restart_without_a_ledger(tmp_path: Path) -> None:
    ledger = new_ledger()

    async def first(rig: Rig) -> None:
        assert await rig.send("legacy", "raw", b"x") == Accepted(0)

    drive(tmp_path, first, ledger)

    async def second() -> None:
        ledger.away = True
        async with running(tmp_path, ledger, anchor=False) as rig:
            assert not rig.registry.connected
            assert await rig.send("legacy", "raw", b"y") == Accepted(1)
            assert await rig.send("ed25519", "data", signed(Suite.ED25519, 1)) == Accepted(0)

    asyncio.run(second())


def test_gateways_own_messages(tmp_path: Path) -> None:
    """A will is made by the gateway: it needs no signature, also where the device signs."""

    async def test(rig: Rig) -> None:
        rig.ledger.add_stream("ed25519/status")
        assert await rig.send("ed25519", "status", b"gone", origin_gateway=True) == Accepted(0)
        assert code(await rig.send("ed25519", "status", b"gone", content_type="text/plain")) == "message.unsigned"

    drive(tmp_path, test)


def test_closed_takes_nothing(tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        rig.pipeline.closed = True
        assert await rig.send("legacy", "raw", b"x") == Busy(1)
        assert rig.spool.pending.records == 0

    drive(tmp_path, test)


async def _until(condition: Callable[[], bool]) -> None:
    """Give the event loop turns until the registry has followed; every step is in memory, so it takes few."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")
