"""Primitive types of MQTT (MQTT 5 §1.5) and the cutting of a byte stream into packets.

Sans-I/O: bytes in, `Frame`s out. Every length is checked before it is believed, and no more than one packet of the
permitted size is ever held.
"""

from __future__ import annotations

from althing.gateway.ingest.mqtt.errors import MqttPacketError
from althing.gateway.ingest.mqtt.reasons import Reason

__all__ = [
    "VARINT_MAX",
    "Framer",
    "encode_binary",
    "encode_string",
    "encode_varint",
    "malformed",
    "protocol_error",
    "read_binary",
    "read_string",
    "read_u16",
    "read_u32",
    "read_varint",
]

VARINT_MAX = 268_435_455  # four bytes of seven bits (§1.5.5)


def malformed(message: str) -> MqttPacketError:
    return MqttPacketError(Reason.MALFORMED_PACKET, message)


def protocol_error(message: str) -> MqttPacketError:
    return MqttPacketError(Reason.PROTOCOL_ERROR, message)


def encode_varint(value: int) -> bytes:
    """Variable byte integer, shortest form [MQTT-1.5.5-1]."""
    assert 0 <= value <= VARINT_MAX
    if value < 128:
        return bytes((value,))
    out = bytearray()
    while True:
        value, digit = value >> 7, value & 0x7F
        if not value:
            out.append(digit)
            return bytes(out)
        out.append(digit | 0x80)


def encode_binary(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def encode_string(value: str) -> bytes:
    return encode_binary(value.encode())


def read_u16(data: bytes, pos: int, end: int) -> tuple[int, int]:
    if pos + 2 > end:
        raise malformed("a two-byte integer runs past the packet's end")
    return data[pos] << 8 | data[pos + 1], pos + 2


def read_u32(data: bytes, pos: int, end: int) -> tuple[int, int]:
    if pos + 4 > end:
        raise malformed("a four-byte integer runs past the packet's end")
    return int.from_bytes(data[pos : pos + 4], "big"), pos + 4


def read_varint(data: bytes, pos: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in (0, 7, 14, 21):
        if pos >= end:
            raise malformed("a variable byte integer runs past the packet's end")
        digit = data[pos]
        pos += 1
        value |= (digit & 0x7F) << shift
        if digit < 0x80:
            if digit == 0 and shift:
                raise malformed("a variable byte integer is longer than needed [MQTT-1.5.5-1]")
            return value, pos
    raise malformed("a variable byte integer has more than four bytes")


def read_binary(data: bytes, pos: int, end: int) -> tuple[bytes, int]:
    length, pos = read_u16(data, pos, end)
    stop = pos + length
    if stop > end:
        raise malformed("a field runs past the packet's end")
    return data[pos:stop], stop


def read_string(data: bytes, pos: int, end: int) -> tuple[str, int]:
    """UTF-8 without surrogates and without U+0000 [MQTT-1.5.4-1, MQTT-1.5.4-2]; a BOM is kept [MQTT-1.5.4-3]."""
    raw, pos = read_binary(data, pos, end)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise malformed("a string is not UTF-8") from error
    if "\0" in text:
        raise malformed("a string contains U+0000")
    return text, pos


class Framer:
    """Cuts a byte stream into (first byte, body start, body stop) over one buffer; holds at most one packet."""

    __slots__ = ("_need", "_part", "bytes_max")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._part = bytearray()
        self._need = 0

    @property
    def held(self) -> int:
        """Bytes of an unfinished packet that are kept."""
        return len(self._part)

    def clear(self) -> None:
        """Forget the unfinished packet: the caller keeps its bytes."""
        self._part.clear()
        self._need = 0

    def feed(self, data: bytes) -> tuple[bytes, list[tuple[int, int, int]], MqttPacketError | None]:
        """Whole packets in `data` together with what was kept before; an error ends the stream after them."""
        part = self._part
        if part:
            part += data
            if len(part) < self._need:
                return b"", [], None
            data = bytes(part)
            part.clear()
        frames: list[tuple[int, int, int]] = []
        pos, end, limit = 0, len(data), self.bytes_max
        need = 0
        while end - pos >= 2:
            length = data[pos + 1]
            start = pos + 2
            if length >= 0x80:
                length &= 0x7F
                shift = 7
                while start < end:
                    digit = data[start]
                    start += 1
                    length |= (digit & 0x7F) << shift
                    if digit < 0x80:
                        if digit == 0:
                            return data, frames, malformed("the remaining length is longer than needed")
                        break
                    if shift == 21:
                        return data, frames, malformed("the remaining length has more than four bytes")
                    shift += 7
                else:
                    need = 0
                    break
            stop = start + length
            if stop - pos > limit:
                too_large = MqttPacketError(
                    Reason.PACKET_TOO_LARGE, f"a packet of {stop - pos} bytes exceeds the limit of {limit}"
                )
                return data, frames, too_large
            if stop > end:
                need = stop - pos
                break
            frames.append((data[pos], start, stop))
            pos = stop
        if pos < end:
            part += data[pos:]
        self._need = need
        return data, frames, None
