"""The messages of one HTTP body: a single one, the lines of NDJSON, or the items of a CBOR sequence (RFC 8742)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.protocol.errors import EncodingError
from althing.protocol.message import CONTENT_TYPE_COSE

__all__ = ["Item", "split_cbor_sequence", "split_lines"]

_DEPTH_MAX: Final = 32
_COSE_SIGN1_TAG: Final = 18
_SENML_CBOR: Final = "application/senml+cbor"


@dataclass(frozen=True, slots=True)
class Item:
    """One message: its bytes, and its content type as far as the body says it ("" otherwise)."""

    body: bytes
    content_type: str = ""


def split_lines(body: bytes) -> list[Item]:
    """Each line that is not empty is a message, byte for byte without its line end."""
    return [Item(line) for line in (raw.rstrip(b"\r") for raw in body.split(b"\n")) if line.strip(b" \t")]


def split_cbor_sequence(body: bytes) -> tuple[list[Item], bytes]:
    """The items, and the bytes from where the sequence cannot be read on (empty when all of it can).

    A byte string is a message of those bytes; a tagged COSE_Sign1 is a signed message; anything else is SenML.
    """
    items: list[Item] = []
    at = 0
    while at < len(body):
        try:
            end = _end(body, at, 0)
        except EncodingError:
            return items, body[at:]
        first = body[at]
        if first >> 5 == 2 and first != 0x5F:
            items.append(Item(body[end - _length(body, at)[0] : end]))
        elif first == 0xC0 | _COSE_SIGN1_TAG:
            items.append(Item(body[at:end], CONTENT_TYPE_COSE))
        else:
            items.append(Item(body[at:end], _SENML_CBOR))
        at = end
    return items, b""


def _length(data: bytes, at: int) -> tuple[int, int]:
    """The argument of the head at `at`, and where the head ends (RFC 8949 §3)."""
    info = data[at] & 0x1F
    if info < 24:
        return info, at + 1
    if info > 27:
        raise EncodingError("cbor.malformed", "an indefinite or reserved length")
    size = 1 << (info - 24)
    if at + 1 + size > len(data):
        raise EncodingError("cbor.malformed", "an item is cut short")
    return int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size


def _end(data: bytes, at: int, depth: int) -> int:
    """Where the item at `at` ends. Only its extent is looked at; what it holds is the payload resolver's to judge."""
    if depth > _DEPTH_MAX or at >= len(data):
        raise EncodingError("cbor.malformed", "an item is cut short or too deep")
    major = data[at] >> 5
    argument, after = _length(data, at)
    if major in (2, 3):
        after += argument
    elif major in (4, 5):
        # Every member takes a byte at least, so a huge count ends at the end of the data.
        for _ in range(argument * (major - 3)):
            after = _end(data, after, depth + 1)
    elif major == 6:
        after = _end(data, after, depth + 1)
    if after > len(data):
        raise EncodingError("cbor.malformed", "an item is cut short")
    return after
