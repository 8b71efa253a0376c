"""Streams: definitions, hand-over, anchors; every refusal; and proofs of rows against the present root."""

from __future__ import annotations

import time
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from althing.ledger.query import LedgerView, RowProof
from althing.ledger.runtime.errors import NotFoundError
from althing.ledger.runtime.gas import intrinsic
from althing.protocol.codec import decode
from althing.protocol.errors import StateError
from althing.protocol.limits import DEFINITION_BYTES_MAX, TX_BYTES_MAX
from althing.protocol.mapping import Field, Mapping
from althing.protocol.merkle import EMPTY_ROOT, leaf_hash, verify_inclusion
from althing.protocol.messages.devices import DeviceState, SetDeviceState
from althing.protocol.messages.identity import AccountKind
from althing.protocol.messages.streams import (
    Anchor,
    AnchorEntry,
    DefineStream,
    GatewayHead,
    HandOver,
    StreamHead,
    UpdateStream,
)
from althing.protocol.schema import Quantity, StreamSchema
from althing.protocol.stateproof import PresenceProof, verify_presence
from althing.testing.harness import Actor, LedgerHarness

from .conftest import Town

SECOND_GATEWAY = Actor.seeded("second gateway")


def anchor(town: Town, number: int, *entries: tuple[int, int, int], **changes: Any) -> Anchor:
    """An anchor of (stream, first, count) entries with a root of its own."""
    table = tuple(AnchorEntry(*entry) for entry in entries)
    size = sum(count for _, _, count in entries)
    root = sha256(repr((number, entries)).encode()).digest()
    return replace(Anchor(town.chain.gateway.address, number, root, size, table, ()), **changes)


def second_gateway(town: Town) -> Actor:
    message = town.account(town.chain.admin, SECOND_GATEWAY, AccountKind.GATEWAY, "gw-2")
    town.ok([town.chain.admin, SECOND_GATEWAY], message)
    return SECOND_GATEWAY


def check_row_proof(root: bytes, proof: RowProof) -> None:
    """From the row's bytes to a state root, by the protocol's own checks."""
    assert proof.head.value is not None
    assert isinstance(proof.head.proof, PresenceProof)
    verify_presence(root, proof.head.key, proof.head.value, proof.head.proof)
    head = StreamHead.from_bytes(proof.head.value)
    verify_inclusion(head.log_root, head.log_size, proof.row_index, leaf_hash(proof.row_bytes), proof.row_path)
    assert head.definition_hash == sha256(proof.definition_bytes).digest()
    assert proof.head.key == b"streams/head/" + proof.definition.id.to_bytes(8, "big")


# --- definitions ------------------------------------------------------------------------------------------------------


def test_defining(town: Town) -> None:
    chain, acme = town.chain, town.chain.admin
    gateway = chain.gateway.address
    define = DefineStream("pump", "flow", gateway, StreamSchema((Quantity("flow", "l/s"),)))
    assert town.code(acme, define) == "streams.device"
    town.device("pump")
    assert town.code(town.bolt, define) == "auth.organisation"
    assert town.code(acme, replace(define, gateway=town.clerk.address)) == "streams.gateway"
    assert town.code(acme, replace(define, gateway=bytes(20))) == "streams.gateway"
    receipt = town.ok(town.clerk, define)
    assert receipt.events[0].values == (0, "pump/flow", gateway)
    assert town.code(acme, define) == "streams.exists"
    town.ok(acme, replace(define, name="level"))
    assert [(s.id, s.path) for s in town.view.streams(None, 10)] == [(0, "pump/flow"), (1, "pump/level")]
    assert [s.path for s in town.view.streams(0, 10)] == ["pump/level"]
    assert [s.path for s in town.view.streams_of("pump")] == ["pump/flow", "pump/level"]
    assert town.view.stream_count() == 2
    stream = town.view.stream("pump/flow")
    assert (stream.schema_version, stream.schema, stream.defined_at) == (0, define.schema, chain.time_s - 2)
    head = town.view.head(0)
    assert head == StreamHead(0, 0, EMPTY_ROOT, sha256(stream.to_bytes()).digest())


def test_a_retired_devices_streams_are_no_more_defined(town: Town) -> None:
    town.device("pump")
    town.ok(town.chain.admin, SetDeviceState("pump", DeviceState.RETIRED, ""))
    define = DefineStream("pump", "flow", town.chain.gateway.address, StreamSchema())
    assert town.code(town.chain.admin, define) == "streams.device"


def test_schemas_have_versions(town: Town) -> None:
    acme = town.chain.admin
    number = town.stream("pump/flow")
    schemas = [StreamSchema(), *(StreamSchema((Quantity(f"q{i}"),)) for i in range(1, 4))]
    town.ok(town.chain.gateway, anchor(town, 0, (number, 0, 1)))
    for version, schema in enumerate(schemas[1:], 1):
        assert town.code(town.bolt, UpdateStream("pump/flow", schema)) == "auth.organisation"
        town.ok(town.clerk, UpdateStream("pump/flow", schema))
        town.ok(town.chain.gateway, anchor(town, version, (number, version, 1)))
    view = town.view
    for version, schema in enumerate(schemas):
        assert view.definition_at(number, version).schema == schema
        assert view.row(number, version)[0].schema_version == version
    for version in (-1, 4, 2**40):
        with pytest.raises(NotFoundError, match=r"query\.schema"):
            view.definition_at(number, version)
    assert town.code(acme, UpdateStream("pump/none", StreamSchema())) == "streams.unknown"
    assert town.code(acme, UpdateStream("Pump/flow", StreamSchema())) == "streams.unknown"
    assert town.code(acme, UpdateStream("pump", StreamSchema())) == "streams.unknown"


def test_a_definition_fits_its_proofs(town: Town) -> None:
    names = [f"{i:03}".ljust(63, "x") for i in range(256)]
    quantities = tuple(Quantity(name, "u" * 32) for name in names)
    mapping = Mapping(tuple(Field("/" + "p" * 255, name, "v" * 32) for name in names))
    town.device("pump")
    define = DefineStream("pump", "flow", town.chain.gateway.address, StreamSchema(quantities, "", mapping))
    assert town.code(town.chain.admin, define) == "streams.too_large"
    town.ok(town.chain.admin, replace(define, schema=StreamSchema(quantities)))
    assert len(town.view.stream("pump/flow").to_bytes()) < DEFINITION_BYTES_MAX
    assert town.code(town.chain.admin, UpdateStream("pump/flow", define.schema)) == "streams.too_large"


# --- anchors ----------------------------------------------------------------------------------------------------------


def test_an_anchor_moves_streams_and_gateway_on(town: Town) -> None:
    chain = town.chain
    a, b = town.stream("pump/a"), town.stream("pump/b")
    message = anchor(town, 0, (a, 0, 3), (b, 0, 2), locators=("file:segment",))
    receipt = town.ok(chain.gateway, message)
    assert receipt.events[0].values == (chain.gateway.address, 0, message.root, 5, 2)
    row, data = town.view.row(b, 0)
    assert (row.batch_root, row.batch_size, row.offset, row.first, row.count) == (message.root, 5, 3, 0, 2)
    assert (row.height, row.time, row.gateway) == (chain.height, chain.time_s * 10**9, chain.gateway.address)
    assert row.to_bytes() == data
    assert [town.view.head(n).next_sequence for n in (a, b)] == [3, 2]
    assert town.view.gateway_head(chain.gateway.address) == GatewayHead(1, message.root, chain.height)


def test_the_same_anchor_again_is_success_and_changes_nothing(town: Town) -> None:
    """A gateway that did not hear the answer sends it in a new transaction; later ones must name the next number."""
    chain, number = town.chain, town.stream("pump/a")
    first = anchor(town, 0, (number, 0, 3))
    town.ok(chain.gateway, first)
    before = town.content()
    receipt = town.ok(chain.gateway, first)
    assert receipt.events[0].name == "streams.anchored_before"
    assert town.content() == before
    assert town.code(chain.gateway, replace(first, root=bytes(32))) == "streams.anchor_number"
    town.ok(chain.gateway, anchor(town, 1, (number, 3, 1)))
    assert town.code(chain.gateway, first) == "streams.anchor_number"
    fresh = second_gateway(town)
    nothing = replace(first, gateway=fresh.address, number=2**63 - 1, root=bytes(32))
    assert town.code(fresh, nothing) == "streams.anchor_number"


def test_other_anchors_are_refused(town: Town) -> None:
    chain = town.chain
    gateway = chain.gateway
    a, b = town.stream("pump/a"), town.stream("pump/b")
    other = second_gateway(town)
    c = town.stream("pump/c", gateway=other)
    town.ok(gateway, anchor(town, 0, (a, 0, 5)))
    cases = [
        ("auth.gateway", chain.admin, anchor(town, 1, (a, 5, 1))),
        ("auth.gateway", other, anchor(town, 1, (a, 5, 1))),
        ("streams.gateway", town.clerk, anchor(town, 0, (a, 5, 1), gateway=town.clerk.address)),
        ("streams.anchor_number", gateway, anchor(town, 2, (a, 5, 1))),
        ("streams.anchor_number", gateway, anchor(town, 0, (a, 5, 1))),
        ("streams.anchor_table", gateway, anchor(town, 1, (a, 5, 1), size=2)),
        ("streams.anchor_table", gateway, anchor(town, 1, (b, 0, 1), (a, 5, 1))),
        ("streams.anchor_table", gateway, anchor(town, 1, (a, 5, 1), (a, 6, 1))),
        ("streams.unknown", gateway, anchor(town, 1, (a, 5, 1), (99, 0, 1))),
        ("streams.unknown", gateway, anchor(town, 1, (2**63 - 1, 0, 1))),
        ("streams.not_writer", gateway, anchor(town, 1, (a, 5, 1), (c, 0, 1))),
        ("streams.sequence", gateway, anchor(town, 1, (a, 4, 1))),
        ("streams.sequence", gateway, anchor(town, 1, (a, 6, 1))),
        ("streams.sequence", gateway, anchor(town, 1, (a, 5, 1), (b, 1, 1))),
    ]
    for code, actor, message in cases:
        assert town.code(actor, message) == code
    town.ok(gateway, anchor(town, 1, (a, 5, 1), (b, 0, 1)))


def test_two_gateways_anchor_in_one_block(town: Town) -> None:
    chain, other = town.chain, second_gateway(town)
    a, c = town.stream("pump/a"), town.stream("pump/c", gateway=other)
    receipts = chain.block(
        chain.sign(chain.gateway, anchor(town, 0, (a, 0, 1))),
        chain.sign(other, anchor(town, 0, (c, 0, 1), gateway=other.address)),
        chain.sign(chain.gateway, anchor(town, 1, (a, 1, 1))),
    )
    assert all(receipt.ok for receipt in receipts)
    assert town.view.head(a).log_size == 2


def test_handing_over(town: Town) -> None:
    chain, other = town.chain, second_gateway(town)
    number = town.stream("pump/a")
    town.ok(chain.gateway, anchor(town, 0, (number, 0, 3)))
    over = HandOver("pump/a", other.address, 3)
    assert town.code(chain.admin, replace(over, stream="pump/x")) == "streams.unknown"
    assert town.code(town.bolt, over) == "auth.organisation"
    assert town.code(other, over) == "auth.organisation"
    assert town.code(chain.admin, replace(over, next_sequence=2)) == "streams.sequence"
    assert town.code(chain.admin, replace(over, gateway=town.clerk.address)) == "streams.gateway"
    town.ok(chain.gateway, over)  # the writer itself
    assert town.code(chain.gateway, anchor(town, 1, (number, 3, 1))) == "streams.not_writer"
    town.ok(other, anchor(town, 0, (number, 3, 2), gateway=other.address))
    town.ok(town.clerk, HandOver("pump/a", chain.gateway.address, 5))  # the owner
    town.ok(chain.gateway, anchor(town, 1, (number, 5, 1)))
    gateways = [town.view.row(number, index)[0].gateway for index in range(3)]
    assert gateways == [chain.gateway.address, other.address, chain.gateway.address]


def test_a_closed_devices_messages_are_still_anchored(town: Town) -> None:
    """What a gateway has accepted must reach the chain, whatever became of the device meanwhile."""
    number = town.stream("pump/a")
    town.ok(town.chain.admin, SetDeviceState("pump", DeviceState.RETIRED, ""))
    town.ok(town.chain.gateway, anchor(town, 0, (number, 0, 3)))


# --- proofs -----------------------------------------------------------------------------------------------------------


def test_every_row_is_proved_against_the_present_root(town: Town) -> None:
    number, other = town.stream("pump/a"), town.stream("pump/b")
    counts = [1, 3, 1, 2, 5, 1, 1, 4, 2]
    first = 0
    covering = []
    for index, count in enumerate(counts):
        town.ok(town.chain.gateway, anchor(town, index, (number, first, count), (other, index, 1)))
        covering += [index] * count
        first += count
    view = town.view
    assert view.root == town.chain.ledger.app_hash
    for sequence, index in enumerate(covering):
        proof = view.row_proof("pump/a", sequence)
        assert proof.row_index == index
        assert proof.row.first <= sequence < proof.row.first + proof.row.count
        check_row_proof(view.root, proof)
    for sequence in (-1, len(covering), 2**63):
        with pytest.raises(NotFoundError, match=r"query\.sequence"):
            view.row_proof("pump/a", sequence)


def test_old_rows_are_proved_after_their_state_is_gone() -> None:
    town = Town(LedgerHarness(keep_versions=5))
    number = town.stream("pump/a")
    town.ok(town.chain.gateway, anchor(town, 0, (number, 0, 2)))
    anchored_at = town.chain.height
    for index in range(1, 50):
        town.ok(town.chain.gateway, anchor(town, index, (number, 1 + index, 1)))
    for _ in range(20):
        town.chain.block()
    store = town.chain.ledger.store
    assert store.oldest_version is not None
    assert store.oldest_version > anchored_at
    with pytest.raises(StateError, match=r"state\.pruned"):
        LedgerView(store, anchored_at)
    for sequence in (0, 1, 2, 30, 50):
        proof = town.view.row_proof("pump/a", sequence)
        check_row_proof(town.chain.ledger.app_hash, proof)
    assert town.view.row_proof("pump/a", 0).row.height == anchored_at
    size, answer = town.view.header_log()
    assert isinstance(answer.proof, PresenceProof)
    assert answer.value is not None
    verify_presence(town.chain.ledger.app_hash, answer.key, answer.value, answer.proof)
    root = decode(answer.value)[1]
    for index in range(size):
        data, path = town.view.header_entry(index, size)
        verify_inclusion(root, size, index, leaf_hash(data), path)


def test_ten_thousand_streams_in_one_anchor() -> None:
    """One transaction of bounded size, gas in proportion, and about a second of one core at most."""
    town = Town()
    chain, count = town.chain, 10_000
    town.device("d")
    names = [f"s{i}" for i in range(count)]
    defined = chain.block(
        *(
            chain.sign(
                chain.admin,
                *(
                    DefineStream("d", name, chain.gateway.address, StreamSchema())
                    for name in names[start : start + 250]
                ),
            )
            for start in range(0, count, 250)
        )
    )
    assert all(receipt.ok for receipt in defined)
    data = chain.sign(chain.gateway, anchor(town, 0, *((i, 0, 1) for i in range(count))))
    assert len(data) < TX_BYTES_MAX // 10
    began = time.process_time()
    (receipt,) = chain.block(data)
    took = time.process_time() - began
    assert receipt.ok
    assert receipt.gas_used > intrinsic(len(data), 1) + 500 * count
    assert took < 5
    check_row_proof(chain.ledger.app_hash, town.view.row_proof("d/s9999", 0))


def test_numbers_of_no_stream(town: Town) -> None:
    town.stream("pump/a")
    for number in (-1, 1, 2**63, 2**64):
        with pytest.raises(NotFoundError, match=r"query\.stream"):
            town.view.stream_by_number(number)
        with pytest.raises(NotFoundError, match=r"query\.stream"):
            town.view.head(number)
    for path in ("", "pump", "pump/b", "ü/a", "x" * 1000, "pump/a/"):
        with pytest.raises(NotFoundError, match=r"query\.stream"):
            town.view.stream(path)
