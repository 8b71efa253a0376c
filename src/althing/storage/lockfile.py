"""One writing process per data directory, by an advisory lock that the kernel drops when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from althing.protocol.errors import StateError

__all__ = ["WriterLock"]

_CONTENDED = (errno.EAGAIN, errno.EACCES)


class WriterLock:
    """Held from construction to `release`. The file names the holder; the lock, not the file, decides."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            self._fd = -1
            if error.errno not in _CONTENDED:
                raise
            raise StateError(
                "state.locked",
                f"process {holder} is writing to {path.parent}",
                hint=f"stop process {holder}, choose another data directory, or open it read-only",
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Idempotent. The file stays: removing it would let two processes lock two files of one name."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
