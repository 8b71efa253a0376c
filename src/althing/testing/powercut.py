"""Power cuts for a folder: a preloaded library keeps what is durable in a shadow; a cut puts the shadow in its place.

The C source (tests/simulation/powercut/powercut.c) says what counts as durable. A cut is strict, so everything that was
not fsynced is gone, or torn: of what was not fsynced a random part is there, sector by sector and folder by folder, as
a real disk may have written it. ADR 0050 has the reasons and what was compared.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path
from random import Random
from typing import Final

__all__ = ["PowerCut", "build_library"]

_SECTOR: Final = 512


def build_library(compiler: str, source: Path, folder: Path) -> Path:
    """Compile the library into `folder`; CalledProcessError with the compiler's words if that fails."""
    library = folder / "powercut.so"
    subprocess.run(  # noqa: S603 -- the compiler that the test asked for
        [compiler, "-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", str(library), str(source), "-lpthread"],
        check=True,
        capture_output=True,
        text=True,
    )
    return library


class PowerCut:
    """What is durable of `home`. Everything in it when this is made counts as durable.

    `home` and `folder`, which is for the shadow alone, lie on one file system that keeps birth times.
    """

    def __init__(self, library: Path, home: Path, folder: Path) -> None:
        self._library = library
        self._calls = ctypes.CDLL(str(library))
        self._home = home.resolve()
        self._folder = folder.resolve()
        self._shadow = self._folder / "shadow"
        self._full = self._folder / "full"
        self._folder.mkdir(parents=True)
        self._adopt()

    @property
    def environment(self) -> dict[str, str]:
        """For every process that writes below the home."""
        return {
            "LD_PRELOAD": str(self._library),
            "ALTHING_POWERCUT_PREFIX": str(self._home),
            "ALTHING_POWERCUT_SHADOW": str(self._shadow),
            "ALTHING_POWERCUT_FULL": str(self._full),
        }

    def record(self, path: Path) -> None:
        """A file that a process without the library has written, and its name, are durable."""
        self._record(path, self._shadow)
        self._record(path.parent, self._shadow)

    def record_folder(self, path: Path) -> None:
        """The names in a folder are durable, what the files hold is not thereby."""
        self._record(path, self._shadow)

    def fill(self) -> None:
        """From now on the disk takes nothing more."""
        self._full.touch()

    def free(self) -> None:
        """The disk has room again."""
        self._full.unlink(missing_ok=True)

    def cut(self, torn: Random | None = None) -> int:
        """Leave of the home what a power cut would leave, and go on from there; how many files it changed or took.

        Every process that writes there has ended before. With `torn`, see the head of this file.
        """
        latest = self._folder / "latest"
        _empty(latest)
        self._record_all(self._home, latest)
        root = self._identity(self._home)
        before, cut = self._folder / "before", self._folder / "after"
        rebuilding = _Rebuilding(self._shadow, latest, torn)
        rebuilding.folder(root, cut)
        os.rename(self._home, before)
        os.rename(cut, self._home)
        shutil.rmtree(before)
        self._adopt()
        return rebuilding.lost

    def _adopt(self) -> None:
        _empty(self._shadow)
        self._record_all(self._home, self._shadow)

    def _record_all(self, top: Path, shadow: Path) -> None:
        self._record(top, shadow)
        for path in sorted(top.rglob("*")):
            if path.is_dir() or path.is_file():
                self._record(path, shadow)

    def _record(self, path: Path, shadow: Path) -> None:
        if self._calls.powercut_record(os.fsencode(path), os.fsencode(shadow)) != 0:
            raise OSError(f"{path} cannot be recorded")

    def _identity(self, path: Path) -> str:
        text = ctypes.create_string_buffer(64)
        if self._calls.powercut_identity(os.fsencode(path), text) != 0:
            raise OSError(f"{path} has no identity")
        return text.value.decode()


class _Rebuilding:
    """Makes a tree of what is durable, and of a random part of the rest."""

    def __init__(self, shadow: Path, latest: Path, torn: Random | None) -> None:
        self._shadow = shadow
        self._latest = latest
        self._torn = torn
        self.lost = 0

    def folder(self, identity: str, at: Path) -> None:
        at.mkdir()
        durable = self._names(self._shadow, identity)
        latest = self._names(self._latest, identity)
        chosen = durable
        if self._torn is not None and durable != latest and self._torn.random() < 0.5:
            chosen = latest
        self.lost += len(set(latest) ^ set(chosen))
        for kind, mode, entry, name in sorted(chosen, key=lambda one: one[3]):
            path = at / name
            if kind == "d":
                self.folder(entry, path)
            elif kind == "f":
                path.write_bytes(self._bytes(entry))
            path.chmod(mode)

    @staticmethod
    def _names(shadow: Path, identity: str) -> list[tuple[str, int, str, str]]:
        try:
            text = (shadow / "folders" / identity).read_text()
        except FileNotFoundError:
            return []  # never fsynced: an empty folder
        found = []
        for line in text.splitlines():
            kind, mode, entry, name = line.split(" ", 3)
            if kind != "o":
                found.append((kind, int(mode, 8), entry, name))
        return found

    def _bytes(self, identity: str) -> bytes:
        durable, latest = _read(self._shadow / "files" / identity), _read(self._latest / "files" / identity)
        if latest is None:  # deleted, but its name was not fsynced away
            return durable or b""
        if durable == latest:
            return latest
        self.lost += 1
        if self._torn is None or self._torn.random() < 0.5:
            return durable or b""
        return _mixed(durable or b"", latest, self._torn)


def _mixed(old: bytes, new: bytes, random: Random) -> bytes:
    """Some sectors of each, at one of both sizes."""
    size = random.choice((len(old), len(new)))
    mixed = bytearray(old[:size].ljust(size, b"\0"))
    part = random.choice((0.1, 0.5, 0.9))
    for at in range(0, min(size, len(new)), _SECTOR):
        sector = new[at : min(at + _SECTOR, size)]
        if sector != mixed[at : at + len(sector)] and random.random() < part:
            mixed[at : at + len(sector)] = sector
    return bytes(mixed)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _empty(shadow: Path) -> None:
    if shadow.exists():
        shutil.rmtree(shadow)
    for part in ("files", "folders"):
        (shadow / part).mkdir(parents=True)
