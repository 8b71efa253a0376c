"""Whatever happens to ledger, archive or gateway: every accepted message is anchored exactly once."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from althing.gateway.anchoring import Anchoring, BatchConfig
from althing.gateway.errors import LedgerError, LedgerRefusedError
from althing.gateway.ingest.port import Accepted, Busy, Refused
from althing.gateway.ledger import StreamView, Submission
from althing.gateway.spool import spool as spool_module
from althing.gateway.spool.spool import SpoolConfig
from althing.protocol.batch import Origin
from althing.protocol.errors import MerkleError
from althing.protocol.message import parse_message, sign_message
from althing.protocol.messages.devices import DeviceState
from althing.protocol.signatures import PrivateKey, Suite
from althing.service import faultpoints
from althing.testing.gateway_fakes import FakeLedger, FakeProofCheck
from althing.testing.gateway_rig import FAST, GENESIS, Rig, inbound, new_ledger, running

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


def test_a_gateway_pays_what_the_chain_asks_for_also_when_it_asks_for_more(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = ledger_with("d/a")
        async with running(tmp_path, ledger) as rig:
            for price, submissions in ((3, 2), (3, 3), (5, 5), (0, 6)):
                ledger.price = price
                await rig.send("d", "a", b"x")
                await rig.settled()
                assert ledger.submissions == submissions

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
            async with asyncio.timeout(30):
                while not rig.anchoring.alarm:
                    assert not await rig.anchoring.drain(0.1)
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


def test_what_a_copy_of_this_gateway_anchored_under_our_sequences_waits_for_an_operator(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = ledger_with("d/a", "d/b")
        async with running(tmp_path, ledger) as rig:
            ledger.away = True
            await rig.send("d", "a", b"ours")
            await rig.anchoring.drain(0.05)
            ledger.away = False
            ledger.hand_over("d/a", ledger.gateway, anchored_there=1, by_copy=True)
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


def test_what_another_gateway_anchored_meanwhile_lets_our_messages_follow_by_themselves(tmp_path: Path) -> None:
    """The stream was lent and is back before the chain was asked: nobody else has anchored as this gateway."""

    async def test() -> None:
        ledger = ledger_with("d/a")
        async with running(tmp_path, ledger) as rig:
            assert await rig.send("d", "a", b"before") == Accepted(0)
            await rig.settled()
            ledger.away = True
            await rig.send("d", "a", b"ours")
            await rig.anchoring.drain(0.05)
            ledger.away = False
            ledger.hand_over("d/a", ledger.gateway, anchored_there=2)
            async with asyncio.timeout(5):
                while not rig.anchoring.alarm:
                    await asyncio.sleep(0.01)
                ledger.pass_time(500)
                while len(ledger.leaves("d/a")) < 2:
                    await asyncio.sleep(0.01)
            await _until_back(rig)
        assert [(leaf.sequence, leaf.body) for leaf in ledger.leaves("d/a")] == [(0, b"before"), (3, b"ours")]

    asyncio.run(test())


async def _hold(rig: Rig, ledger: FakeLedger, bodies: list[bytes], *, anchored_there: int = 0) -> None:
    """Messages of d/b are accepted, the stream is handed over before they are anchored, and they become held."""
    ledger.away = True
    for body in bodies:
        assert isinstance(await rig.send("d", "b", body), Accepted)
    await rig.anchoring.drain(0.05)
    ledger.away = False
    ledger.hand_over("d/b", b"\7" * 20, anchored_there=anchored_there)
    async with asyncio.timeout(5):
        while not rig.anchoring.alarm:
            await asyncio.sleep(0.01)
        ledger.pass_time(500)
        while not rig.held.count:
            await asyncio.sleep(0.01)
    await rig.settled()


async def _until_back(rig: Rig) -> None:
    async with asyncio.timeout(5):
        while rig.held.count:
            await asyncio.sleep(0.01)
    await rig.settled()


HELD_POINTS = ("held.save", "held.returning", "held.returned", "held.dropped", "state.save", "anchor.submitted")


@pytest.mark.parametrize("anchored_there", [0, 2])
@pytest.mark.parametrize("point", HELD_POINTS)
def test_a_restart_while_held_messages_come_back_loses_none_and_doubles_none(
    tmp_path: Path, point: str, anchored_there: int
) -> None:
    bodies = [b"moves%d" % n for n in range(3)]

    async def hold(ledger: FakeLedger) -> None:
        async with running(tmp_path, ledger) as rig:
            await _hold(rig, ledger, bodies, anchored_there=anchored_there)
            assert rig.held.count == 3

    async def killed(ledger: FakeLedger) -> None:
        passed = False

        def hook(name: str) -> None:
            nonlocal passed
            if name == point:
                passed = True
                raise _Killed

        async with running(tmp_path, ledger) as rig:
            faultpoints.install(hook)
            ledger.hand_over("d/b", ledger.gateway)
            with pytest.raises(_Killed):
                async with asyncio.timeout(5):
                    await rig.anchoring.failed()
            faultpoints.install(None)
            assert passed, "the fault point was never passed"

    async def after(ledger: FakeLedger) -> None:
        async with running(tmp_path, ledger) as rig:
            await _until_back(rig)
            assert isinstance(await rig.send("d", "b", b"new"), Accepted)
            await rig.settled()

    ledger = ledger_with("d/a", "d/b")
    for part in (hold, killed, after):
        ledger.changed = asyncio.Event()
        asyncio.run(part(ledger))
    leaves = ledger.leaves("d/b")
    assert [leaf.body for leaf in leaves] == [*bodies, b"new"]
    assert [leaf.sequence for leaf in leaves] == list(range(anchored_there, anchored_there + 4))


def test_a_second_hand_over_before_the_anchor_holds_the_messages_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [b"moves%d" % n for n in range(3)]

    async def test() -> None:
        ledger = ledger_with("d/a", "d/b")
        async with running(tmp_path, ledger) as rig:
            await _hold(rig, ledger, bodies)

            async def away(self: FakeLedger, transaction: bytes) -> Submission:
                raise LedgerError("ledger.unavailable", "no node answers")

            monkeypatch.setattr(FakeLedger, "submit", away)
            ledger.hand_over("d/b", ledger.gateway)
            async with asyncio.timeout(5):
                while rig.held.count or rig.spool.state.frozen is None:
                    await asyncio.sleep(0.01)
            ledger.hand_over("d/b", b"\7" * 20)
            monkeypatch.undo()
            before = ledger.submissions
            async with asyncio.timeout(5):
                while ledger.submissions == before:
                    await asyncio.sleep(0.01)
                ledger.pass_time(500)
                while not rig.held.count:
                    await asyncio.sleep(0.01)
            await rig.settled()
            assert rig.held.count == 3
            ledger.hand_over("d/b", ledger.gateway)
            await _until_back(rig)
        assert [(leaf.sequence, leaf.body) for leaf in ledger.leaves("d/b")] == list(enumerate(bodies))

    asyncio.run(test())


@pytest.mark.parametrize("restart", [False, True])
def test_held_messages_of_which_only_the_first_became_durable_come_back_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restart: bool
) -> None:
    """The disk fails between two groups of them: what the log has stays, the rest follows, nothing is between."""
    monkeypatch.setattr(spool_module, "_GROUP_RECORDS_MAX", 2)
    bodies = [b"moves%d" % n for n in range(7)]
    writes = 0

    def full(name: str) -> None:
        nonlocal writes
        if name == "spool.write":
            writes += 1
            if writes > 2:
                raise OSError(errno.ENOSPC, "no space left")

    async def first(ledger: FakeLedger) -> None:
        async with running(tmp_path, ledger, spool=SpoolConfig(retry_s=1)) as rig:
            await _hold(rig, ledger, bodies)
            faultpoints.install(full)
            ledger.hand_over("d/b", ledger.gateway)
            async with asyncio.timeout(5):
                while not rig.spool.failure:
                    await asyncio.sleep(0.01)
            assert rig.spool.waiting == {"d/b": 4}
            assert rig.held.count == 7
            assert not await rig.anchoring.drain(0.1), "a part alone must not be anchored"
            assert ledger.leaves("d/b") == []
            faultpoints.install(None)
            if not restart:
                await _until_back(rig)

    async def second(ledger: FakeLedger) -> None:
        async with running(tmp_path, ledger) as rig:
            await _until_back(rig)

    ledger = ledger_with("d/a", "d/b")
    asyncio.run(first(ledger))
    ledger.changed = asyncio.Event()
    asyncio.run(second(ledger))
    assert [(leaf.sequence, leaf.body) for leaf in ledger.leaves("d/b")] == list(enumerate(bodies))


def test_a_node_that_refuses_while_messages_come_back_is_an_alarm_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = 3
    real = FakeLedger.stream

    async def refusing(self: FakeLedger, path: str) -> StreamView | None:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise LedgerRefusedError("ledger.not_found", "404")
        return await real(self, path)

    async def test() -> None:
        ledger = ledger_with("d/a", "d/b")
        async with running(tmp_path, ledger) as rig:
            await _hold(rig, ledger, [b"moves"])
            monkeypatch.setattr(FakeLedger, "stream", refusing)
            ledger.hand_over("d/b", ledger.gateway)
            async with asyncio.timeout(5):
                while not rig.anchoring.alarm.startswith("ledger.not_found"):
                    await asyncio.sleep(0.01)
                assert await rig.send("d", "a", b"goes on") == Accepted(0)
            await _until_back(rig)
            assert rig.anchoring.alarm == ""
        assert [leaf.body for leaf in ledger.leaves("d/a")] == [b"goes on"]
        assert [leaf.body for leaf in ledger.leaves("d/b")] == [b"moves"]

    asyncio.run(test())


def test_an_expected_failure_is_retried_and_a_bug_ends_the_task_where_it_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bug(Exception):
        pass

    raised: list[Exception] = [LedgerRefusedError("ledger.odd", "an odd answer"), Bug("it was never thought of")]
    real = Anchoring._freeze

    async def freeze(self: Anchoring) -> Any:
        if raised:
            raise raised.pop(0)
        return await real(self)

    async def test() -> None:
        ledger = ledger_with("d/a")
        monkeypatch.setattr(Anchoring, "_freeze", freeze)
        async with running(tmp_path, ledger) as rig:
            await rig.send("d", "a", b"x")
            with pytest.raises(Bug):
                async with asyncio.timeout(5):
                    await rig.anchoring.failed()
            assert rig.anchoring.alarm.startswith("ledger.odd")

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
