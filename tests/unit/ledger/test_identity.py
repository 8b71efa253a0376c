"""Accounts and authority: who must sign, with which keys, and who may change that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from althing.ledger import authorisation
from althing.ledger.modules.identity.state import REVOKED, Revocation
from althing.protocol.address import key_id
from althing.protocol.messages.devices import RegisterDevice
from althing.protocol.messages.governance import SetOrganisation
from althing.protocol.messages.identity import (
    AccountKind,
    AccountStatus,
    CreateAccount,
    Key,
    Role,
    RotateKeys,
    SetAccountStatus,
    SetAttribute,
)
from althing.protocol.receipt import Receipt
from althing.protocol.signatures import PrivateKey, Suite
from althing.protocol.stateproof import PresenceProof, verify_presence
from althing.protocol.transaction import Transaction, parse_transaction, sign_transaction
from althing.testing.harness import Actor, LedgerHarness, seeded_key

from .conftest import Town

KEYS = [seeded_key(f"key {i}", Suite.ES256 if i % 2 else Suite.ED25519) for i in range(20)]


def public(key: PrivateKey) -> Key:
    return Key(key.suite, key.public)


def kid(key: PrivateKey) -> bytes:
    return key_id(key.suite, key.public)


def note(actor: Actor) -> SetAttribute:
    return SetAttribute(actor.address, "note", "x")


def send(chain: LedgerHarness, body: Transaction, *keys: PrivateKey) -> Receipt:
    return chain.block(sign_transaction(body, keys, chain.genesis_hash))[0]


def rotate(actor: Actor, **changes: Any) -> RotateKeys:
    return replace(RotateKeys(actor.address, (), None, (), False, None), **changes)


def team(town: Town, threshold: int, count: int) -> Actor:
    """An account of `count` keys of which `threshold` must sign."""
    keys = tuple(map(public, KEYS[:count]))
    message = CreateAccount(town.chain.admin.address, AccountKind.SERVICE, "team", (), threshold, keys)
    town.ok(town.chain.admin, message)
    return Actor(KEYS[0], keys[0].address_under(town.chain.admin.address))


# --- who must sign ----------------------------------------------------------------------------------------------------


def test_unknown_accounts_are_refused_before_any_signature_is_checked(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both in a block and at admission; else strangers could make every node compute for nothing."""
    chain, stranger = town.chain, Actor.seeded("stranger")
    calls: list[bytes] = []
    real = authorisation.verify

    def counted(suite: Suite, key: bytes, message: bytes, signature: bytes) -> bool:
        calls.append(key)
        return real(suite, key, message, signature)

    monkeypatch.setattr(authorisation, "verify", counted)
    alone = chain.sign(stranger, note(stranger))
    beside = chain.sign([chain.admin, stranger], note(chain.admin))
    assert [r.code for r in chain.block(alone, beside)] == ["tx.unknown_account"] * 2
    assert set(calls) == {chain.node.key.public}, "only the bundle's own signature was checked"
    codes = [getattr(verdict, "code", "") for verdict in chain.ledger.admit([alone, beside], chain.time_s)]
    assert codes == ["tx.unknown_account"] * 2


def test_a_signature_of_another_key_is_refused(town: Town) -> None:
    chain, other = town.chain, seeded_key("other")
    body = chain.transaction(chain.admin, note(chain.admin))
    assert send(chain, body, other).code == "tx.unknown_key"
    assert send(chain, body, chain.admin.key, other).code == "tx.unknown_key"
    assert send(chain, body, chain.admin.key).ok


def test_every_signer_signs(town: Town) -> None:
    chain = town.chain
    body = chain.transaction([chain.admin, town.bolt], note(chain.admin))
    assert send(chain, body, chain.admin.key).code == "tx.threshold"
    assert send(chain, body, town.bolt.key).code == "tx.threshold"
    assert send(chain, body, chain.admin.key, town.bolt.key).ok


def test_a_signature_for_another_chain_does_not_count(town: Town) -> None:
    chain = town.chain
    body = chain.transaction(chain.admin, note(chain.admin))
    assert chain.block(sign_transaction(body, [chain.admin.key], bytes(32)))[0].code == "tx.signature"


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (1, 3), (2, 3), (3, 3), (16, 16)])
def test_m_of_n_keys(town: Town, threshold: int, count: int) -> None:
    chain, account = town.chain, team(town, threshold, count)
    body = chain.transaction(account, note(account))
    if threshold > 1:
        assert send(chain, body, *KEYS[: threshold - 1]).code == "tx.threshold"
    assert send(chain, replace(body, nonce=b"any m of"), *KEYS[count - threshold : count]).ok
    assert send(chain, replace(body, nonce=b"them all"), *KEYS[:count]).ok


def test_one_key_does_not_count_twice(town: Town) -> None:
    """The envelope has each key id once; two keys of one account count as two."""
    chain, account = town.chain, team(town, 2, 2)
    body = chain.transaction(account, note(account))
    assert send(chain, body, KEYS[0], KEYS[0]).code == "cose.order"


def test_a_key_with_another_suite_is_another_key(town: Town) -> None:
    chain, account = town.chain, team(town, 1, 2)
    body = chain.transaction(account, note(account))
    data = bytearray(sign_transaction(body, [KEYS[0]], chain.genesis_hash))
    at = data.index(b"\x01\x27")  # protected header alg: -8
    data[at + 1] = 0x26  # -7
    assert parse_transaction(bytes(data), chain.genesis_hash)
    assert chain.block(bytes(data))[0].code == "tx.unknown_key"


def test_the_payer_is_one_of_the_signers_and_known(town: Town) -> None:
    chain = town.chain
    body = chain.transaction([chain.admin, town.bolt], note(chain.admin))
    assert send(chain, replace(body, payer=town.bolt.address), chain.admin.key, town.bolt.key).ok


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_creating_accounts(town: Town) -> None:
    chain, acme = town.chain, town.chain.admin
    new = Actor.seeded("new")
    create = town.account(acme, new, AccountKind.PERSON, "new")
    assert town.code(town.bolt, create) == "auth.organisation"
    assert town.code(town.clerk, create) == "auth.organisation"  # devices only
    assert town.code(acme, replace(create, kind=AccountKind.ORGANISATION)) == "identity.kind"
    assert town.code(acme, replace(create, kind=AccountKind.DEVICE)) == "identity.kind"
    assert town.code(acme, replace(create, threshold=2)) == "identity.threshold"
    assert town.code(acme, replace(create, keys=(new.public, new.public))) == "identity.duplicate_key"
    assert town.code([acme, town.bolt], replace(create, keys=(town.bolt.public,))) == "identity.exists"
    assert town.code(acme, replace(create, keys=(Key(Suite.ED25519, bytes(32)),))) == "key.weak"
    assert town.code(acme, replace(create, keys=(Key(Suite.ES256, b"\x05" + bytes(32)),))) == "key.point"
    assert town.code(acme, replace(create, keys=(Key(Suite.ES256, bytes(32)),))) == "key.point"
    receipt = town.ok([acme, new], create)
    assert receipt.events[0].values == (new.address, AccountKind.PERSON, acme.address, "new")
    account = town.of(new)
    assert (account.status, account.threshold, account.organisation) == (AccountStatus.ACTIVE, 1, acme.address)
    assert account.keys[0].valid_from == chain.time_s
    assert new.address == new.public.address


def test_an_administrator_acts_for_its_organisation_only(town: Town) -> None:
    acme, boss, new = town.chain.admin, Actor.seeded("boss"), Actor.seeded("new")
    town.ok([acme, boss], town.account(acme, boss, AccountKind.PERSON, "boss", roles=(Role.ADMIN,)))
    assert town.code(boss, town.account(town.bolt, new, AccountKind.PERSON, "new")) == "auth.organisation"
    town.ok([boss, new], town.account(acme, new, AccountKind.PERSON, "new"))


def test_an_administrator_cannot_take_the_organisations_keys(town: Town) -> None:
    """Else it could act as a governor, and m-of-n of the organisation would mean nothing."""
    acme, boss = town.chain.admin, Actor.seeded("boss")
    town.ok([acme, boss], town.account(acme, boss, AccountKind.PERSON, "boss", roles=(Role.ADMIN,)))
    assert town.code(boss, rotate(acme, add=(boss.public,))) == "auth.account"
    town.ok(acme, rotate(acme, add=(public(KEYS[3]),)))


def test_registers_are_written_by_their_account(town: Town) -> None:
    acme = town.chain.admin
    assert town.code(acme, SetAttribute(town.clerk.address, "a", "b")) == "auth.account"
    town.ok(town.clerk, SetAttribute(town.clerk.address, "b", "2"), SetAttribute(town.clerk.address, "a", "1"))
    assert town.view.attributes(town.clerk.address) == [("a", "1"), ("b", "2")]
    town.ok(town.clerk, SetAttribute(town.clerk.address, "b", None), SetAttribute(town.clerk.address, "c", None))
    assert town.view.attributes(town.clerk.address) == [("a", "1")]


# --- standing ---------------------------------------------------------------------------------------------------------


def test_suspension_and_closing(town: Town) -> None:
    acme, clerk = town.chain.admin, town.clerk

    def status(wanted: AccountStatus) -> SetAccountStatus:
        return SetAccountStatus(clerk.address, wanted)

    assert town.code(town.bolt, status(AccountStatus.SUSPENDED)) == "auth.organisation"
    assert town.code(clerk, status(AccountStatus.SUSPENDED)) == "auth.organisation"
    town.ok(acme, status(AccountStatus.SUSPENDED))
    assert town.code(clerk, note(clerk)) == "tx.suspended"
    assert town.code([acme, clerk], note(acme)) == "tx.suspended"
    town.ok(acme, status(AccountStatus.ACTIVE))
    town.ok(clerk, note(clerk))
    town.ok(clerk, status(AccountStatus.CLOSED))  # by itself
    assert town.code(clerk, note(clerk)) == "tx.suspended"
    assert town.code(acme, status(AccountStatus.ACTIVE)) == "identity.closed"
    assert town.of(clerk).status == AccountStatus.CLOSED
    assert town.code(acme, SetAccountStatus(acme.address, AccountStatus.CLOSED)) == "identity.kind"
    assert town.code(acme, SetAccountStatus(bytes(20), AccountStatus.CLOSED)) == "identity.unknown"


def test_suspension_counts_from_the_next_transaction_on(town: Town) -> None:
    chain, clerk = town.chain, town.clerk
    receipts = chain.block(
        chain.sign(clerk, note(clerk)),
        chain.sign(chain.admin, SetAccountStatus(clerk.address, AccountStatus.SUSPENDED)),
        chain.sign(clerk, note(clerk)),
    )
    assert [r.code for r in receipts] == ["", "", "tx.suspended"]


def test_a_suspended_organisations_accounts_are_suspended(town: Town) -> None:
    chain = town.chain
    worker = Actor.seeded("worker")
    town.ok([town.bolt, worker], town.account(town.bolt, worker, AccountKind.PERSON, "worker"))
    town.ok(chain.admin, SetOrganisation(town.bolt.address, None, True, None))
    assert town.code(worker, note(worker)) == "tx.suspended"
    assert town.code(town.bolt, note(town.bolt)) == "tx.suspended"
    chain.block_of((chain.bundle(chain.sign(chain.admin, note(chain.admin)), node=town.bolt_node),))
    assert chain.blocks[-1].result.bundles[0].log == "bundle.node"
    town.ok(chain.admin, SetOrganisation(town.bolt.address, None, False, None))
    town.ok(worker, note(worker))


# --- keys -------------------------------------------------------------------------------------------------------------


def test_rotation_keeps_the_address_and_ends_the_old_key(town: Town) -> None:
    chain, clerk, new = town.chain, town.clerk, KEYS[1]
    town.ok(clerk, rotate(clerk, add=(public(new),), end=(kid(clerk.key),)))
    at = chain.time_s
    assert town.code(clerk, note(clerk)) == "tx.unknown_key"
    renewed = Actor(new, clerk.address)
    town.ok(renewed, note(renewed))
    old, present = town.of(clerk).keys
    assert (old.valid_to, old.revoked_at, present.valid_from, present.valid_to) == (at, None, at, None)


def test_a_key_of_the_future_signs_from_its_second_on(town: Town) -> None:
    chain, clerk = town.chain, town.clerk
    start = chain.time_s + 10
    town.ok(clerk, rotate(clerk, add=(public(KEYS[2]),), valid_from=start))
    renewed = Actor(KEYS[2], clerk.address)
    while chain.time_s < start + 2:
        receipt = chain.run(renewed, note(renewed))
        assert receipt.code == ("tx.unknown_key" if chain.time_s < start else "")


def test_nobody_locks_an_account_with_keys_of_the_future(town: Town) -> None:
    clerk, end = town.clerk, (kid(town.clerk.key),)
    far = town.chain.time_s + 1000
    add = (public(KEYS[2]),)
    assert town.code(clerk, rotate(clerk, add=add, valid_from=far, end=end)) == "identity.threshold"
    assert town.code(clerk, rotate(clerk, add=add, valid_from=far, threshold=2)) == "identity.threshold"


def test_other_rotations_are_refused(town: Town) -> None:
    chain, clerk = town.chain, town.clerk
    own, add = kid(clerk.key), (public(KEYS[2]),)
    assert town.code(clerk, rotate(clerk, add=add, valid_from=chain.time_s)) == "identity.valid_from"
    assert town.code(clerk, rotate(clerk, end=(own,))) == "identity.threshold"
    assert town.code(clerk, rotate(clerk, add=add, threshold=3)) == "identity.threshold"
    assert town.code(clerk, rotate(clerk, add=add, end=(bytes(8),))) == "identity.unknown_key"
    assert town.code(clerk, rotate(clerk, add=(clerk.public,))) == "identity.known_key"
    assert town.code(clerk, rotate(clerk, add=add * 2)) == "identity.duplicate_key"
    assert town.code(clerk, rotate(clerk, add=(Key(Suite.ED25519, bytes(32)),))) == "key.weak"
    assert town.code(town.bolt, rotate(clerk, add=add)) == "auth.organisation"
    assert town.code(clerk, rotate(Actor(clerk.key, bytes(20)), add=add)) == "identity.unknown"
    town.ok(chain.admin, rotate(clerk, add=add))  # its administrator


def test_a_compromised_key_is_marked_and_stays_so(town: Town) -> None:
    chain, clerk = town.chain, town.clerk
    end = (kid(clerk.key),)
    town.ok(clerk, rotate(clerk, add=(public(KEYS[1]),), end=end))
    ended = chain.time_s
    renewed = Actor(KEYS[1], clerk.address)
    chain.block(seconds=100)
    town.ok(renewed, rotate(clerk, end=end, compromised=True))
    entry = town.of(clerk).keys[0]
    assert (entry.valid_to, entry.revoked_at) == (ended, chain.time_s)
    revoked = chain.time_s
    chain.block(seconds=100)
    town.ok(renewed, rotate(clerk, end=end, compromised=True))
    assert town.of(clerk).keys[0].revoked_at == revoked
    assert town.code(renewed, rotate(clerk, add=(clerk.public,))) == "identity.known_key"


def test_the_record_keeps_sixteen_keys_and_forgets_the_earliest_ended(town: Town) -> None:
    chain, clerk = town.chain, town.clerk
    present = clerk
    for key in KEYS[:17]:
        town.ok(present, rotate(clerk, add=(public(key),), end=(kid(present.key),)))
        present = Actor(key, clerk.address)
    entries = town.of(clerk).keys
    assert [entry.key.public for entry in entries] == [key.public for key in KEYS[1:17]]
    assert [entry.valid_to is None for entry in entries] == [False] * 15 + [True]
    more = tuple(map(public, KEYS[17:20]))
    town.ok(present, rotate(clerk, add=more))
    keys = tuple(Key(Suite.ED25519, seeded_key(f"extra {i}").public) for i in range(13))
    assert town.code(present, rotate(clerk, add=keys)) == "identity.keys"
    town.ok(present, rotate(clerk, add=keys[:12]))
    assert all(entry.valid_to is None for entry in town.of(clerk).keys)
    assert town.code(present, rotate(clerk, add=keys[12:])) == "identity.keys"
    assert chain.height


def test_a_compromised_key_stays_refused_when_its_record_forgets_it(town: Town) -> None:
    chain, clerk = town.chain, town.clerk
    town.ok(clerk, rotate(clerk, add=(public(KEYS[0]),), end=(kid(clerk.key),), compromised=True))
    revoked = chain.time_s
    present = Actor(KEYS[0], clerk.address)
    for key in KEYS[1:17]:
        town.ok(present, rotate(clerk, add=(public(key),), end=(kid(present.key),)))
        present = Actor(key, clerk.address)
    known = [entry.key for entry in town.of(clerk).keys]
    assert clerk.public not in known
    assert public(KEYS[0]) not in known
    assert town.code(present, rotate(clerk, add=(clerk.public,))) == "identity.revoked_key"
    town.ok(present, rotate(clerk, add=(public(KEYS[0]),)))  # ended in good order: it may come back
    mark = town.view.prove(REVOKED.key(clerk.address + kid(clerk.key)))
    assert mark.value == Revocation(clerk.public, revoked).to_bytes()
    assert isinstance(mark.proof, PresenceProof)
    verify_presence(town.view.root, mark.key, mark.value, mark.proof)
    # The mark is this account's: nobody can spoil another's key by marking it in his own.
    other = Actor.seeded("other")
    town.ok(
        [chain.admin, other],
        CreateAccount(chain.admin.address, AccountKind.PERSON, "other", (), 1, (other.public,)),
    )
    town.ok(other, rotate(other, add=(clerk.public,)))


def test_an_account_has_a_bounded_number_of_registers(town: Town) -> None:
    clerk = town.clerk
    town.ok(clerk, *(SetAttribute(clerk.address, f"r{i}", "x") for i in range(256)))
    assert town.code(clerk, SetAttribute(clerk.address, "r256", "x")) == "identity.attributes"
    town.ok(clerk, SetAttribute(clerk.address, "r255", "y"), SetAttribute(clerk.address, "r0", None))
    town.ok(clerk, SetAttribute(clerk.address, "r0", None), SetAttribute(clerk.address, "r256", "x"))
    assert len(town.view.attributes(clerk.address)) == 256
    assert town.code(clerk, SetAttribute(clerk.address, "r0", "x")) == "identity.attributes"


def test_nobody_is_an_organisation_by_naming_himself_one(town: Town) -> None:
    """A person's own address, named as the organisation, gives no rights: not to register, not to make accounts."""
    clerk = town.clerk
    helper = Actor.seeded("helper")
    account = CreateAccount(clerk.address, AccountKind.GATEWAY, "mine", (), 1, (helper.public,))
    assert town.code(clerk, account) == "auth.organisation"
    assert town.code(clerk, RegisterDevice("mine", clerk.address, None, None, ())) == "auth.organisation"


def test_checking_keys_costs_gas(town: Town) -> None:
    clerk = town.clerk
    few = town.ok(clerk, rotate(clerk, add=tuple(map(public, KEYS[:1])))).gas_used
    many = town.ok(clerk, rotate(clerk, add=tuple(map(public, KEYS[1:11])))).gas_used
    assert many - few > 9 * 700


def test_a_key_ended_in_a_transaction_is_unknown_to_the_next_of_the_bundle(town: Town) -> None:
    chain, clerk = town.chain, town.clerk
    receipts = chain.block(
        chain.sign(clerk, rotate(clerk, add=(public(KEYS[1]),), end=(kid(clerk.key),))),
        chain.sign(clerk, note(clerk)),
        chain.sign(Actor(KEYS[1], clerk.address), note(clerk)),
    )
    assert [r.code for r in receipts] == ["", "tx.unknown_key", ""]


def test_what_admission_remembers_does_not_outlive_the_key(town: Town) -> None:
    """A signature that was seen to verify is a fact about bytes; whether its key counts is read again."""
    chain, clerk = town.chain, town.clerk
    data = chain.sign(clerk, note(clerk))
    (verdict,) = chain.ledger.admit([data], chain.time_s)
    chain.ledger.signatures.add(verdict.checks)  # type: ignore[union-attr]
    town.ok(clerk, rotate(clerk, add=(public(KEYS[1]),), end=(kid(clerk.key),)))
    assert chain.block(data)[0].code == "tx.unknown_key"
