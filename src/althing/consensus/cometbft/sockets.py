"""A folder for the Unix sockets between this process and its engine, which nobody else may enter."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from althing.consensus.cometbft.address import SocketAddress

__all__ = ["SocketFolder"]

_PATH_BYTES_MAX: Final = 90  # of a socket's address 104 bytes on some systems, name and end included


class SocketFolder:
    """`run` below the engine's directory; where that path is too long for a socket, a folder of its own elsewhere."""

    def __init__(self, directory: Path) -> None:
        wanted = (directory / "run").absolute()
        self._elsewhere = len(os.fsencode(wanted)) > _PATH_BYTES_MAX
        if self._elsewhere:
            self._path = Path(tempfile.mkdtemp(prefix="althing-"))
        else:
            self._path = wanted
            self._path.mkdir(mode=0o700, exist_ok=True)
            self._path.chmod(0o700)

    def address(self, name: str) -> SocketAddress:
        """The address of one socket."""
        return SocketAddress(path=self._path / f"{name}.sock")

    def remove(self) -> None:
        """Take away the sockets, and the folder if it is not in the engine's directory."""
        if self._elsewhere:
            shutil.rmtree(self._path, ignore_errors=True)
        else:
            for path in self._path.glob("*.sock"):
                path.unlink(missing_ok=True)
