"""Who signed and who proposed the latest blocks: rows of the commits, read once and kept in memory.

The commit of a block is the one its successor carries; precommits that come late are in it, so what was read at once is
read again some seconds later. The latest block has no such commit yet and is left out.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

from althing.consensus.engine import Engine, EngineError
from althing.protocol.block import BlockIdFlag

__all__ = ["WINDOW_DEFAULT", "WINDOW_MAX", "Attendance", "SignedBlock", "SigningRecord", "attendance_of"]

WINDOW_DEFAULT: Final = 100
WINDOW_MAX: Final = 1000  # some 100 bytes a block and validator
_SETTLED_S: Final = 5.0  # engines copy commits within a second
_GONE: Final = ("engine.pruned", "engine.unknown_height")


@dataclass(frozen=True, slots=True)
class SignedBlock:
    """A block's proposer (address), the round that decided, and what each validator of its set did, by address."""

    height: int
    proposer: bytes
    round: int
    precommits: dict[bytes, BlockIdFlag]

    @property
    def signed(self) -> int:
        """How many signed it."""
        return sum(flag is BlockIdFlag.COMMIT for flag in self.precommits.values())


@dataclass(frozen=True, slots=True)
class Attendance:
    """Of one validator in a window: blocks that it belonged to the set of, signed, and proposed; the last one signed.

    `marks` has one letter a block, oldest first: s signed, m missed (nothing arrived in time), n voted for nil, - no validator.
    """

    blocks: int
    signed: int
    proposed: int
    last_signed: int | None
    marks: str

    @property
    def missed(self) -> int:
        return self.blocks - self.signed


class SigningRecord:
    """The rows of one engine's latest blocks; any thread."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = Lock()
        self._rows: deque[SignedBlock] = deque(maxlen=WINDOW_MAX)
        self._unsettled: deque[tuple[int, float]] = deque()  # heights that are read again, and since when
        self._end_of_past = 0  # below it nothing is kept

    def window(self, blocks: int) -> tuple[SignedBlock, ...]:
        """The latest `blocks` rows at most, oldest first. Raises what the engine does while it cannot be read."""
        wanted = max(1, min(blocks, WINDOW_MAX))
        latest = self._engine.latest_height
        with self._lock:
            self._forward(latest - 1)
            self._settle()
            self._backward(wanted)
            return tuple(self._rows)[-wanted:]

    def _forward(self, top: int) -> None:
        if self._rows and top - self._rows[-1].height > WINDOW_MAX:
            self._rows.clear()
        if not self._rows:
            self._unsettled.clear()
            self._end_of_past = 0
            if top > 0:
                self._append(top)
            return
        for height in range(self._rows[-1].height + 1, top + 1):
            self._append(height)

    def _append(self, height: int) -> None:
        row = self._read(height)
        if row is None:  # state sync has jumped, or blocks are pruned as we look
            self._rows.clear()
            return
        self._rows.append(row)
        self._unsettled.append((height, self._clock()))

    def _backward(self, wanted: int) -> None:
        while self._rows and len(self._rows) < wanted and self._rows[0].height - 1 > self._end_of_past:
            height = self._rows[0].height - 1
            row = self._read(height)
            if row is None:
                self._end_of_past = height
                return
            self._rows.appendleft(row)
            if len(self._rows) <= 64:  # so many may have come within the time in which a commit settles
                self._unsettled.appendleft((height, self._clock()))

    def _settle(self) -> None:
        if not self._rows:
            return
        first, now = self._rows[0].height, self._clock()
        for height, _since in self._unsettled:
            at = height - first
            row = self._read(height) if 0 <= at < len(self._rows) else None
            if row is not None:
                self._rows[at] = row
        while self._unsettled and now - self._unsettled[0][1] > _SETTLED_S:
            self._unsettled.popleft()

    def _read(self, height: int) -> SignedBlock | None:
        try:
            signed = self._engine.signed_header(height)
            members = self._engine.validators(height).validators
        except EngineError as error:
            if error.code in _GONE:
                return None
            raise
        flags = {member.address: entry.flag for member, entry in zip(members, signed.commit.signatures, strict=False)}
        return SignedBlock(height, signed.header.proposer_address, signed.commit.round, flags)


def attendance_of(address: bytes, rows: tuple[SignedBlock, ...]) -> Attendance:
    """What one validator did in a window."""
    marks = "".join(_MARKS[row.precommits.get(address)] for row in rows)
    signed = [row.height for row in rows if row.precommits.get(address) is BlockIdFlag.COMMIT]
    return Attendance(
        blocks=len(rows) - marks.count("-"),
        signed=len(signed),
        proposed=sum(row.proposer == address for row in rows),
        last_signed=signed[-1] if signed else None,
        marks=marks,
    )


_MARKS: Final[dict[BlockIdFlag | None, str]] = {
    BlockIdFlag.COMMIT: "s",
    BlockIdFlag.ABSENT: "m",
    BlockIdFlag.NIL: "n",
    None: "-",
}
