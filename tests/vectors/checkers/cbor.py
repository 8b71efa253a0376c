"""Deterministic CBOR and records: accepted bytes have the value and no other encoding; the rest has its refusal."""

from __future__ import annotations

from typing import Any

from althing.protocol.codec import Item, decode, encode
from althing.protocol.errors import EncodingError
from althing.protocol.messages.identity import Key


def check(case: dict[str, Any]) -> None:
    code = None
    try:
        _accepted(case)
    except EncodingError as exc:
        code = exc.code
    assert code == case.get("error"), code or "accepted"


def _accepted(case: dict[str, Any]) -> None:
    if "key_record" in case:
        data = bytes.fromhex(case["key_record"])
        key = Key.from_bytes(data)
        assert (int(key.suite), key.public.hex()) == (case["suite"], case["public"])
        assert key.to_bytes() == data
        return
    data = bytes.fromhex(case["bytes"])
    limits = {name: case[name] for name in ("bytes_max", "depth_max") if name in case}
    item = decode(data, **limits)
    expected = _item(case["value"])
    assert _same(item, expected)
    assert encode(expected) == data


def _item(value: Any) -> Item:
    if isinstance(value, list):
        return [_item(member) for member in value]
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        if kind == "int":
            return int(content)
        if kind == "bytes":
            return bytes.fromhex(content)
        assert kind == "map"
        return {_item(key): _item(member) for key, member in reversed(content)}  # encoding puts them in order
    return value


def _same(a: Item, b: Item) -> bool:
    """Equal, and of equal types: True is not 1."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return bool(a == b)
