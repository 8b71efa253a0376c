"""A device's signed message (docs/spec/device-message.md): the public interface for firmware.

A tagged COSE_Sign1 whose protected headers name chain, stream and counter. The external_aad is domain ‖ genesis hash, so
a message belongs to one chain without carrying 32 bytes for it. No clock is needed; the counter never repeats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.protocol.address import is_chain_id, key_id, stream_path
from althing.protocol.codec import Item
from althing.protocol.cose import CONTENT_TYPE, TAG_SIGN1, Signature, parse_sign1, sign1
from althing.protocol.errors import CoseError
from althing.protocol.hashing import DOMAIN_MESSAGE
from althing.protocol.limits import CONTENT_TYPE_CHARS_MAX, INT_MAX, MESSAGE_BYTES_MAX
from althing.protocol.signatures import PrivateKey

__all__ = ["CONTENT_TYPE_COSE", "DeviceMessage", "looks_signed", "parse_message", "sign_message"]

# Labels of the private-use range (RFC 9052 §11.1: below -65536).
CHAIN: Final = -70001
STREAM: Final = -70002
COUNTER: Final = -70003
TIME: Final = -70004
CONTENT_TYPE_COSE: Final = 'application/cose; cose-type="cose-sign1"'  # RFC 9052 §2


@dataclass(frozen=True, slots=True)
class DeviceMessage:
    """A message taken apart; its signature is not verified yet. `time_ns` is the device's clock, if it has one."""

    chain_id: str
    stream: str
    counter: int
    time_ns: int | None
    content_type: str
    payload: bytes
    signature: Signature


def looks_signed(body: bytes) -> bool:
    """True for bytes that begin like a tagged COSE_Sign1 (0xd2 0x84)."""
    return body[:2] == TAG_SIGN1 + b"\x84"


def sign_message(
    key: PrivateKey,
    genesis_hash: bytes,
    chain_id: str,
    stream: str,
    counter: int,
    payload: bytes,
    *,
    content_type: str = "",
    time_ns: int | None = None,
) -> bytes:
    """The signed bytes a device sends. The caller makes `counter` durable before sending, so that it never repeats."""
    headers: dict[Item, Item] = {CHAIN: chain_id, STREAM: stream, COUNTER: counter}
    if content_type:
        headers[CONTENT_TYPE] = content_type
    if time_ns is not None:
        headers[TIME] = time_ns
    return sign1(key, key_id(key.suite, key.public), payload, DOMAIN_MESSAGE + genesis_hash, headers)


def parse_message(data: bytes, genesis_hash: bytes) -> DeviceMessage:
    """Take a device's message apart, or CoseError `cose.*` / `message.*`, EncodingError `cbor.*`."""
    envelope = parse_sign1(data, DOMAIN_MESSAGE + genesis_hash, bytes_max=MESSAGE_BYTES_MAX, further=True)
    signature = envelope.signatures[0]
    headers = signature.headers
    unknown = headers.keys() - _LABELS
    if unknown:
        raise CoseError("message.headers", "a protected header is not known here and could change the meaning")
    chain_id, stream = headers.get(CHAIN), headers.get(STREAM)
    counter, time_ns = headers.get(COUNTER), headers.get(TIME)
    content_type = headers.get(CONTENT_TYPE, "")
    if type(chain_id) is not str or not is_chain_id(chain_id):
        raise CoseError("message.chain", f"header {CHAIN} names the chain")
    if type(stream) is not str:
        raise CoseError("message.stream", f"header {STREAM} names the stream as <device>/<stream>")
    stream_path(stream)
    if type(counter) is not int or not 0 <= counter < 2**64:
        raise CoseError("message.counter", f"header {COUNTER} is an unsigned integer of 64 bits")
    if time_ns is not None and (type(time_ns) is not int or not 0 <= time_ns <= INT_MAX):
        raise CoseError("message.time", f"header {TIME} is nanoseconds since 1970")
    if type(content_type) is not str or len(content_type) > CONTENT_TYPE_CHARS_MAX:
        raise CoseError("message.content_type", "the content type is text of at most 127 characters")
    return DeviceMessage(chain_id, stream, counter, time_ns, content_type, envelope.payload, signature)


_LABELS: Final = frozenset((1, 3, 4, CHAIN, STREAM, COUNTER, TIME))
