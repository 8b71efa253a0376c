"""Transactions on their way into CometBFT: one answer for each sender, bounds, and what is sent again after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256

import pytest

from althing.consensus.abci import CheckTxResponse
from althing.consensus.cometbft.pool import SentPool
from althing.consensus.engine import PoolRefusedError
from althing.protocol.errors import UnavailableError


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())


def key(tx: bytes) -> bytes:
    return sha256(tx).digest()


def nothing_dropped(keys: Sequence[bytes]) -> None:
    raise AssertionError(f"dropped: {keys}")


def test_what_leaves_after_it_was_accepted_is_told() -> None:
    """A recheck refuses, or the engine after a restart. A block, or a first check that refuses, is no drop."""

    async def story() -> None:
        dropped: list[bytes] = []
        pool = SentPool(count_max=10, bytes_max=100, dropped=dropped.extend)
        sent = {tx: pool.add(tx) for tx in (b"a", b"b", b"c", b"d", b"e")}
        for tx in (b"a", b"b", b"c", b"d"):
            pool.checked(key(tx), CheckTxResponse(), again=False)
        pool.checked(key(b"e"), CheckTxResponse(code=1), again=False)
        pool.committed((b"a",))
        assert dropped == []
        pool.checked(key(b"b"), CheckTxResponse(code=1), again=True)
        pool.checked(key(b"c"), CheckTxResponse(code=1), again=False)
        pool.refused(sent[b"d"], "mempool is full")
        assert dropped == [key(b"b"), key(b"c"), key(b"d")]
        assert pool.load == (0, 0)

    run(story)


def test_a_refusal_is_told_and_forgotten() -> None:
    async def story() -> None:
        pool = SentPool(count_max=10, bytes_max=100, dropped=nothing_dropped)
        sent = pool.add(b"a")
        pool.checked(key(b"a"), CheckTxResponse(code=1), again=False)
        assert (await sent.answer).code == 1
        assert pool.load == (0, 0)
        pool.add(b"a")

    run(story)


def test_an_accepted_one_stays_until_a_block_or_a_later_refusal() -> None:
    async def story() -> None:
        pool = SentPool(count_max=10, bytes_max=100, dropped=lambda _: None)
        first, second = pool.add(b"a"), pool.add(b"bb")
        for tx in (b"a", b"bb"):
            pool.checked(key(tx), CheckTxResponse(), again=False)
        assert (await first.answer).code == (await second.answer).code == 0
        assert pool.load == (2, 3)
        assert [sent.tx for sent in pool.waiting()] == [b"a", b"bb"]
        pool.committed((b"a", b"another node's"))
        pool.checked(key(b"bb"), CheckTxResponse(code=1), again=True)
        assert pool.load == (0, 0)

    run(story)


def test_bounds_and_duplicates() -> None:
    async def story() -> None:
        pool = SentPool(count_max=2, bytes_max=10, dropped=nothing_dropped)
        pool.add(b"12345678")
        with pytest.raises(PoolRefusedError):
            pool.add(b"12345678")
        with pytest.raises(UnavailableError):
            pool.add(b"abc")
        pool.add(b"a")
        with pytest.raises(UnavailableError):
            pool.add(b"b")

    run(story)


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        ("tx already exists in cache", PoolRefusedError, "pool.duplicate"),
        ("mempool is full: number of txs 5 (max: 5), total txs bytes 5 (max: 9)", UnavailableError, "pool.full"),
        ("Tx too large. Max size is 100, but got 101", PoolRefusedError, "pool.tx_too_large"),
        ("endpoint is closed while node is catching up", UnavailableError, "engine.behind"),
        ("something else", UnavailableError, "engine.unreachable"),
    ],
)
def test_what_cometbft_itself_refuses(said: str, kind: type[Exception], code: str) -> None:
    async def story() -> None:
        pool = SentPool(count_max=2, bytes_max=10, dropped=nothing_dropped)
        sent = pool.add(b"a")
        pool.refused(sent, said)
        with pytest.raises(kind) as error:
            await sent.answer
        assert error.value.code == code  # type: ignore[attr-defined]
        assert pool.load == (0, 0)

    run(story)


def test_sent_again_after_a_restart_and_already_there_is_no_refusal() -> None:
    async def story() -> None:
        pool = SentPool(count_max=2, bytes_max=10, dropped=nothing_dropped)
        sent = pool.add(b"a")
        pool.checked(key(b"a"), CheckTxResponse(), again=False)
        pool.refused(sent, "tx already exists in cache")
        assert (await sent.answer).code == 0
        assert pool.load == (1, 1)

    run(story)


def test_a_block_answers_whom_no_check_has_answered() -> None:
    async def story() -> None:
        pool = SentPool(count_max=2, bytes_max=10, dropped=nothing_dropped)
        sent = pool.add(b"a")
        pool.committed((b"a",))
        assert (await sent.answer).code == 0

    run(story)


def test_the_end_tells_all() -> None:
    async def story() -> None:
        pool = SentPool(count_max=2, bytes_max=10, dropped=nothing_dropped)
        sent = pool.add(b"a")
        pool.end(UnavailableError("engine.stopped", "over"))
        with pytest.raises(UnavailableError):
            await sent.answer
        assert pool.load == (0, 0)

    run(story)
