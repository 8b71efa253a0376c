"""The header log: hashes of past blocks that changed something, as an RFC 9162 log under one state key.

A block without content changes no state key, so it is not logged. Each logged header still proves every root: the header
of a block with content carries the root after the block with content before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.ledger.runtime import logs
from althing.ledger.runtime.overlay import State, Table
from althing.protocol.codec import encode
from althing.protocol.merkle import EMPTY_ROOT
from althing.protocol.record import HASH, UINT, Record, of

__all__ = ["HEADERS", "HEADER_LOG", "HeaderHead", "append", "entry_bytes"]

HEADER_LOG: Final = b"h"


@dataclass(frozen=True, slots=True)
class HeaderHead(Record):
    """Size and root of the header log."""

    size: int = of(UINT)
    root: bytes = of(HASH)


HEADERS: Final = Table("runtime/headers", HeaderHead)


def entry_bytes(height: int, block_hash: bytes) -> bytes:
    """A log entry: deterministic CBOR [height, block hash]."""
    return encode([height, block_hash])


def append(state: State, height: int, block_hash: bytes) -> None:
    """Log the block being executed; the engine tells its hash."""
    head = HEADERS.get(state, b"") or HeaderHead(0, EMPTY_ROOT)
    size, root = logs.append(state, HEADER_LOG, head.size, head.root, entry_bytes(height, block_hash))
    HEADERS.put(state, b"", HeaderHead(size, root))
