"""JSON forms: times, records, events by name, cursors, keys in DID documents."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from althing.node.api.diddocument import did_document, multikey
from althing.node.api.eventfields import EVENT_FIELDS, event_json
from althing.node.api.paging import parse_cursor, write_cursor
from althing.node.api.problems import ParameterError
from althing.node.api.render import plain, time_of_ns, time_of_s
from althing.protocol.address import format_address
from althing.protocol.decimals import NS_MAX
from althing.protocol.mapping import Field, Mapping, TimeField
from althing.protocol.messages.identity import Account, AccountKind, AccountStatus, Key, KeyEntry
from althing.protocol.messages.streams import DefineStream
from althing.protocol.schema import Quantity, StreamSchema
from althing.protocol.signatures import PrivateKey, Suite
from althing.protocol.timestamps import parse_time


@settings(max_examples=50)
@given(st.integers(-NS_MAX, NS_MAX))
def test_times_read_back_exactly(ns: int) -> None:
    assert parse_time(time_of_ns(ns), "rfc3339", 0) == ns


@pytest.mark.parametrize("seconds", [2**63 - 1, 2**62, NS_MAX // 10**9 + 1])
def test_times_that_nobody_lives_to_see_can_be_read(seconds: int) -> None:
    """A transaction may expire, a key begin at any 63-bit second; showing it must not fail."""
    assert parse_time(time_of_s(seconds), "rfc3339", 0) == NS_MAX


def test_times_have_no_more_digits_than_there_are() -> None:
    assert time_of_ns(0) == "1970-01-01T00:00:00Z"
    assert time_of_ns(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    assert time_of_ns(1) == "1970-01-01T00:00:00.000000001Z"


def emitted(root: Path) -> dict[str, set[int]]:
    """Events of the modules' source, with how many values each is given."""
    found: dict[str, set[int]] = {}
    for path in (root / "src" / "althing" / "ledger").rglob("*.py"):
        if "vm" in path.parts:
            continue  # what contracts emit, they name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "emit":
                name = node.args[0]
                assert isinstance(name, ast.Constant)
                found.setdefault(name.value, set()).add(len(node.args) - 1)
    return found


def test_every_event_of_every_module_has_names(root: Path) -> None:
    found = emitted(root)
    assert len(found) > 10
    assert found == {name: {len(fields)} for name, fields in EVENT_FIELDS.items() if name != "block"}


def test_events_show_names_and_values() -> None:
    address = bytes(range(20))
    shown = event_json("identity.created", (address, 5, address, "pump-1"))
    text = format_address(address)
    assert shown == {
        "account": text,
        "kind": "device",
        "organisation": text,
        "name": "pump-1",
        "values": [text, 5, text, "pump-1"],
    }
    assert event_json("unknown.event", (b"\x01", None)) == {"values": ["01", None]}
    assert json.dumps(event_json("block", (3, bytes(32), 10**9, 2)))


def test_a_message_shows_its_fields() -> None:
    schema = StreamSchema(
        (Quantity("temperature", "Cel", label="t"),),
        content_type="application/json",
        mapping=Mapping((Field("/t", "temperature"),), time=TimeField("/at")),
    )
    shown = plain(DefineStream("pump-1", "temperature", bytes(range(20)), schema))
    assert shown["gateway"] == format_address(bytes(range(20)))
    assert shown["schema"]["quantities"] == [{"name": "temperature", "unit": "Cel", "kind": "number", "label": "t"}]
    assert json.loads(json.dumps(shown)) == shown
    key = Key(Suite.ES256, PrivateKey(Suite.ES256, b"\1" * 32).public)
    assert plain(key) == {"suite": "ES256", "public": key.public.hex()}


@given(st.integers(0, 2**63 - 1), st.text(max_size=40))
def test_cursors_read_back(number: int, text: str) -> None:
    assert parse_cursor("list", write_cursor("list", number, text), int, str) == [number, text]


@given(st.text(max_size=60))
def test_other_cursors_are_refused(text: str) -> None:
    with pytest.raises(ParameterError) as raised:
        parse_cursor("list", text, int)
    assert raised.value.code == "api.cursor"


def test_a_cursor_belongs_to_its_list() -> None:
    cursor = write_cursor("devices", "pump-1")
    for kind, types in (("streams", (str,)), ("devices", (int,)), ("devices", (str, str))):
        with pytest.raises(ParameterError):
            parse_cursor(kind, cursor, *types)
    with pytest.raises(ParameterError):
        parse_cursor("blocks", write_cursor("blocks", -1), int)


def test_multikey_is_that_of_the_did_key_vectors() -> None:
    """did:key test vectors, Ed25519 from a seed of zeros."""
    key = PrivateKey(Suite.ED25519, bytes(32))
    assert multikey(Key(key.suite, key.public)) == "z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"


def test_p256_multikeys_begin_as_registered() -> None:
    key = PrivateKey(Suite.ES256, b"\1" * 32)
    assert multikey(Key(key.suite, key.public)).startswith("zDna")


def entry(seed: int, **ends: int | None) -> KeyEntry:
    key = PrivateKey(Suite.ED25519, bytes([seed]) * 32)
    return KeyEntry(Key(key.suite, key.public), 100, ends.get("valid_to"), ends.get("revoked_at"))


def test_only_valid_keys_can_be_used() -> None:
    keys = (entry(1), entry(2, valid_to=200), entry(3, revoked_at=150))
    account = Account(1, AccountKind.DEVICE, bytes(20), "pump-1", AccountStatus.ACTIVE, 1, (), keys)
    address = bytes(range(20))
    early = did_document("test", address, account, [], 120)
    assert len(early["verificationMethod"]) == len(early["authentication"]) == 3
    late = did_document("test", address, account, [("endpoint", "https://x.example"), ("note", "hello")], 300)
    assert late["authentication"] == [late["verificationMethod"][0]["id"]]
    assert late["verificationMethod"][1]["expires"] == "1970-01-01T00:03:20Z"
    assert late["verificationMethod"][2]["revoked"] == "1970-01-01T00:02:30Z"
    assert [service["serviceEndpoint"] for service in late["service"]] == ["https://x.example", {"value": "hello"}]
    assert late["controller"].endswith(format_address(bytes(20)))


def test_a_suspended_account_has_no_usable_keys() -> None:
    account = Account(1, AccountKind.DEVICE, bytes(20), "pump-1", AccountStatus.SUSPENDED, 1, (), (entry(1),))
    document = did_document("test", bytes(range(20)), account, [], 120)
    assert "authentication" not in document
    assert document["verificationMethod"]
