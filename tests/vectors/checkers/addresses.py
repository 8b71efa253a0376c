"""Addresses, key ids, texts, DIDs and names (docs/spec/addresses.md)."""

from __future__ import annotations

from typing import Any

from althing.protocol.address import (
    address_of_key,
    address_of_name,
    address_under,
    did,
    format_address,
    is_chain_id,
    is_name,
    key_id,
    parse_address,
    parse_did,
    stream_path,
)
from althing.protocol.errors import EncodingError
from althing.protocol.signatures import Suite


def check(case: dict[str, Any]) -> None:
    if "is_name" in case:
        assert is_name(case["is_name"]) == case["valid"]
    elif "is_chain_id" in case:
        assert is_chain_id(case["is_chain_id"]) == case["valid"]
    elif "stream_path" in case:
        try:
            parts = list(stream_path(case["stream_path"]))
        except EncodingError:
            parts = None
        assert parts == case["parts"]
    elif "error" in case:
        code = ""
        try:
            parse_address(case["parse"]) if "parse" in case else parse_did(case["parse_did"])
        except EncodingError as exc:
            code = exc.code
        assert code == case["error"], code or "accepted"
    else:
        _address(case)


def _address(case: dict[str, Any]) -> None:
    address = bytes.fromhex(case["address"])
    assert format_address(address) == case["text"]
    assert parse_address(case["text"]) == address
    if "public" in case:
        suite, public = Suite(case["suite"]), bytes.fromhex(case["public"])
        assert address_of_key(suite, public) == address
        assert key_id(suite, public).hex() == case["key_id"]
        assert did(case["chain_id"], address) == case["did"]
        assert parse_did(case["did"]) == (case["chain_id"], address)
    if "of_public" in case:
        suite, public = Suite(case["suite"]), bytes.fromhex(case["of_public"])
        assert address_under(bytes.fromhex(case["owner"]), suite, public) == address
    elif "owner" in case:
        assert address_of_name(bytes.fromhex(case["owner"]), case["kind"], case["of_name"]) == address
