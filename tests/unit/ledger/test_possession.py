"""Nobody takes the address of a key that he has merely seen, and nobody is confused by a key that several accounts hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from althing.ledger import authorisation
from althing.protocol.address import key_id
from althing.protocol.messages.devices import RegisterDevice, SetMetadata
from althing.protocol.messages.identity import AccountKind, CreateAccount, SetAttribute
from althing.protocol.signatures import Suite
from althing.testing.harness import Actor

from .conftest import Town

VICTIM = Actor.seeded("victim", Suite.ES256)


def note(actor: Actor) -> SetAttribute:
    return SetAttribute(actor.address, "note", "x")


def test_a_squatter_does_not_take_the_keys_address(town: Town) -> None:
    """Whatever others register with the key before, its holder still gets the address that he computed himself."""
    acme = town.chain.admin
    town.ok(town.bolt, RegisterDevice("seen", town.bolt.address, VICTIM.public, None, ()))
    town.ok(town.cogs, town.account(town.cogs, VICTIM, AccountKind.PERSON, "seen"))
    town.ok(acme, town.admit("seen", VICTIM))
    taken = {town.view.device("seen").address, VICTIM.under(town.cogs).address, VICTIM.under(_nobody()).address}
    assert all(town.view.account(address).keys[0].key == VICTIM.public for address in taken)
    assert len(taken) == 3
    assert VICTIM.address not in taken
    town.ok([acme, VICTIM], RegisterDevice("pump", acme.address, VICTIM.public, None, ()))
    assert town.view.device("pump").address == VICTIM.address
    again = RegisterDevice("other", acme.address, VICTIM.public, None, ())
    assert town.code([acme, VICTIM], again) == "identity.exists"


def _nobody() -> Actor:
    return Actor(VICTIM.key, bytes(20))


def test_accounts_and_organisations_sign_themselves_into_being(town: Town) -> None:
    acme, person, member = town.chain.admin, Actor.seeded("person"), Actor.seeded("member")
    town.ok([acme, person], town.account(acme, person, AccountKind.PERSON, "person"))
    town.ok(person, note(person))
    town.ok([acme, member], town.admit("member", member))
    organisation = town.view.organisation_by_name("member")
    assert organisation is not None
    assert organisation.address == member.address
    town.ok(member, note(member))


def test_a_claim_without_the_key_is_refused(town: Town) -> None:
    acme, thief = town.chain.admin, Actor.seeded("thief")
    forged = Actor(thief.key, VICTIM.address)
    create = town.account(acme, VICTIM, AccountKind.PERSON, "victim")
    assert town.chain.block(town.chain.sign([acme, forged], create))[0].code == "tx.unknown_key"
    # Only the first key gives an address: a later one introduces nobody.
    several = replace(create, keys=(thief.public, VICTIM.public))
    assert town.code([acme, VICTIM], several) == "tx.unknown_account"


def test_a_new_account_cannot_pay_or_act_before_it_exists(town: Town) -> None:
    acme, new = town.chain.admin, Actor.seeded("new")
    create = town.account(acme, new, AccountKind.PERSON, "new")
    assert town.code([new, acme], create) == "tx.unknown_account"
    device = RegisterDevice("mine", new.address, None, None, ())
    assert town.code([acme, new], device, create) == "auth.organisation"


def test_one_key_in_several_accounts(town: Town) -> None:
    """Each account acts in its own name only; a transaction of both needs the one signature that the envelope takes."""
    acme = town.chain.admin
    town.ok(acme, RegisterDevice("pump", acme.address, VICTIM.public, None, ()))
    town.ok(town.bolt, RegisterDevice("copy", town.bolt.address, VICTIM.public, None, ()))
    pump, copy = VICTIM.under(acme), VICTIM.under(town.bolt)
    assert town.code(copy, SetMetadata("pump", ())) == "auth.organisation"
    town.ok(pump, SetMetadata("pump", (("by", "pump"),)))
    body = town.chain.transaction([pump, copy], SetMetadata("pump", ()), SetMetadata("copy", ()))
    assert town.chain.block(town.chain.signed(body, VICTIM.key))[0].ok


def test_two_keys_of_one_id_are_never_confused(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    acme, clerk = town.chain.admin, town.clerk
    ours = {acme.key.public, clerk.key.public}
    monkeypatch.setattr(authorisation, "key_id", lambda s, public: bytes(8) if public in ours else key_id(s, public))
    assert town.code([acme, clerk], note(clerk)) == "tx.ambiguous_key"


def test_an_account_of_many_keys_is_introduced_by_its_first(town: Town) -> None:
    acme, new, other = town.chain.admin, Actor.seeded("new"), Actor.seeded("other")
    create = CreateAccount(acme.address, AccountKind.SERVICE, "team", (), 2, (new.public, other.public))
    town.ok([acme, new], create)
    assert town.code(new, note(new)) == "tx.threshold"
    body = town.chain.transaction(new, note(new))
    assert town.chain.block(town.chain.signed(body, new.key, other.key))[0].ok
