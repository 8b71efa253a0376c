"""Names of stored objects. A segment's name states what it holds, so a listing alone tells which segments count.

    segments/<gateway, 40 hex digits>/<first number>-<last number>-<SHA-256 of the file>.parquet

First and last are anchor numbers of the gateway, 16 decimal digits each. Of two segments of a gateway the one whose
range lies within the other's has been replaced by it (docs/spec/segments.md §2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from althing.protocol.address import ADDRESS_BYTES, format_address, parse_address
from althing.protocol.errors import EncodingError

__all__ = ["SEGMENTS", "SegmentName", "batch_locator", "parse_locator"]

SEGMENTS: Final = "segments"
_NAME: Final = re.compile(r"segments/([0-9a-f]{40})/([0-9]{16})-([0-9]{16})-([0-9a-f]{64})\.parquet")
_LOCATOR: Final = "althing:batch/"


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """Batches `first` … `last` (inclusive) of a gateway, in a file with this SHA-256."""

    gateway: bytes
    first: int
    last: int
    sha256: bytes

    def __str__(self) -> str:
        return f"{SEGMENTS}/{self.gateway.hex()}/{self.first:016d}-{self.last:016d}-{self.sha256.hex()}.parquet"

    @classmethod
    def parse(cls, name: str) -> SegmentName | None:
        """The parts of an object's name, or None if it is not a segment's."""
        match = _NAME.fullmatch(name)
        if match is None or int(match[2]) > int(match[3]):
            return None
        return cls(bytes.fromhex(match[1]), int(match[2]), int(match[3]), bytes.fromhex(match[4]))

    def within(self, other: SegmentName) -> bool:
        """True when `other` holds all the batches of this one."""
        return self.gateway == other.gateway and other.first <= self.first and self.last <= other.last


def batch_locator(gateway: bytes, root: bytes) -> str:
    """What an anchor says of where its batch is: it names the batch, never a file, so compaction leaves it valid."""
    return f"{_LOCATOR}{format_address(gateway)}/{root.hex()}"


def parse_locator(text: str) -> tuple[bytes, bytes]:
    """Gateway address and batch root of a locator, or EncodingError `archive.locator`."""
    gateway, slash, root = text.removeprefix(_LOCATOR).partition("/")
    if not text.startswith(_LOCATOR) or not slash or re.fullmatch(r"[0-9a-f]{64}", root) is None:
        raise EncodingError("archive.locator", "expected althing:batch/<gateway>/<root>")
    address = parse_address(gateway)
    assert len(address) == ADDRESS_BYTES
    return address, bytes.fromhex(root)
