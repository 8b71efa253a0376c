"""What a sender can do about a refused message; word for word as docs/reference/errors.md has it, which a test compares."""

from __future__ import annotations

from typing import Final

__all__ = ["HINTS", "explained"]

HINTS: Final = {
    "payload.content_type": "name SenML, JSON or octets",
    "payload.content_type_missing": "declare it for the stream, or send it",
    "payload.charset": "send UTF-8",
    "payload.no_mapping": "add a mapping, or send SenML",
    "payload.mapping_records": "compare message and mapping",
    "message.unsigned": "sign it",
    "message.key": "was the key rotated?",
    "message.signature": "made for this chain, over these bytes?",
    "message.counter_reused": "never repeat a counter; two devices with one key?",
    "message.key_reused": "use a key of its own for each message",
    "device.inactive": "its organisation decides",
    "stream.unknown": "define it, or wait until the gateway has seen it",
    "stream.other_gateway": "send it there, or hand the stream over",
    "auth.token": "`althing device add` prints one",
}


def explained(code: str, reason: str) -> str:
    """One line for a client that shows text alone: code, reason, and what to do where that is known."""
    hint = HINTS.get(code)
    return f"{code}: {reason}" if hint is None else f"{code}: {reason}; {hint}"
