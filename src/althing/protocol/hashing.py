"""SHA-256 and the domain strings that keep one kind of hash or signature from passing for another."""

from __future__ import annotations

from hashlib import sha256 as _sha256
from typing import Final

__all__ = ["DOMAIN_ADDRESS", "DOMAIN_BUNDLE", "DOMAIN_KEY", "DOMAIN_MESSAGE", "DOMAIN_TX", "sha256"]

DOMAIN_TX: Final = b"althing/tx/v1"
DOMAIN_BUNDLE: Final = b"althing/bundle/v1"
DOMAIN_MESSAGE: Final = b"althing/message/v1"
DOMAIN_KEY: Final = b"althing/key/v1"
DOMAIN_ADDRESS: Final = b"althing/address/v1"


def sha256(data: bytes) -> bytes:
    """SHA-256 (FIPS 180-4), 32 bytes."""
    return _sha256(data).digest()
