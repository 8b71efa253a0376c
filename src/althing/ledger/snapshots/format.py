"""Format 1: records in order, cut into chunks, and the list of their hashes (docs/spec/snapshots.md).

What is hashed is the uncompressed stream, which is the same on every node; zlib's bytes vary with its version.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from althing.ledger.state.store import STATE_VALUE_BYTES_MAX
from althing.protocol.codec import decode, encode
from althing.protocol.errors import ProtocolError, StateError
from althing.protocol.merkle import leaf_hash, root_of

__all__ = [
    "CHUNKS_MAX",
    "CHUNK_BYTES",
    "CHUNK_BYTES_MAX",
    "FORMAT",
    "IDS",
    "PEAK",
    "STATE",
    "Content",
    "Entry",
    "chunks_of",
    "pack",
    "records_of",
    "unpack",
]

FORMAT: Final = 1
CHUNK_BYTES: Final = 4 * 1024 * 1024  # a chunk ends with the record that brings it here
CHUNKS_MAX: Final = 65_536  # 256 GiB of state; the list of hashes stays below CometBFT's 4 MB for a snapshot's message
_HEAD: Final = Struct(">BHI")  # kind, bytes of key, bytes of value
_KEY_BYTES_MAX: Final = 255
CHUNK_BYTES_MAX: Final = CHUNK_BYTES + _HEAD.size + _KEY_BYTES_MAX + STATE_VALUE_BYTES_MAX
PACKED_BYTES_MAX: Final = 16_000_000  # of CometBFT's messages with chunks
_LEVEL: Final = 1  # most of the gain, and several times faster than the rest

STATE, IDS, PEAK = 1, 2, 3

Entry = tuple[int, bytes, bytes]
"""kind, key, value: `STATE` a key of the state map; `IDS` bucket ‖ height → executed ids; `PEAK` a log's node → its hash."""


@dataclass(frozen=True, slots=True)
class Content:
    """Leaf hashes of the chunks (RFC 9162 §2.1.1 over the uncompressed bytes), in order; travels as metadata."""

    leaves: tuple[bytes, ...]

    @property
    def hash(self) -> bytes:
        """RFC 9162 root over the chunks: names the whole uncompressed stream."""
        return root_of(self.leaves)

    def to_bytes(self) -> bytes:
        return encode([FORMAT, b"".join(self.leaves)])

    @classmethod
    def from_bytes(cls, data: bytes) -> Content:
        """ProtocolError `snapshot.metadata` unless it is a list of 1 to `CHUNKS_MAX` hashes."""
        try:
            if len(data) > CHUNKS_MAX * 32 + 16:
                raise ProtocolError("snapshot.metadata", "a snapshot's metadata are too long")
            found = decode(data)
        except ProtocolError as error:
            raise ProtocolError("snapshot.metadata", f"a snapshot's metadata are not CBOR: {error.message}") from error
        if not (isinstance(found, list) and len(found) == 2 and found[0] == FORMAT and isinstance(found[1], bytes)):
            raise ProtocolError("snapshot.metadata", "a snapshot's metadata are not [1, hashes]")
        joined = found[1]
        if not joined or len(joined) % 32:
            raise ProtocolError("snapshot.metadata", "a snapshot's metadata hold no whole hashes")
        return cls(tuple(joined[at : at + 32] for at in range(0, len(joined), 32)))


def chunks_of(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The uncompressed chunks of a stream of records, one in memory at a time."""
    chunk = bytearray()
    for kind, key, value in entries:
        chunk += _HEAD.pack(kind, len(key), len(value)) + key + value
        if len(chunk) >= CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


def records_of(chunk: bytes) -> Iterator[Entry]:
    """The records of a chunk; StateError `snapshot.content` where it is cut or a record is out of bounds."""
    at = 0
    while at < len(chunk):
        if at + _HEAD.size > len(chunk):
            raise _broken()
        kind, key_bytes, value_bytes = _HEAD.unpack_from(chunk, at)
        at += _HEAD.size
        end = at + key_bytes + value_bytes
        bounded = 0 < key_bytes <= _KEY_BYTES_MAX and 0 < value_bytes <= STATE_VALUE_BYTES_MAX
        if kind not in (STATE, IDS, PEAK) or not bounded or end > len(chunk):
            raise _broken()
        yield kind, chunk[at : at + key_bytes], chunk[at + key_bytes : end]
        at = end


def pack(chunk: bytes) -> bytes:
    """A chunk as it is stored and sent: zlib (RFC 1950)."""
    return zlib.compress(chunk, _LEVEL)


def unpack(packed: bytes, leaf: bytes) -> bytes:
    """The chunk with this leaf hash; ProtocolError `snapshot.chunk` for anything else, in bounded memory."""
    if len(packed) <= PACKED_BYTES_MAX:
        reader = zlib.decompressobj()
        try:
            chunk = reader.decompress(packed, CHUNK_BYTES_MAX + 1)
        except zlib.error:
            chunk = b""
        if reader.eof and not reader.unused_data and leaf_hash(chunk) == leaf:
            return chunk
    raise ProtocolError("snapshot.chunk", "the chunk is not the one that the snapshot names", hint="fetch it elsewhere")


def _broken() -> StateError:
    return StateError("snapshot.content", "a record of the snapshot is not of its form", hint="take another snapshot")
