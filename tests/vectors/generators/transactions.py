"""Every message type, payloads, ids, envelopes, bundles, and payloads that are refused (docs/spec/transactions.md)."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from althing.protocol.address import address_of_key
from althing.protocol.bundle import make_bundle
from althing.protocol.catalog import MessageBody
from althing.protocol.codec import Item, decode, encode
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
from althing.protocol.messages.devices import BindGateway, DeviceState, RegisterDevice, SetDeviceState, SetMetadata
from althing.protocol.messages.governance import (
    AdmitNode,
    AdmitOrganisation,
    AdmitReader,
    ExpelOrganisation,
    GenesisOrganisation,
    GenesisReader,
    Parameters,
    Quota,
    RotateValidator,
    ScheduleUpgrade,
    SetNode,
    SetOrganisation,
    SetParameters,
    SetReader,
    SetValidator,
    Upgrade,
    Validator,
)
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
from althing.protocol.messages.proposals import Propose, Vote, Withdraw, proposal_content
from althing.protocol.messages.staking import (
    Bond,
    Join,
    SetStaking,
    SetValidatorKey,
    StakingParameters,
    Unbond,
    Unjail,
)
from althing.protocol.messages.streams import Anchor, AnchorEntry, DefineStream, HandOver, UpdateStream
from althing.protocol.reading import Kind
from althing.protocol.schema import Quantity, StreamSchema
from althing.protocol.signatures import PrivateKey, Suite
from althing.protocol.transaction import Transaction, sign_transaction

Case = dict[str, Any]

GENESIS_HASH = sha256(b"a genesis").digest()
ADMIN, SECOND = PrivateKey(Suite.ED25519, bytes(range(1, 33))), PrivateKey(Suite.ES256, bytes(range(33, 65)))
ADDRESS, OTHER = address_of_key(ADMIN.suite, ADMIN.public), address_of_key(SECOND.suite, SECOND.public)
KEY, KEY2 = Key(ADMIN.suite, ADMIN.public), Key(SECOND.suite, SECOND.public)
SCHEMA = StreamSchema((Quantity("temperature", "Cel", Kind.NUMBER),), content_type="application/senml+json")
PARAMETERS = Parameters(1, 1, 600, 60, 0, 10_000_000_000, 1024 * 1024)

EXPEL = ExpelOrganisation(OTHER)
PROPOSED = tuple(encode([message.TYPE, message.to_item()]) for message in (EXPEL, ScheduleUpgrade(None)))

MESSAGES: tuple[MessageBody, ...] = (
    AdmitOrganisation(GenesisOrganisation("acme", True, 1, (KEY,), Quota(10**9, 10**12))),
    SetOrganisation(ADDRESS, None, True, Quota(0, 0)),
    SetParameters(sha256(b"before").digest(), PARAMETERS),
    SetValidator(Validator(ADMIN.public, 10, ADDRESS)),
    ScheduleUpgrade(Upgrade(1000, 2, "v2")),
    CreateAccount(ADDRESS, AccountKind.GATEWAY, "gw-1", (Role.DEVICES,), 1, (KEY, KEY2)),
    RotateKeys(ADDRESS, (KEY2,), None, (bytes(range(8)),), True, 1),
    SetAccountStatus(OTHER, AccountStatus.SUSPENDED),
    SetAttribute(ADDRESS, "homepage", "https://example.org/acme"),
    RegisterDevice("pump-7", ADDRESS, KEY2, OTHER, (("model", "P-7"), ("place", "hall 3"))),
    SetDeviceState("pump-7", DeviceState.SUSPENDED, "in repair"),
    BindGateway("pump-7", None),
    SetMetadata("pump-7", ()),
    DefineStream("pump-7", "flow", OTHER, SCHEMA),
    UpdateStream("pump-7/flow", StreamSchema()),
    HandOver("pump-7/flow", ADDRESS, 1234),
    Anchor(
        OTHER, 7, sha256(b"root").digest(), 5, (AnchorEntry(0, 100, 3), AnchorEntry(4, 0, 2)), ("s3://b/segment-1",)
    ),
    EXPEL,
    AdmitNode(ADDRESS, "node-2", KEY2),
    SetNode(OTHER, AccountStatus.CLOSED),
    RotateValidator(ADMIN.public, bytes(range(32))),
    Propose(ADDRESS, "let dune go", 1_700_086_400, PROPOSED),
    Vote(OTHER, 3, proposal_content(3, ADDRESS, "let dune go", 1_700_086_400, PROPOSED), True),
    Withdraw(3),
    DefineUnit(ADDRESS, "coin", "A coin of acme", 2, 10**12),
    Mint("coin", OTHER, 12_345),
    Burn("coin", OTHER, 1),
    Transfer("coin", OTHER, ADDRESS, 2**63 - 1, "for a pump"),
    FreezeUnit("coin", True),
    FreezeBalance("coin", OTHER, True),
    Lock("coin", OTHER, ADDRESS, 500, tuple(sorted((ADDRESS, OTHER))), 2, 1_700_086_400, "on delivery"),
    Settle(0, False),
    AdmitReader(GenesisReader("auditor", KEY)),
    SetReader(OTHER, AccountStatus.CLOSED),
    Join(ADDRESS, "dune", 1, (KEY,), 1_000_000),
    Bond(OTHER, ADDRESS, 500),
    Unbond(OTHER, 500, ADDRESS),
    SetValidatorKey(OTHER, bytes(range(32))),
    Unjail(OTHER),
    SetStaking(bytes(32), StakingParameters(1, 1000, 10, 21, 5, 604_800, 172_800, 50_000, 3600, 250_000, 2**30, 2**40)),
)


def _transaction(*messages: MessageBody, signers: tuple[bytes, ...] = (ADDRESS,)) -> Transaction:
    return Transaction(tuple(sorted(signers)), ADDRESS, 100_000, 0, 1_700_000_300, bytes(range(8)), messages)


def _id(payload: bytes) -> str:
    return sha256(b"althing/tx/v1" + GENESIS_HASH + payload).hexdigest()


def document() -> Case:
    cases: list[Case] = []
    for message in MESSAGES:
        item = [message.TYPE, message.to_item()]
        cases.append({"name": f"message {message.TYPE}", "type": message.TYPE, "message": encode(item).hex()})
    one = _transaction(*MESSAGES[9:11])
    two = _transaction(MESSAGES[10], signers=(ADDRESS, OTHER))
    for name, transaction, keys in (
        ("one signer, two messages", one, [ADMIN]),
        ("two signers, two suites", two, [ADMIN, SECOND]),
    ):
        payload = transaction.to_payload()
        cases.append(
            {
                "name": f"transaction: {name}",
                "genesis_hash": GENESIS_HASH.hex(),
                "seeds": [[int(key.suite), key.seed.hex()] for key in keys],
                "signers": [signer.hex() for signer in transaction.signers],
                "payer": transaction.payer.hex(),
                "gas_limit": transaction.gas_limit,
                "fee": transaction.fee,
                "expiry": transaction.expiry,
                "nonce": transaction.nonce.hex(),
                "messages": [message.TYPE for message in transaction.messages],
                "payload": payload.hex(),
                "id": _id(payload),
                "envelope": sign_transaction(transaction, keys, GENESIS_HASH).hex(),
            }
        )
    cases += [
        {"name": f"payload refused: {name}", "payload": encode(item).hex(), "error": error}
        for name, item, error in _refused(decode(one.to_payload()))
    ]
    transactions = [bytes.fromhex(case["envelope"]) for case in cases if "envelope" in case]
    bundle = make_bundle(ADMIN, ADDRESS, transactions, GENESIS_HASH)
    cases.append(
        {
            "name": "bundle of two",
            "genesis_hash": GENESIS_HASH.hex(),
            "seed": ADMIN.seed.hex(),
            "node": ADDRESS.hex(),
            "transactions": [data.hex() for data in transactions],
            "bundle": bundle.hex(),
        }
    )
    return {
        "suite": "transactions",
        "spec": "docs/spec/transactions.md",
        "description": (
            "An example of every message type as [type, fields]; transactions with payload, id and envelope; a bundle; "
            "payloads that are refused. All signatures are deterministic."
        ),
        "cases": cases,
    }


def _refused(good: list[Item]) -> list[tuple[str, Item, str]]:
    def changed(index: int, value: Item) -> list[Item]:
        return [*good[:index], value, *good[index + 1 :]]

    messages: Any = good[7]
    name, fields = messages[0]
    return [
        ("a map", {0: 1}, "tx.form"),
        ("seven fields", good[:7], "tx.form"),
        ("nine fields", [*good, 0], "tx.form"),
        ("version 2", changed(0, 2), "tx.version"),
        ("no signers", changed(1, []), "tx.signers"),
        ("signers out of order", changed(1, sorted([ADDRESS, OTHER], reverse=True)), "tx.signers"),
        ("a signer twice", changed(1, [ADDRESS, ADDRESS]), "tx.signers"),
        ("a signer of 19 bytes", changed(1, [ADDRESS[:19]]), "tx.signers"),
        ("17 signers", changed(1, [bytes((i,)) * 20 for i in range(17)]), "tx.signers"),
        ("a payer who does not sign", changed(2, OTHER), "tx.payer"),
        ("a negative gas limit", changed(3, -1), "tx.range"),
        ("a fee of 64 bits", changed(4, 2**63), "tx.range"),
        ("a boolean fee", changed(4, False), "tx.range"),
        ("an expiry as text", changed(5, "soon"), "tx.range"),
        ("a nonce of 7 bytes", changed(6, bytes(7)), "tx.nonce"),
        ("no messages", changed(7, []), "tx.messages"),
        ("257 messages", changed(7, [messages[1]] * 257), "tx.messages"),
        ("a message of three parts", changed(7, [[name, fields, 0]]), "tx.message_form"),
        ("an unknown message", changed(7, [["streams.rewind", fields]]), "tx.message_type"),
        ("a message with a field less", changed(7, [[name, fields[:-1]]]), "record.form"),
        ("a message with a bad field", changed(7, [[name, ["Pump 7", *fields[1:]]]]), "record.field"),
        ("metadata out of order", changed(7, [[name, [*fields[:4], [["b", ""], ["a", ""]]]]]), "record.field"),
        ("metadata with a key twice", changed(7, [[name, [*fields[:4], [["a", ""], ["a", ""]]]]]), "record.field"),
    ]
