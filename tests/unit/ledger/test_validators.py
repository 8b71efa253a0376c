"""Validators: whatever members decide and evidence proves, an engine is never told what would stop it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from althing.ledger.modules.governance.state import CONDUCT, DEPARTED, DEPARTURES, DEPARTURES_MAX, OFFENCES, VALIDATORS
from althing.ledger.query import LedgerView
from althing.ledger.runtime.misconduct import Misconduct
from althing.protocol.block import validator_address
from althing.protocol.messages.governance import ExpelOrganisation, RotateValidator, SetValidator, Validator
from althing.testing.harness import Actor, LedgerHarness, seeded_key

from .conftest import Town

KEYS = [seeded_key(f"validator {i}") for i in range(8)]
PUBLIC = [key.public for key in KEYS]
MAX_TOTAL_POWER = (2**63 - 1) // 8


class EngineSet:
    """`ValidatorSet.UpdateWithChangeSet` of CometBFT v0.39 (types/validator_set.go) and the checks before it."""

    def __init__(self, members: dict[bytes, int]) -> None:
        self.members = {validator_address(public): (public, power) for public, power in members.items()}

    def update(self, changes: list[tuple[bytes, int]]) -> None:
        touched = [validator_address(public) for public, _ in changes]
        assert len(set(touched)) == len(touched), "duplicate entry"
        for public, power in changes:
            assert len(public) == 32, "no Ed25519 key"
            assert 0 <= power <= MAX_TOTAL_POWER, "power out of range"
        removals = [validator_address(public) for public, power in changes if power == 0]
        assert self.members.keys() >= set(removals), "failed to find validator to remove"
        updates = {validator_address(public): (public, power) for public, power in changes if power}
        fresh = updates.keys() - self.members.keys()
        assert fresh or len(removals) < len(self.members), "would result in an empty set"
        total = sum(power for _, power in self.members.values()) - sum(self.members[a][1] for a in removals)
        deltas = [power - self.members.get(address, (b"", 0))[1] for address, (_, power) in updates.items()]
        for delta in sorted(deltas):
            total += delta
            assert total <= MAX_TOTAL_POWER, "total voting power exceeds the maximum"
        self.members = {a: m for a, m in self.members.items() if a not in removals} | updates


def chain_of(*powers: int) -> LedgerHarness:
    return LedgerHarness(validators=[(KEYS[i], power) for i, power in enumerate(powers)])


def misconduct(number: int, height: int = 1) -> Misconduct:
    return Misconduct(1, validator_address(PUBLIC[number]), height)


def carry(chain: LedgerHarness, found: list[Misconduct], items: tuple[bytes, ...] = ()) -> None:
    chain.misconduct = tuple(found)
    chain.block_of(items)
    chain.misconduct = ()


def convict(chain: LedgerHarness, *numbers: int) -> list[tuple[bytes, int]]:
    carry(chain, [misconduct(number) for number in numbers])
    return changes(chain)


def changes(chain: LedgerHarness) -> list[tuple[bytes, int]]:
    return [(v.public, v.power) for v in chain.blocks[-1].result.validators]


def alarms(chain: LedgerHarness) -> list[tuple[object, ...]]:
    return [tuple(e.values[1:]) for e in chain.blocks[-1].result.events if e.name == "governance.alarm"]


def powers(chain: LedgerHarness) -> dict[bytes, int]:
    view = LedgerView(chain.ledger.store)
    return {validator.public: validator.power for _, validator in VALIDATORS.scan(view)}


def place(chain: LedgerHarness, number: int, power: int) -> str:
    return chain.run(chain.admin, SetValidator(Validator(PUBLIC[number], power, chain.admin.address))).code


def rotate(chain: LedgerHarness, old: int, new: int) -> str:
    return chain.run(chain.admin, RotateValidator(PUBLIC[old], PUBLIC[new])).code


ACTION = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 7), st.sampled_from([0, 0, 1, 5, 10, 2**40])),
    st.tuples(st.just("rotate"), st.integers(0, 7), st.integers(0, 7)),
    st.tuples(st.just("evidence"), st.integers(0, 7), st.just(0)),
    st.tuples(st.just("expel"), st.integers(0, 1), st.just(0)),
)


@settings(max_examples=60, deadline=None)
@given(
    founders=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    blocks=st.lists(st.lists(ACTION, max_size=5), min_size=1, max_size=8),
)
def test_no_sequence_stops_an_engine(founders: list[int], blocks: list[list[tuple[str, int, int]]]) -> None:
    chain = chain_of(*founders)
    bolt, cogs = Actor.seeded("bolt"), Actor.seeded("cogs")
    assert chain.run([chain.admin, bolt, cogs], Town.admit("bolt", bolt), Town.admit("cogs", cogs)).ok
    engine = EngineSet({PUBLIC[i]: power for i, power in enumerate(founders)})
    owners = [chain.admin.address, bolt.address, cogs.address]
    for actions in blocks:
        sent, found = [], []
        for kind, one, other in actions:
            if kind == "set":
                message = SetValidator(Validator(PUBLIC[one], other, owners[one % 3]))
                sent.append(chain.sign(chain.admin, message))
            elif kind == "rotate":
                sent.append(chain.sign(chain.admin, RotateValidator(PUBLIC[one], PUBLIC[other])))
            elif kind == "expel":
                sent.append(chain.sign(chain.admin, ExpelOrganisation(owners[1 + one])))
            else:
                found.append(misconduct(one))
        items = (chain.bundle(*sent),) if sent else ()
        carry(chain, found, items)
        engine.update(changes(chain))
        assert powers(chain) == dict(engine.members.values())
        conduct = CONDUCT.get(LedgerView(chain.ledger.store), b"")
        if conduct is not None:
            assert set(conduct.deferred) <= powers(chain).keys()
            assert len(set(conduct.deferred)) == len(conduct.deferred)


def test_evidence_suspends_and_the_key_never_comes_back() -> None:
    chain = chain_of(10, 10, 10, 10)
    assert convict(chain, 1) == [(PUBLIC[1], 0)]
    events = chain.blocks[-1].result.events
    assert [e.name for e in events] == [
        "governance.offence",
        "governance.validator",
        "governance.validator_suspended",
    ]
    assert convict(chain, 1) == [], "once is enough"
    assert place(chain, 1, 5) == "governance.validator_barred"
    assert rotate(chain, 0, 1) == "governance.validator_barred"
    offence = OFFENCES.get(LedgerView(chain.ledger.store), validator_address(PUBLIC[1]))
    assert offence is not None
    assert (offence.public, offence.kind, offence.organisation) == (PUBLIC[1], 1, chain.admin.address)


def test_evidence_alone_never_takes_more_than_a_third() -> None:
    """Also not one after another: beyond a third, governors decide, and what waited is tried again then."""
    chain = chain_of(10, 10, 10, 10)
    assert convict(chain, 0, 1) == [(PUBLIC[0], 0)]
    assert alarms(chain) == [("deferred",)]
    assert convict(chain, 2) == []
    assert alarms(chain) == [("deferred",)]
    assert set(powers(chain)) == {PUBLIC[1], PUBLIC[2], PUBLIC[3]}
    assert place(chain, 1, 20) == "governance.validator_barred"
    assert rotate(chain, 1, 5) == "governance.validator_barred"
    for number in (4, 5, 6):
        assert place(chain, number, 10) == ""
    assert set(powers(chain)) == {PUBLIC[i] for i in (3, 4, 5, 6)}
    assert CONDUCT.get(LedgerView(chain.ledger.store), b"") is None


def test_the_last_and_the_only_two() -> None:
    alone, pair = chain_of(10), chain_of(10, 10)
    assert convict(alone, 0) == []
    assert alarms(alone) == [("deferred",)]
    assert convict(pair, 0) == []
    assert place(pair, 0, 0) == "", "governors may remove it"
    assert changes(pair) == [(PUBLIC[0], 0)]
    assert CONDUCT.get(LedgerView(pair.ledger.store), b"") is None


def test_evidence_of_an_old_key_finds_the_new_one() -> None:
    chain = chain_of(10, 10, 10, 10)
    assert rotate(chain, 0, 4) == ""
    assert changes(chain) == sorted([(PUBLIC[0], 0), (PUBLIC[4], 10)])
    assert rotate(chain, 4, 5) == ""
    assert convict(chain, 0) == [(PUBLIC[5], 0)]
    assert place(chain, 5, 1) == "governance.validator_barred"
    assert place(chain, 0, 1) == "governance.validator_barred"
    # A key that left without successor is barred, and nothing else happens.
    assert place(chain, 1, 0) == ""
    assert convict(chain, 1) == []
    assert alarms(chain) == []
    assert place(chain, 1, 1) == "governance.validator_barred"
    carry(chain, [Misconduct(2, bytes(20), 1)])
    assert alarms(chain) == [("unknown",)]


def test_rotation_is_refused_where_it_would_confuse() -> None:
    chain = chain_of(10, 10)
    assert rotate(chain, 3, 4) == "governance.validator"
    assert rotate(chain, 0, 1) == "governance.validator"
    assert rotate(chain, 0, 0) == "governance.validator"
    weak = RotateValidator(PUBLIC[0], bytes(32))
    assert chain.run(chain.admin, weak).code.startswith("key.")


def test_none_of_four_is_raised_to_a_third() -> None:
    chain = chain_of(10, 10, 10)
    assert place(chain, 0, 1000) == "", "three cannot all stay below"
    assert place(chain, 0, 10) == ""
    assert place(chain, 3, 15) == "governance.validator_power"
    assert place(chain, 3, 14) == ""
    assert place(chain, 1, 30) == "governance.validator_power"
    assert place(chain, 3, 1) == ""


def test_old_keys_are_kept_for_the_age_of_evidence_and_no_longer() -> None:
    chain = chain_of(10, 10)
    address = validator_address(PUBLIC[1])
    assert place(chain, 1, 0) == ""
    view = LedgerView(chain.ledger.store)
    assert DEPARTED.get(view, address) is not None
    assert place(chain, 1, 10) == ""
    assert DEPARTED.get(LedgerView(chain.ledger.store), address) is None
    left = DEPARTURES.get(LedgerView(chain.ledger.store), b"")
    assert left is not None
    assert left.left == ()
    for number in range(DEPARTURES_MAX):
        fresh = seeded_key(f"passing {number}").public
        assert chain.run(chain.admin, SetValidator(Validator(fresh, 1, chain.admin.address))).ok
        assert chain.run(chain.admin, SetValidator(Validator(fresh, 0, chain.admin.address))).ok
    assert place(chain, 1, 0) == "governance.departures"
    assert convict(chain, 1) == []
    assert place(chain, 2, 10) == ""
    assert (PUBLIC[1], 0) in changes(chain), "evidence does not wait for room"
