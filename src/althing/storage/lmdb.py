"""Backend on LMDB: one writing process, many reading ones, crash-safe without recovery.

LMDB writes new pages first and flips one of two meta pages last, so a crash leaves the old or the new batch, whole.
The map is address space, not disk; it grows by doubling when a batch does not fit. Growing replaces the map under
every transaction of this process, so it waits for open snapshots and holds new ones back meanwhile.
"""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import lmdb

from althing.ledger.state.backend import KEY_BYTES_MAX, TABLES_MAX, Batch
from althing.protocol.errors import StateError, UnavailableError
from althing.storage.lockfile import WriterLock

__all__ = ["LmdbBackend"]

_MAP_BYTES_START: Final = 1 << 30
_MAP_BYTES_MAX: Final = 1 << 44
_RESIZE_WAIT_S: Final = 30
_READERS_MAX: Final = 1024  # slots in the lock file; every snapshot of every process takes one
_ROOM_BYTES: Final = 1 << 26  # more than one batch writes
_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_ACCESS: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


class _LmdbSnapshot:
    __slots__ = ("_tables", "_txn")

    def __init__(self, txn: Any, tables: Mapping[str, Any]) -> None:
        self._txn = txn
        self._tables = tables

    def get(self, table: str, key: bytes) -> bytes | None:
        db = self._tables.get(table)
        value: bytes | None = None if db is None or not key else self._txn.get(key, db=db)
        return value

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        db = self._tables.get(table)
        if db is None:
            return [None] * len(keys)
        get = self._txn.get
        return [get(key, db=db) for key in keys]

    def scan(
        self, table: str, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        db = self._tables.get(table)
        if db is None:
            return
        with self._txn.cursor(db) as cursor:
            if not reverse:
                found = cursor.set_range(start) if start else cursor.first()
                for key, value in cursor.iternext() if found else ():
                    if stop is not None and key >= stop:
                        return
                    yield key, value
                return
            if stop is not None and cursor.set_range(stop):
                found = cursor.prev()
            else:
                found = cursor.last()
            for key, value in cursor.iterprev() if found else ():
                if key < start:
                    return
                yield key, value


class LmdbBackend:
    """A directory with `data.mdb`, `lock.mdb` and, while a writer lives, a lock on `writer.lock`.

    `durable=False` leaves flushing to the system (tests, bulk loads): a process crash loses nothing, a power
    failure may damage the store. Raises `state.locked`, `state.read_only`, `state.damaged`, `state.uninitialised`.
    """

    def __init__(
        self,
        path: Path,
        *,
        readonly: bool = False,
        durable: bool = True,
        map_bytes_start: int = _MAP_BYTES_START,
        map_bytes_max: int = _MAP_BYTES_MAX,
    ) -> None:
        self._path = path
        self._readonly = readonly
        self._durable = durable
        self._map_bytes_max = map_bytes_max
        self._tables: Mapping[str, Any] = {}  # replaced, never changed: snapshots hold the one of their time
        self._gate = threading.Condition()
        self._snapshots = 0
        self._resizing = False
        self._closed = False
        self._write_lock = threading.Lock()
        self._writer_lock: WriterLock | None = None
        if readonly and not (path / "data.mdb").is_file():
            raise StateError(
                "state.uninitialised", f"there is no state in {path}", hint="start the node once, or check the path"
            )
        try:
            if not readonly:
                path.mkdir(parents=True, exist_ok=True)
                self._writer_lock = WriterLock(path / "writer.lock")
            self._env = self._open(min(map_bytes_start, map_bytes_max))
            if not readonly and durable:
                _sync_names(path)
            self._open_tables()
        except (OSError, lmdb.Error) as error:
            self._release()
            raise self._translate(error) from error
        except StateError:
            self._release()
            raise

    def _open(self, map_bytes: int) -> Any:
        env = lmdb.open(
            str(self._path),
            map_size=map_bytes,
            readonly=self._readonly,
            create=not self._readonly,
            sync=self._durable,
            max_dbs=TABLES_MAX,
            max_readers=_READERS_MAX,
            max_spare_txns=1,
        )
        env.reader_check()  # slots of readers that died would pin old pages
        return env

    def _open_tables(self) -> None:
        """Handles opened once and kept; opening needs a transaction of its own (mdb_dbi_open)."""
        with self._env.begin() as txn, txn.cursor() as cursor:
            names = [key for key, _ in cursor]
        for name in names:
            text = name.decode("ascii")
            if text not in self._tables:
                self._tables = {**self._tables, text: self._env.open_db(name, create=False)}

    @property
    def readonly(self) -> bool:
        return self._readonly

    @contextmanager
    def read(self) -> Iterator[_LmdbSnapshot]:
        with self._gate:
            while self._resizing:
                self._gate.wait()
            self._check_open()
            self._snapshots += 1
        try:
            try:
                txn, tables = self._begin_read()
            except lmdb.Error as error:
                raise self._translate(error) from error
            try:
                yield _LmdbSnapshot(txn, tables)
            except lmdb.Error as error:
                raise self._translate(error) from error
            finally:
                txn.abort()
        finally:
            with self._gate:
                self._snapshots -= 1
                if not self._snapshots:
                    self._gate.notify_all()

    def _begin_read(self) -> tuple[Any, Mapping[str, Any]]:
        """A transaction and the tables it can use: a handle made after it began is none of its (mdb_dbi_open)."""
        while True:
            tables = self._tables
            try:
                txn = self._env.begin()
            except lmdb.MapResizedError:  # the writing process has grown the map
                self._adopt_map_size()
                continue
            if self._tables is tables:
                # Unchanged, so whatever was written before it began lies in these tables.
                if not self._readonly or txn.stat()["entries"] == len(tables):
                    return txn, tables
                txn.abort()  # the writing process has added a table
                with self._gate:
                    self._open_tables()
            else:
                txn.abort()

    def _adopt_map_size(self) -> None:
        with self._gate:
            self._snapshots -= 1  # this thread has counted itself, but has no transaction yet
            try:
                self._resize(0)
            finally:
                self._snapshots += 1

    def _resize(self, map_bytes: int) -> None:
        """With the gate held: wait until no snapshot is open, then replace the map."""
        while self._resizing:
            self._gate.wait()
        self._resizing = True
        try:
            if not self._gate.wait_for(lambda: self._snapshots == 0, timeout=_RESIZE_WAIT_S):
                raise UnavailableError(
                    "state.unavailable",
                    f"the state must grow, but a snapshot has been open for {_RESIZE_WAIT_S} s",
                    hint="close long-lived snapshots",
                )
            self._env.set_mapsize(map_bytes)
        finally:
            self._resizing = False
            self._gate.notify_all()

    def write(self, batch: Batch) -> None:
        if self._readonly:
            raise StateError("state.read_only", f"{self._path} was opened read-only")
        with self._write_lock:
            self._check_open()
            while True:
                try:
                    self._create_missing(batch)
                    with self._env.begin(write=True) as txn:
                        for name, changes in batch.items():
                            if changes:
                                _apply(txn, self._tables[name], changes)
                    return
                except lmdb.MapFullError:
                    self._grow()
                except lmdb.Error as error:
                    raise self._translate(error) from error

    def _create_missing(self, batch: Batch) -> None:
        for name, changes in batch.items():
            if changes and name not in self._tables:
                self._tables = {**self._tables, name: self._env.open_db(name.encode("ascii"))}

    def _grow(self) -> None:
        size = self._env.info()["map_size"]
        if size >= self._map_bytes_max:
            raise StateError(
                "state.disk_full",
                f"the state has reached its limit of {self._map_bytes_max} bytes",
                hint="keep fewer versions, or raise the limit",
            )
        with self._gate:
            self._resize(min(size * 2, self._map_bytes_max))

    def sync(self) -> None:
        self._check_open()
        if not self._durable and not self._readonly:
            try:
                self._env.sync(True)
            except lmdb.Error as error:
                raise self._translate(error) from error

    def bytes_used(self) -> int:
        return (self._path / "data.mdb").stat().st_blocks * 512

    def close(self) -> None:
        with self._write_lock, self._gate:
            if not self._closed:
                self._closed = True
                self._gate.wait_for(lambda: self._snapshots == 0, timeout=_RESIZE_WAIT_S)
                self._env.close()
                self._release()

    def _release(self) -> None:
        if self._writer_lock is not None:
            self._writer_lock.release()
            self._writer_lock = None

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("state.closed", f"the state in {self._path} has been closed")

    def _short_of_space(self) -> bool:
        """Whether EIO means a full disk: LMDB says it of a write that the kernel cut short (mdb_page_flush)."""
        disk = os.statvfs(self._path)
        allowed = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        size = (self._path / "data.mdb").stat().st_size
        limited = allowed != resource.RLIM_INFINITY and size + _ROOM_BYTES > allowed
        return limited or disk.f_bavail * disk.f_frsize < _ROOM_BYTES

    def _translate(self, error: OSError | lmdb.Error) -> StateError:
        """LMDB's and the system's errors as ours; py-lmdb carries the errno in `code` where there is one."""
        code = error.errno if isinstance(error, OSError) else error.code
        if code in _DISK_FULL or (code == errno.EIO and self._short_of_space()):
            return StateError(
                "state.disk_full",
                f"no space left for {self._path}; the last write was not applied",
                hint="free some space, or keep fewer versions",
            )
        if code in _NO_ACCESS:
            return StateError(
                "state.read_only",
                f"cannot write to {self._path}",
                hint="check the owner and the rights of the data directory",
            )
        if isinstance(error, lmdb.InvalidError | lmdb.CorruptedError | lmdb.VersionMismatchError):
            return StateError(
                "state.damaged", f"{self._path} is not a readable store: {error}", hint="restore it from a snapshot"
            )
        return StateError("state.io", f"{self._path}: {error}", hint="check the disk, then restart")


def _sync_names(path: Path) -> None:
    """LMDB syncs its file, but neither the file's name nor the folder's."""
    for folder in (path, path.parent):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _apply(txn: Any, db: Any, changes: Mapping[bytes, bytes | None]) -> None:
    """Sorted, so that neighbours share pages; appended where all keys lie behind the table's last."""
    puts: list[tuple[bytes, bytes]] = []
    for key, value in sorted(changes.items()):
        assert 0 < len(key) <= KEY_BYTES_MAX, "backend keys have 1 to 511 bytes"
        if value is None:
            txn.delete(key, db=db)
        else:
            puts.append((key, value))
    if puts:
        with txn.cursor(db) as cursor:
            append = not cursor.last() or cursor.key() < puts[0][0]
            consumed, added = cursor.putmulti(puts, append=append)
            # an append out of order is skipped without an error and shows in `added` alone
            assert consumed == len(puts), "LMDB stored a part of a batch"
            assert not append or added == consumed, "LMDB skipped records of a batch"
