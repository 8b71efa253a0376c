"""The licences of everything that `go build` links into a program of engine/. Standard library only.

For each package that is compiled in: the licence and notice files of its folder and of those above it, up to its module's.
A module without one, or with one that is not known here, stops the build: somebody has to read it first.
"""

# ruff: noqa: S603 -- every command here is a fixed list; no word of it comes from outside

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import setup

__all__ = ["Module", "expression_of", "kinds_of", "linked_modules", "modules_in", "stage"]

_FILE = re.compile(r"(un)?(licen[cs]e|copying|notice|patents)([-_.].*)?", re.IGNORECASE)
_BESIDE = re.compile(r"(notice|patents)", re.IGNORECASE)  # kept with a licence, and none itself

# A sentence of that licence and of no other, or of a file that only names it, without line breaks.
_KINDS = (
    ("Apache-2.0", re.compile(r"Apache License,? Version 2\.0|Apache-2\.0 Software License", re.IGNORECASE)),
    ("MPL-2.0", re.compile(r"Mozilla Public License,? (Version|v\.) ?2\.0", re.IGNORECASE)),
    ("MIT", re.compile(r"Permission is hereby granted, free of charge, to any person|MIT Software License")),
    ("ISC", re.compile(r"Permission to use, copy, modify, and(/or)? distribute this software for any purpose with or")),
    ("CC0-1.0", re.compile(r"CC0 1\.0 Universal")),
)
_BSD = re.compile(r"Redistributions? of source code must retain")
_BSD_3 = re.compile(r"may (not )?be used to endorse or promote products")


@dataclass(frozen=True, slots=True)
class Module:
    """A Go module in a program: its path, version, and licence files by the name under which they are kept."""

    path: str
    version: str
    files: Mapping[str, Path]

    @property
    def kinds(self) -> frozenset[str]:
        """SPDX names of its licences; SetupError when there is none, or one that is not known."""
        found: set[str] = set()
        for name, path in self.files.items():
            if not _BESIDE.match(Path(name).name):
                kinds = kinds_of(path.read_text(encoding="utf-8", errors="replace"))
                # A file may only name those beside it, as go-libp2p's does.
                found |= kinds
        if not found:
            raise setup.SetupError(
                f"{self.path} {self.version} has no licence that scripts/licences.py knows: read {sorted(self.files)}"
            )
        return frozenset(found)


def kinds_of(text: str) -> frozenset[str]:
    """SPDX names of the licences that a text holds; none for a text that is no known licence."""
    flat = " ".join(text.split())
    found = {name for name, sentence in _KINDS if sentence.search(flat)}
    if _BSD.search(flat):
        found.add("BSD-3-Clause" if _BSD_3.search(flat) else "BSD-2-Clause")
    return frozenset(found)


def expression_of(modules: Sequence[Module]) -> str:
    """One SPDX expression for all of them."""
    return " AND ".join(sorted({kind for module in modules for kind in module.kinds}))


def linked_modules(go: str, folder: Path, environment: Mapping[str, str], packages: Sequence[str]) -> list[Module]:
    """The modules of every package that building `packages` compiles, by path, and Go's own library as `std`."""
    listed = _go(go, folder, environment, "list", "-mod=readonly", "-deps", "-json=Dir,Module,Standard", *packages)
    found: dict[tuple[str, str], dict[str, Path]] = {}
    for package in _documents(listed):
        module = package.get("Module")
        if package.get("Standard") or module is None or module.get("Main"):
            continue
        files = found.setdefault((module["Path"], module["Version"]), {})
        top, place = Path(module["Dir"]), Path(package["Dir"])
        for part in (place, *place.parents):
            for path in part.iterdir():
                if path.is_file() and path.suffix != ".go" and _FILE.fullmatch(path.name):
                    files[path.relative_to(top).as_posix()] = path
            if part == top:
                break
    root = Path(_go(go, folder, environment, "env", "GOROOT").strip())
    found[("std", _go(go, folder, environment, "env", "GOVERSION").strip())] = _files_of_go(root)
    return [Module(path, version, files) for (path, version), files in sorted(found.items())]


def modules_in(go: str, program: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """What a program says of itself: path and version of every module in it, and its build settings as `build <name>`."""
    said: dict[str, str] = {}
    for line in _go(go, program.parent, environment, "version", "-m", str(program)).splitlines():
        parts = line.split()
        if len(parts) >= 3 and parts[0] in ("dep", "mod") and parts[2] != "(devel)":
            said[parts[1]] = parts[2]
        elif len(parts) == 2 and parts[0] == "build":
            name, _, value = parts[1].partition("=")
            said[f"build {name}"] = value
    return said


def stage(modules: Sequence[Module], folder: Path) -> None:
    """Copy all licence files below `folder`, with a list of the modules.

    A folder for each module and no deeper ones: the build backend's patterns for licence files do not descend.
    """
    listed = []
    for module in modules:
        place = folder / _flat(f"{module.path}@{module.version}")
        place.mkdir(parents=True)
        for name, path in module.files.items():
            (place / _flat(name)).write_bytes(path.read_bytes())
        listed.append(
            {
                "module": module.path,
                "version": module.version,
                "licences": sorted(module.kinds),
                "files": sorted(f"{place.name}/{_flat(name)}" for name in module.files),
            }
        )
    (folder / "modules.json").write_text(json.dumps(listed, indent=1) + "\n")


def _files_of_go(root: Path) -> dict[str, Path]:
    """Go's own licence. The locked wheel leaves it out, and not the same text in what Go carries of the Go authors' modules."""
    for place in (root, root / "src" / "cmd" / "vendor" / "golang.org" / "x" / "sys"):
        if (place / "LICENSE").is_file():
            return {name: place / name for name in ("LICENSE", "PATENTS") if (place / name).is_file()}
    return {}


def _flat(path: str) -> str:
    return path.replace("/", "_")


def _documents(text: str) -> Iterator[dict[str, Any]]:
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        document, at = decoder.raw_decode(text, at)
        yield document
        while at < len(text) and text[at].isspace():
            at += 1


def _go(go: str, folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [go, *arguments], cwd=folder, env=dict(environment), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise setup.SetupError(f"`go {arguments[0]}` failed: {done.stderr.strip()[:500]}")
    return done.stdout
