"""CBOR as devices send it (RFC 8949): well-formed and bounded, but not necessarily deterministic.

A reader of its own: a float's width decides its shortest decimal, and cbor2 gives every width as one Python float.
Integers become `int`, floats and decimal fractions (tag 4) exact decimals; other tags and simple values are `OPAQUE`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from althing.protocol.decimals import (
    BadNumber,
    from_cbor_double,
    from_cbor_half,
    from_cbor_single,
    from_int,
    from_pair,
)
from althing.protocol.errors import PayloadError
from althing.protocol.limits import MESSAGE_BYTES_MAX

__all__ = ["CBOR_PAYLOAD_DEPTH_MAX", "OPAQUE", "Opaque", "read"]

CBOR_PAYLOAD_DEPTH_MAX: Final = 16  # SenML needs 3 with a decimal fraction; the rest is for fields to be ignored

_BIGNUM_BYTES_MAX: Final = 32  # 64 decimal digits need 27


class Opaque:
    """A well-formed CBOR item that has no meaning here: an unknown tag or simple value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "OPAQUE"


OPAQUE: Final = Opaque()
_BREAK: Final = Opaque()


def read(body: bytes) -> Any:
    """The one item in all of `body`: list, dict, str, bytes, bool, None, int, Decimal, BadNumber or OPAQUE.

    PayloadError `payload.cbor*` for duplicate keys, invalid UTF-8, indefinite-length strings, bytes after the item.
    """
    if len(body) > MESSAGE_BYTES_MAX:
        raise PayloadError("payload.too_large", f"{len(body)} bytes are more than the {MESSAGE_BYTES_MAX} of a message")
    try:
        item, end = _item(body, 0, CBOR_PAYLOAD_DEPTH_MAX)
    except IndexError:
        raise _malformed("the item ends before its time") from None
    if item is _BREAK:
        raise _malformed("a break outside an indefinite-length item")
    if end != len(body):
        raise _malformed(f"{len(body) - end} bytes follow the item")
    return item


def _malformed(what: str) -> PayloadError:
    return PayloadError("payload.cbor", f"not well-formed CBOR: {what}")


def _item(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    """The item at `at` and the offset after it. IndexError when `data` ends within it."""
    first = data[at]
    at += 1
    major, info = first >> 5, first & 31
    if info < 24:
        argument = info
    elif info < 28:
        end = at + (1 << (info - 24))
        raw = data[at:end]
        if end > len(data):
            raise IndexError
        at = end
        if major == 7:
            return _float_or_simple(info, raw), at
        argument = int.from_bytes(raw, "big")
    elif info == 31:
        return _indefinite(data, at, major, depth)
    else:
        raise _malformed(f"reserved additional information {info}")
    if major == 0:
        return argument, at
    if major == 1:
        return -1 - argument, at
    if major <= 3:
        end = at + argument
        if end > len(data):
            raise IndexError
        raw = data[at:end]
        return (raw if major == 2 else _text(raw)), end
    if major == 7:
        return _SIMPLE.get(argument, OPAQUE), at
    if depth == 0:
        raise PayloadError("payload.too_deep", f"nested deeper than {CBOR_PAYLOAD_DEPTH_MAX}")
    if major == 4:
        return _array(data, at, argument, depth - 1)
    if major == 5:
        return _map(data, at, argument, depth - 1)
    return _tagged(data, at, argument, depth - 1)


def _array(data: bytes, at: int, count: int, depth: int) -> tuple[list[Any], int]:
    if count > len(data):
        raise IndexError
    items = []
    for _ in range(count):
        item, at = _item(data, at, depth)
        if item is _BREAK:
            raise _malformed("a break inside a definite-length array")
        items.append(item)
    return items, at


def _map(data: bytes, at: int, count: int, depth: int) -> tuple[dict[int | str, Any], int]:
    if count > len(data):
        raise IndexError
    members: dict[int | str, Any] = {}
    for _ in range(count):
        key, at = _item(data, at, depth)
        value, at = _item(data, at, depth)
        if value is _BREAK:
            raise _malformed("a break inside a definite-length map")
        _put(members, key, value)
    return members, at


def _put(members: dict[int | str, Any], key: Any, value: Any) -> None:
    if type(key) is not int and type(key) is not str:
        raise PayloadError("payload.cbor_key", "a map's key is an integer or text here")
    if key in members:
        raise PayloadError("payload.cbor_duplicate", "a key occurs twice in one CBOR map")
    members[key] = value


def _indefinite(data: bytes, at: int, major: int, depth: int) -> tuple[Any, int]:
    if major == 7:
        return _BREAK, at
    if major not in (4, 5):
        raise _malformed("indefinite-length strings are not used by SenML (RFC 8428 §6)")
    if depth == 0:
        raise PayloadError("payload.too_deep", f"nested deeper than {CBOR_PAYLOAD_DEPTH_MAX}")
    items: list[Any] = []
    while True:
        item, at = _item(data, at, depth - 1)
        if item is _BREAK:
            break
        items.append(item)
    if major == 4:
        return items, at
    if len(items) % 2:
        raise _malformed("a map with a key but no value")
    members: dict[int | str, Any] = {}
    for key, value in zip(items[::2], items[1::2], strict=True):
        _put(members, key, value)
    return members, at


def _tagged(data: bytes, at: int, tag: int, depth: int) -> tuple[Any, int]:
    content, end = _item(data, at, depth)
    if content is _BREAK:
        raise _malformed("a break as the content of a tag")
    if tag == 55799:  # "this is CBOR" (RFC 8949 §3.4.6) changes nothing
        return content, end
    if tag in (2, 3) and type(content) is bytes and len(content) <= _BIGNUM_BYTES_MAX:
        magnitude = int.from_bytes(content, "big")
        integer = magnitude if tag == 2 else -1 - magnitude
        return (integer if type(from_int(integer)) is Decimal else BadNumber.OUT_OF_RANGE), end
    if tag == 4 and type(content) is list and len(content) == 2 and type(content[0]) is int:
        if type(content[1]) is int:
            return from_pair(content[1], content[0]), end
        if content[1] is BadNumber.OUT_OF_RANGE:
            return content[1], end
    return OPAQUE, end


def _float_or_simple(info: int, raw: bytes) -> Any:
    if info == 27:
        return from_cbor_double(raw)
    if info == 26:
        return from_cbor_single(raw)
    if info == 25:
        return from_cbor_half(raw)
    if raw[0] < 32:
        raise _malformed("a simple value below 32 in two bytes")
    return OPAQUE


_SIMPLE: Final = {20: False, 21: True, 22: None, 23: None}


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise PayloadError("payload.utf8", "a text string is not UTF-8") from exc
