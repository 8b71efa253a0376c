"""Private keys on disk: one JSON file each, mode 0600, encrypted when a passphrase is given (scrypt, ChaCha20-Poly1305)."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from althing.protocol.address import address_of_key, format_address
from althing.protocol.errors import AlthingError
from althing.protocol.signatures import P256_ORDER, PrivateKey, Suite
from althing.service.durable import make_folders, sync_folder

__all__ = ["FORMAT", "KeyFileError", "generate_key", "load_key", "save_key", "seal", "unseal"]

FORMAT: Final = "althing-key/1"
_NAMES: Final = {Suite.ED25519: "Ed25519", Suite.ES256: "P-256"}
_SCRYPT_N: Final = 2**17  # about 0.3 s and 128 MB: RFC 7914's interactive setting, raised for files that lie around
_BYTES_MAX: Final = 64 * 1024


class KeyFileError(AlthingError):
    """A key file cannot be read or written: `key.missing`, `.exists`, `.mode`, `.form`, `.passphrase`."""


def generate_key(suite: Suite = Suite.ED25519) -> PrivateKey:
    """A new key from the operating system's randomness."""
    while True:
        seed = secrets.token_bytes(32)
        if suite == Suite.ED25519 or 0 < int.from_bytes(seed, "big") < P256_ORDER:
            return PrivateKey(suite, seed)


def save_key(path: Path, key: PrivateKey, *, passphrase: str | None = None) -> None:
    """Write a new file, mode 0600 from its first moment, durable on return; never over an existing one."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "suite": _NAMES[key.suite],
        "public": key.public.hex(),
        "address": format_address(address_of_key(key.suite, key.public)),
    }
    if passphrase is None:
        document["secret"] = key.seed.hex()
    else:
        document["encrypted"] = seal(key.seed, passphrase, key.public)
    make_folders(path.parent, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as exc:
        raise KeyFileError(
            "key.exists", f"{path} exists already", hint="a key is never overwritten; move it away"
        ) from exc
    with os.fdopen(descriptor, "wb") as file:
        file.write((json.dumps(document, indent=2) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def load_key(path: Path, *, passphrase: str | None = None) -> PrivateKey:
    """The key of a file. A file that others can read is refused unless it is encrypted."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            data = file.read(_BYTES_MAX)
    except FileNotFoundError as exc:
        raise KeyFileError("key.missing", f"there is no key file {path}") from exc
    try:
        document = json.loads(data)
        suite = {name: suite for suite, name in _NAMES.items()}[document["suite"]]
        if document["format"] != FORMAT:
            raise ValueError("format")
        public = bytes.fromhex(document["public"])
        sealed = document.get("encrypted")
        if sealed is None:
            if mode & 0o077:
                raise KeyFileError("key.mode", f"{path} can be read by others", hint=f"chmod 600 {path}")
            seed = bytes.fromhex(document["secret"])
        else:
            if passphrase is None:
                raise KeyFileError(
                    "key.passphrase", f"{path} is encrypted", hint="give its passphrase (ALTHING_PASSPHRASE)"
                )
            seed = unseal(sealed, passphrase, public)
        key = PrivateKey(suite, seed)
    except (ValueError, KeyError, TypeError) as exc:
        raise KeyFileError("key.form", f"{path} is not a key file of format {FORMAT}") from exc
    if key.public != public:
        raise KeyFileError("key.form", f"{path}: the public key is not that of the secret")
    return key


def seal(secret: bytes, passphrase: str, bound_to: bytes) -> dict[str, Any]:
    """Encrypt for a passphrase (scrypt, ChaCha20-Poly1305); opens only with the same `bound_to`, which is not secret."""
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    sealed = ChaCha20Poly1305(_derive(passphrase, salt, _SCRYPT_N)).encrypt(nonce, secret, bound_to)
    return {
        "kdf": "scrypt",
        "n": _SCRYPT_N,
        "salt": salt.hex(),
        "cipher": "chacha20-poly1305",
        "nonce": nonce.hex(),
        "ciphertext": sealed.hex(),
    }


def unseal(sealed: dict[str, Any], passphrase: str, bound_to: bytes) -> bytes:
    """What `seal` has sealed. KeyFileError `key.passphrase`; ValueError, KeyError or TypeError for what it never wrote."""
    if (
        sealed["kdf"] != "scrypt"
        or sealed["cipher"] != "chacha20-poly1305"
        or sealed["n"] not in (2**15, 2**16, 2**17, 2**18)
    ):
        raise ValueError("unknown encryption")
    derived = _derive(passphrase, bytes.fromhex(sealed["salt"]), sealed["n"])
    try:
        return ChaCha20Poly1305(derived).decrypt(
            bytes.fromhex(sealed["nonce"]), bytes.fromhex(sealed["ciphertext"]), bound_to
        )
    except InvalidTag as exc:
        raise KeyFileError("key.passphrase", "the passphrase does not open it") from exc


def _derive(passphrase: str, salt: bytes, n: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=n, r=8, p=1).derive(passphrase.encode())
