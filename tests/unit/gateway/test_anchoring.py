"""Whatever happens to ledger, archive or gateway: every accepted message is anchored exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from althing.gateway.anchoring import BatchConfig
from althing.gateway.ingest.port import Accepted, Busy, Refused
from althing.protocol.batch import Origin
from althing.protocol.errors import MerkleError
from althing.protocol.message import parse_message, sign_message
from althing.protocol.messages.devices import DeviceState
from althing.protocol.signatures import PrivateKey, Suite
from althing.service import faultpoints
from althing.testing.gateway_fakes import FakeLedger, FakeProofCheck
from althing.testing.gateway_rig import FAST, GENESIS, inbound, new_ledger, running

KEY = PrivateKey(Suite.ES256, b"\x05" * 32)


@pytest.fixture(autouse=True)
def _no_faults() -> Iterator[None]:
    yield
    faultpoints.install(None)


def ledger_with(*streams: str) -> FakeLedger:
    ledger = new_ledger()
    for path in streams:
        device = path.partition("/")[0]
        if device not in ledger.known_devices:
            ledger.add_device(device, *([KEY] if device == "signer" else []))
        ledger.add_stream(path)
    return ledger


def test_leaves_say_what_was_sent(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = ledger_with("d/a", "signer/a")
        async with running(tmp_path, ledger) as rig:
            body = sign_message(KEY, GENESIS, "test", "signer/a", 5, b"pay")
            await rig.send("d", "a", b"hello", content_type="text/plain")
            await rig.send("signer", "a", body)
            await rig.settled()
        (plain,), (signed,) = ledger.leaves("d/a"), ledger.leaves("signer/a")
        assert (plain.origin, plain.content_type, plain.body) == (Origin.GATEWAY, "text/plain", b"hello")
        assert (signed.origin, signed.body) == (Origin.DEVICE, body)
        assert parse_message(signed.body, GENESIS).counter == 5
        assert plain.salt != signed.salt

    asyncio.run(test())


def test_one_batch_covers_many_streams_and_refusals_reach_the_archive(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = ledger_with("d/a", "d/b", "e/a")
        async with running(tmp_path, ledger, batch=BatchConfig(age_s=60, messages=1000)) as rig:
            items = [inbound(d, s, b"x") for d, s in (("e", "a"), ("d", "b"), ("d", "a"), ("d", "b"))]
            await rig.send_all(items)
            assert isinstance(await rig.send("d", "a", b"x", content_type="image/png"), Refused)
            await rig.settled()
            assert rig.anchoring.batches_total == 1
            assert rig.spool.pending.records == 0
        assert [len(ledger.leaves(path)) for path in ("d/a", "d/b", "e/a")] == [1, 2, 1]
        assert [refusal.code for refusal in ledger.archive.refusals] == ["payload.content_type"]

    asyncio.run(test())


def test_refusals_alone_need_no_anchor(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = ledger_with("d/a")
        async with running(tmp_path, ledger) as rig:
            await rig.send("d", "a", b"x", content_type="image/png")
            await rig.settled()
        assert ledger.submissions == 0
        assert len(ledger.archive.refusals) == 1

    asyncio.run(test())


def test_count_and_bytes_freeze_a_batch_before_its_age(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = ledger_with("d/a")
        for batch in (BatchConfig(age_s=600, messages=10), BatchConfig(age_s=600, bytes=2_000)):
            before = len(ledger.leaves("d/a"))
            async with running(tmp_path, ledger, batch=batch) as rig:
                await rig.send_all([inbound("d", "a", b"x" * 300)] * 10)
                async with asyncio.timeout(5):
                    while rig.spool.pending.messages:
                        await asyncio.sleep(0.01)
            assert len(ledger.leaves("d/a")) == before + 10

    asyncio.run(test())


def test_an_outage_delays_and_loses_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = ledger_with("d/a")
        async with running(tmp_path, ledger) as rig:
            ledger.away = True
            for n in range(20):
                assert await rig.send("d", "a", b"%d" % n) == Accepted(n)
            assert not await rig.anchoring.drain(0.1)
            ledger.away = False
            await rig.settled()
        assert [leaf.body for leaf in ledger.leaves("d/a")] == [b"%d" % n for n in range(20)]
        assert ledger.head.next_number <= 2

    asyncio.run(test())


def test_a_batch_is_anchored_while_ledger_time_is_behind_the_clock(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = ledger_with("d/a")
        ledger.lag_s = 150
        async with running(tmp_path, ledger) as rig:
            await rig.send("d", "a", b"x")
            await rig.settled()
        assert ledger.submissions == 1

    asyncio.run(test())


def test_a_lost_answer_does_not_anchor_twice(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = ledger_with("d/a")
        ledger.forget_answers = 2
        async with running(tmp_path, ledger) as rig:
            await rig.send("d", "a", b"x")
            await rig.settled()
            assert rig.anchoring.last_height == ledger.rows["d/a"][0].height
        assert len(ledger.leaves("d/a")) == 1
        assert ledger.head.next_number == 1

    asyncio.run(test())


def test_nothing_is_let_go_before_archive_and_proof(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = ledger_with("d/a")
        ledger.archive.down = True
        async with running(tmp_path, ledger) as rig:
            await rig.send("d", "a", b"x")
            assert not await rig.anchoring.drain(0.3)
            assert ledger.head.next_number == 1
            assert rig.spool.pending.messages == 1
            assert rig.anchoring.alarm
            ledger.archive.down = False
            await rig.settled()
            assert rig.anchoring.alarm == ""

    asyncio.run(test())


def test_a_proof_that_does_not_verify_keeps_the_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = FakeProofCheck.check

    def refuse(self: FakeProofCheck, proof: bytes, leaf: bytes, root: bytes) -> int:
        return honest(self, proof, leaf, bytes(32))

    async def test() -> None:
        ledger = ledger_with("d/a")
        async with running(tmp_path, ledger) as rig:
            monkeypatch.setattr(FakeProofCheck, "check", refuse)
            await rig.send("d", "a", b"x")
            assert not await rig.anchoring.drain(0.3)
            assert rig.anchoring.alarm.startswith("proof.root")
            assert rig.spool.pending.messages == 1
            monkeypatch.setattr(FakeProofCheck, "check", honest)
            await rig.settled()

    asyncio.run(test())
    assert MerkleError


class _Killed(BaseException):
    """Ends the pipeline where a SIGKILL would."""


POINTS = (
    "state.save",
    "state.saved",
    "anchor.submit",
    "anchor.submitted",
    "anchor.committed",
    "anchor.archived",
    "anchor.proved",
    "checkpoint.save",
    "checkpoint.saved",
    "spool.free",
    "anchor.released",
)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("passage", [1, 3])
def test_a_restart_at_every_step_anchors_exactly_once(tmp_path: Path, point: str, passage: int) -> None:
    from althing.gateway.spool.spool import SpoolConfig

    small = SpoolConfig(segment_bytes=2048)

    async def first(ledger: FakeLedger) -> int:
        left = passage
        sent = 0
        async with running(tmp_path, ledger, spool=small) as rig:

            def hook(name: str) -> None:
                nonlocal left
                if name == point:
                    left -= 1
                    if left <= 0:
                        raise _Killed

            faultpoints.install(hook)
            for n in range(12):
                if await rig.send("d", "a", b"%d" % n + b"." * 600) == Accepted(n):
                    sent += 1
                if left > 0:
                    await rig.anchoring.drain(0.05)
            faultpoints.install(None)
        assert left <= 0, "the fault point was never passed"
        return sent

    async def second(ledger: FakeLedger) -> None:
        async with running(tmp_path, ledger, spool=small) as rig:
            await rig.settled()

    ledger = ledger_with("d/a")
    sent = asyncio.run(first(ledger))
    ledger.changed = asyncio.Event()
    asyncio.run(second(ledger))
    leaves = ledger.leaves("d/a")
    assert [leaf.sequence for leaf in leaves] == list(range(sent))
    assert [int(leaf.body.partition(b".")[0]) for leaf in leaves] == list(range(sent))


def test_a_handed_over_streams_messages_are_held_and_come_back(tmp_path: Path) -> None:
    """The hand-over happens while messages wait: the others are anchored, these are kept, reported, and come again."""
    other = b"\7" * 20

    async def test() -> None:
        ledger = ledger_with("d/a", "d/b")
        async with running(tmp_path, ledger) as rig:
            ledger.away = True
            await rig.send("d", "a", b"stays")
            await rig.send("d", "b", b"moves")
            await rig.anchoring.drain(0.05)
            ledger.away = False
            ledger.hand_over("d/b", other, anchored_there=3)
            async with asyncio.timeout(5):
                while not rig.anchoring.alarm:
                    await asyncio.sleep(0.01)
            assert rig.anchoring.alarm.startswith("streams.not_writer")
            # Only when no transaction with the old root can be committed any more is the batch made anew.
            assert ledger.head.next_number == 0
            ledger.pass_time(500)
            async with asyncio.timeout(5):
                while not rig.held.count:
                    await asyncio.sleep(0.01)
            await rig.settled()
            assert [leaf.body for leaf in ledger.leaves("d/a")] == [b"stays"]
            assert [stream.path for stream in rig.held.streams] == ["d/b"]
        async with running(tmp_path, ledger) as rig:
            assert rig.held.count == 1
            assert rig.pipeline.held == {"d/b"}
            ledger.hand_over("d/b", ledger.gateway)
            async with asyncio.timeout(5):
                while rig.held.count:
                    await asyncio.sleep(0.01)
            await rig.settled()
            assert await rig.send("d", "b", b"new") == Accepted(4)
            await rig.settled()
        assert [(leaf.sequence, leaf.body) for leaf in ledger.leaves("d/b")] == [(3, b"moves"), (4, b"new")]

    asyncio.run(test())


def test_foreign_messages_under_our_sequences_wait_for_an_operator(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = ledger_with("d/a", "d/b")
        async with running(tmp_path, ledger) as rig:
            ledger.away = True
            await rig.send("d", "a", b"ours")
            await rig.anchoring.drain(0.05)
            ledger.away = False
            ledger.hand_over("d/a", ledger.gateway, anchored_there=1)
            async with asyncio.timeout(5):
                while not rig.anchoring.alarm:
                    await asyncio.sleep(0.01)
                ledger.pass_time(500)
                while not rig.held.count:
                    await asyncio.sleep(0.01)
            assert rig.held.streams[0].operator
            assert await rig.send("d", "a", b"more") == Busy(60)
            assert await rig.send("d", "b", b"fine") == Accepted(0)
            await rig.settled()
            assert rig.held.allow("d/a")
            ledger.pass_time(1)
            await rig.send("d", "b", b"fine")
            async with asyncio.timeout(5):
                while rig.held.count:
                    await asyncio.sleep(0.01)
            await rig.settled()
        assert [(leaf.sequence, leaf.body) for leaf in ledger.leaves("d/a")] == [(1, b"ours")]

    asyncio.run(test())


def test_a_retired_devices_messages_are_still_anchored(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = ledger_with("d/a")
        async with running(tmp_path, ledger, batch=BatchConfig(age_s=600)) as rig:
            await rig.send("d", "a", b"last words")
            ledger.set_state("d", DeviceState.RETIRED)
            await rig.settled()
        assert [leaf.body for leaf in ledger.leaves("d/a")] == [b"last words"]

    asyncio.run(test())


def test_numbers_follow_the_ledger(tmp_path: Path) -> None:
    """A gateway whose state was lost or restored takes the number that the chain expects."""
    from althing.protocol.messages.streams import GatewayHead

    async def test() -> None:
        ledger = ledger_with("d/a")
        ledger.head = GatewayHead(41, b"\3" * 32, 5)
        async with running(tmp_path, ledger, batch=FAST) as rig:
            await rig.send("d", "a", b"x")
            await rig.settled()
        assert ledger.head.next_number == 42

    asyncio.run(test())
