"""ABCI's frames on a stream: an unsigned varint of the length, then the message. Bounded before memory is taken."""

from __future__ import annotations

import socket
from typing import Final

from althing.protocol.block.wire import uvarint
from althing.protocol.errors import AlthingError

__all__ = ["FRAME_BYTES_MAX", "AbciPeerError", "FrameReader", "frame"]

FRAME_BYTES_MAX: Final = 101 * 1024 * 1024  # the largest block has 100 MiB; CometBFT reads answers up to 100 MB
_LENGTH_BYTES_MAX: Final = 5  # 2^35 is far above any bound
_CHUNK: Final = 256 * 1024


class AbciPeerError(AlthingError):
    """What called is no CometBFT of this version: `abci.frame_too_large`, `.truncated`, `.malformed`, `.unknown_call`."""


def frame(message: bytes) -> bytes:
    """A message with its length before it."""
    return uvarint(len(message)) + message


class FrameReader:
    """Frames of one connection. A buffer grows only by what has arrived, whatever length was announced."""

    def __init__(self, connection: socket.socket, *, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._connection = connection
        self._bytes_max = bytes_max
        self._buffer = bytearray()
        self._start = 0

    def next(self) -> bytes | None:
        """Wait for the next frame; None when the stream ended between two frames, AbciPeerError within one."""
        while True:
            found = self._take()
            if found is not None:
                return found
            if self._start:
                del self._buffer[: self._start]
                self._start = 0
            arrived = self._connection.recv(_CHUNK)
            if not arrived:
                if self._buffer:
                    raise AbciPeerError("abci.truncated", "the connection ended within a message")
                return None
            self._buffer += arrived

    @property
    def waiting(self) -> bool:
        """True while bytes of a further frame are here: its answer may share a write with this one."""
        return self._start < len(self._buffer)

    def _take(self) -> bytes | None:
        length = shift = 0
        at = self._start
        for at in range(self._start, min(self._start + _LENGTH_BYTES_MAX, len(self._buffer))):
            byte = self._buffer[at]
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        else:
            if len(self._buffer) - self._start >= _LENGTH_BYTES_MAX:
                raise AbciPeerError("abci.malformed", "a message's length is no varint of a sensible size")
            return None
        if length > self._bytes_max:
            raise AbciPeerError("abci.frame_too_large", f"a message of {length} bytes, {self._bytes_max} are allowed")
        begin = at + 1
        if len(self._buffer) - begin < length:
            return None
        self._start = begin + length
        return bytes(memoryview(self._buffer)[begin : self._start])
