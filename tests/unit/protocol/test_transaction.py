"""Transactions, bundles, receipts and genesis: identity, form, and what strangers may send."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from althing.protocol.address import key_id
from althing.protocol.bundle import make_bundle, parse_bundle
from althing.protocol.catalog import MESSAGE_TYPES, body_from_item, body_to_item
from althing.protocol.codec import decode, encode
from althing.protocol.cose import sign1
from althing.protocol.errors import EncodingError, ProtocolError
from althing.protocol.genesis import app_state_of, genesis_hash, genesis_of_app_state
from althing.protocol.limits import BUNDLE_TXS_MAX, INT_MAX, TX_BYTES_MAX, TX_MESSAGES_MAX, TX_SIGNERS_MAX
from althing.protocol.mapping import Field, Mapping, TimeField
from althing.protocol.merkle import leaf_hash, root_of
from althing.protocol.messages import assets, devices, governance, identity, proposals, staking, streams
from althing.protocol.receipt import Event, Receipt, receipts_root
from althing.protocol.schema import Quantity, StreamSchema
from althing.protocol.signatures import Suite, verify
from althing.protocol.transaction import (
    SignedTransaction,
    Transaction,
    parse_transaction,
    sign_transaction,
    transaction_id,
)
from althing.testing.harness import Actor, default_parameters, seeded_key

GENESIS, OTHER = sha256(b"genesis").digest(), sha256(b"another genesis").digest()
ALICE, BOB = Actor.seeded("alice"), Actor.seeded("bob", Suite.ES256)
KEY, HASH, ADDRESS = ALICE.public, bytes(range(32)), ALICE.address
SCHEMA = StreamSchema(
    (Quantity("t", "Cel"), Quantity("rh", "%RH", label="hum")),
    "application/json",
    Mapping((Field("/t", "t"), Field("/h", "rh", "%")), TimeField("/at", "YYYY-MM-DD HH:mm", 60)),
)
FOUNDER = governance.GenesisOrganisation("acme", True, 1, (KEY,), governance.Quota(1, 2))
RULES = staking.StakingParameters(1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0)
MESSAGES = [
    identity.CreateAccount(ADDRESS, identity.AccountKind.GATEWAY, "gw", (identity.Role.DEVICES,), 1, (KEY, BOB.public)),
    identity.RotateKeys(ADDRESS, (BOB.public,), 5, (bytes(8),), True, 1),
    identity.SetAccountStatus(ADDRESS, identity.AccountStatus.CLOSED),
    identity.SetAttribute(ADDRESS, "service", "https://example.org"),
    identity.SetAttribute(ADDRESS, "service", None),
    devices.RegisterDevice("d", ADDRESS, KEY, ADDRESS, (("model", "x"),)),
    devices.RegisterDevice("d", ADDRESS, None, None, ()),
    devices.SetDeviceState("d", devices.DeviceState.RETIRED, "broken"),
    devices.BindGateway("d", None),
    devices.SetMetadata("d", (("a", ""), ("b", "ü"))),
    streams.DefineStream("d", "s", ADDRESS, SCHEMA),
    streams.UpdateStream("d/s", StreamSchema()),
    streams.HandOver("d/s", ADDRESS, 7),
    streams.Anchor(ADDRESS, 0, HASH, 3, (streams.AnchorEntry(0, 0, 1), streams.AnchorEntry(1, 5, 2)), ("file:x",)),
    governance.AdmitOrganisation(FOUNDER),
    governance.SetOrganisation(ADDRESS, None, True, governance.Quota(0, INT_MAX)),
    governance.SetParameters(HASH, default_parameters()),
    governance.SetValidator(governance.Validator(HASH, 0, ADDRESS)),
    governance.ScheduleUpgrade(governance.Upgrade(10, 2, "2.0")),
    governance.ScheduleUpgrade(None),
    governance.ExpelOrganisation(ADDRESS),
    governance.AdmitNode(ADDRESS, "node-2", KEY),
    governance.SetNode(ADDRESS, identity.AccountStatus.SUSPENDED),
    governance.RotateValidator(HASH, bytes(range(32))),
    proposals.Propose(ADDRESS, "a title", 1_700_000_000, (b"\x80",)),
    proposals.Vote(ADDRESS, 0, HASH, True),
    proposals.Withdraw(0),
    assets.DefineUnit(ADDRESS, "coin", "A coin", 2, None),
    assets.Mint("coin", ADDRESS, 1),
    assets.Burn("coin", ADDRESS, INT_MAX),
    assets.Transfer("coin", ADDRESS, BOB.address, 5, "for a pump"),
    assets.FreezeUnit("coin", True),
    assets.FreezeBalance("coin", ADDRESS, False),
    assets.Lock("coin", ADDRESS, BOB.address, 5, (ADDRESS,), 1, 1_700_000_000, ""),
    assets.Settle(0, True),
    governance.AdmitReader(governance.GenesisReader("auditor", KEY)),
    governance.SetReader(HASH[:20], identity.AccountStatus.SUSPENDED),
    staking.Join(HASH[:20], "dune", 1, (KEY,), 1),
    staking.Bond(HASH[:20], HASH[:20], 1),
    staking.Unbond(HASH[:20], 1, HASH[:20]),
    staking.SetValidatorKey(HASH[:20], HASH),
    staking.Unjail(HASH[:20]),
    staking.SetStaking(HASH, RULES),
]
NOTE = MESSAGES[3]


def transaction(*actors: Actor, **changes: Any) -> Transaction:
    signers = tuple(sorted(actor.address for actor in actors or (ALICE,)))
    body = Transaction(signers, signers[0], 10_000, 0, 1_700_000_000, bytes(8), (NOTE,))
    return replace(body, **changes)


def sign(body: Transaction, *actors: Actor, genesis: bytes = GENESIS) -> bytes:
    return sign_transaction(body, [actor.key for actor in actors or (ALICE,)], genesis)


def signatures_hold(signed: SignedTransaction, *actors: Actor) -> bool:
    keys = {key_id(actor.key.suite, actor.key.public): actor.key for actor in actors}
    return all(
        verify(s.suite, keys[s.kid].public, s.signed, s.value) if s.kid in keys else False for s in signed.signatures
    )


# --- messages ---------------------------------------------------------------------------------------------------------


def test_every_message_type_is_tried_here() -> None:
    assert {type(message) for message in MESSAGES} == set(MESSAGE_TYPES.values())
    for name, body in MESSAGE_TYPES.items():
        assert name == body.TYPE
        file = body.__module__.rsplit(".", 1)[1]
        assert name.split(".")[0] == ("governance" if file == "proposals" else file)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m.TYPE)
def test_messages_round_trip(message: Any) -> None:
    assert body_from_item(decode(encode(body_to_item(message)))) == message


def mutations(item: Any) -> list[Any]:
    """The item with one part of it, at any depth, replaced or removed."""
    others: list[Any] = [None, True, -1, 2**64 - 1, "", "\x00", "x" * 2000, b"", b"x" * 2000, [], {}, [[]], {1: 1}]
    found = list(others)
    if isinstance(item, list):
        found += [item[:i] + item[i + 1 :] for i in range(len(item))] + [[*item, None]]
        found += [[*item[:i], part, *item[i + 1 :]] for i in range(len(item)) for part in mutations(item[i])]
    elif isinstance(item, dict):
        found += [{k: v for k, v in item.items() if k != key} for key in item] + [{**item, 99: 0}]
        found += [{**item, key: part} for key in item for part in mutations(item[key])]
    return found


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m.TYPE)
def test_any_other_form_is_refused_or_another_message(message: Any) -> None:
    """Whatever stands in one place of a message: a coded refusal, or a message that writes back to the same bytes."""
    for item in mutations(body_to_item(message)):
        try:
            body = body_from_item(decode(encode(item)))
        except ProtocolError:
            continue
        assert encode(body_to_item(body)) == encode(item)


# --- identity of transactions -----------------------------------------------------------------------------------------


def test_the_id_is_the_payloads() -> None:
    body = transaction()
    payload = body.to_payload()
    assert transaction_id(GENESIS, payload) == sha256(b"althing/tx/v1" + GENESIS + payload).digest()
    signed = parse_transaction(sign(body), GENESIS)
    assert signed.id == transaction_id(GENESIS, payload)
    assert signed.transaction == body
    assert signed.size == len(sign(body))


def test_the_id_does_not_depend_on_who_has_signed_or_how() -> None:
    """The same payload under other signatures is the same transaction: it cannot be executed twice."""
    body = transaction(ALICE, BOB)
    envelopes = {sign(body, ALICE, BOB), sign(body, BOB, ALICE), sign(body, ALICE), sign(body, BOB)}
    assert len(envelopes) == 3, "the order of signers does not show"
    assert len({parse_transaction(data, GENESIS).id for data in envelopes}) == 1


@given(st.data())
def test_every_field_is_in_the_id(data: st.DataObject) -> None:
    body = transaction()
    field, value = data.draw(
        st.sampled_from(
            [
                ("gas_limit", 10_001),
                ("fee", 1),
                ("expiry", 1_700_000_001),
                ("nonce", bytes(7) + b"\x01"),
                ("messages", (NOTE, NOTE)),
                ("messages", (MESSAGES[0],)),
            ]
        )
    )
    other = replace(body, **{field: value})
    assert parse_transaction(sign(other), GENESIS).id != parse_transaction(sign(body), GENESIS).id


def test_another_chain_of_the_same_name_is_another_chain() -> None:
    body = transaction()
    data = sign(body)
    here, there = parse_transaction(data, GENESIS), parse_transaction(data, OTHER)
    assert here.id != there.id
    assert signatures_hold(here, ALICE)
    assert not signatures_hold(there, ALICE)


@pytest.mark.parametrize("actors", [(ALICE,), (BOB,), (ALICE, BOB)], ids=["ed25519", "es256", "both"])
def test_a_changed_byte_is_never_an_authorised_transaction(actors: tuple[Actor, ...]) -> None:
    body = transaction(*actors)
    data = sign(body, *actors)
    for at in range(len(data)):
        for value in (data[at] ^ 1, data[at] ^ 0x80, 0):
            changed = data[:at] + bytes((value,)) + data[at + 1 :]
            if changed == data:
                continue
            try:
                signed = parse_transaction(changed, GENESIS)
            except ProtocolError:
                continue
            assert not signatures_hold(signed, *actors), at


# --- form of transactions ---------------------------------------------------------------------------------------------

ITEM = decode(transaction().to_payload())
SECOND = sorted((ALICE.address, BOB.address))
BAD_PAYLOADS = {
    "version 0": ("tx.version", [0, *ITEM[1:]]),
    "version true": ("tx.version", [True, *ITEM[1:]]),
    "version 2": ("tx.version", [2, *ITEM[1:]]),
    "a field less": ("tx.form", ITEM[:-1]),
    "a field more": ("tx.form", [*ITEM, None]),
    "a map": ("tx.form", {1: 2}),
    "no signer": ("tx.signers", [1, [], *ITEM[2:]]),
    "a signer twice": ("tx.signers", [1, [ADDRESS, ADDRESS], *ITEM[2:]]),
    "signers out of order": ("tx.signers", [1, SECOND[::-1], *ITEM[2:]]),
    "a signer too long": ("tx.signers", [1, [bytes(21)], bytes(21), *ITEM[3:]]),
    "a signer of text": ("tx.signers", [1, ["x" * 20], *ITEM[2:]]),
    "too many signers": ("tx.signers", [1, [bytes((i,)) * 20 for i in range(TX_SIGNERS_MAX + 1)], *ITEM[2:]]),
    "a payer who does not sign": ("tx.payer", [*ITEM[:2], bytes(20), *ITEM[3:]]),
    "gas below 0": ("tx.range", [*ITEM[:3], -1, *ITEM[4:]]),
    "gas beyond 63 bits": ("tx.range", [*ITEM[:3], INT_MAX + 1, *ITEM[4:]]),
    "gas true": ("tx.range", [*ITEM[:3], True, *ITEM[4:]]),
    "fee text": ("tx.range", [*ITEM[:4], "0", *ITEM[5:]]),
    "expiry null": ("tx.range", [*ITEM[:5], None, *ITEM[6:]]),
    "nonce short": ("tx.nonce", [*ITEM[:6], bytes(7), ITEM[7]]),
    "nonce long": ("tx.nonce", [*ITEM[:6], bytes(9), ITEM[7]]),
    "no message": ("tx.messages", [*ITEM[:7], []]),
    "too many messages": ("tx.messages", [*ITEM[:7], ITEM[7] * (TX_MESSAGES_MAX + 1)]),
    "a message of one part": ("tx.message_form", [*ITEM[:7], [["identity.set_attribute"]]]),
    "an unknown message": ("tx.message_type", [*ITEM[:7], [["identity.nothing", []]]]),
}


@pytest.mark.parametrize(("code", "item"), BAD_PAYLOADS.values(), ids=BAD_PAYLOADS.keys())
def test_other_payloads_are_refused(code: str, item: Any) -> None:
    data = sign1(ALICE.key, key_id(ALICE.key.suite, ALICE.key.public), encode(item), b"althing/tx/v1" + GENESIS)
    with pytest.raises(EncodingError) as caught:
        parse_transaction(data, GENESIS)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "changes",
    [{"fee": -1}, {"nonce": b""}, {"messages": ()}, {"payer": bytes(20)}, {"signers": ()}, {"gas_limit": INT_MAX + 1}],
)
def test_such_a_transaction_is_not_signed_either(changes: dict[str, Any]) -> None:
    with pytest.raises(EncodingError):
        sign(transaction(**changes))


def test_size_is_bounded() -> None:
    with pytest.raises(EncodingError, match=r"cbor\.too_large"):
        parse_transaction(b"\xd2" + bytes(TX_BYTES_MAX + 1), GENESIS)


@settings(max_examples=200)
@given(st.data())
def test_any_bytes_are_refused_with_a_code(data: st.DataObject) -> None:
    good = bytearray(sign(transaction(ALICE, BOB), ALICE, BOB))
    for _ in range(data.draw(st.integers(1, 8))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        signed = parse_transaction(bytes(good), GENESIS)
    except ProtocolError:
        return
    assert signed.transaction.to_payload() in bytes(good)


# --- bundles ----------------------------------------------------------------------------------------------------------


def test_a_bundle_round_trip() -> None:
    data = make_bundle(ALICE.key, ALICE.address, [b"a", b"", b"b"], GENESIS)
    bundle = parse_bundle(data, GENESIS)
    assert bundle.node == ALICE.address
    assert bundle.transactions == (b"a", b"", b"b")
    assert verify(ALICE.key.suite, ALICE.key.public, bundle.signature.signed, bundle.signature.value)
    elsewhere = parse_bundle(data, OTHER).signature
    assert not verify(ALICE.key.suite, ALICE.key.public, elsewhere.signed, elsewhere.value)


def test_a_bundle_is_no_transaction_and_the_other_way_round() -> None:
    with pytest.raises(ProtocolError):
        parse_transaction(make_bundle(ALICE.key, ALICE.address, [b"a"], GENESIS), GENESIS)
    with pytest.raises(ProtocolError):
        parse_bundle(sign(transaction()), GENESIS)


@pytest.mark.parametrize(
    "payload",
    [
        [2, ADDRESS, [b"a"]],
        [True, ADDRESS, [b"a"]],
        [1, ADDRESS, []],
        [1, ADDRESS, [b"a"] * (BUNDLE_TXS_MAX + 1)],
        [1, ADDRESS[1:], [b"a"]],
        [1, ADDRESS, ["a"]],
        [1, ADDRESS, [[b"a"]]],
        [1, ADDRESS, b"a"],
        [1, ADDRESS],
        {1: 1},
        7,
    ],
)
def test_other_bundles_are_refused(payload: Any) -> None:
    data = sign1(ALICE.key, key_id(ALICE.key.suite, ALICE.key.public), encode(payload), b"althing/bundle/v1" + GENESIS)
    with pytest.raises(ProtocolError):
        parse_bundle(data, GENESIS)


# --- receipts and genesis ---------------------------------------------------------------------------------------------


def test_receipts() -> None:
    receipt = Receipt(1, HASH, "", 5, (Event("a.b", (1, b"x", "y", True, None)),))
    assert Receipt.from_bytes(receipt.to_bytes()) == receipt
    assert receipt.ok
    assert not replace(receipt, code="tx.expired").ok
    encoded = [replace(receipt, gas_used=i).to_bytes() for i in range(5)]
    assert receipts_root(encoded) == root_of([leaf_hash(data) for data in encoded])
    for value in ([1], {1: 1}):
        with pytest.raises(EncodingError):
            Receipt.from_item([1, HASH, "", 5, [["a.b", [value]]]])


PUBLIC = staking.PublicChain("thing", "", 0, 1, 1, RULES, (staking.GenesisAllocation("acme", 0, 1),))


def founding(**changes: Any) -> governance.Genesis:
    genesis = governance.Genesis(
        1,
        "chain",
        1_700_000_000,
        1,
        1,
        bytes(16),
        default_parameters(),
        (FOUNDER,),
        (governance.GenesisValidator(HASH, 1, "acme"),),
        (governance.GenesisNode("n", "acme", KEY),),
    )
    return replace(genesis, **changes)


def test_genesis_travels_as_app_state() -> None:
    genesis = founding()
    state = app_state_of(genesis)
    assert json.loads(state) == genesis.to_bytes().hex()
    assert genesis_of_app_state(state) == genesis
    assert genesis_hash(genesis) == sha256(b"althing/genesis/v1" + genesis.to_bytes()).digest()


def test_every_field_is_in_the_genesis_hash() -> None:
    changes: list[dict[str, Any]] = [
        {"chain_id": "chain-2"},
        {"time": 1},
        {"initial_height": 2},
        {"app_version": 2},
        {"salt": bytes(15) + b"\x01"},
        {"parameters": replace(default_parameters(), gas_price_min=1)},
        {"organisations": (replace(FOUNDER, governor=False),)},
        {"validators": (governance.GenesisValidator(HASH, 2, "acme"),)},
        {"nodes": (governance.GenesisNode("m", "acme", KEY),)},
        {"version": 2, "kind": governance.PrivateChain(())},
        {"version": 2, "kind": governance.PrivateChain((governance.GenesisReader("auditor", KEY),))},
        {"version": 2, "kind": PUBLIC},
        {"version": 2, "kind": replace(PUBLIC, evidence_age_s=2)},
    ]
    assert len({genesis_hash(founding(**change)) for change in changes} | {genesis_hash(founding())}) == 14


@pytest.mark.parametrize("changes", [{"version": 2}, {"kind": governance.PrivateChain(())}])
def test_version_2_names_the_kind_and_version_1_does_not(changes: dict[str, Any]) -> None:
    with pytest.raises(EncodingError, match=r"record\.field"):
        founding(**changes).to_bytes()


@pytest.mark.parametrize("data", [b"", b'"', b'""', b"{}", b'"zz"', b'"00"', b"'00'", b'"\xff"', b'"0"', b'"00 00"'])
def test_other_app_states_are_refused(data: bytes) -> None:
    with pytest.raises(EncodingError):
        genesis_of_app_state(data)


def test_secrets_are_not_printed() -> None:
    key = seeded_key("secret")
    assert key.seed.hex() not in repr(key)
