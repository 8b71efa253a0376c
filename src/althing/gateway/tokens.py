"""Devices' and operators' tokens: 256 random bits each, kept as SHA-256 in one file of mode 0600.

Tokens are random, so a slow hash would add nothing. A running gateway notices changes within a second.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import structlog

from althing.gateway.errors import SettingsError
from althing.gateway.ingest.port import Principal
from althing.gateway.spool.segment import write_atomically
from althing.protocol.address import is_name

__all__ = ["Token", "TokenStore"]

_log = structlog.get_logger("althing.gateway.tokens")

_PREFIX: Final = "alt_"  # lets secret scanners find a leaked one
_FILE_BYTES_MAX: Final = 64 * 1024 * 1024
_LOOK_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token. `device` is empty for an operator's; `id` names it in lists and for revoking."""

    id: str
    device: str
    organisation: str
    sha256: str
    created: int


class TokenStore:
    """The file `tokens.json`. `check` looks for changes by itself, at most once a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by_hash: dict[bytes, Token] = {}
        self._stamp: tuple[int, int, int] | None = None
        self._looked = -_LOOK_EVERY_S
        self.reload()

    def add(self, device: str, organisation: str = "") -> str:
        """Make a token for a device ("" for an operator) and return it: the only time that it is known."""
        if device and not is_name(device):
            raise SettingsError("gateway.tokens", f"{device!r} is not a device's name")
        self.reload()
        text = _PREFIX + secrets.token_urlsafe(32)
        digest = _digest(text)
        token = Token(digest.hex()[:12], device, organisation, digest.hex(), time.time_ns() // 1_000_000_000)
        self._by_hash[digest] = token
        self._save()
        return text

    def revoke(self, name: str) -> int:
        """Revoke the token of this id, or all tokens of this device; how many there were."""
        self.reload()
        gone = [digest for digest, token in self._by_hash.items() if name in (token.id, token.device)]
        for digest in gone:
            del self._by_hash[digest]
        if gone:
            self._save()
        return len(gone)

    def tokens(self) -> list[Token]:
        """All tokens, by age."""
        self.reload()
        return sorted(self._by_hash.values(), key=lambda token: (token.created, token.id))

    def check(self, text: str) -> Principal | None:
        """Who shows this token; None when it is not one of ours."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_EVERY_S:
            self._looked = now
            try:
                self.reload()
            except (SettingsError, OSError) as error:
                # Whoever was known stays known; a file that cannot be read lets nobody new in.
                _log.error("tokens not reloaded", reason=str(error))
        digest = _digest(text)
        token = self._by_hash.get(digest)
        if token is None or not hmac.compare_digest(bytes.fromhex(token.sha256), digest):
            return None
        return Principal(token.device, token.organisation, "token")

    def reload(self) -> None:
        """Look at the file now. SettingsError when it cannot be read or may be read by others."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            self._by_hash, self._stamp = {}, None
            return
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp == self._stamp:
            return
        if found.st_mode & 0o077:
            raise SettingsError("gateway.tokens", f"{self._path} can be read by others", hint=f"chmod 600 {self._path}")
        if found.st_size > _FILE_BYTES_MAX:
            raise SettingsError("gateway.tokens", f"{self._path} is too large to be a file of tokens")
        try:
            document = json.loads(self._path.read_bytes())
            if document["version"] != 1:
                raise ValueError("unknown version")
            tokens = [Token(**item) for item in document["tokens"]]
            self._by_hash = {bytes.fromhex(token.sha256): token for token in tokens}
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError("gateway.tokens", f"{self._path} cannot be read: {error}") from error
        self._stamp = stamp

    def _save(self) -> None:
        tokens = [asdict(token) for token in self._by_hash.values()]
        write_atomically(self._path, (json.dumps({"version": 1, "tokens": tokens}, indent=1) + "\n").encode())
        found = os.stat(self._path)
        self._stamp = (found.st_mtime_ns, found.st_size, found.st_ino)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
