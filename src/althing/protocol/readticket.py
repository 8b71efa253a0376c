"""Reading tickets: how an account shows a node of a private chain that it may read (docs/spec/read-tickets.md).

A ticket is a bearer token: `althing-read.` and the unpadded base64url of a COSE_Sign1 over [1, account, issued, expires].
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

from althing.protocol.address import ADDRESS_BYTES, key_id
from althing.protocol.codec import decode, encode
from althing.protocol.cose import Signature, parse_sign1, sign1
from althing.protocol.errors import EncodingError
from althing.protocol.limits import INT_MAX
from althing.protocol.signatures import PrivateKey

__all__ = ["TICKET_CHARS_MAX", "TICKET_S_MAX", "ReadTicket", "is_read_ticket", "make_read_ticket", "parse_read_ticket"]

TICKET_S_MAX: Final = 86_400  # who loses one loses a day, and a reader struck off nothing from the next block on
TICKET_CHARS_MAX: Final = 512  # a header; with either suite a ticket has less than 250
_PREFIX: Final = "althing-read."
_DOMAIN: Final = b"althing/read/v1"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class ReadTicket:
    """Who wants to read and until when (seconds), with the signature, not verified yet."""

    account: bytes
    issued: int
    expires: int
    signature: Signature


def is_read_ticket(text: str) -> bool:
    """True for what claims to be one."""
    return text.startswith(_PREFIX)


def make_read_ticket(key: PrivateKey, account: bytes, genesis_hash: bytes, issued: int, expires: int) -> str:
    """A ticket signed with one of the account's keys."""
    payload = encode([_VERSION, account, issued, expires])
    signed = sign1(key, key_id(key.suite, key.public), payload, _DOMAIN + genesis_hash)
    return _PREFIX + urlsafe_b64encode(signed).decode("ascii").rstrip("=")


def parse_read_ticket(text: str, genesis_hash: bytes) -> ReadTicket:
    """Take a ticket apart, or EncodingError / CoseError."""
    if not is_read_ticket(text) or len(text) > TICKET_CHARS_MAX:
        raise EncodingError("ticket.form", "a reading ticket begins with althing-read.")
    body = text.removeprefix(_PREFIX)
    try:
        data = urlsafe_b64decode(body + "=" * (-len(body) % 4))
    except ValueError as exc:
        raise EncodingError("ticket.form", "a reading ticket is base64url") from exc
    if urlsafe_b64encode(data).decode("ascii").rstrip("=") != body:
        raise EncodingError("ticket.form", "a reading ticket is base64url without padding")
    envelope = parse_sign1(data, _DOMAIN + genesis_hash, bytes_max=TICKET_CHARS_MAX)
    match decode(envelope.payload, depth_max=2):
        case [int() as version, bytes() as account, int() as issued, int() as expires] if (
            type(version) is int
            and version == _VERSION
            and len(account) == ADDRESS_BYTES
            and type(issued) is int
            and type(expires) is int
            and 0 <= issued < expires <= INT_MAX
            and expires - issued <= TICKET_S_MAX
        ):
            return ReadTicket(account, issued, expires, envelope.signatures[0])
    raise EncodingError("ticket.form", f"a ticket is [1, account, issued, expires], valid for at most {TICKET_S_MAX} s")
