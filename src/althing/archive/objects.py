"""The object store as the archive sees it, on obstore: a local folder by default, S3-compatible stores by URL.

obstore's LocalStore writes a temporary file and renames it but never syncs either (seen with strace, ADR 0030), so
`LocalObjects` writes by itself and syncs file and folder. Cloud stores are durable when a put returns.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from althing.archive.errors import ArchiveError
from althing.protocol.errors import UnavailableError
from althing.service.durable import make_folders

__all__ = ["LocalObjects", "ObjectInfo", "ObjectMissing", "ObjectStore", "RemoteObjects", "open_objects"]

CACHE_BYTES_MAX: Final = 4 << 30  # fetched segments of a remote store kept on local disk
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_ACCESS: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


class ObjectMissing(Exception):  # noqa: N818 (not an error by itself)
    """No object of this name; the caller knows whether that is an error (a compaction may have replaced it)."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """A stored object: its name with `/` between parts, and its bytes."""

    name: str
    size: int


class ObjectStore(Protocol):
    """Immutable objects by name. What `put` or `put_file` stored is durable when they return."""

    def put(self, name: str, data: bytes) -> None:
        """Store bytes atomically; the same name again replaces it."""
        ...

    def put_file(self, name: str, path: Path) -> None:
        """Store a finished local file atomically; `path` is gone afterwards."""
        ...

    def get(self, name: str) -> bytes:
        """All bytes, or ObjectMissing."""
        ...

    def list(self, prefix: str) -> list[ObjectInfo]:
        """All objects whose name begins with `prefix`/, sorted by name."""
        ...

    def delete(self, name: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...

    def local_path(self, name: str) -> Path:
        """A local file with the object's bytes for readers that need one, or ObjectMissing. Never to be written."""
        ...

    def scratch(self) -> Path:
        """A local folder for unfinished files, on the same file system as the objects where these are local."""
        ...


@contextmanager
def _os_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotFoundError) as exc:
        raise ObjectMissing(what) from exc
    except OSError as exc:
        if exc.errno in _FULL:
            raise UnavailableError(
                "archive.full",
                f"the archive's disk is full while handling {what}",
                hint="free space; it goes on by itself",
            ) from exc
        if exc.errno in _NO_ACCESS:
            raise ArchiveError(
                "archive.not_writable", f"no permission for {what}", hint="check owner and mode of the archive folder"
            ) from exc
        raise UnavailableError("archive.store_unavailable", f"{what}: {exc.strerror or exc}") from exc
    except BaseError as exc:
        raise UnavailableError("archive.store_unavailable", f"{what}: {type(exc).__name__}", retry_after_s=5) from exc


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_folders(folder: Path, root: Path) -> None:
    # A new folder is durable only when its parent is synced.
    missing = []
    at = folder
    while at != root and not at.is_dir():
        missing.append(at)
        at = at.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        _sync_folder(path.parent)


def _clear_scratch(folder: Path) -> None:
    # Unfinished files begin with the process id of their maker; those of the living are left alone.
    for left in folder.iterdir():
        pid = left.name.partition("-")[0]
        if pid.isdecimal() and not _alive(int(pid)):
            left.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


class LocalObjects:
    """Objects as files below `root`. With `read_only` nothing is created, so it works on a stopped or read-only home."""

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self._root = root
        self._scratch = root / "scratch"
        self._known: set[Path] = set()
        self._made = 0
        if not read_only:
            with _os_errors(str(root)):
                make_folders(self._root)
                make_folders(self._scratch)
                _clear_scratch(self._scratch)

    def put(self, name: str, data: bytes) -> None:
        with _os_errors(name):
            self._made += 1
            temporary = self._scratch / f"{os.getpid()}-{id(self):x}-{self._made}.put"
            try:
                with open(temporary, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                self._publish(temporary, name)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise

    def put_file(self, name: str, path: Path) -> None:
        with _os_errors(name):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._publish(path, name)

    def get(self, name: str) -> bytes:
        with _os_errors(name):
            return bytes(obstore.get(self._store(), name).bytes())

    def list(self, prefix: str) -> list[ObjectInfo]:
        if not (self._root / prefix).is_dir():
            return []
        return _listed(self._store(), prefix)

    def delete(self, name: str) -> None:
        path = self._path(name)
        try:
            with _os_errors(name):
                path.unlink()
                _sync_folder(path.parent)
        except ObjectMissing:
            pass

    def local_path(self, name: str) -> Path:
        path = self._path(name)
        if not path.is_file():
            raise ObjectMissing(name)
        return path

    def scratch(self) -> Path:
        return self._scratch

    def _store(self) -> Any:
        # LocalStore resolves its root when made, and a reader may start before the writer has made it.
        with _os_errors(str(self._root)):
            return LocalStore(prefix=str(self._root))

    def _path(self, name: str) -> Path:
        if any(part in ("", ".", "..") for part in name.split("/")):
            raise AssertionError("an object's name has no empty or dotted part")
        return self._root / name

    def _publish(self, temporary: Path, name: str) -> None:
        path = self._path(name)
        folder = path.parent
        if folder not in self._known:
            _make_folders(folder, self._root)
            self._known.add(folder)
        os.rename(temporary, path)
        _sync_folder(folder)


class RemoteObjects:
    """Objects in a cloud store; segments are fetched whole into a bounded folder, because a reader seeks in them."""

    def __init__(self, store: Any, cache: Path, *, cache_bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._store = store
        self._cache = cache / "fetched"
        self._scratch = cache / "scratch"
        self._cache_bytes_max = cache_bytes_max
        self._cache.mkdir(parents=True, exist_ok=True)
        self._scratch.mkdir(parents=True, exist_ok=True)

    def put(self, name: str, data: bytes) -> None:
        with _os_errors(name):
            obstore.put(self._store, name, data)

    def put_file(self, name: str, path: Path) -> None:
        with _os_errors(name):
            obstore.put(self._store, name, path)
            path.unlink()

    def get(self, name: str) -> bytes:
        with _os_errors(name):
            return bytes(obstore.get(self._store, name).bytes())

    def list(self, prefix: str) -> list[ObjectInfo]:
        return _listed(self._store, prefix)

    def delete(self, name: str) -> None:
        try:
            with _os_errors(name):
                obstore.delete(self._store, name)
        except ObjectMissing:
            pass

    def local_path(self, name: str) -> Path:
        path = self._cache / hashlib.sha256(name.encode()).hexdigest()
        with _os_errors(name):
            if path.is_file():
                os.utime(path)  # the order of the last uses decides what goes first
                return path
            partial = self._scratch / f"{os.getpid()}-{os.urandom(4).hex()}-{path.name}"
            try:
                with open(partial, "wb") as file:
                    for chunk in obstore.get(self._store, name).stream():
                        file.write(chunk)
                os.rename(partial, path)
            finally:
                partial.unlink(missing_ok=True)
            self._evict(path)
        return path

    def scratch(self) -> Path:
        return self._scratch

    def _evict(self, newest: Path) -> None:
        files = sorted(
            (entry.stat().st_atime_ns, entry.stat().st_size, entry.path) for entry in os.scandir(self._cache)
        )
        excess = sum(size for _, size, _ in files) - self._cache_bytes_max
        for _, size, path in files:
            if excess <= 0:
                return
            if path != str(newest):
                Path(path).unlink(missing_ok=True)
                excess -= size


def open_objects(
    location: str, *, options: Mapping[str, Any] | None = None, cache: Path | None = None, read_only: bool = False
) -> ObjectStore:
    """A store by folder or URL (`s3://bucket/prefix`, `gs://…`, `az://…`); `options` go to obstore (endpoint, keys).

    A remote store needs `cache`, a folder for fetched segments.
    """
    if "://" not in location:
        return LocalObjects(Path(location), read_only=read_only)
    if location.startswith("file://"):
        return LocalObjects(Path(location.removeprefix("file://")), read_only=read_only)
    if cache is None:
        raise AssertionError("a remote store needs a cache folder")
    try:
        store = from_url(location, **dict(options or {}))
    except (BaseError, ValueError, TypeError) as exc:
        raise ArchiveError("archive.location", f"{location!r} is not an object store: {exc}") from exc
    return RemoteObjects(store, cache)


def _listed(store: Any, prefix: str) -> list[ObjectInfo]:
    with _os_errors(prefix):
        found = [
            ObjectInfo(str(meta["path"]), int(meta["size"]))
            for chunk in obstore.list(store, prefix=prefix)
            for meta in chunk
        ]
    return sorted(found, key=lambda info: info.name)
