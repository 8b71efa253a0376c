"""The way in, on a real node in a home of its own: every sender gets one answer, whatever becomes of the bundle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from althing.client.keyfile import load_key
from althing.consensus.abci import CheckTxResponse
from althing.consensus.engine import Phase, PoolRefusedError
from althing.ledger.assembly import Rulebook
from althing.ledger.runtime.errors import PrunedError, TxError
from althing.node import submission as module
from althing.node.blockcontents import BlockContents
from althing.node.daemon import open_node
from althing.node.home import Home, create_home
from althing.node.indexer import Indexer
from althing.node.node import Node
from althing.node.submission import TxAnswer
from althing.protocol.bundle import make_bundle
from althing.protocol.catalog import MessageBody
from althing.protocol.errors import UnavailableError
from althing.protocol.hashing import sha256
from althing.protocol.messages.governance import ScheduleUpgrade, SetParameters, Upgrade
from althing.protocol.messages.identity import AccountKind, AccountStatus, CreateAccount, SetAccountStatus, SetAttribute
from althing.protocol.receipt import Receipt
from althing.protocol.transaction import Transaction, parse_transaction, sign_transaction
from althing.testing.harness import Actor
from althing.testing.rules import WriteNote, rulebook, rules_1

T = TypeVar("T")
START = 1_800_000_000


class Clock:
    """Ledger time under the test's control; it still moves on by itself, a microsecond a look."""

    def __init__(self) -> None:
        self.ns = START * 10**9

    def __call__(self) -> int:
        self.ns += 1000
        return self.ns


class Sender:
    """Signs as the home's organisation."""

    def __init__(self, home: Home, node: Node) -> None:
        key = load_key(home.admin_key_file)
        self.actor = Actor(key, Actor(key, b"").public.address)
        self.genesis_hash = node.ledger.genesis_hash
        self.count = 0

    def sign(self, *messages: MessageBody, expiry: int = START + 300, gas: int = 100_000) -> bytes:
        self.count += 1
        address = self.actor.address
        body = Transaction(
            (address,),
            address,
            gas,
            0,
            expiry,
            self.count.to_bytes(8, "big"),
            messages or (SetAttribute(address, "note", str(self.count)),),
        )
        return sign_transaction(body, [self.actor.key], self.genesis_hash)

    def id_of(self, data: bytes) -> bytes:
        return parse_transaction(data, self.genesis_hash).id


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return create_home(tmp_path / "home", chain_id="test", organisation="acme", time_s=START)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def running(home: Home, clock: Clock) -> AsyncIterator[tuple[Node, Sender]]:
    node = open_node(home, settings={"min_block_interval_ms": 0, "idle_block_s": 1}, clock=clock)
    try:
        await node.start()
        yield node, Sender(home, node)
    finally:
        await node.stop()


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(asyncio.wait_for(work(), 60))


async def submit(node: Node, *transactions: bytes, wait: bool = True) -> list[TxAnswer]:
    return await node.submission.submit(transactions, wait=wait, timeout_s=30)


def receipt(answer: TxAnswer) -> Receipt:
    assert answer.receipt is not None
    found = Receipt.from_bytes(answer.receipt)
    assert found.tx_id == answer.tx_id
    return found


def hold(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Bundles pass the engine's check and then never reach a block, as when every proposer leaves them out."""
    held: list[bytes] = []

    async def keep(bundle: bytes) -> CheckTxResponse:
        held.append(bundle)
        return CheckTxResponse()

    monkeypatch.setattr(node.engine, "submit", keep)
    return held


def test_three_thousand_transactions(home: Home, clock: Clock) -> None:
    """Each gets the receipt of its own, once; sent again it gets the same; a restarted node has the same state."""

    async def work() -> tuple[list[bytes], list[TxAnswer], bytes, int]:
        async with running(home, clock) as (node, sender):
            transactions = [sender.sign() for _ in range(3000)]
            answers = await submit(node, *transactions)
            assert [a.tx_id for a in answers] == [sender.id_of(data) for data in transactions]
            assert {a.code for a in answers} == {""}
            assert all(receipt(answer).ok for answer in answers)
            again = await submit(node, *transactions[:100])
            assert [(a.height, a.receipt) for a in again] == [(a.height, a.receipt) for a in answers[:100]]
            assert node.submission.pending == 0
            assert node.submission._bytes == 0
            height = node.ledger.height
            return transactions, answers, node.ledger.app_hash, height

    transactions, answers, _, height = run(work)

    async def resend() -> None:
        async with running(home, clock) as (node, _):
            assert node.ledger.height >= height
            again = await submit(node, *transactions[-50:])
            assert [(a.height, a.receipt) for a in again] == [(a.height, a.receipt) for a in answers[-50:]]

    run(resend)


def test_a_restarted_node_has_the_same_state(home: Home, clock: Clock) -> None:
    async def fill() -> None:
        async with running(home, clock) as (node, sender):
            await submit(node, *(sender.sign() for _ in range(20)))

    async def look() -> tuple[int, bytes]:
        node = open_node(home, clock=clock)
        found = node.ledger.height, node.ledger.app_hash
        await node.stop()
        return found

    async def replayed() -> bytes:
        async with running(home, clock) as (node, _):
            return node.ledger.store.root(before[0])

    run(fill)
    before = run(look)
    assert before[0] >= 1
    assert run(replayed) == before[1]


def test_duplicates_under_way_share_one_answer(home: Home, clock: Clock) -> None:
    async def work() -> None:
        async with running(home, clock) as (node, sender):
            data = sender.sign()
            groups = await asyncio.gather(*(submit(node, data, data) for _ in range(5)))
            answers = [answer for group in groups for answer in group]
            assert len({(a.tx_id, a.code, a.height, a.receipt) for a in answers}) == 1
            assert receipt(answers[0]).ok
            assert node.submission._bytes == 0

    run(work)


def test_one_string_in_many_places_counts_once(home: Home, clock: Clock) -> None:
    """Whether its places hold one object or equal ones: else the count of bytes grows until nothing is taken any more."""

    async def work() -> None:
        async with running(home, clock) as (node, sender):
            data = sender.sign()
            answers = await submit(node, data, data, bytes(bytearray(data)), data)
            assert len({(a.tx_id, a.code, a.height, a.receipt) for a in answers}) == 1
            assert receipt(answers[0]).ok
            assert node.submission._bytes == 0

    run(work)


def test_refusals_at_the_door(home: Home, clock: Clock) -> None:
    """They are told at once, and do not stand in the way of those they came with."""

    async def work() -> None:
        async with running(home, clock) as (node, sender):
            good = sender.sign()
            broken = good[:-1] + bytes((good[-1] ^ 1,))
            stranger = Actor.seeded("stranger")
            unknown = sign_transaction(
                replace(
                    parse_transaction(good, sender.genesis_hash).transaction,
                    signers=(stranger.address,),
                    payer=stranger.address,
                ),
                [stranger.key],
                sender.genesis_hash,
            )
            expired, far = sender.sign(expiry=START), sender.sign(expiry=START + 10**6)
            answers = await submit(node, b"garbage", broken, unknown, expired, far, sender.sign(gas=1), good)
            assert [a.code for a in answers] == [
                "cose.tag",
                "tx.signature",
                "tx.unknown_account",
                "tx.expired",
                "tx.expiry",
                "tx.gas_limit",
                "",
            ]
            assert answers[0].tx_id == sha256(b"garbage")
            assert answers[1].tx_id == answers[-1].tx_id == sender.id_of(good)
            assert all(a.receipt is None and a.height is None for a in answers[:-1])
            assert receipt(answers[-1]).ok
            failing = sender.sign(SetAttribute(bytes(20), "a", "b"))
            (answer,) = await submit(node, failing)
            assert (answer.code, receipt(answer).code) == ("", "auth.account")
            assert node.submission._bytes == 0

    run(work)


def test_without_waiting_the_answer_is_that_it_was_taken(home: Home, clock: Clock) -> None:
    async def work() -> None:
        async with running(home, clock) as (node, sender):
            data = sender.sign()
            (answer,) = await submit(node, data, wait=False)
            assert (answer.tx_id, answer.code) == (sender.id_of(data), "")
            (answer,) = await submit(node, data)
            assert receipt(answer).ok

    run(work)


def test_a_full_pool_takes_nothing(home: Home, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PENDING_MAX", 10)

    async def work() -> None:
        async with running(home, clock) as (node, sender):
            hold(node, monkeypatch)
            await submit(node, *(sender.sign() for _ in range(8)), wait=False)
            with pytest.raises(UnavailableError, match=r"pool\.full"):
                await submit(node, *(sender.sign() for _ in range(3)), wait=False)
            assert node.submission.pending == 8
            await submit(node, *(sender.sign() for _ in range(2)), wait=False)
            monkeypatch.setattr(module, "PENDING_MAX", 100)
            monkeypatch.setattr(module, "PENDING_BYTES_MAX", node.submission._bytes + 10)
            with pytest.raises(UnavailableError, match=r"pool\.full"):
                await submit(node, sender.sign(), wait=False)

    run(work)


@pytest.mark.parametrize("how", ["raises", "refuses", "breaks"])
def test_a_bundle_the_engine_refuses_answers_every_sender(
    home: Home, clock: Clock, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async def refuse(bundle: bytes) -> CheckTxResponse:
        if how == "raises":
            raise PoolRefusedError("pool.duplicate", "again")
        if how == "breaks":
            raise ZeroDivisionError
        return CheckTxResponse(code=1, codespace="bundle.node", log="no")

    async def work() -> None:
        async with running(home, clock) as (node, sender):
            real = node.engine.submit
            monkeypatch.setattr(node.engine, "submit", refuse)
            answers = await submit(node, *(sender.sign() for _ in range(5)))
            code = {"raises": "pool.duplicate", "refuses": "bundle.node", "breaks": "node.internal"}[how]
            assert [a.code for a in answers] == [code] * 5
            assert node.submission.pending == 0
            monkeypatch.setattr(node.engine, "submit", real)
            (answer,) = await submit(node, sender.sign())
            assert receipt(answer).ok, "later ones go on"

    run(work)


def test_a_bundle_that_a_block_refuses_answers_every_sender(home: Home, clock: Clock) -> None:
    """The node's own account is closed by the first transaction; what follows in a later bundle is not executed."""

    async def work() -> None:
        async with running(home, clock) as (node, sender):
            spare = Actor.seeded("spare node")  # the last node could not be closed
            address = sender.actor.address
            create = CreateAccount(address, AccountKind.NODE, "spare", (), 1, (spare.public,))
            close = sender.sign(create, SetAccountStatus(node.address, AccountStatus.CLOSED))
            later = [sender.sign() for _ in range(5)]
            first, *others = await asyncio.gather(submit(node, close), *(submit(node, data) for data in later))
            assert receipt(first[0]).ok
            for (answer,) in others:
                assert answer.code == "bundle.node" or receipt(answer).ok
            (answer,) = await submit(node, sender.sign())
            assert answer.code == "bundle.node"
            assert node.submission.pending == 0

    run(work)


def test_an_unprepared_node_stops_before_an_upgrade_and_the_next_release_goes_on(
    home: Home, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No block of the height is made, the error says what to install, and headers name the rules from the height on."""
    at = 6

    async def unprepared() -> None:
        async with running(home, clock) as (node, sender):
            (answer,) = await submit(node, sender.sign(ScheduleUpgrade(Upgrade(at, 2, "release 2"))))
            assert receipt(answer).ok
            while node.status().phase is not Phase.HALTED:
                await asyncio.sleep(0.05)
            assert "upgrade.needed" in node.status().error
            assert node.engine.latest_height == node.ledger.height == at - 1

    async def prepared() -> None:
        async with running(home, clock) as (node, sender):
            await node.engine.wait_height(at + 1)
            versions = [node.engine.signed_header(height).header.app_version for height in range(at - 2, at + 2)]
            assert versions == [1, 1, 2, 2]
            assert node.ledger.app_version == 2
            (answer,) = await submit(node, sender.sign(WriteNote(sender.actor.address, "n", "much too long a text")))
            assert receipt(answer).code == "notes.too_long"

    monkeypatch.setattr("althing.ledger.app.assemble", lambda: Rulebook(rules_1()))
    run(unprepared)
    monkeypatch.setattr("althing.ledger.app.assemble", rulebook)
    run(prepared)


def test_receipts_that_a_node_keeps_no_longer(home: Home, clock: Clock) -> None:
    """Blocks and their counts are still served; receipts and events answer that they are gone, never an empty list."""

    async def work() -> None:
        node = open_node(home, settings={"idle_block_s": 1}, keep_receipts_days=2, clock=clock)
        await node.start()
        try:
            sender = Sender(home, node)
            old = sender.sign()
            (answer,) = await submit(node, old)
            height = answer.height
            clock.ns += 3 * 86_400 * 10**9
            await node.engine.wait_height(node.engine.latest_height + 3)  # a block's time is that of the votes before
            (later,) = await submit(node, sender.sign(expiry=START + 3 * 86_400 + 300))
            assert receipt(later).ok
            contents = BlockContents(node.ledger, node.engine)
            for question in (node.ledger.outcome, contents.receipts, node.events.at):
                with pytest.raises(PrunedError, match=r"query\.outcome_pruned"):
                    question(height)
            assert contents.measure(height)[0] == 1
            assert contents.inner(height, 0) == (old,)
            index = Indexer(home.path / "index", node.ledger, node.engine)
            index.catch_up()
            assert index.height == node.engine.latest_height
            index.close()
            (again,) = await submit(node, old)
            assert again.code == "tx.expired"
        finally:
            await node.stop()

    run(work)


def test_what_expires_while_pending_is_answered(home: Home, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine dropped or never proposed the bundle: the next block after the expiry says so, and later ones go on."""

    async def work() -> None:
        async with running(home, clock) as (node, sender):
            real = node.engine.submit
            held = hold(node, monkeypatch)
            doomed = [
                asyncio.create_task(submit(node, *(sender.sign(expiry=START + 100 + i) for _ in range(3))))
                for i in range(4)
            ]
            while not held or len(node.submission._pending) < 12:
                await asyncio.sleep(0.01)
            clock.ns += 200 * 10**9
            for answers in await asyncio.gather(*doomed):
                assert [a.code for a in answers] == ["tx.expired"] * 3
            assert node.submission.pending == 0
            assert node.submission._bytes == 0
            monkeypatch.setattr(node.engine, "submit", real)
            (answer,) = await submit(node, sender.sign(expiry=START + 500))
            assert receipt(answer).ok

    run(work)


def test_what_the_engine_drops_is_bundled_anew(home: Home, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bundle is left out of blocks until a recheck has dropped it once: its slot is free and its senders get receipts."""

    async def work() -> None:
        async with running(home, clock) as (node, sender):
            dropped: set[bytes] = set()
            check, choose = node.ledger.check_bundle, node.ledger.choose

            def refuse_once(data: bytes, time_s: int, *, recheck: bool) -> tuple[int, int]:
                if recheck and data not in dropped:
                    dropped.add(data)
                    raise TxError("bundle.stale", "dropped")
                return check(data, time_s, recheck=recheck)

            def choose_later(items: Sequence[bytes], bytes_max: int) -> list[bytes]:
                return choose([item for item in items if item in dropped], bytes_max)

            monkeypatch.setattr(node.ledger, "check_bundle", refuse_once)
            monkeypatch.setattr(node.ledger, "choose", choose_later)
            tasks = []
            for _ in range(module.BUNDLES_UNDER_WAY_MAX + 2):
                tasks.append(asyncio.create_task(submit(node, sender.sign())))
                await asyncio.sleep(0.05)
            for (answer,) in await asyncio.gather(*tasks):
                assert receipt(answer).ok
            assert len(dropped) >= module.BUNDLES_UNDER_WAY_MAX
            assert not node.submission._under_way
            assert node.submission.pending == 0
            assert node.submission._bytes == 0

    run(work)


def test_what_is_lost_unseen_is_bundled_anew(home: Home, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine with a pool of its own may forget and not say: after some blocks the slots are free again."""
    monkeypatch.setattr(module, "OVERDUE_S", 0)

    async def work() -> None:
        async with running(home, clock) as (node, sender):
            real = node.engine.submit
            held = hold(node, monkeypatch)
            tasks = [asyncio.create_task(submit(node, sender.sign()))]
            while len(held) < module.BUNDLES_UNDER_WAY_MAX:
                tasks.append(asyncio.create_task(submit(node, sender.sign())))
                await asyncio.sleep(0.05)
            tasks.append(asyncio.create_task(submit(node, sender.sign())))
            monkeypatch.setattr(node.engine, "submit", real)
            for (answer,) in await asyncio.gather(*tasks):
                assert receipt(answer).ok
            for lost in held:  # and when it was not lost after all, nothing executes twice
                with suppress(PoolRefusedError):
                    await real(lost)
            assert not node.submission._under_way
            assert not node.submission._overdue
            assert node.submission._bytes == 0

    run(work)


def test_what_is_late_and_still_there_is_waited_for(home: Home, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundled anew it has the same bytes; the engine, which has them, refuses that, and nobody is told of it."""
    monkeypatch.setattr(module, "OVERDUE_S", 0)

    async def work() -> None:
        async with running(home, clock) as (node, sender):
            real, choose = node.engine.submit, node.ledger.choose
            refused: list[str] = []

            async def heard(bundle: bytes) -> CheckTxResponse:
                try:
                    return await real(bundle)
                except PoolRefusedError as error:
                    refused.append(error.code)
                    raise

            monkeypatch.setattr(node.engine, "submit", heard)
            monkeypatch.setattr(
                node.ledger, "choose", lambda items, bytes_max: choose(items, bytes_max) if refused else []
            )
            (answer,) = await submit(node, sender.sign())
            assert receipt(answer).ok
            assert refused == ["pool.duplicate"]
            assert not node.submission._under_way
            assert not node.submission._overdue

    run(work)


def test_stopping_answers_everyone(home: Home, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with running(home, clock) as (node, sender):
            hold(node, monkeypatch)
            waiting = [asyncio.create_task(submit(node, sender.sign())) for _ in range(5)]
            while node.submission.pending < 5 or node.submission._judging or node.submission._arrived:
                await asyncio.sleep(0.01)
            # These have only just arrived: some are being judged, in other threads, some not even that.
            waiting += [asyncio.create_task(submit(node, *(sender.sign() for _ in range(200)))) for _ in range(10)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await node.submission.stop()
            done = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
            for result in done:
                if isinstance(result, UnavailableError):
                    assert result.code == "node.stopping"
                else:
                    assert isinstance(result, list)
                    assert {a.code for a in result} == {"node.stopping"}
            assert node.submission.pending == 0
            with pytest.raises(UnavailableError, match=r"node\.stopping"):
                await submit(node, sender.sign())

    run(work)


def test_bundles_fit_the_gas_of_a_block(home: Home, clock: Clock) -> None:
    """Clients may name any gas limit up to a block's; a bundle beyond it would never be proposed."""

    async def work() -> None:
        async with running(home, clock) as (node, sender):
            limit = 2_000_000
            present = node.view().parameters()
            change = SetParameters(sha256(present.to_bytes()), replace(present, block_gas_max=limit))
            (answer,) = await submit(node, sender.sign(change))
            assert receipt(answer).ok
            answers = await submit(node, *(sender.sign(gas=gas) for gas in [900_000] * 9 + [limit] * 3 + [10_000] * 9))
            assert all(receipt(answer).ok for answer in answers)

    run(work)


def test_a_block_of_others_settles_what_it_executed_only(
    home: Home, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node's bundle: a refused envelope of our transaction leaves it waiting, an executed one answers it."""

    async def work() -> None:
        async with running(home, clock) as (node, sender):
            real = node.engine.submit
            hold(node, monkeypatch)
            data = sender.sign()
            task = asyncio.create_task(submit(node, data))
            while node.submission.pending < 1 or not node.submission._under_way:
                await asyncio.sleep(0.01)
            broken = data[:-1] + bytes((data[-1] ^ 1,))
            genesis_hash = node.ledger.genesis_hash
            await real(make_bundle(node.key, node.address, [broken, sender.sign()], genesis_hash))
            height = node.ledger.height
            await node.engine.wait_height(height + 2)
            assert not task.done()
            await real(make_bundle(node.key, node.address, [data], genesis_hash))
            (answer,) = await task
            assert receipt(answer).ok
            assert not node.submission._under_way

    run(work)
