"""Strict JSON (RFC 8259) whose numbers keep their digits.

Numbers become `int` (up to 18 digits, no fraction), `Decimal`, or `BadNumber`; the tokens NaN, Infinity and -Infinity
become `BadNumber.NOT_FINITE`, so that they spoil one quantity and not the message. Everything else is strict: UTF-8
only, no duplicate names, no lone surrogates, nothing after the value, bounded depth and size.
"""

from __future__ import annotations

import json
from typing import Any, Final

from althing.protocol.decimals import BadNumber, from_json
from althing.protocol.errors import PayloadError
from althing.protocol.limits import MESSAGE_BYTES_MAX

__all__ = ["JSON_DEPTH_MAX", "parse"]

JSON_DEPTH_MAX: Final = 32  # SenML needs 2; a platform's uplink envelope rarely more than 8

_ALL_BUT_MARKS: Final = bytes(byte for byte in range(256) if byte not in b'[]{}"')


def parse(body: bytes) -> Any:
    """The value of a JSON text: dict, list, str, bool, None, int, Decimal or BadNumber; else PayloadError."""
    if len(body) > MESSAGE_BYTES_MAX:
        raise PayloadError("payload.too_large", f"{len(body)} bytes are more than the {MESSAGE_BYTES_MAX} of a message")
    try:
        written = body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise PayloadError("payload.utf8", f"not UTF-8 at byte {exc.start}", hint="JSON is sent in UTF-8") from exc
    _check_depth(body)
    try:
        value = _DECODER.decode(written)
    except json.JSONDecodeError as exc:
        raise PayloadError("payload.json", f"not JSON: {exc.msg} at character {exc.pos}") from exc
    if "\\ud" in written or "\\uD" in written:
        _check_surrogates(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise PayloadError("payload.json_duplicate", "a name occurs twice in one JSON object")
    return members


def _int(written: str) -> Any:
    return int(written) if len(written) <= 18 else from_json(written)


def _constant(_: str) -> BadNumber:
    return BadNumber.NOT_FINITE


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=from_json, parse_int=_int, parse_constant=_constant, strict=True
)


def _check_depth(body: bytes) -> None:
    """Refuse deep nesting before the recursive parser sees it; its own limit differs between Python versions."""
    # 1. The brackets outside strings: with escapes gone, every second piece between quotes is outside.
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = body.translate(None, _ALL_BUT_MARKS).replace(b'""', b"")
    if b'"' in brackets:
        brackets = b"".join(brackets.split(b'"')[::2])
    # 2. Innermost pairs vanish, one or two levels a round, so what is gone after these rounds was not too deep.
    left = brackets
    for _ in range(JSON_DEPTH_MAX // 2):
        if not left:
            return
        left = left.replace(b"{}", b"").replace(b"[]", b"")
    # 3. Otherwise the levels are counted.
    depth = 0
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        if depth > JSON_DEPTH_MAX:
            raise PayloadError("payload.too_deep", f"nested deeper than {JSON_DEPTH_MAX}")


def _check_surrogates(value: Any) -> None:
    kind = type(value)
    if kind is str:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as exc:
            raise PayloadError("payload.utf8", "a \\u escape is half of a surrogate pair") from exc
    elif kind is list:
        for child in value:
            _check_surrogates(child)
    elif kind is dict:
        for name, child in value.items():
            _check_surrogates(name)
            _check_surrogates(child)
