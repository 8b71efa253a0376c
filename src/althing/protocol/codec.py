"""Deterministic CBOR (RFC 8949 §4.2.1), the only encoding of what is hashed or signed.

Data model: integers of 64 bits, byte strings, text strings, arrays, maps, booleans and null. No floats, no tags, no
indefinite lengths, no simple values. `decode` accepts exactly what `encode` makes, so a value has one encoding.
"""

from __future__ import annotations

from typing import Any, Final

import cbor2

from althing.protocol.errors import EncodingError
from althing.protocol.limits import CBOR_BYTES_MAX, CBOR_DEPTH_MAX

__all__ = ["Item", "decode", "encode"]

Item = Any  # int | bytes | str | bool | None | list[Item] | dict[int | str | bytes, Item]

_LEAVES: Final = frozenset((bytes, str, bool, type(None)))
_UINT64_MAX: Final = 2**64 - 1
_INT64_MIN: Final = -(2**63)


def encode(item: Item) -> bytes:
    """Encode a value; maps are sorted by their encoded keys (RFC 8949 §4.2.1). A value outside the data model is a bug."""
    return cbor2.dumps(_ordered(item, 0))


def decode(data: bytes, *, bytes_max: int = CBOR_BYTES_MAX, depth_max: int = CBOR_DEPTH_MAX) -> Item:
    """Decode one value from all of `data`, or raise EncodingError `cbor.*` when it is not its deterministic encoding."""
    if len(data) > bytes_max:
        raise EncodingError("cbor.too_large", f"{len(data)} bytes are more than the {bytes_max} allowed here")
    try:
        item = cbor2.loads(
            data, max_depth=depth_max, allow_indefinite=False, allow_duplicate_keys=False, semantic_decoders=_NO_TAGS
        )
    except (cbor2.CBORDecodeError, ValueError, OverflowError, TypeError, MemoryError, RecursionError) as exc:
        raise EncodingError("cbor.malformed", "not well-formed deterministic CBOR within limits") from exc
    _check(item, 0, depth_max)
    # Longer heads, long-form integers and bytes after the value all show here: the shortest form is the only one.
    if cbor2.dumps(item) != data:
        raise EncodingError("cbor.not_deterministic", "the bytes are not the deterministic encoding of their value")
    return item


def _refuse_tag(*_: object) -> None:
    raise ValueError("tags are not part of the data model")


_NO_TAGS: Final = dict.fromkeys(
    (*range(6), 25, 28, 29, 30, 35, 36, 37, 43000, 100, 256, 258, 260, 261, 1004), _refuse_tag
)


def _ordered(item: Item, depth: int) -> Item:
    kind = type(item)
    if kind in _LEAVES:
        return item
    if kind is int:
        if not _INT64_MIN <= item <= _UINT64_MAX:
            raise AssertionError("integer outside 64 bits")
        return item
    if depth >= CBOR_DEPTH_MAX:
        raise AssertionError("too deep to encode")
    if kind is list or kind is tuple:
        return [_ordered(child, depth + 1) for child in item]
    if kind is dict:
        pairs = sorted((cbor2.dumps(_key(key)), key) for key in item)
        return {key: _ordered(item[key], depth + 1) for _, key in pairs}
    raise AssertionError(f"{kind.__name__} is not in the data model")


def _key(key: Item) -> Item:
    if type(key) not in (int, str, bytes):
        raise AssertionError("a map's key is an integer, text or bytes")
    return key


def _check(item: Item, depth: int, depth_max: int) -> None:
    kind = type(item)
    if kind in _LEAVES:
        return
    if kind is int:
        if not _INT64_MIN <= item <= _UINT64_MAX:
            raise EncodingError("cbor.integer_range", "integers have at most 64 bits")
        return
    if depth >= depth_max:
        raise EncodingError("cbor.too_deep", f"nested deeper than {depth_max}")
    if kind is list:
        for child in item:
            # Most children are leaves; looking here saves a call for each.
            kind = type(child)
            if kind not in _LEAVES and not (kind is int and _INT64_MIN <= child <= _UINT64_MAX):
                _check(child, depth + 1, depth_max)
        return
    if kind is dict:
        last = b""
        for key, child in item.items():
            if type(key) not in (int, str, bytes):
                raise EncodingError("cbor.key_type", "a map's key is an integer, text or bytes")
            encoded = cbor2.dumps(key)
            if encoded <= last:
                raise EncodingError("cbor.map_order", "map keys are not in bytewise order")
            last = encoded
            _check(child, depth + 1, depth_max)
        return
    raise EncodingError("cbor.type", "floats, tags and simple values are not part of the data model")
