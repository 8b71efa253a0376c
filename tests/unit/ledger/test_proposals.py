"""Proposals: governors vote in ledger time, and what they agree on happens at once and together, or not at all."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from althing.ledger.modules.governance.state import AGENDA, PROPOSALS
from althing.protocol.catalog import MessageBody, body_to_item
from althing.protocol.codec import encode
from althing.protocol.messages.governance import (
    AdmitNode,
    AdmitOrganisation,
    ExpelOrganisation,
    GenesisOrganisation,
    ScheduleUpgrade,
    SetNode,
    SetOrganisation,
    SetParameters,
    SetValidator,
    Upgrade,
    Validator,
)
from althing.protocol.messages.identity import AccountStatus, SetAccountStatus, SetAttribute
from althing.protocol.messages.proposals import (
    PROPOSAL_S_MAX,
    PROPOSALS_MAX,
    PROPOSALS_OF_ONE_MAX,
    Proposal,
    Propose,
    Vote,
    Withdraw,
)
from althing.protocol.receipt import Receipt
from althing.testing.harness import Actor, seeded_key

from .conftest import ROOMY, Town

NEW = Actor.seeded("new")


@pytest.fixture
def council(town: Town) -> Town:
    """Acme, bolt and cogs govern; two must agree."""
    acme = town.chain.admin
    town.ok(acme, *(SetOrganisation(actor.address, True, None, None) for actor in (town.bolt, town.cogs)))
    town.ok(acme, threshold(town, 2))
    return town


def threshold(town: Town, count: int) -> SetParameters:
    present = town.view.parameters()
    changed = replace(present, governors_threshold=count)
    return SetParameters(sha256(present.to_bytes()).digest(), changed)


def propose(town: Town, actor: Actor, *messages: MessageBody, seconds: int = 1000) -> Propose:
    raw = tuple(encode(body_to_item(message)) for message in messages)
    return Propose(actor.address, "a title", town.chain.time_s + seconds, raw)


def proposals(town: Town) -> list[Proposal]:
    return [proposal for _, proposal in PROPOSALS.scan(town.view)]


def vote(town: Town, actor: Actor, *, agree: bool = True, number: int | None = None) -> Vote:
    found = [p for p in proposals(town) if number is None or p.number == number][-1]
    return Vote(actor.address, found.number, found.content, agree)


def names(receipt: Receipt) -> list[str]:
    return [event.name for event in receipt.events]


def expel(actor: Actor) -> ExpelOrganisation:
    return ExpelOrganisation(actor.address)


def admission() -> AdmitOrganisation:
    return AdmitOrganisation(GenesisOrganisation("new", False, 1, (NEW.public,), ROOMY))


def test_the_vote_that_suffices_carries_it_out(council: Town) -> None:
    acme, validator = council.chain.admin, seeded_key("validator 1").public
    upgrade = Upgrade(1000, 2, "")
    decided = (
        admission(),
        threshold(council, 1),
        SetValidator(Validator(validator, 3, council.bolt.address)),
        ScheduleUpgrade(upgrade),
    )
    council.ok(acme, propose(council, acme, *decided))
    (proposal,) = proposals(council)
    assert (proposal.organisation, proposal.agree, proposal.disagree) == (acme.address, (acme.address,), ())
    assert council.view.organisation_by_name("new") is None
    receipt = council.ok(council.bolt, vote(council, council.bolt))
    assert names(receipt)[0] == "governance.voted"
    assert names(receipt)[-1] == "governance.executed"
    assert [(v.public, v.power) for v in council.chain.blocks[-1].result.validators] == [(validator, 3)]
    admitted = council.view.organisation_by_name("new")
    assert admitted is not None
    assert admitted.address != NEW.address, "the new member's key has not signed: it gets a derived address"
    assert council.view.parameters().governors_threshold == 1
    assert council.view.upgrade() == upgrade
    assert not proposals(council)


def test_signers_of_a_proposal_agree_with_it(council: Town) -> None:
    receipt = council.ok([council.bolt, council.cogs], propose(council, council.bolt, admission()))
    assert names(receipt)[-1] == "governance.executed"
    assert not proposals(council)


def test_only_governors_propose_and_vote(council: Town) -> None:
    acme = council.chain.admin
    assert council.code(council.clerk, propose(council, acme, admission())) == "auth.governors"
    assert council.code(council.clerk, propose(council, council.clerk, admission())) == "auth.governors"
    council.ok(acme, propose(council, acme, admission()))
    assert council.code(council.clerk, vote(council, council.bolt)) == "auth.governors"
    assert council.code(council.clerk, vote(council, council.clerk)) == "auth.governors"
    assert council.code(council.bolt, Withdraw(0)) == "auth.account"
    council.ok(acme, Withdraw(0))
    assert not proposals(council)
    assert council.code(acme, Withdraw(0)) == "governance.proposal"


def test_all_or_nothing_and_the_proposal_stays_as_it_was(council: Town) -> None:
    acme, bolt = council.chain.admin, council.bolt
    council.ok(acme, propose(council, acme, admission(), expel(Actor.seeded("nobody"))))
    refused = council.chain.run(bolt, vote(council, bolt))
    assert (refused.code, refused.events) == ("governance.unknown", ())
    (proposal,) = proposals(council)
    assert proposal.agree == (acme.address,)
    assert council.view.organisation_by_name("new") is None
    data = council.chain.sign(bolt, vote(council, bolt), gas=refused.gas_used - 10)
    assert council.chain.block(data)[0].code == "tx.out_of_gas"
    assert proposals(council) == [proposal]


def test_a_vote_is_for_the_content_that_was_read(council: Town) -> None:
    acme, bolt = council.chain.admin, council.bolt
    council.ok(acme, propose(council, acme, admission()))
    good = vote(council, bolt)
    assert council.code(bolt, replace(good, content=bytes(32))) == "governance.content"
    assert council.code(bolt, replace(good, proposal=1)) == "governance.proposal"


def test_votes_change_and_too_many_against_end_it(council: Town) -> None:
    acme, bolt, cogs = council.chain.admin, council.bolt, council.cogs
    council.ok(acme, propose(council, acme, admission()))
    council.ok(acme, vote(council, acme, agree=False), vote(council, acme))
    council.ok(bolt, vote(council, bolt, agree=False))
    (proposal,) = proposals(council)
    assert (proposal.agree, proposal.disagree) == ((acme.address,), (bolt.address,))
    receipt = council.ok(cogs, vote(council, cogs, agree=False))
    assert names(receipt)[-1] == "governance.rejected"
    assert not proposals(council)
    assert council.view.organisation_by_name("new") is None


def test_votes_of_who_no_longer_governs_do_not_count(council: Town) -> None:
    acme, bolt, cogs = council.chain.admin, council.bolt, council.cogs
    dunes = Actor.seeded("dunes")
    council.ok([acme, bolt, dunes], council.admit("dunes", dunes, governor=True))
    council.ok(cogs, propose(council, cogs, admission()))
    council.ok([acme, bolt], SetOrganisation(cogs.address, None, True, None))
    council.ok(bolt, vote(council, bolt))
    assert len(proposals(council)) == 1
    receipt = council.ok(dunes, vote(council, dunes))
    assert names(receipt)[-1] == "governance.executed"


def test_expiry_in_ledger_time(council: Town) -> None:
    acme, bolt = council.chain.admin, council.bolt
    assert council.code(acme, propose(council, acme, admission(), seconds=1)) == "governance.expires"
    assert council.code(acme, propose(council, acme, admission(), seconds=PROPOSAL_S_MAX + 2)) == "governance.expires"
    council.ok(acme, propose(council, acme, admission(), seconds=100))
    ballot = vote(council, bolt)
    council.chain.block(seconds=99)
    assert council.code(bolt, ballot) == "governance.proposal"
    assert len(proposals(council)) == 1, "what expired goes with the next proposal or vote"
    council.ok(acme, propose(council, acme, admission()))
    assert [p.number for p in proposals(council)] == [1]


def test_bounded_numbers(council: Town) -> None:
    acme, bolt = council.chain.admin, council.bolt
    for _ in range(PROPOSALS_OF_ONE_MAX):
        council.ok(acme, propose(council, acme, admission()))
    assert council.code(acme, propose(council, acme, admission())) == "governance.proposals"
    council.ok(bolt, propose(council, bolt, admission()))
    council.ok(acme, Withdraw(0))
    council.ok(acme, propose(council, acme, admission()))
    agenda = AGENDA.get(council.view, b"")
    assert agenda is not None
    assert [item.number for item in agenda.open] == [p.number for p in proposals(council)] == [1, 2, 3, 4, 5]
    many = [Actor.seeded(f"member {i}") for i in range(PROPOSALS_MAX // PROPOSALS_OF_ONE_MAX)]
    for member in many:
        council.ok([acme, bolt, member], council.admit(member.address.hex(), member, governor=True))
    for member in many[:-1]:
        left = PROPOSALS_MAX - len(proposals(council))
        for _ in range(min(left, PROPOSALS_OF_ONE_MAX)):
            council.ok(member, propose(council, member, admission()))
    assert len(proposals(council)) == PROPOSALS_MAX
    assert council.code(many[-1], propose(council, many[-1], admission())) == "governance.proposals"


def test_what_cannot_be_proposed(council: Town) -> None:
    acme = council.chain.admin
    good = propose(council, acme, admission())
    inner = propose(council, acme, good)
    for raw in (
        b"\x80",
        b"\xff",
        good.messages[0] + b"\x00",
        encode(body_to_item(SetAttribute(acme.address, "a", "b"))),
        inner.messages[0],
        encode(["governance.crown", []]),
    ):
        assert council.code(acme, replace(good, messages=(raw,))) == "governance.message"
    many = GenesisOrganisation("new", False, 1, tuple(Actor.seeded(str(i)).public for i in range(16)), ROOMY)
    large = encode(body_to_item(AdmitOrganisation(many)))
    assert council.code(acme, replace(good, messages=(large,) * 16)) == "governance.proposal_size"


def test_expelling_takes_validators_and_proposals_along(council: Town) -> None:
    acme, bolt, cogs = council.chain.admin, council.bolt, council.cogs
    public = seeded_key("validator 1").public
    council.ok([acme, bolt], SetValidator(Validator(public, 3, cogs.address)))
    council.ok(cogs, propose(council, cogs, admission()))
    council.ok(acme, propose(council, acme, expel(cogs)))
    council.ok(bolt, vote(council, bolt, number=1))
    assert [(v.public, v.power) for v in council.chain.blocks[-1].result.validators] == [(public, 0)]
    assert not proposals(council)
    assert council.code([acme, bolt], council.admit("cogs", NEW)) == "governance.name_taken"
    assert council.code([acme, bolt], expel(cogs)) == "governance.unknown"
    receipt = council.chain.block(council.chain.sign(cogs, SetAttribute(cogs.address, "a", "b")))[0]
    assert receipt.code == "tx.suspended"
    assert council.code([acme, bolt], expel(bolt)) == "governance.threshold"


def test_nodes_by_decision(council: Town) -> None:
    acme, bolt = council.chain.admin, council.bolt
    council.ok(acme, propose(council, acme, AdmitNode(bolt.address, "bolt-2", NEW.public)))
    council.ok(bolt, vote(council, bolt))
    node = NEW.under(bolt)
    assert council.of(node).name == "bolt-2"

    def status(wanted: AccountStatus) -> SetNode:
        return SetNode(node.address, wanted)

    council.ok([acme, bolt], status(AccountStatus.SUSPENDED))
    assert council.code(bolt, SetAccountStatus(node.address, AccountStatus.ACTIVE)) == "identity.barred"
    council.ok(bolt, SetAccountStatus(node.address, AccountStatus.SUSPENDED))
    council.ok([acme, bolt], status(AccountStatus.ACTIVE))
    council.ok(bolt, SetAccountStatus(node.address, AccountStatus.SUSPENDED))
    council.ok(bolt, SetAccountStatus(node.address, AccountStatus.ACTIVE))
    council.ok([acme, bolt], status(AccountStatus.CLOSED))
    assert council.code([acme, bolt], status(AccountStatus.ACTIVE)) == "identity.closed"
    assert council.code([acme, bolt], SetNode(council.clerk.address, AccountStatus.CLOSED)) == "identity.kind"
    unknown = SetNode(Actor.seeded("nobody").address, AccountStatus.CLOSED)
    assert council.code([acme, bolt], unknown) == "identity.unknown"
    assert council.code([acme, bolt], AdmitNode(NEW.address, "n", NEW.public)) == "governance.unknown"
