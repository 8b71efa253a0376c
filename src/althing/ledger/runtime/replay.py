"""Replay protection: executed transaction ids in buckets by expiry, each bucket under a digest in the state map.

A transaction's expiry is at most `tx_lifetime_max_s` ahead, so only ids of live buckets matter; a bucket whose time has
passed is dropped. Contents lie in side tables: `executed_ids` has the ids of each live bucket in order, to check its digest
(snapshots carry them), and `executed` tells of an id where its transaction's receipt is. `retention` says what leaves them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from althing.ledger.runtime.overlay import State, Table
from althing.protocol.hashing import sha256
from althing.protocol.record import HASH, UINT, Record, of

__all__ = [
    "BUCKET_S",
    "EXECUTED",
    "EXECUTED_IDS",
    "ID_BYTES",
    "LIFETIME_BUCKETS",
    "Bucket",
    "Location",
    "Replay",
    "Window",
    "buckets",
    "chained",
    "location_bytes",
    "oldest_bucket",
]

BUCKET_S: Final = 60
ID_BYTES: Final = 32
LIFETIME_BUCKETS: Final = 86_400 // BUCKET_S + 2  # the greatest tx_lifetime_max_s, and a part of a bucket at each end
EXECUTED: Final = "executed"
_LOCATION: Final = Struct(">QII")
EXECUTED_IDS: Final = "executed_ids"  # u64(bucket) ‖ u64(height) → ids executed in this block, joined


@dataclass(frozen=True, slots=True)
class Bucket(Record):
    """How many ids expire in this minute, and SHA-256 chained over them in order of execution."""

    count: int = of(UINT)
    digest: bytes = of(HASH)


@dataclass(frozen=True, slots=True)
class Window(Record):
    """The oldest bucket number that may still have a key in the state map."""

    oldest: int = of(UINT)


@dataclass(frozen=True, slots=True)
class Location:
    """Where a transaction was executed: height, bundle in the block, transaction in the bundle."""

    height: int
    bundle: int
    index: int

    def to_bytes(self) -> bytes:
        return location_bytes(self.height, self.bundle, self.index)

    @classmethod
    def from_bytes(cls, data: bytes) -> Location:
        return cls(*_LOCATION.unpack(data))


def location_bytes(height: int, bundle: int, index: int) -> bytes:
    """Of a `Location`, for those who write thousands of them and read none."""
    return _LOCATION.pack(height, bundle, index)


_BUCKETS: Final = Table("runtime/executed/", Bucket)
_WINDOW: Final = Table("runtime/executed_window", Window)


def buckets(state: State) -> Iterator[tuple[int, Bucket]]:
    """The digests in the state, by bucket number."""
    for own, bucket in _BUCKETS.scan(state):
        yield int.from_bytes(own, "big"), bucket


def chained(digest: bytes, ids: bytes) -> bytes:
    """A bucket's digest after further ids, joined in order of execution."""
    for start in range(0, len(ids), ID_BYTES):
        digest = sha256(digest + ids[start : start + ID_BYTES])
    return digest


def oldest_bucket(state: State) -> int:
    """Buckets before this one have no digest in the state."""
    window = _WINDOW.get(state, b"")
    return 0 if window is None else window.oldest


class Replay:
    """Ids executed in the block being built; written to the state once a bucket, when the block ends."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._pending: dict[int, list[bytes]] = {}

    def executed(self, tx_id: bytes) -> bool:
        """True when the id was executed before, in this block too."""
        return self._state.side_get(EXECUTED, tx_id) is not None

    def record(self, tx_id: bytes, expiry: int, location: bytes) -> None:
        """`location` as `location_bytes` gives it."""
        self._state.side_put(EXECUTED, tx_id, location)
        self._pending.setdefault(expiry // BUCKET_S, []).append(tx_id)

    def finish(self, height: int, time_s: int) -> None:
        """Write the digests of buckets that grew and drop those that ended. Only in blocks that executed something."""
        for number in sorted(self._pending):
            own = number.to_bytes(8, "big")
            bucket = _BUCKETS.get(self._state, own) or Bucket(0, bytes(32))
            ids = b"".join(self._pending[number])
            grown = Bucket(bucket.count + len(self._pending[number]), chained(bucket.digest, ids))
            _BUCKETS.put(self._state, own, grown)
            self._state.side_put(EXECUTED_IDS, own + height.to_bytes(8, "big"), ids)
        live = time_s // BUCKET_S
        window = _WINDOW.get(self._state, b"")
        if window is None:
            _WINDOW.put(self._state, b"", Window(live))
        elif window.oldest < live:
            # Bounded by tx_lifetime_max: at the last block that executed something, in bucket `oldest`, nothing expired later.
            for number in range(window.oldest, min(live, window.oldest + LIFETIME_BUCKETS)):
                own = number.to_bytes(8, "big")
                if _BUCKETS.get(self._state, own) is not None:
                    _BUCKETS.delete(self._state, own)
            _WINDOW.put(self._state, b"", Window(live))
