"""The ear of a power cut for programs that no library can be preloaded into: they tell each fsync over a socket.

The names of a folder that holds such files are recorded along with them, as a journalling file system keeps the order
of what it notes: a new file's or a renamed one's name is durable with the next fsync anywhere in the program's folder.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

from althing.testing.powercut import PowerCut

__all__ = ["SyncListener"]

_PATH_BYTES_MAX = 4096


class SyncListener:
    """Answers each program that tells of a synced file below `folder` once it is recorded. Close it at the end."""

    def __init__(self, address: Path, folder: Path, disk: PowerCut) -> None:
        self._folder = folder.resolve()
        self._disk = disk
        self.heard = 0
        self.failure: OSError | None = None  # of recording: the disk's picture is not to be trusted then
        self.recording = threading.Lock()  # to be held while the power is cut
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(address))
        self._socket.listen(16)
        self._thread = threading.Thread(target=self._serve, name="sync-listener", daemon=True)
        self._thread.start()
        self.environment = {"ALTHING_POWERCUT_SOCKET": str(address)}

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # closed
            with connection, suppress(ConnectionError):  # the program was killed while it told
                self._hear(connection)

    def _hear(self, connection: socket.socket) -> None:
        data = b""
        while part := connection.recv(_PATH_BYTES_MAX):
            data += part
        path = Path(data.decode())
        path = path if path.is_absolute() else self._folder / path
        if path.resolve().is_relative_to(self._folder):
            with self.recording:
                self._record(path)
            self.heard += 1
        connection.sendall(b".")

    def _record(self, path: Path) -> None:
        try:
            if path.is_file():
                self._disk.record(path)
            for folder in (self._folder, *(one for one in self._folder.rglob("*") if one.is_dir())):
                self._disk.record_folder(folder)
        except OSError as error:
            self.failure = error
