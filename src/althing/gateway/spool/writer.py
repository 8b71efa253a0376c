"""The one thread that writes the spool: groups of frames, one fsync each, answered on the event loop's thread.

While a group is being fsynced the next one gathers, so load makes groups larger instead of slower. Files are allocated
ahead: an fdatasync of allocated space costs a fifth of one that also grows the file (docs/adr/0020-spool.md).
"""

from __future__ import annotations

import asyncio
import errno
import os
import queue
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from althing.gateway.spool.segment import (
    HEADER_BYTES,
    Position,
    SegmentHeader,
    fsync_folder,
    group_head,
    segment_path,
    write_all,
)
from althing.service.faultpoints import hit

__all__ = ["NO_ROOM", "LogWriter", "Written"]

NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_STOP: Final = None
_PROBE: Final = (b"", 0)  # no group is empty


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a group: durable up to `end` (None: not), and whether the log may be tried again."""

    end: Position | None
    error: OSError | None = None
    broken: bool = False  # an fsync failed: what is on the disk is unknown until a restart reads it


class LogWriter:
    """Appends groups to segment files. `submit`, `done` and `probed` are of the event loop's thread; one group is under
    way."""

    def __init__(
        self,
        folder: Path,
        genesis_hash: bytes,
        segment: int,
        group: int,
        segment_bytes: int,
        loop: asyncio.AbstractEventLoop,
        done: Callable[[Written], None],
        probed: Callable[[Written], None],
    ) -> None:
        """The first group written opens the new segment `segment`."""
        self._folder = folder
        self._genesis_hash = genesis_hash
        self._next_segment = segment
        self._group = group
        self._segment_bytes = segment_bytes
        self._loop = loop
        self._done = done
        self._probed = probed
        self._fd = -1
        self._salt = b""
        self._segment = 0
        self._offset = 0
        self._broken = False
        self._torn = False  # something stands behind the end that must go before anything is written there
        self._work: queue.SimpleQueue[tuple[bytes, int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
        self._thread.start()

    def submit(self, frames: bytes, count: int) -> None:
        """Have `count` framed records made durable; `done` is called once for them."""
        self._work.put((frames, count))

    def probe(self) -> None:
        """After a failed write: look whether a group would find room now; `probed` is called with what was found."""
        self._work.put(_PROBE)

    def close(self) -> None:
        """Wait for what is under way, and close the file at its true length."""
        self._work.put(_STOP)
        self._thread.join()

    def _run(self) -> None:
        while True:
            work = self._work.get()
            if work is _STOP:
                break
            tell = self._probed if work is _PROBE else self._done
            result = self._try() if work is _PROBE else self._write(*work)
            try:
                self._loop.call_soon_threadsafe(tell, result)
            except RuntimeError:  # the loop is closed: nobody waits for the answer any more
                break
        if self._fd >= 0 and not self._broken:
            self._close_segment()

    def _write(self, frames: bytes, count: int) -> Written:
        if self._broken:
            return Written(None, OSError("an earlier fsync failed"), True)
        try:
            self._forget_partial()
            head = group_head(self._salt, self._group, len(frames), count)
            if self._fd < 0 or self._offset + len(head) + len(frames) > self._segment_bytes > self._offset:
                self._open_segment(len(frames))
                head = group_head(self._salt, self._group, len(frames), count)
            hit("spool.write")
            self._torn = True
            os.lseek(self._fd, self._offset, os.SEEK_SET)
            write_all(self._fd, head + frames)
        except OSError as error:
            # Nothing was fsynced and nothing acknowledged: the next group goes to the same place. Its head may be
            # shorter than what is there now, but a group that is not overwritten whole carries an old number.
            return self._failed(error)
        try:
            hit("spool.fsync")
            os.fdatasync(self._fd)
        except OSError as error:
            # Without room the file system has refused, and says so again; another failure may have lost pages unseen.
            self._broken = error.errno not in NO_ROOM
            return self._failed(error)
        hit("spool.synced")
        self._torn = False
        self._group += 1
        self._offset += len(head) + len(frames)
        return Written(Position(self._segment, self._offset))

    def _failed(self, error: OSError) -> Written:
        if not self._broken:
            try:
                self._forget_partial()
            except OSError as again:
                self._broken = again.errno not in NO_ROOM
        return Written(None, error, self._broken)

    def _try(self) -> Written:
        """Room for a whole segment, reserved and fsynced, is room for the groups that come."""
        if self._broken:
            return Written(None, OSError("an earlier fsync failed"), True)
        try:
            hit("spool.room")
            self._forget_partial()
            if self._fd < 0:
                self._open_segment(0)
            else:
                os.posix_fallocate(self._fd, 0, max(self._segment_bytes, self._offset + 1))
                os.fsync(self._fd)
        except OSError as error:
            return Written(None, error)
        return Written(Position(self._segment, self._offset))

    def _forget_partial(self) -> None:
        """Take a half-written group off the file, so that nothing of it can be read later."""
        if self._torn and self._fd >= 0:
            os.ftruncate(self._fd, self._offset)
            os.fsync(self._fd)
        self._torn = False

    def _open_segment(self, first_bytes: int) -> None:
        if self._fd >= 0:
            self._close_segment()
        number = self._next_segment
        path = segment_path(self._folder, number)
        salt = secrets.token_bytes(8)
        header = SegmentHeader(salt, self._genesis_hash, number, self._group).to_bytes()
        hit("spool.open_segment")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, max(self._segment_bytes, HEADER_BYTES + 256 + first_bytes))
            write_all(fd, header)
            os.fsync(fd)
            fsync_folder(self._folder)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        self._fd, self._salt, self._segment, self._offset = fd, salt, number, HEADER_BYTES
        self._next_segment = number + 1

    def _close_segment(self) -> None:
        fd, self._fd = self._fd, -1
        try:
            os.ftruncate(fd, self._offset)
            os.fsync(fd)
        finally:
            os.close(fd)
