"""One gateway per spool, by an advisory lock that the kernel drops when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from althing.gateway.errors import SpoolError
from althing.service.durable import make_folders

__all__ = ["SpoolLock"]


class SpoolLock:
    """Held from construction to `release`. The lock decides; the number in the file only names the holder."""

    def __init__(self, folder: Path) -> None:
        path = folder / "lock"
        try:
            make_folders(folder, mode=0o700)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolError(
                "spool.unwritable",
                f"the spool {folder} cannot be written: {error.strerror}",
                hint="give the gateway's user write access to it, or choose another home",
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise SpoolError(
                "spool.locked",
                f"process {holder} is using the spool {folder}",
                hint=f"stop process {holder}, or give this gateway a home of its own",
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Idempotent. The file stays: removing it would let two processes lock two files of one name."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
