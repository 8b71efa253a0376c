"""The session store on disk: an LMDB environment of its own, one synchronous transaction per group of changes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import lmdb

from althing.gateway.ingest.mqtt.errors import SessionStoreError
from althing.service.durable import make_folders, sync_folder

__all__ = ["LmdbSessionStore"]

_FORMAT_KEY = b"\x00format"
_FORMAT = b"althing mqtt sessions 1"


class LmdbSessionStore:
    """Opens or creates a store in `directory`; one process at a time. Grows its map from 64 MiB to `bytes_max`."""

    blocking = True

    def __init__(self, directory: Path, *, bytes_max: int = 16 * 2**30, map_bytes: int = 64 * 2**20) -> None:
        """Raises SessionStoreError: mqtt_store.locked, mqtt_store.foreign, mqtt_store.unavailable."""
        self._bytes_max = bytes_max
        try:
            make_folders(directory)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SessionStoreError("mqtt_store.unavailable", f"cannot use {directory}: {error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise SessionStoreError(
                "mqtt_store.locked", f"{directory} is in use", hint="stop the other gateway on this directory"
            ) from error
        try:
            self._environment = lmdb.open(
                str(directory), map_size=map_bytes, max_dbs=0, sync=True, metasync=True, lock=False
            )
            self._check_format(directory)
            sync_folder(directory)  # LMDB syncs its file, but not the file's name
        except (OSError, lmdb.Error) as error:
            os.close(self._lock)
            raise SessionStoreError("mqtt_store.unavailable", f"cannot open {directory}: {error}") from error

    def _check_format(self, directory: Path) -> None:
        with self._environment.begin(write=True) as transaction:
            found = transaction.get(_FORMAT_KEY)
            if found is None and transaction.stat()["entries"] == 0:
                transaction.put(_FORMAT_KEY, _FORMAT)
            elif found != _FORMAT:
                self._environment.close()
                os.close(self._lock)
                raise SessionStoreError("mqtt_store.foreign", f"{directory} holds something else or a newer format")

    def load(self) -> Iterable[tuple[bytes, bytes]]:
        with self._environment.begin(buffers=False) as transaction:
            for key, value in transaction.cursor():
                if key != _FORMAT_KEY:
                    yield key, value

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in changes.items():
                        if value is None:
                            transaction.delete(key)
                        else:
                            transaction.put(key, value)
                return
            except lmdb.MapFullError as error:
                size = self._environment.info()["map_size"] * 2
                if size > self._bytes_max:
                    raise SessionStoreError("mqtt_store.full", f"the store may not exceed {self._bytes_max}") from error
                self._environment.set_mapsize(size)
            except lmdb.Error as error:
                raise SessionStoreError("mqtt_store.unavailable", f"cannot write the store: {error}") from error

    def close(self) -> None:
        self._environment.close()
        os.close(self._lock)
