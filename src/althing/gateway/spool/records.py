"""What the spool keeps: accepted messages and refusals, each as one record of bytes.

A record is packed on the hot path (a few microseconds) and unpacked once, when its batch is frozen. The layout is
private to a gateway's own disk, versioned by the segment's header; docs/adr/0020-spool.md gives the reasons.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from althing.gateway.errors import SpoolError

__all__ = [
    "KIND_MESSAGE",
    "KIND_PADDING",
    "KIND_REFUSAL",
    "MessageRecord",
    "RefusalRecord",
    "pack_message",
    "pack_refusal",
    "unpack",
]

KIND_MESSAGE: Final = 1
KIND_REFUSAL: Final = 2
KIND_PADDING: Final = 3  # fills what a repair leaves free

_ATTESTED: Final = 1  # the gateway vouches, not a device's signature
_COUNTED: Final = 2  # the counter field holds a device's counter

# kind, flags, lengths of stream, content type and key, stream number, sequence, arrival, counter
_MESSAGE: Final = struct.Struct("<BBBBBQQQQ")
# kind, lengths of device, stream, transport, code, reason; arrival, length of the body, SHA-256 of the body
_REFUSAL: Final = struct.Struct("<BBBBBHQI32s")


class MessageRecord(NamedTuple):
    """An accepted message. `content_type` is never empty; `counter` is None without a device's signature."""

    stream: str
    number: int
    sequence: int
    arrival_ns: int
    content_type: str
    attested: bool
    body: bytes
    counter: int | None
    key: bytes

    @property
    def device(self) -> str:
        return self.stream.partition("/")[0]


class RefusalRecord(NamedTuple):
    """A refused message: its hash and size stay, its bytes do not."""

    arrival_ns: int
    device: str
    stream: str
    transport: str
    code: str
    reason: str
    body_hash: bytes
    body_bytes: int


def pack_message(
    stream: bytes,
    number: int,
    sequence: int,
    arrival_ns: int,
    content_type: bytes,
    attested: bool,
    body: bytes,
    counter: int | None = None,
    key: bytes = b"",
) -> bytes:
    """The record of an accepted message; text comes encoded, because lanes keep it so."""
    flags = (_ATTESTED if attested else 0) | (0 if counter is None else _COUNTED)
    head = _MESSAGE.pack(
        KIND_MESSAGE,
        flags,
        len(stream),
        len(content_type),
        len(key),
        number,
        sequence,
        arrival_ns,
        counter or 0,
    )
    return b"".join((head, stream, content_type, key, body))


def pack_refusal(record: RefusalRecord) -> bytes:
    """The record of a refusal. Names and texts come from outside: they are cut to what the record can hold."""
    device, stream = record.device.encode()[:255], record.stream.encode()[:255]
    transport, code = record.transport.encode()[:255], record.code.encode()[:255]
    reason = record.reason.encode()[:1024]
    head = _REFUSAL.pack(
        KIND_REFUSAL,
        len(device),
        len(stream),
        len(transport),
        len(code),
        len(reason),
        record.arrival_ns,
        record.body_bytes,
        record.body_hash,
    )
    return b"".join((head, device, stream, transport, code, reason))


def unpack(data: bytes) -> MessageRecord | RefusalRecord | None:
    """The record of its bytes, None for padding. They passed their checksum, so another form is another version's."""
    kind = data[0]
    if kind == KIND_MESSAGE:
        _, flags, streams, types, keys, number, sequence, arrival, counter = _MESSAGE.unpack_from(data)
        a = _MESSAGE.size + streams
        b = a + types
        c = b + keys
        return MessageRecord(
            data[_MESSAGE.size : a].decode(),
            number,
            sequence,
            arrival,
            data[a:b].decode(),
            bool(flags & _ATTESTED),
            data[c:],
            counter if flags & _COUNTED else None,
            data[b:c],
        )
    if kind == KIND_REFUSAL:
        _, devices, streams, transports, codes, reasons, arrival, size, digest = _REFUSAL.unpack_from(data)
        parts = []
        at = _REFUSAL.size
        for length in (devices, streams, transports, codes, reasons):
            parts.append(data[at : at + length].decode(errors="replace"))
            at += length
        return RefusalRecord(arrival, parts[0], parts[1], parts[2], parts[3], parts[4], digest, size)
    if kind == KIND_PADDING:
        return None
    raise SpoolError("spool.version", f"a record of the unknown kind {kind}", hint="upgrade the gateway")
