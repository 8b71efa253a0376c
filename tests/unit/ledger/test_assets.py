"""Assets: who may make, move, freeze and lock them, and that nothing of them is ever lost or made from nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from althing.ledger.modules.assets.state import BALANCES, ESCROWS, UNITS
from althing.ledger.query import LedgerView
from althing.protocol.catalog import MessageBody
from althing.protocol.limits import INT_MAX
from althing.protocol.messages.assets import (
    Burn,
    DefineUnit,
    FreezeBalance,
    FreezeUnit,
    Lock,
    Mint,
    Settle,
    Transfer,
)
from althing.protocol.messages.identity import AccountKind, Role
from althing.testing.harness import Actor, LedgerHarness

from .conftest import Town

NOBODY = Actor.seeded("nobody")


@pytest.fixture
def market(town: Town) -> Town:
    """Bolt issues `coin`, of which cogs has 100."""
    town.ok(town.bolt, DefineUnit(town.bolt.address, "coin", "Coin of bolt", 2, 1000))
    town.ok(town.bolt, Mint("coin", town.cogs.address, 100))
    return town


def amount(town: Town, actor: Actor, unit: str = "coin") -> int:
    return town.view.balances(actor.address).get(unit, 0)


def pay(sender: Actor, recipient: Actor, value: int, unit: str = "coin") -> Transfer:
    return Transfer(unit, sender.address, recipient.address, value, "")


def lock(town: Town, **changes: Any) -> Lock:
    base = Lock("coin", town.cogs.address, town.clerk.address, 40, (), 0, town.chain.time_s + 100, "for a pump")
    return replace(base, **changes)


def test_an_organisation_defines_and_mints(market: Town) -> None:
    acme, bolt, cogs = market.chain.admin, market.bolt, market.cogs
    unit = market.view.unit("coin")
    assert (unit.issuer, unit.decimals, unit.cap, unit.supply) == (bolt.address, 2, 1000, 100)
    assert amount(market, cogs) == 100
    assert market.code(acme, DefineUnit(acme.address, "coin", "", 0, None)) == "assets.exists"
    assert market.code(market.clerk, DefineUnit(acme.address, "gold", "", 0, None)) == "auth.organisation"
    assert market.code(acme, Mint("coin", cogs.address, 1)) == "auth.organisation"
    assert market.code(bolt, Mint("gold", cogs.address, 1)) == "assets.unknown"
    assert market.code(bolt, Mint("coin", NOBODY.address, 1)) == "assets.account"
    assert market.code(bolt, Mint("coin", cogs.address, 901)) == "assets.cap"
    market.ok(bolt, Mint("coin", bolt.address, 900))
    admin = Actor.seeded("bolt admin")
    market.ok([bolt, admin], market.account(bolt, admin, AccountKind.PERSON, "boss", roles=(Role.ADMIN,)))
    market.ok(bolt, Burn("coin", bolt.address, 10))
    market.ok(admin, Mint("coin", cogs.address, 10))


def test_without_a_cap_63_bits_are_the_end(market: Town) -> None:
    acme = market.chain.admin
    market.ok(acme, DefineUnit(acme.address, "gold", "", 9, None), Mint("gold", acme.address, INT_MAX))
    assert market.code(acme, Mint("gold", market.cogs.address, 1)) == "assets.cap"
    market.ok(acme, pay(acme, market.cogs, INT_MAX, "gold"))
    assert amount(market, acme, "gold") == 0
    assert BALANCES.get(market.view, acme.address + b"gold") is None


def test_transfers_and_burns(market: Town) -> None:
    bolt, cogs, clerk = market.bolt, market.cogs, market.clerk
    assert market.code(bolt, pay(cogs, bolt, 1)) == "auth.account"
    assert market.code(cogs, pay(cogs, bolt, 101)) == "assets.balance"
    assert market.code(cogs, pay(cogs, NOBODY, 1)) == "assets.account"
    assert market.code(cogs, pay(cogs, bolt, 1, "gold")) == "assets.unknown"
    assert market.code(cogs, pay(cogs, bolt, 60), pay(cogs, clerk, 60)) == "assets.balance"
    market.ok(cogs, pay(cogs, clerk, 60), pay(cogs, cogs, 40))
    assert (amount(market, cogs), amount(market, clerk)) == (40, 60)
    assert market.code(bolt, Burn("coin", clerk.address, 1)) == "auth.account"
    market.ok(clerk, Burn("coin", clerk.address, 60))
    assert market.view.unit("coin").supply == 40


def test_freezing(market: Town) -> None:
    bolt, cogs, clerk = market.bolt, market.cogs, market.clerk
    market.ok(cogs, lock(market, amount=10))
    assert market.code(cogs, FreezeUnit("coin", True)) == "auth.organisation"
    assert market.code(bolt, FreezeBalance("coin", NOBODY.address, True)) == "assets.account"
    market.ok(bolt, FreezeBalance("coin", clerk.address, True))
    assert market.code(cogs, pay(cogs, clerk, 1)) == "assets.frozen"
    assert market.code(cogs, Settle(0, True)) == "assets.frozen"
    assert market.code(bolt, Mint("coin", clerk.address, 1)) == "assets.frozen"
    market.ok(bolt, FreezeBalance("coin", clerk.address, False), FreezeUnit("coin", True))
    for actor, message in (
        (cogs, pay(cogs, clerk, 1)),
        (cogs, Burn("coin", cogs.address, 1)),
        (cogs, lock(market)),
        (cogs, Settle(0, True)),
        (bolt, Mint("coin", cogs.address, 1)),
    ):
        assert market.code(actor, message) == "assets.frozen"
    market.ok(bolt, FreezeUnit("coin", False))
    market.ok(cogs, Settle(0, True))


def test_escrow_ends_by_either_side_giving_up_or_by_time(market: Town) -> None:
    cogs, clerk, bolt = market.cogs, market.clerk, market.bolt
    market.ok(cogs, lock(market), lock(market), lock(market, amount=1))
    assert amount(market, cogs) == 19
    assert market.view.escrow(0).amount == 40
    for actor, release in ((clerk, True), (cogs, False), (bolt, True), (bolt, False)):
        assert market.code(actor, Settle(0, release)) == "assets.settle"
    market.ok(cogs, Settle(0, True))
    market.ok(clerk, Settle(1, False))
    assert (amount(market, cogs), amount(market, clerk)) == (59, 40)
    assert market.code(cogs, Settle(0, True)) == "assets.escrow"
    market.chain.block(seconds=100)
    market.ok(bolt, Settle(2, False))
    assert amount(market, cogs) == 60


def test_arbiters_decide_for_both(market: Town) -> None:
    cogs, clerk, bolt, acme = market.cogs, market.clerk, market.bolt, market.chain.admin
    two = tuple(sorted((bolt.address, acme.address)))
    for bad in (
        {"arbiters": two[::-1], "needed": 1},
        {"arbiters": two, "needed": 0},
        {"arbiters": two, "needed": 3},
        {"arbiters": (), "needed": 1},
        {"arbiters": (two[0], two[0]), "needed": 1},
    ):
        assert market.code(cogs, lock(market, **bad)) == "assets.arbiters"
    assert market.code(cogs, lock(market, timeout=market.chain.time_s + 1)) == "assets.timeout"
    assert market.code(clerk, lock(market)) == "auth.account"
    assert market.code(cogs, lock(market, recipient=NOBODY.address)) == "assets.account"
    market.ok(cogs, lock(market, arbiters=two, needed=2), lock(market, arbiters=two, needed=2))
    assert market.code(bolt, Settle(0, True)) == "assets.settle"
    market.ok([bolt, acme], Settle(0, True), Settle(1, False))
    assert (amount(market, cogs), amount(market, clerk)) == (60, 40)


# --- conservation -----------------------------------------------------------------------------------------------------

WHO = st.integers(0, 3)
UNIT = st.sampled_from(["iron", "gold"])
VALUE = st.sampled_from([1, 2, 7, 50, 100, INT_MAX])
ACTION = st.tuples(
    st.sampled_from(["mint", "burn", "pay", "pay", "lock", "settle", "freeze", "freeze_unit"]), UNIT, WHO, WHO, VALUE
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(ACTION, min_size=1, max_size=4), min_size=1, max_size=12))
def test_supply_is_always_balances_and_what_is_locked(transactions: list[list[tuple[str, str, int, int, int]]]) -> None:
    chain = LedgerHarness()
    people = [Actor.seeded(f"person {i}") for i in range(3)]
    for number, person in enumerate(people):
        assert chain.run([chain.admin, person], Town.account(chain.admin, person, AccountKind.PERSON, f"p{number}")).ok
    actors = [chain.admin, *people]
    for unit, cap in (("iron", 150), ("gold", None)):
        assert chain.run(chain.admin, DefineUnit(chain.admin.address, unit, "", 0, cap)).ok
        assert chain.run(chain.admin, *(Mint(unit, actor.address, 20) for actor in actors)).ok
    for actions in transactions:
        before = _content(chain)
        receipt = chain.run(actors, *(_message(chain, actors, action) for action in actions))
        _conserved(chain)
        if not receipt.ok:
            assert _content(chain) == before, "all or nothing"


def _message(chain: LedgerHarness, actors: list[Actor], action: tuple[str, str, int, int, int]) -> MessageBody:
    kind, unit, one, two, value = action
    sender, recipient = actors[one].address, actors[two].address
    match kind:
        case "mint":
            return Mint(unit, recipient, value)
        case "burn":
            return Burn(unit, sender, value)
        case "pay":
            return Transfer(unit, sender, recipient, value, "")
        case "lock":
            return Lock(unit, sender, recipient, value, (), 0, chain.time_s + 1000, "")
        case "settle":
            return Settle(value % 5, one % 2 == 0)
        case "freeze":
            return FreezeBalance(unit, recipient, value == 1)
        case _:
            return FreezeUnit(unit, value == 1)


def _content(chain: LedgerHarness) -> dict[bytes, bytes]:
    return {key: value for key, value in chain.ledger.store.iterate() if key.startswith(b"assets/")}


def _conserved(chain: LedgerHarness) -> None:
    view = LedgerView(chain.ledger.store)
    held: Counter[str] = Counter()
    for own, balance in BALANCES.scan(view):
        assert balance.amount or balance.frozen
        held[own[20:].decode()] += balance.amount
    for _, escrow in ESCROWS.scan(view):
        held[escrow.unit] += escrow.amount
    for _, unit in UNITS.scan(view):
        assert unit.supply == held[unit.symbol] <= (INT_MAX if unit.cap is None else unit.cap)
