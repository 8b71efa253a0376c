"""A public chain: who joins, who validates, what evidence costs, where fees go; and that no unit is lost or made."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from althing.ledger.modules.assets.state import BALANCES, ESCROWS, FEES, UNITS
from althing.ledger.modules.staking.election import Candidate, elect
from althing.ledger.modules.staking.state import STAKES, UNBONDINGS
from althing.ledger.query import LedgerView
from althing.ledger.runtime.errors import ModuleError
from althing.ledger.runtime.misconduct import Misconduct
from althing.protocol.block import validator_address
from althing.protocol.catalog import MessageBody
from althing.protocol.hashing import sha256
from althing.protocol.messages.assets import Burn, FreezeUnit, Lock, Mint, Settle, Transfer
from althing.protocol.messages.devices import RegisterDevice
from althing.protocol.messages.governance import (
    ExpelOrganisation,
    RotateValidator,
    SetParameters,
    SetValidator,
    Validator,
)
from althing.protocol.messages.identity import AccountKind
from althing.protocol.messages.staking import (
    Bond,
    GenesisAllocation,
    Join,
    PublicChain,
    SetStaking,
    SetValidatorKey,
    Stake,
    StakingParameters,
    Unbond,
    Unjail,
)
from althing.protocol.receipt import Receipt
from althing.testing.harness import Actor, LedgerHarness, default_parameters, seeded_key

from .conftest import Town

DAY = 86_400
UNIT = "thing"
RULES = StakingParameters(
    version=1,
    bond_min=100,
    power_unit=10,
    validators_max=3,
    changes_max=2,
    unbonding_s=2 * DAY,
    trusting_period_s=DAY,
    slash_ppm=100_000,
    jail_s=600,
    fee_burn_ppm=500_000,
    quota_bytes=2**50,
    quota_gas=2**50,
)
PUBLIC = PublicChain(UNIT, "Thing", 2, DAY, 5, RULES, (GenesisAllocation("acme", 10**12, 1000),))


def key_of(actor: Actor | str) -> bytes:
    return seeded_key(f"validator of {actor}" if isinstance(actor, str) else "validator").public


class Commons:
    """A public chain of acme, and organisations that join it."""

    def __init__(self, *, price: int = 0, **changes: Any) -> None:
        kind = replace(PUBLIC, parameters=replace(RULES, **changes))
        parameters = replace(default_parameters(), gas_price_min=price)
        self.chain = LedgerHarness(kind=kind, parameters=parameters, validators=[(seeded_key("validator"), 100)])
        self.acme = self.chain.admin
        self.known = {self.acme.address: self.acme}
        self.receipt: Receipt | None = None

    @property
    def view(self) -> LedgerView:
        return LedgerView(self.chain.ledger.store)

    def run(self, actors: Actor | list[Actor], *messages: MessageBody) -> str:
        self.receipt = self.chain.run(actors, *messages)
        self.conserved()
        return self.receipt.code

    def ok(self, actors: Actor | list[Actor], *messages: MessageBody) -> None:
        code = self.run(actors, *messages)
        assert code == "", code

    def join(self, name: str, amount: int, *, validate: bool = True) -> Actor:
        actor = Actor.seeded(name)
        self.ok([self.acme, actor], Join(self.acme.address, name, 1, (actor.public,), amount))
        self.known[actor.address] = actor
        if validate:
            self.ok([self.acme, actor], SetValidatorKey(actor.address, key_of(name)))
        return actor

    def stake(self, actor: Actor) -> Stake:
        return self.view.stake(actor.address)

    def powers(self) -> dict[str, int]:
        """Power of the validators by organisation's name."""
        names = {one.address: one.name for one in self.view.organisations()}
        return {names.get(v.organisation, "?"): v.power for v in self.view.validators()}

    def later(self, seconds: int, blocks: int = 1) -> None:
        for number in range(blocks):
            self.chain.block(seconds=seconds if number == 0 else 1)
            self.conserved()

    def evidence(self, public: bytes, height: int | None = None) -> None:
        self.chain.misconduct = (Misconduct(1, validator_address(public), height or self.chain.height),)
        self.later(1)
        self.chain.misconduct = ()

    def conserved(self) -> None:
        view = self.view
        held: Counter[str] = Counter()
        for own, balance in BALANCES.scan(view):
            held[own[20:].decode()] += balance.amount
        for _, escrow in ESCROWS.scan(view):
            held[escrow.unit] += escrow.amount
        parts: Counter[bytes] = Counter()
        for _, entry in UNBONDINGS.scan(view):
            parts[entry.organisation] += entry.amount
        for own, stake in STAKES.scan(view):
            assert stake.unbonding == parts.pop(own, 0)
            held[UNIT] += stake.bond + stake.unbonding
        assert not parts, "every part that unbonds is counted in a stake"
        fees = FEES.get(view, b"")
        assert fees is not None
        assert fees.amount == 0, "a block shares out what it has taken"
        for _, unit in UNITS.scan(view):
            assert unit.supply == held[unit.symbol]
            assert unit.cap is None or unit.supply <= unit.cap


@pytest.fixture
def commons() -> Commons:
    return Commons()


# --- genesis ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (replace(PUBLIC, parameters=replace(RULES, unbonding_s=DAY - 1)), "staking.periods"),
        (replace(PUBLIC, parameters=replace(RULES, trusting_period_s=DAY + 1)), "staking.periods"),
        (replace(PUBLIC, allocations=(GenesisAllocation("acme", 0, 990),)), "staking.genesis"),
        (replace(PUBLIC, allocations=(GenesisAllocation("bolt", 0, 1000),)), "staking.genesis"),
        (replace(PUBLIC, allocations=PUBLIC.allocations * 2), "staking.genesis"),
        (replace(PUBLIC, parameters=replace(RULES, bond_min=1001)), "staking.genesis"),
        (replace(PUBLIC, allocations=(GenesisAllocation("acme", 2**63 - 1, 1000),)), "staking.genesis"),
    ],
)
def test_a_genesis_that_contradicts_itself_is_refused(kind: PublicChain, code: str) -> None:
    with pytest.raises(ModuleError) as refused:
        LedgerHarness(kind=kind, validators=[(seeded_key("validator"), 100)])
    assert refused.value.code == code


def test_two_validators_of_one_organisation_are_refused() -> None:
    two = [(seeded_key("validator"), 100), (seeded_key("second"), 100)]
    with pytest.raises(ModuleError, match=r"staking\.genesis"):
        LedgerHarness(kind=PUBLIC, validators=two)


def test_nobody_issues_or_freezes_the_unit_of_a_public_chain(commons: Commons) -> None:
    acme = commons.acme
    assert commons.view.kind() == "public"
    assert commons.view.unit(UNIT).supply == commons.view.unit(UNIT).cap == 10**12 + 1000
    assert commons.run(acme, Mint(UNIT, acme.address, 1)) == "auth.organisation"
    assert commons.run(acme, FreezeUnit(UNIT, True)) == "auth.organisation"
    commons.ok(acme, Burn(UNIT, acme.address, 7))


def test_on_a_consortium_nobody_bonds(town: Town) -> None:
    acme = town.chain.admin
    for message in (
        Join(acme.address, "dune", 1, (Actor.seeded("dune").public,), 100),
        Bond(acme.address, acme.address, 1),
        Unbond(acme.address, 1, acme.address),
        SetValidatorKey(acme.address, None),
        Unjail(acme.address),
        SetStaking(bytes(32), RULES),
    ):
        assert town.code(acme, message) == "staking.kind"
    assert town.view.kind() == "consortium"


# --- joining and validating -------------------------------------------------------------------------------------------


def test_anyone_joins_by_bonding_and_validates(commons: Commons) -> None:
    acme, bolt = commons.acme, Actor.seeded("bolt")
    join = Join(acme.address, "bolt", 1, (bolt.public,), 99)
    assert commons.run([acme, bolt], join) == "staking.bond_min"
    assert commons.run([bolt, acme], replace(join, amount=100)) == "tx.unknown_account", "who has nothing cannot pay"
    commons.join("bolt", 300)
    assert commons.run([acme, bolt], replace(join, amount=100)) in ("governance.name_taken", "identity.exists")
    assert commons.powers() == {"acme": 100, "bolt": 30}
    member = commons.view.organisation_by_name("bolt")
    assert member is not None
    assert not member.governor
    # It is a member as any other: it registers what is its own.
    pump = Actor.seeded("pump")
    commons.ok([bolt, pump], RegisterDevice("pump", bolt.address, pump.public, None, ()))
    commons.ok(acme, Bond(bolt.address, acme.address, 205))
    assert commons.powers()["bolt"] == 50
    assert commons.run(acme, SetValidatorKey(bolt.address, None)) == "auth.organisation"
    assert commons.run(bolt, SetValidatorKey(bolt.address, commons.chain.validator.public)) == "staking.key"
    assert commons.run(acme, Bond(pump.address, acme.address, 1)) == "staking.unknown"
    assert commons.run(bolt, Bond(bolt.address, acme.address, 1)) == "auth.account"


def test_the_greatest_bonds_validate_and_equals_stay(commons: Commons) -> None:
    commons.join("bolt", 300)
    commons.join("cogs", 300)
    assert commons.powers() == {"acme": 100, "bolt": 30, "cogs": 30}
    commons.join("dune", 300)
    assert "dune" not in commons.powers(), "of equals those that validate already"
    commons.ok(commons.acme, Bond(Actor.seeded("dune").address, commons.acme.address, 1))
    assert commons.powers().keys() - {"acme", "dune"}
    assert len(commons.powers()) == 3
    assert commons.powers()["dune"] == 30


def test_a_block_changes_a_bounded_number_of_validators() -> None:
    commons = Commons(validators_max=8, changes_max=2)
    actors = [commons.join(f"org-{number}", 200, validate=False) for number in range(6)]
    keys = [SetValidatorKey(actor.address, key_of(f"k{number}")) for number, actor in enumerate(actors)]
    before = len(commons.powers())
    sizes = []
    commons.ok([commons.acme, *actors], *keys)
    sizes.append(len(commons.powers()))
    for _ in range(3):
        commons.later(1)
        sizes.append(len(commons.powers()))
    assert [size - before for size in sizes] == [2, 4, 6, 6]
    assert max(commons.powers().values()) * 3 < sum(commons.powers().values())
    root = commons.chain.ledger.app_hash
    commons.later(1)
    assert commons.chain.ledger.app_hash == root, "a block without content changes nothing"


def test_of_four_none_has_a_third(commons: Commons) -> None:
    commons = Commons(validators_max=4)
    for name in ("bolt", "cogs", "dune"):
        commons.join(name, 100)
    assert commons.powers() == {"acme": 14, "bolt": 10, "cogs": 10, "dune": 10}
    commons.ok(Actor.seeded("dune"), Unbond(Actor.seeded("dune").address, 100, commons.acme.address))
    assert commons.powers() == {"acme": 100, "bolt": 10, "cogs": 10}


def test_unbonding_takes_its_time(commons: Commons) -> None:
    acme = commons.acme
    bolt = commons.join("bolt", 300)
    assert commons.run(acme, Unbond(bolt.address, 100, acme.address)) == "auth.account"
    assert commons.run(bolt, Unbond(bolt.address, 301, acme.address)) == "staking.bond"
    assert commons.run(bolt, Unbond(bolt.address, 201, acme.address)) == "staking.bond_min"
    nobody = Actor.seeded("nobody").address
    assert commons.run(bolt, Unbond(bolt.address, 200, nobody)) == "staking.recipient"
    commons.ok(bolt, Unbond(bolt.address, 200, bolt.address))
    assert commons.powers()["bolt"] == 10
    assert commons.view.balances(bolt.address) == {}
    commons.later(2 * DAY - 1)
    assert commons.view.balances(bolt.address) == {}
    commons.later(1, blocks=3)
    assert commons.view.balances(bolt.address) == {}, "evidence is too old by time, but not by blocks"
    commons.later(1, blocks=2)
    assert commons.view.balances(bolt.address) == {UNIT: 200}
    assert commons.stake(bolt) == Stake(
        1, bolt.address, True, 100, 0, 0, key_of("bolt"), commons.stake(bolt).key_since, None
    )


def test_who_takes_the_whole_bond_leaves(commons: Commons) -> None:
    acme = commons.acme
    bolt = commons.join("bolt", 300)
    assert commons.run(bolt, Unbond(bolt.address, 300, bolt.address)) == "staking.recipient"
    assert commons.run(acme, ExpelOrganisation(bolt.address)) == "governance.bonded"
    commons.ok(bolt, Unbond(bolt.address, 300, acme.address))
    assert commons.powers() == {"acme": 100}
    assert commons.view.organisation_by_name("bolt") is None
    before = commons.view.balances(acme.address)[UNIT]
    commons.later(2 * DAY, blocks=8)
    assert commons.view.balances(acme.address)[UNIT] == before + 300
    assert commons.view.stakes(None, 10) == [commons.stake(acme)]
    assert commons.run(acme, Unbond(acme.address, 1000, acme.address)) == "staking.last_validator"
    assert commons.run(acme, SetValidatorKey(acme.address, None)) == "staking.last_validator"


def test_a_key_is_replaced_and_evidence_of_the_old_one_finds_its_owner(commons: Commons) -> None:
    for name in ("bolt", "cogs"):
        commons.join(name, 1000)
    bolt = Actor.seeded("bolt")
    assert commons.run(bolt, SetValidatorKey(bolt.address, key_of("new"))) == "staking.key", "named a moment ago"
    commons.later(2 * DAY)
    height = commons.chain.height
    commons.ok(bolt, SetValidatorKey(bolt.address, key_of("new")))
    assert {v.public for v in commons.view.validators()} >= {key_of("new")}
    commons.evidence(key_of("bolt"), height)
    assert commons.powers() == {"acme": 100, "cogs": 100}
    assert commons.stake(bolt).bond == 900
    assert commons.stake(bolt).jailed_until is not None


# --- evidence ---------------------------------------------------------------------------------------------------------


def test_a_double_vote_costs_a_part_of_the_bond_and_jail(commons: Commons) -> None:
    acme = commons.acme
    for name in ("bolt", "cogs"):
        commons.join(name, 1000)
    bolt = Actor.seeded("bolt")
    supply = commons.view.unit(UNIT).supply
    early = commons.chain.height
    commons.ok(bolt, Unbond(bolt.address, 500, acme.address))
    commons.evidence(key_of("bolt"), early)
    assert commons.stake(bolt).bond == 450
    assert commons.stake(bolt).unbonding == 450, "what has begun to unbond since is at stake too"
    assert commons.view.unit(UNIT).supply == supply - 100
    assert commons.powers() == {"acme": 100, "cogs": 100}
    assert commons.run(bolt, Unjail(bolt.address)) == "staking.jailed"
    commons.later(600)
    assert commons.run(bolt, Unjail(bolt.address)) == "governance.validator_barred"
    commons.ok(bolt, SetValidatorKey(bolt.address, key_of("second")), Unjail(bolt.address))
    assert commons.powers() == {"acme": 100, "cogs": 100, "bolt": 45}
    assert commons.run(bolt, Unjail(bolt.address)) == "staking.jailed"
    # The same key again changes nothing.
    commons.evidence(key_of("bolt"), early)
    assert commons.stake(bolt).bond == 450


def test_what_left_before_the_offence_is_not_slashed(commons: Commons) -> None:
    for name in ("bolt", "cogs"):
        commons.join(name, 1000)
    bolt = Actor.seeded("bolt")
    commons.ok(bolt, Unbond(bolt.address, 500, bolt.address))
    commons.later(1)
    commons.evidence(key_of("bolt"), commons.chain.height)
    assert (commons.stake(bolt).bond, commons.stake(bolt).unbonding) == (450, 500)


def test_evidence_against_too_much_power_waits_for_governors(commons: Commons) -> None:
    acme = commons.acme
    bolt = commons.join("bolt", 1000)
    commons.evidence(key_of("bolt"))
    assert commons.powers() == {"acme": 100, "bolt": 100}, "half of the power is more than evidence alone may take"
    assert commons.stake(bolt).bond == 900
    commons.later(600)
    assert commons.run(bolt, SetValidatorKey(bolt.address, key_of("again")), Unjail(bolt.address)) == "staking.key"
    other = Validator(commons.chain.validator.public, 0, acme.address)
    assert commons.run(acme, SetValidator(other)) == "governance.kind"
    commons.ok(acme, SetValidator(Validator(key_of("bolt"), 0, bolt.address)))
    assert commons.powers() == {"acme": 100}
    commons.ok(bolt, SetValidatorKey(bolt.address, key_of("again")), Unjail(bolt.address))
    assert commons.powers() == {"acme": 100, "bolt": 90}


# --- rules ------------------------------------------------------------------------------------------------------------


def test_bonds_decide_on_validators_not_governors(commons: Commons) -> None:
    acme, key = commons.acme, key_of("elsewhere")
    assert commons.run(acme, SetValidator(Validator(key, 5, acme.address))) == "governance.kind"
    assert commons.run(acme, RotateValidator(commons.chain.validator.public, key)) == "governance.kind"


def test_governors_change_the_rules_of_bonds(commons: Commons) -> None:
    acme = commons.acme
    bolt = commons.join("bolt", 300)
    present = sha256(commons.view.staking().to_bytes())
    assert commons.run(bolt, SetStaking(present, RULES)) == "auth.governors"
    assert commons.run(acme, SetStaking(bytes(32), RULES)) == "staking.crossed"
    assert commons.run(acme, SetStaking(present, replace(RULES, unbonding_s=DAY - 1))) == "staking.periods"
    assert commons.run(acme, SetStaking(present, replace(RULES, trusting_period_s=DAY + 1))) == "staking.periods"
    assert commons.run(acme, SetStaking(present, replace(RULES, bond_min=10**6))) == "staking.last_validator"
    commons.ok(acme, SetStaking(present, replace(RULES, validators_max=1)))
    assert commons.powers() == {"acme": 100}


def test_fees_go_to_the_proposer_and_are_burned(commons: Commons) -> None:
    commons = Commons(price=2)
    acme, chain = commons.acme, commons.chain
    supply, has = commons.view.unit(UNIT).supply, commons.view.balances(acme.address)[UNIT]
    person = Actor.seeded("person")
    commons.ok([acme, person], Town.account(acme, person, AccountKind.PERSON, "person"))
    fee = 2 * 50_000_000
    assert commons.view.unit(UNIT).supply == supply - fee // 2
    assert commons.view.balances(acme.address)[UNIT] == has - fee // 2, "it paid, and earned half as the proposer"
    chain.proposer = bytes(20)
    commons.ok(acme, Transfer(UNIT, acme.address, person.address, fee, ""))
    assert commons.view.unit(UNIT).supply == supply - fee // 2 - fee, "a proposer that is nobody's earns nothing"
    # Refused while it runs, the fee is paid all the same; without the means nothing runs.
    chain.proposer = validator_address(chain.validator.public)
    assert commons.run(person, Transfer(UNIT, person.address, acme.address, 10**9, "")) == "assets.balance"
    assert commons.run(person, Transfer(UNIT, person.address, acme.address, 1, "")) == "tx.fee_unpaid"
    parameters = commons.view.parameters()
    cheap = SetParameters(sha256(parameters.to_bytes()), replace(parameters, gas_price_min=0))
    commons.ok(acme, cheap)


# --- election ---------------------------------------------------------------------------------------------------------


@st.composite
def elections(draw: st.DrawFn) -> dict[str, Any]:
    bonds = draw(st.lists(st.integers(1, 10**6) | st.sampled_from([1, 5, 10**12]), max_size=12))
    present = {
        _key(n): Validator(_key(n), draw(st.integers(1, 100)), _key(n)[:20])
        for n in draw(st.sets(st.integers(0, 20), min_size=1, max_size=8))
    }
    return {
        "present": present,
        "candidates": [Candidate(_key(n), _key(n)[:20], bond, bond) for n, bond in enumerate(bonds)],
        "fixed": frozenset(draw(st.sets(st.sampled_from(sorted(present)), max_size=2))),
        "seats": draw(st.integers(1, 8)),
        "changes_max": draw(st.integers(1, 4)),
        "leaves_max": draw(st.sampled_from([0, 1, 100])),
    }


def _key(number: int) -> bytes:
    return bytes([number]) * 32


@settings(max_examples=300, deadline=None)
@given(elections())
def test_elections_keep_their_bounds_and_come_to_rest(case: dict[str, Any]) -> None:
    members: dict[bytes, Validator] = dict(case["present"])
    for _ in range(60):
        changes, more = elect(**case | {"present": members})
        before = dict(members)
        for change in changes:
            if change.power:
                members[change.public] = change
            else:
                del members[change.public]
        assert members
        assert all(members.get(public) == before[public] for public in case["fixed"])
        assert len(before.keys() - members.keys()) <= min(case["changes_max"], case["leaves_max"])
        assert len(members.keys() - before.keys()) <= case["changes_max"]
        assert len(members) <= max(len(before), case["seats"])
        total = sum(member.power for member in members.values())
        for public, member in members.items():
            raised = member.power > (before[public].power if public in before else 0)
            assert not raised or len(members) < 4 or 3 * member.power < total
        if not changes:
            break
    assert not changes, "it does not come to rest"
    if case["leaves_max"]:
        winners = sorted(case["candidates"], key=lambda one: -one.bond)
        free = max(0, case["seats"] - len(case["fixed"]))
        lowest = [one.bond for one in winners if one.public not in case["fixed"]][:free]
        bonds = {one.public: one.bond for one in case["candidates"]}
        elected = sorted(
            (bonds[public] for public in members if public not in case["fixed"] and public in bonds), reverse=True
        )
        assert not lowest or elected == lowest
        assert not more


# --- conservation -----------------------------------------------------------------------------------------------------

WHO = st.integers(0, 3)
AMOUNT = st.sampled_from([1, 50, 99, 100, 101, 250, 1000])


class Economy(RuleBasedStateMachine):
    """Whatever is bonded, unbonded, slashed, paid, locked and burned: `Commons.run` counts every unit after each block."""

    @initialize(price=st.sampled_from([0, 1]), changes=st.integers(1, 2), seats=st.integers(1, 3))
    def found(self, price: int, changes: int, seats: int) -> None:
        self.commons = Commons(price=price, changes_max=changes, validators_max=seats, unbonding_s=DAY)
        self.actors = [self.commons.acme]
        for name in ("bolt", "cogs", "dune"):
            self.actors.append(self.commons.join(name, 300))
            self.commons.ok(
                self.commons.acme, Transfer(UNIT, self.commons.acme.address, self.actors[-1].address, 10**10, "")
            )
        self.keys = [self.commons.chain.validator.public, *(key_of(name) for name in ("bolt", "cogs", "dune"))]
        self.made = 0

    def act(self, *messages: MessageBody) -> None:
        members = {one.address for one in self.commons.view.organisations()}
        self.commons.run([actor for actor in self.actors if actor.address in members], *messages)

    @rule(who=WHO, by=WHO, amount=AMOUNT)
    def bond(self, who: int, by: int, amount: int) -> None:
        self.act(Bond(self.actors[who].address, self.actors[by].address, amount))

    @rule(who=WHO, to=WHO, amount=AMOUNT)
    def unbond(self, who: int, to: int, amount: int) -> None:
        self.act(Unbond(self.actors[who].address, amount, self.actors[to].address))

    @rule(who=WHO)
    def unbond_all(self, who: int) -> None:
        stakes = {one.organisation: one for one in self.commons.view.stakes(None, 10)}
        own = stakes.get(self.actors[who].address)
        if own is not None and own.bond:
            self.act(Unbond(own.organisation, own.bond, self.commons.acme.address))

    @rule(who=WHO, named=st.booleans())
    def name_key(self, who: int, named: bool) -> None:
        self.made += 1
        self.keys.append(key_of(f"new {self.made}"))
        self.act(SetValidatorKey(self.actors[who].address, self.keys[-1] if named else None))

    @rule(who=WHO)
    def unjail(self, who: int) -> None:
        self.act(Unjail(self.actors[who].address))

    @rule(which=st.integers(0, 20), back=st.integers(0, 5))
    def misbehave(self, which: int, back: int) -> None:
        self.commons.evidence(self.keys[which % len(self.keys)], max(1, self.commons.chain.height - back))

    @rule(seconds=st.sampled_from([1, 600, DAY, DAY]), blocks=st.integers(1, 6))
    def wait(self, seconds: int, blocks: int) -> None:
        self.commons.later(seconds, blocks)

    @rule(who=WHO, to=WHO, amount=AMOUNT, kind=st.sampled_from(["pay", "burn", "lock", "settle"]))
    def move(self, who: int, to: int, amount: int, kind: str) -> None:
        sender, recipient = self.actors[who].address, self.actors[to].address
        match kind:
            case "pay":
                self.act(Transfer(UNIT, sender, recipient, amount, ""))
            case "burn":
                self.act(Burn(UNIT, sender, amount))
            case "lock":
                self.act(Lock(UNIT, sender, recipient, amount, (), 0, self.commons.chain.time_s + 1000, ""))
            case _:
                self.act(Settle(amount % 4, to % 2 == 0))

    @invariant()
    def somebody_validates(self) -> None:
        if hasattr(self, "commons"):
            assert self.commons.view.validators()


TestEconomy = Economy.TestCase
TestEconomy.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
