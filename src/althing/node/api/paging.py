"""Pages: `limit` and an opaque `cursor` in, `next` out. A cursor names the last thing seen, never a count to skip."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final

from fastapi import Query

from althing.node.api.limits import CURSOR_CHARS_MAX, PAGE_DEFAULT, PAGE_MAX
from althing.node.api.problems import ParameterError
from althing.protocol.codec import decode, encode
from althing.protocol.errors import EncodingError

__all__ = ["Cursor", "Limit", "parse_cursor", "write_cursor"]

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description=f"At most so many ({PAGE_DEFAULT} unless told)")]
Cursor = Annotated[
    str | None, Query(max_length=CURSOR_CHARS_MAX, description="`next` of the page before; leave out for the first")
]

_VERSION: Final = 1


def write_cursor(kind: str, *position: int | str | bytes) -> str:
    """An opaque cursor for lists of one kind."""
    return base64.urlsafe_b64encode(encode([_VERSION, kind, *position])).rstrip(b"=").decode("ascii")


def parse_cursor(kind: str, cursor: str | None, *types: type) -> list[Any] | None:
    """The position of a cursor that `write_cursor` made for this kind, or ParameterError `api.cursor`."""
    if cursor is None:
        return None
    try:
        item = decode(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, EncodingError):
        item = None
    if type(item) is list and item[:2] == [_VERSION, kind] and [type(part) for part in item[2:]] == list(types):
        numbers = [part for part in item[2:] if type(part) is int]
        if all(0 <= number < 2**63 for number in numbers):
            return item[2:]
    raise ParameterError("api.cursor", "not a cursor of this list", hint="begin again without a cursor")
