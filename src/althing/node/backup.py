"""A backup of a home: copies of its files, and the hash of every part of them (docs/operate/backup.md).

<folder>/backup.json     what it is of, and the SHA-256 of each part of each file
<folder>/files/…         the files, placed as in the home
<folder>/keys.json       private keys, encrypted; only on demand

Not in it: the gateway's spool, of which an old copy must never run, and what is made again (index, snapshots).
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, Final

from althing.client.keyfile import seal
from althing.node.home import Home, HomeError
from althing.node.offline import copy_stores
from althing.protocol.errors import AlthingError
from althing.protocol.genesis import genesis_hash
from althing.service.durable import make_folders, write_file, write_secret

__all__ = ["FORMAT", "KEY_FILES", "PART_BYTES", "BackupError", "Manifest", "back_up", "parts_of", "read_manifest"]

FORMAT: Final = "althing-backup/1"
PART_BYTES: Final = 32 * 1024 * 1024
_MANIFEST: Final = "backup.json"
_MANIFEST_BYTES_MAX: Final = 256 * 1024 * 1024
_SMALL: Final = ("genesis.cbor", "carried.json", "trust.json", "config.toml", "gateway/tokens.json")
KEY_FILES: Final = (
    "node/node_key.json",
    "node/priv_validator_key.json",
    "node/blocks/config/node_key.json",
    "gateway/gateway_key.json",
)
_WALLET: Final = "wallet"


class BackupError(AlthingError):
    """A backup cannot be made or used: `backup.exists`, `.missing`, `.form`, `.damaged`, `.state`, `.trust`, `.keys`."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is of. `files`: path in the home → bytes and the hashes of its parts, in order."""

    chain_id: str
    genesis_hash: bytes
    files: dict[str, tuple[int, tuple[bytes, ...]]]
    keys: bool

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(size for size, _ in self.files.values())


def back_up(
    home: Home,
    folder: Path,
    *,
    passphrase: str | None = None,
    archive: bool = True,
    told: Callable[[str], None] = lambda _path: None,
) -> Manifest:
    """Back a home up, whether its node runs or not. With a passphrase its keys too, encrypted with it.

    1. Copies: state before blocks, so that blocks reach at least as far, and the node executes the rest at its start.
    2. Hashes of all parts. 3. Last the manifest: a folder without one is no backup; begun again, it goes on.
    BackupError `backup.exists`.
    """
    genesis = home.genesis()
    if (folder / _MANIFEST).exists():
        raise BackupError("backup.exists", f"{folder} holds a backup already", hint="name another folder")
    if not home.state_dir.is_dir():
        raise HomeError("home.missing", f"the node of {home.path} has never run: there is nothing to back up")
    files = folder / "files"
    make_folders(files, mode=0o700)
    copy_stores(home, files / "node")  # 1.
    for path in _others(home, archive=archive):
        _copy(home.path / path, files / path)
    listed = {}
    for file in sorted(path for path in files.rglob("*") if path.is_file()):  # 2.
        name = file.relative_to(files).as_posix()
        told(name)
        listed[name] = (file.stat().st_size, tuple(digest for digest in parts_of(file)))
    manifest = Manifest(genesis.chain_id, genesis_hash(genesis), listed, passphrase is not None)
    if passphrase is not None:
        sealed = seal(json.dumps(_keys(home)).encode(), passphrase, manifest.genesis_hash)
        write_secret(folder / "keys.json", (json.dumps(sealed) + "\n").encode())
    write_file(folder / _MANIFEST, _format(manifest))  # 3.
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup, its form checked; BackupError `backup.missing`, `backup.form`."""
    try:
        with (folder / _MANIFEST).open("rb") as file:
            data = file.read(_MANIFEST_BYTES_MAX + 1)
    except OSError as error:
        raise BackupError("backup.missing", f"{folder} is no backup: it has no {_MANIFEST}") from error
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise ValueError(f"another format than {FORMAT}")
        found = {
            _safe(name): (int(entry["bytes"]), tuple(bytes.fromhex(part) for part in entry["parts"]))
            for name, entry in document["files"].items()
        }
        digest = bytes.fromhex(document["genesis_hash"])
        return Manifest(str(document["chain_id"]), digest, found, bool(document["keys"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError("backup.form", f"{folder / _MANIFEST} cannot be read: {error}") from error


def parts_of(file: Path) -> Iterator[bytes]:
    """SHA-256 of each part of a file, in order; an empty file has none."""
    with file.open("rb") as source:
        while part := source.read(PART_BYTES):
            yield sha256(part).digest()


def _safe(name: str) -> str:
    """A path that stays below the folder it is put into."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or path.as_posix() != name:
        raise ValueError(f"{name!r} is no path of a home")
    return name


def _format(manifest: Manifest) -> bytes:
    document: dict[str, Any] = {
        "format": FORMAT,
        "chain_id": manifest.chain_id,
        "genesis_hash": manifest.genesis_hash.hex(),
        "keys": manifest.keys,
        "files": {
            name: {"bytes": size, "parts": [part.hex() for part in parts]}
            for name, (size, parts) in manifest.files.items()
        },
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def _others(home: Home, *, archive: bool) -> Iterator[str]:
    for name in _SMALL:
        if (home.path / name).is_file():
            yield name
    folders = [home.gateway_dir / "certificates", *([home.archive_dir] if archive else [])]
    for folder in folders:
        if folder.is_dir():
            for path in sorted(folder.rglob("*")):
                if path.is_file() and not path.name.startswith("."):
                    yield path.relative_to(home.path).as_posix()


def _copy(source: Path, target: Path) -> None:
    """Segments never change once written, so one of the same size is there from an interrupted run."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if source.parts[-2] == "archive" and target.is_file() and target.stat().st_size == source.stat().st_size:
            return
        shutil.copyfile(source, target)
    except FileNotFoundError:
        target.unlink(missing_ok=True)  # compacted away meanwhile: what took its place is listed too, or is newer


def _keys(home: Home) -> dict[str, str]:
    names = [name for name in KEY_FILES if (home.path / name).is_file()]
    wallet = home.path / _WALLET
    if wallet.is_dir():
        names += [path.relative_to(home.path).as_posix() for path in sorted(wallet.rglob("*.json"))]
    return {name: base64.b64encode((home.path / name).read_bytes()).decode() for name in names}
