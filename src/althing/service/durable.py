"""Names that survive a power cut: a file's fsync saves its bytes, only its folder's fsync saves that it is there."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["make_folders", "sync_folder", "write_file", "write_secret"]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path, *, mode: int = 0o777) -> None:
    """Make a folder and those above it that are missing, all of them durable when this returns.

    The folder's own name is made durable even if it is there: who made it may have died before that.
    """
    missing = []
    at = folder
    while not at.is_dir():
        missing.append(at)
        at = at.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True, mode=mode)
        sync_folder(path.parent)
    if not missing:
        sync_folder(folder.parent)


def write_file(path: Path, data: bytes) -> None:
    """Replace a small file: after a crash it is the old or the new one, whole."""
    _replace(path, data, 0o666)


def write_secret(path: Path, data: bytes) -> None:
    """The same for what only its owner may read, from its first moment on."""
    _replace(path, data, 0o600)


def _replace(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
