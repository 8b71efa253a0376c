"""Protocol Buffers wire form, as far as block structures need it: one encoding per value, strictly read.

The writer omits scalar fields that hold their default and always writes embedded messages that CometBFT declares
non-nullable. The reader accepts exactly what the writer produces: ascending fields, shortest varints, no defaults,
no unknown fields. Source: Protocol Buffers encoding guide; CometBFT v0.39.4 `proto/tendermint`.
"""

from __future__ import annotations

from althing.protocol.errors import ProtocolError

__all__ = ["WireReader", "bytes_field", "delimited", "int_field", "message_field", "sfixed64_field", "uvarint"]

_VARINT = 0
_FIXED64 = 1
_BYTES = 2
_U64 = 1 << 64
_I64_MAX = (1 << 63) - 1
_I64_MIN = -(1 << 63)
_SHORT = tuple(bytes((value,)) for value in range(0x80))


def uvarint(value: int) -> bytes:
    """Unsigned varint, shortest form; 0 <= value < 2**64."""
    if 0 <= value < 0x80:
        return _SHORT[value]
    assert 0 <= value < _U64
    out = bytearray()
    while value > 0x7F:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def int_field(number: int, value: int) -> bytes:
    """An int32, int64, uint or enum field; negative values take ten bytes; zero is omitted."""
    if value == 0:
        return b""
    if number < 16 and 0 < value < 0x80:
        return _SHORT[number << 3] + _SHORT[value]
    return uvarint(number << 3 | _VARINT) + uvarint(value % _U64)


def sfixed64_field(number: int, value: int) -> bytes:
    """A sfixed64 field (canonical votes use it); zero is omitted."""
    if value == 0:
        return b""
    return uvarint(number << 3 | _FIXED64) + value.to_bytes(8, "little", signed=True)


def bytes_field(number: int, value: bytes) -> bytes:
    """A bytes or string field; empty is omitted."""
    return message_field(number, value) if value else b""


def message_field(number: int, value: bytes) -> bytes:
    """An embedded message or an element of a repeated field: written even when empty."""
    length = len(value)
    if number < 16 and length < 0x80:  # two hundred such fields a block
        return _SHORT[number << 3 | _BYTES] + _SHORT[length] + value
    return uvarint(number << 3 | _BYTES) + uvarint(length) + value


def delimited(value: bytes) -> bytes:
    """A message preceded by its length, as CometBFT signs it (`protoio.MarshalDelimited`)."""
    return uvarint(len(value)) + value


class WireReader:
    """Reads the fields of one message in ascending order; `end` must be called last.

    Each `take` names the next field allowed; a field that is missing yields its default. Anything the writer above
    would not have produced raises ProtocolError `block.encoding`.
    """

    __slots__ = ("_data", "_limit", "_offset", "_what")

    def __init__(self, data: bytes, what: str, *, bytes_max: int) -> None:
        if len(data) > bytes_max:
            raise ProtocolError("block.too_large", f"{what} has {len(data)} bytes, at most {bytes_max} are allowed")
        self._data = data
        self._limit = len(data)
        self._offset = 0
        self._what = what

    def take_uint(self, number: int, *, maximum: int = _U64 - 1) -> int:
        """An unsigned varint field, 0 when absent."""
        if not self._at(number, _VARINT):
            return 0
        value = self._varint()
        if value == 0:
            raise self._bad(f"field {number} holds its default")
        if value > maximum:
            raise self._bad(f"field {number} is out of range")
        return value

    def take_int(self, number: int, *, minimum: int = _I64_MIN, maximum: int = _I64_MAX) -> int:
        """A signed varint field (two's complement), 0 when absent."""
        value = self.take_uint(number)
        if value > _I64_MAX:
            value -= _U64
        if not minimum <= value <= maximum:
            raise self._bad(f"field {number} is out of range")
        return value

    def take_bytes(self, number: int, *, bytes_max: int) -> bytes:
        """A bytes or string field, empty when absent."""
        if not self._at(number, _BYTES):
            return b""
        value = self._chunk(bytes_max, number)
        if not value:
            raise self._bad(f"field {number} holds its default")
        return value

    def take_message(self, number: int, *, bytes_max: int) -> bytes:
        """An embedded message that must be present (possibly empty)."""
        if not self._at(number, _BYTES):
            raise self._bad(f"field {number} is missing")
        return self._chunk(bytes_max, number)

    def take_repeated(self, number: int, *, bytes_max: int, count_max: int) -> list[bytes]:
        """All elements of a repeated bytes or message field."""
        items: list[bytes] = []
        while self._at(number, _BYTES):
            if len(items) == count_max:
                raise self._bad(f"field {number} has more than {count_max} elements")
            items.append(self._chunk(bytes_max, number))
        return items

    def end(self) -> None:
        """Nothing may follow the last field taken."""
        if self._offset != self._limit:
            raise self._bad("unknown, repeated or out-of-order field")

    def _at(self, number: int, wire_type: int) -> bool:
        tag = uvarint(number << 3 | wire_type)
        if not self._data.startswith(tag, self._offset):
            return False
        self._offset += len(tag)
        return True

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            if self._offset == self._limit:
                raise self._bad("truncated varint")
            byte = self._data[self._offset]
            self._offset += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if (byte == 0 and shift) or value >= _U64:
                    raise self._bad("varint is not in shortest form")
                return value
        raise self._bad("varint is too long")

    def _chunk(self, bytes_max: int, number: int) -> bytes:
        length = self._varint()
        if length > bytes_max:
            raise self._bad(f"field {number} has {length} bytes, at most {bytes_max} are allowed")
        start = self._offset
        if length > self._limit - start:
            raise self._bad(f"field {number} is truncated")
        self._offset = start + length
        return self._data[start : self._offset]

    def _bad(self, why: str) -> ProtocolError:
        return ProtocolError("block.encoding", f"{self._what}: {why}")
