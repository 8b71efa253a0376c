"""Content types as messages and streams name them (RFC 9110 §8.3.1), never sniffed. docs/spec/payloads.md §1."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from althing.protocol.errors import PayloadError
from althing.protocol.limits import CONTENT_TYPE_CHARS_MAX

__all__ = ["ContentType", "parse_content_type"]

_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*")


@dataclass(frozen=True, slots=True)
class ContentType:
    """A media type without its parameters, and the one parameter of ours: `backfill=1`, sent with uploaded history."""

    media: str
    backfill: bool = False


@lru_cache(maxsize=1024)  # every message names one, nearly always the same few
def parse_content_type(written: str) -> ContentType:
    """A content type (RFC 9110 §8.3.1). `charset` may only be utf-8; parameters that are not known are ignored."""
    if len(written) > CONTENT_TYPE_CHARS_MAX:
        raise PayloadError("payload.content_type", f"a content type has at most {CONTENT_TYPE_CHARS_MAX} characters")
    if not written.isascii():
        raise PayloadError("payload.content_type", "a content type is ASCII")
    media, *parameters = (part.strip(" \t") for part in written.split(";"))
    media = media.lower()
    if _TYPE.fullmatch(media) is None:
        raise PayloadError("payload.content_type", f"{written!r} is not a content type", hint="application/senml+json")
    backfill = False
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        name, value = name.lower(), value.strip('"').lower()
        if name == "charset" and value not in ("utf-8", "utf8"):
            raise PayloadError("payload.charset", f"the charset {value!r} is not read", hint="send UTF-8")
        if name == "backfill":
            backfill = value in ("1", "true")
    return ContentType(media, backfill)
