from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from althing.consensus.engine import PoolRefusedError
from althing.consensus.solo.pool import Pool, tx_key
from althing.protocol.block import tx_size
from althing.protocol.errors import AlthingError, UnavailableError


def make_pool(count_max: int = 10, bytes_max: int = 1000, seen_max: int = 5) -> Pool:
    return Pool(count_max=count_max, bytes_max=bytes_max, seen_max=seen_max)


def add(pool: Pool, tx: bytes, *, gas: int = 1, height: int = 0) -> None:
    pool.reserve(tx_key(tx), tx_size(tx))
    pool.admit(tx_key(tx), tx, gas, height)


def code_of(error: pytest.ExceptionInfo[AlthingError]) -> str:
    return error.value.code


def test_first_in_first_out_and_stays_until_committed() -> None:
    pool = make_pool()
    for tx in (b"c", b"a", b"b"):
        add(pool, tx)
    assert pool.reap(1000, -1) == (b"c", b"a", b"b")
    assert pool.reap(1000, -1) == (b"c", b"a", b"b")
    pool.committed([b"a"])
    assert pool.reap(1000, -1) == (b"c", b"b")


def test_a_block_takes_what_fits_in_order() -> None:
    pool = make_pool()
    for tx, gas in ((b"1" * 10, 5), (b"2" * 10, 4), (b"3" * 10, 1)):
        add(pool, tx, gas=gas)
    assert len(pool.reap(24, -1)) == 2
    assert len(pool.reap(23, -1)) == 1
    assert len(pool.reap(1000, 9)) == 2
    assert len(pool.reap(1000, 8)) == 1, "a later, smaller one does not overtake"


def test_what_no_block_can_hold_is_dropped() -> None:
    pool = make_pool()
    add(pool, b"big" * 20)
    add(pool, b"greedy", gas=100)
    add(pool, b"small")
    assert pool.reap(30, 50) == (b"small",)
    assert pool.ready == (1, tx_size(b"small"))


def test_what_leaves_without_a_block_is_told_once() -> None:
    dropped: list[bytes] = []
    pool = Pool(count_max=10, bytes_max=1000, seen_max=5, dropped=dropped.extend)
    for tx in (b"big" * 20, b"in a block", b"refused", b"checked", b"refused work"):
        add(pool, tx)
    assert len(pool.reap(50, -1)) == 4
    pool.committed([b"in a block"])
    for keep in (True, False, False):
        pool.rechecked(b"refused", 1, keep=keep)
    pool.rechecked(b"in a block", 1, keep=False)
    pool.drop([b"refused work", b"in a block"])
    assert dropped == [tx_key(b"big" * 20), tx_key(b"refused"), tx_key(b"refused work")]
    assert pool.reap(1000, -1) == (b"checked",)


def test_each_only_once() -> None:
    pool = make_pool()
    pool.reserve(tx_key(b"x"), 3)
    with pytest.raises(PoolRefusedError) as error:
        pool.reserve(tx_key(b"x"), 3)  # while the first is being checked
    assert code_of(error) == "pool.duplicate"
    pool.admit(tx_key(b"x"), b"x", 1, 0)
    with pytest.raises(PoolRefusedError):
        pool.reserve(tx_key(b"x"), 3)  # while it waits
    pool.committed([b"x"])
    with pytest.raises(PoolRefusedError):
        pool.reserve(tx_key(b"x"), 3)  # after its block
    pool.committed([b"1", b"2", b"3", b"4", b"5"])
    pool.reserve(tx_key(b"x"), 3)  # forgotten: the application decides


def test_a_refused_one_may_come_again() -> None:
    pool = make_pool()
    pool.reserve(tx_key(b"x"), 3)
    pool.release(tx_key(b"x"))
    assert pool.load == (0, 0)
    add(pool, b"x")


def test_bounded_by_count_and_bytes() -> None:
    pool = make_pool(count_max=2)
    add(pool, b"1")
    pool.reserve(tx_key(b"2"), 3)
    with pytest.raises(UnavailableError) as error:
        pool.reserve(tx_key(b"3"), 3)
    assert code_of(error) == "pool.full"
    pool = make_pool(bytes_max=10)
    pool.reserve(tx_key(b"1"), 10)
    with pytest.raises(UnavailableError):
        pool.reserve(tx_key(b"2"), 1)


def test_deferred_work_waits_for_the_next_block() -> None:
    pool = make_pool()
    add(pool, b"a")
    add(pool, b"b")
    pool.defer([b"a"])
    assert pool.reap(1000, -1) == (b"b",)
    assert pool.ready == (1, 3)
    pool.committed([b"b"])
    assert pool.reap(1000, -1) == (b"a",)
    assert pool.ready == (1, 3)


def test_rechecks_name_what_has_not_seen_the_height() -> None:
    pool = make_pool()
    add(pool, b"old", height=3)
    add(pool, b"new", height=4)
    assert pool.unchecked_since(4) == [b"old"]
    pool.rechecked(b"old", 4, keep=True)
    assert pool.unchecked_since(4) == []
    assert pool.unchecked_since(5) == [b"old", b"new"]
    pool.rechecked(b"old", 5, keep=False)
    assert pool.reap(1000, -1) == (b"new",)
    add(pool, b"old")


class PoolMachine(RuleBasedStateMachine):
    """Whatever happens, the counters tell what the pool holds, and bounds are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = make_pool(count_max=6, bytes_max=60)
        self.checking: dict[bytes, bytes] = {}
        self.waiting: dict[bytes, bool] = {}

    @rule(tx=st.binary(min_size=1, max_size=20))
    def reserve(self, tx: bytes) -> None:
        try:
            self.pool.reserve(tx_key(tx), tx_size(tx))
        except AlthingError:
            return
        assert tx not in self.checking
        assert tx not in self.waiting
        self.checking[tx] = tx

    @precondition(lambda self: self.checking)
    @rule(accept=st.booleans(), data=st.data())
    def decide(self, accept: bool, data: st.DataObject) -> None:
        tx = data.draw(st.sampled_from(sorted(self.checking)))
        del self.checking[tx]
        if accept:
            self.pool.admit(tx_key(tx), tx, 1, 0)
            self.waiting[tx] = True
        else:
            self.pool.release(tx_key(tx))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), how=st.sampled_from(["commit", "drop", "recheck", "defer"]))
    def leave(self, data: st.DataObject, how: str) -> None:
        tx = data.draw(st.sampled_from(sorted(self.waiting)))
        if how == "defer":
            self.pool.defer([tx])
            self.waiting[tx] = False
            return
        del self.waiting[tx]
        if how == "commit":
            self.pool.committed([tx])
            self.waiting = dict.fromkeys(self.waiting, True)
        elif how == "drop":
            self.pool.drop([tx])
        else:
            self.pool.rechecked(tx, 1, keep=False)

    @invariant()
    def counters_agree(self) -> None:
        ready = [tx for tx, is_ready in self.waiting.items() if is_ready]
        held = [*self.waiting, *self.checking]
        assert self.pool.ready == (len(ready), sum(map(tx_size, ready)))
        assert self.pool.load == (len(held), sum(map(tx_size, held)))
        assert self.pool.load[0] <= 6
        assert self.pool.load[1] <= 60
        assert self.pool.reap(1000, -1) == tuple(ready)


TestPoolMachine = PoolMachine.TestCase
