"""CometBFT's JSON: what is written is read again, and anything else is refused with ProtocolError alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.protocol.block import Timestamp
from althing.protocol.block.jsonform import (
    json_of_signed_header,
    json_of_time,
    signed_header_of_json,
    time_of_json,
    validators_of_json,
)
from althing.protocol.errors import ProtocolError

VECTORS = Path(__file__).resolve().parents[3] / "vectors" / "cometbft_chains.json"
BLOCK = json.loads(VECTORS.read_text())["cases"][1]["blocks"][14]


@given(st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999))
def test_times_are_those_of_the_calendar(seconds: int, nanos: int) -> None:
    text = json_of_time(Timestamp(seconds, nanos))
    assert time_of_json(text) == Timestamp(seconds, nanos)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert text.startswith(moment.strftime("%Y").rjust(4, "0") + moment.strftime("-%m-%dT%H:%M:%S"))


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00+01:00",
        "2026-01-01T00:00:00.1234567890Z",
        "0000-01-01T00:00:00Z",
        None,
        5,
    ],
)
def test_times_that_are_none(text: Any) -> None:
    with pytest.raises(ProtocolError):
        time_of_json(text)


def test_a_block_of_cometbft() -> None:
    signed = signed_header_of_json(BLOCK["signed_header"])
    assert json_of_signed_header(signed) == BLOCK["signed_header"]
    flags = {entry.flag for entry in signed.commit.signatures}
    assert len(flags) == 2, "the block chosen has an absent vote"


def _paths(item: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    inside = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
    for name, value in inside:
        found += _paths(value, (*path, name))
    return found


@given(
    st.sampled_from(_paths(BLOCK)),
    st.sampled_from([None, True, 1.5, -1, 2**70, "", "x", "zz" * 40, "é", [], {}, [None], "9" * 30, {"parts": 1}]),
)
def test_no_value_brings_anything_but_a_protocol_error(path: tuple[Any, ...], value: Any) -> None:
    document = json.loads(json.dumps(BLOCK))
    at = document
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    try:
        signed_header_of_json(document["signed_header"])
        validators_of_json(document["validator_set"]["validators"] if document["validator_set"] else None)
    except ProtocolError:
        pass
    except (TypeError, KeyError, AttributeError):
        # The test's own way to the list of validators is gone.
        assert path[0] == "validator_set"
        assert len(path) <= 2


def test_keys_and_addresses_of_validators() -> None:
    items = BLOCK["validator_set"]["validators"]
    assert [v.address.hex().upper() for v in validators_of_json(items)] == [item["address"] for item in items]
    for change in (
        {"address": items[1]["address"]},
        {"pub_key": {"type": "tendermint/PubKeySecp256k1", "value": items[0]["pub_key"]["value"]}},
        {"voting_power": "0"},
        {"voting_power": "1.0"},
    ):
        with pytest.raises(ProtocolError):
            validators_of_json([items[0] | change])
