"""A home made again from a backup, after everything in it has been verified (docs/operate/backup.md)."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from althing.client.keyfile import unseal
from althing.ledger.state.loading import StateLoader
from althing.ledger.state.store import StateStore
from althing.light.blocks import LightBlock
from althing.light.following import follow_by_skipping
from althing.light.headers import Freshness
from althing.light.verification import verify_first
from althing.node.backup import KEY_FILES, PART_BYTES, BackupError, Manifest, parts_of, read_manifest
from althing.node.home import Home, HomeError, load_or_generate_key
from althing.node.offline import newest_sign_state, put_sign_state, shares_consensus, stored_blocks
from althing.node.trustway import BlockSource
from althing.protocol.errors import AlthingError, ProtocolError, StateError
from althing.protocol.genesis import genesis_hash
from althing.protocol.messages.governance import Genesis
from althing.protocol.trust import Trust, parse_trust
from althing.service.durable import make_folders, write_file, write_secret
from althing.storage.lmdb import LmdbBackend

__all__ = ["Restored", "restore"]

_GENESIS: Final = "genesis.cbor"
_VALIDATOR_KEY: Final = KEY_FILES[1]
_KEYS_BYTES_MAX: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Restored:
    """The state's height that was verified and its root, the header trusted to begin with, and keys put back."""

    chain_id: str
    height: int
    app_hash: bytes
    trusted_height: int
    keys: tuple[str, ...]
    left_out: tuple[str, ...]


def restore(
    folder: Path,
    home: Home,
    *,
    trust: bytes | None = None,
    passphrase: str | None = None,
    sign_state: bytes | None = None,
    told: Callable[[str], None] = lambda _path: None,
) -> Restored:
    """Make `home` from a backup; nothing is overwritten, and begun again it goes on with what is there.

    1. Each part of each file has the hash that the manifest names.
    2. The genesis is that of the trust file: `trust`, or else the backup's own.
    3. A header follows from the trusted one, signed by two thirds; its `app_hash` is the root over all of the state,
       computed anew.
    4. Keys, with a passphrase; the validator's of a chain with others only with `sign_state`, what it signed last: the newer
       of that and the backup's is put in place, never an older one over a newer.
    Last the genesis: a home that was not finished has none. BackupError `backup.*`; HomeError `home.exists`.
    """
    if home.genesis_file.exists():
        raise HomeError("home.exists", f"{home.path} is a home already", hint="restore into a new folder")
    manifest = read_manifest(folder)
    for name in manifest.files:  # 1.
        told(name)
        _place(folder / "files" / name, home.path / name if name != _GENESIS else None, name, manifest)
    genesis = _genesis(folder, manifest)  # 2.
    pinned = _trust(folder, trust, manifest)
    with stored_blocks(home) as blocks:
        height, root = _verify(home, genesis.chain_id, blocks, pinned)  # 3.
    held = shares_consensus(home)
    done, left = _keys(folder, home, manifest, passphrase, validator=not held or sign_state is not None)  # 4.
    if held and sign_state is not None:
        put_sign_state(home, newest_sign_state(home, sign_state))
    load_or_generate_key(home.node_key_file)
    make_folders(home.path)
    write_file(home.genesis_file, (folder / "files" / _GENESIS).read_bytes())
    return Restored(genesis.chain_id, height, root, pinned.height, done, left)


def _place(source: Path, target: Path | None, name: str, manifest: Manifest) -> None:
    """Copy a file part by part, each verified before it is written; one that is there and whole stays."""
    size, parts = manifest.files[name]
    if target is not None and target.is_file() and tuple(parts_of(target)) == parts:
        return
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with source.open("rb") as file:
            out = None if target is None else target.with_name(target.name + ".new").open("wb")
            try:
                for number, expected in enumerate(parts):
                    part = file.read(PART_BYTES)
                    if sha256(part).digest() != expected:
                        raise _damaged(name, f"part {number + 1} of {len(parts)} is not what was backed up")
                    if out is not None:
                        out.write(part)
                if file.read(1) or source.stat().st_size != size:
                    raise _damaged(name, "it is longer than what was backed up")
            finally:
                if out is not None:
                    out.close()
    except OSError as error:
        raise _damaged(name, error.strerror or str(error)) from error
    if target is not None:
        target.with_name(target.name + ".new").replace(target)


def _damaged(name: str, why: str) -> BackupError:
    return BackupError("backup.damaged", f"{name}: {why}", hint="take another copy of the backup; nothing was started")


def _genesis(folder: Path, manifest: Manifest) -> Genesis:
    if _GENESIS not in manifest.files:
        raise BackupError("backup.form", "the backup has no genesis")
    try:
        genesis = Genesis.from_bytes((folder / "files" / _GENESIS).read_bytes())
    except ProtocolError as error:
        raise _damaged(_GENESIS, "it is no genesis record") from error
    if (genesis_hash(genesis), genesis.chain_id) != (manifest.genesis_hash, manifest.chain_id):
        raise _damaged(_GENESIS, "it is of another chain than the manifest")
    return genesis


def _trust(folder: Path, given: bytes | None, manifest: Manifest) -> Trust:
    own = folder / "files" / "trust.json"
    if given is None and not own.is_file():
        raise BackupError("backup.trust", "the backup has no trust file", hint="give one you believe: --trust")
    trust = parse_trust(own.read_bytes() if given is None else given)
    if trust.genesis_hash != manifest.genesis_hash:
        raise BackupError("backup.trust", "the trust file is of another chain than the backup")
    return trust


def _verify(home: Home, chain_id: str, blocks: BlockSource, trust: Trust) -> tuple[int, bytes]:
    backend = LmdbBackend(home.state_dir, readonly=True)
    try:
        store = StateStore(backend)
        latest = store.latest_version
        oldest = store.oldest_version
        if latest is None or oldest is None or blocks.latest_height < 2:
            raise BackupError("backup.state", "the backup has no state with a header over it")
        height = min(latest, blocks.latest_height - 1)
        if height < oldest:
            raise BackupError("backup.state", f"the stored headers end at {height + 1}, the state begins at {oldest}")
        try:
            header = _followed(chain_id, blocks, trust, height + 1)
            root = _root(home, store, height, header)
        except (ProtocolError, StateError) as error:
            raise BackupError(
                "backup.state", f"the state of height {height} is not what its chain names: {error.message}"
            ) from error
        return height, root
    finally:
        backend.close()


def _followed(chain_id: str, blocks: BlockSource, trust: Trust, height: int) -> bytes:
    """The app hash of the header of a height, which follows from the trusted one."""
    target = _light(blocks, height)
    if trust.height > height:
        raise BackupError(
            "backup.trust",
            f"the trust file begins at height {trust.height}, the backup ends at {height}",
            hint="give an older trust file, such as the backup's own",
        )
    trusted = _light(blocks, trust.height)
    if trusted.hash != trust.header_hash or trusted.validators != trust.validators:
        raise BackupError("backup.trust", f"the trust file names another block at height {trust.height}")
    verify_first(chain_id, trusted)
    if height > trust.height:
        # Offline: how old the trusted header is, is for the operator to judge.
        ages = Freshness(target.header.time, 2**62)
        following = follow_by_skipping(trusted, target, ages)
        try:
            wanted = next(following)
            while True:
                wanted = following.send(_light(blocks, wanted))
        except StopIteration:
            pass
    return target.header.app_hash


def _light(blocks: BlockSource, height: int) -> LightBlock:
    try:
        return LightBlock(blocks.signed_header(height), blocks.validators(height))
    except AlthingError as error:
        raise BackupError("backup.state", f"the header of height {height} is not in the backup") from error


def _root(home: Home, store: StateStore, height: int, expected: bytes) -> bytes:
    """Load every entry into an empty tree beside: its root is computed, not read."""
    scratch = Path(tempfile.mkdtemp(prefix="verify-", dir=home.path / "node"))
    try:
        backend = LmdbBackend(scratch / "state", durable=False)
        try:
            loader = StateLoader(backend, height)
            loader.add(store.iterate(height))
            loader.finish(expected, {})
        finally:
            backend.close()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return expected


def _keys(
    folder: Path, home: Home, manifest: Manifest, passphrase: str | None, *, validator: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of keys put back, and of those left out."""
    if passphrase is None:
        return (), ()
    if not manifest.keys:
        raise BackupError("backup.keys", "the backup has no keys", hint="restore without a passphrase")
    try:
        with (folder / "keys.json").open("rb") as file:
            sealed: Any = json.loads(file.read(_KEYS_BYTES_MAX))
        found = json.loads(unseal(sealed, passphrase, manifest.genesis_hash))
        keys = {str(name): base64.b64decode(text, validate=True) for name, text in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError("backup.keys", "the keys cannot be read") from error
    done, left = [], []
    for name, data in sorted(keys.items()):
        path = Path(name)
        if name not in KEY_FILES and (path.parts[:1] != ("wallet",) or ".." in path.parts):
            raise BackupError("backup.keys", f"{name!r} is no place for a key")
        if name == _VALIDATOR_KEY and not validator:
            left.append(name)
            continue
        target = home.path / path
        make_folders(target.parent, mode=0o700)
        write_secret(target, data)
        done.append(name)
    return tuple(done), tuple(left)
