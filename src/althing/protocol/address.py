"""Addresses of accounts, their text form, DIDs and names. An address is fixed at creation and survives key rotation."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from althing.protocol.codec import encode
from althing.protocol.errors import EncodingError
from althing.protocol.hashing import DOMAIN_ADDRESS, DOMAIN_KEY, sha256
from althing.protocol.limits import CHAIN_ID_CHARS_MAX, KID_BYTES, NAME_CHARS_MAX
from althing.protocol.signatures import Suite

__all__ = [
    "ADDRESS_BYTES",
    "address_of_key",
    "address_of_name",
    "address_under",
    "did",
    "format_address",
    "is_chain_id",
    "is_name",
    "key_id",
    "parse_address",
    "parse_did",
    "stream_path",
]

ADDRESS_BYTES: Final = 20
_HRP: Final = "al"
_CHARSET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32M: Final = 0x2BC830A3
_ALPHANUMERIC: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?", re.ASCII)
_CHAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)


def address_of_key(suite: Suite, public_key: bytes) -> bytes:
    """The address of an account that was created with this key's own signature: 20 bytes."""
    return sha256(DOMAIN_ADDRESS + encode([int(suite), public_key]))[:ADDRESS_BYTES]


def address_under(owner: bytes, suite: Suite, public_key: bytes) -> bytes:
    """The address of an account that `owner` created with this key alone: nobody takes the place of the key's holder."""
    return sha256(DOMAIN_ADDRESS + encode([owner, int(suite), public_key]))[:ADDRESS_BYTES]


def address_of_name(owner: bytes, kind: str, name: str) -> bytes:
    """The address of an account that `owner` created without a key (a device that cannot sign)."""
    return sha256(DOMAIN_ADDRESS + encode([owner, kind, name]))[:ADDRESS_BYTES]


def key_id(suite: Suite, public_key: bytes) -> bytes:
    """The COSE `kid` of a key: 8 bytes of its hash. A hint that finds a key; the signature proves it."""
    return _key_id(int(suite), public_key)


@lru_cache(maxsize=65536)
def _key_id(suite: int, public_key: bytes) -> bytes:
    return sha256(DOMAIN_KEY + encode([suite, public_key]))[:KID_BYTES]


def format_address(address: bytes) -> str:
    """Text form: bech32m (BIP-350) with prefix `al`, 41 characters, with a checksum against typing errors."""
    if len(address) != ADDRESS_BYTES:
        raise AssertionError("an address has 20 bytes")
    groups = _regroup(address, 8, 5)
    checksum = _polymod([*_expanded_hrp(), *groups, 0, 0, 0, 0, 0, 0]) ^ _BECH32M
    groups += [(checksum >> 5 * (5 - i)) & 31 for i in range(6)]
    return _HRP + "1" + "".join(_CHARSET[group] for group in groups)


def parse_address(text: str) -> bytes:
    """The 20 bytes of a text address, or EncodingError `address.*`."""
    if len(text) != 41 or not text.startswith(_HRP + "1"):
        raise EncodingError("address.form", "an address has 41 characters and begins with al1")
    groups = [_CHARSET.find(char) for char in text[3:]]
    if -1 in groups or _polymod([*_expanded_hrp(), *groups]) != _BECH32M:
        raise EncodingError("address.checksum", "the address has a typing error", hint="compare it with its source")
    return bytes(_regroup(groups[:-6], 5, 8))


def did(chain_id: str, address: bytes) -> str:
    """W3C DID of an account: did:althing:<chain>:<address>."""
    return f"did:althing:{chain_id}:{format_address(address)}"


def parse_did(text: str) -> tuple[str, bytes]:
    """Chain id and address of a DID, or EncodingError `did.form`."""
    parts = text.split(":")
    if len(parts) != 4 or parts[:2] != ["did", "althing"] or not is_chain_id(parts[2]):
        raise EncodingError("did.form", "expected did:althing:<chain>:<address>")
    return parts[2], parse_address(parts[3])


def is_name(text: object) -> bool:
    """Names of devices, streams and organisations: lower-case ASCII letters, digits, and . _ - inside; 1 to 63 characters."""
    if type(text) is not str or not 0 < len(text) <= NAME_CHARS_MAX:
        return False
    # Most names have nothing but letters and digits, which is seen faster so.
    return not text.strip(_ALPHANUMERIC) or _NAME.fullmatch(text) is not None


def is_chain_id(text: object) -> bool:
    """Chain ids: lower-case ASCII letters, digits, and - inside; 1 to 50 characters (CometBFT's limit)."""
    return type(text) is str and len(text) <= CHAIN_ID_CHARS_MAX and _CHAIN.fullmatch(text) is not None


def stream_path(text: object) -> tuple[str, str]:
    """Device and stream name of a stream's path `<device>/<stream>`, or EncodingError `stream.path`."""
    if type(text) is str:
        device, slash, stream = text.partition("/")
        if slash and is_name(device) and is_name(stream):
            return device, stream
    raise EncodingError(
        "stream.path",
        "a stream is named <device>/<stream>, both of a-z, 0-9, dot, dash and underscore",
        hint="list them: althing stream list",
    )


def _expanded_hrp() -> list[int]:
    return [ord(char) >> 5 for char in _HRP] + [0] + [ord(char) & 31 for char in _HRP]


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            if top >> i & 1:
                checksum ^= generator
    return checksum


def _regroup(data: bytes | list[int], from_bits: int, to_bits: int) -> list[int]:
    # 160 bits divide evenly by 8 and by 5, so there is never padding to check.
    number = 0
    for value in data:
        number = number << from_bits | value
    count = len(data) * from_bits // to_bits
    return [number >> to_bits * (count - 1 - i) & ((1 << to_bits) - 1) for i in range(count)]
