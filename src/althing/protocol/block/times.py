"""Block time: seconds and nanoseconds since 1970-01-01 UTC, as google.protobuf.Timestamp encodes them."""

from __future__ import annotations

from dataclasses import dataclass

from althing.protocol.block.wire import WireReader, int_field
from althing.protocol.errors import ProtocolError

__all__ = ["TIMESTAMP_BYTES_MAX", "ZERO_TIME", "Timestamp"]

_NANOS = 1_000_000_000
_SECONDS_MIN = -62_135_596_800  # 0001-01-01T00:00:00Z, the first instant of google.protobuf.Timestamp
_SECONDS_MAX = 253_402_300_799  # 9999-12-31T23:59:59Z
TIMESTAMP_BYTES_MAX = 17  # two tags, a ten-byte and a five-byte varint


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """An instant; ordered; `nanos` counts forward from `seconds`, 0 <= nanos < 10**9."""

    seconds: int
    nanos: int

    def __post_init__(self) -> None:
        if not (_SECONDS_MIN <= self.seconds <= _SECONDS_MAX and 0 <= self.nanos < _NANOS):
            raise ProtocolError("block.time", f"{self.seconds} s {self.nanos} ns is not a time of the years 1 to 9999")

    @classmethod
    def from_ns(cls, nanoseconds: int) -> Timestamp:
        """From nanoseconds since 1970 (negative before)."""
        return cls(*divmod(nanoseconds, _NANOS))

    @property
    def ns(self) -> int:
        """Nanoseconds since 1970."""
        return self.seconds * _NANOS + self.nanos

    def encode(self) -> bytes:
        """google.protobuf.Timestamp."""
        return int_field(1, self.seconds) + int_field(2, self.nanos)

    @classmethod
    def decode(cls, data: bytes) -> Timestamp:
        """Strict inverse of `encode`."""
        reader = WireReader(data, "timestamp", bytes_max=TIMESTAMP_BYTES_MAX)
        seconds = reader.take_int(1)
        nanos = reader.take_int(2)
        reader.end()
        return cls(seconds, nanos)


ZERO_TIME = Timestamp(_SECONDS_MIN, 0)
"""Go's zero time: what an absent precommit carries in a commit."""
