"""A second verifier of proof files, written from `docs/spec/proof.md` alone.

It shares no line with the package: the standard library and `cryptography` (for the two signature algorithms) are all it
uses. Where both verifiers agree on the vectors, the page says enough; section numbers below are those of that page.

    python tests/independent/althing_verify.py PROOF --trust TRUST [--require device]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeAlias, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

Cbor: TypeAlias = "int | bytes | str | bool | list[Cbor] | dict[int | bytes | str, Cbor] | None"
T = TypeVar("T")

UINT_MAX = 2**63 - 1
POWER_MAX = (2**63 - 1) // 8
EMPTY = bytes(32)
ED25519, ES256 = -8, -7
NAME = r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?"
CHAIN_ID = r"[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?"
STEPS = ["form", "chain", "batch", "log", "stream", "key_record", "origin", "header", "trust"]
CODES = ["trust.form", *(f"proof.{name}" for name in STEPS)]


class Refused(Exception):
    """The first step that did not hold; step 0 is the form of the trust file."""

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(f"step {step}, {CODES[step]}: {reason}")
        self.step = step
        self.code = CODES[step]
        self.reason = reason


class Bad(ValueError):
    """Something does not hold; the step it belongs to is known further out."""


def need(condition: bool, reason: str) -> None:
    if not condition:
        raise Bad(reason)


def digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


# --- 4.1 deterministic CBOR ------------------------------------------------------------------------------------------


class CborReader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        need(size <= len(self.data) - self.at, "CBOR ends early")
        self.at += size
        return self.data[self.at - size : self.at]

    def head(self) -> tuple[int, int]:
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if info < 24:
            return major, info
        need(info < 28, "CBOR head is reserved or of indefinite length")
        width = 1 << (info - 24)
        argument = int.from_bytes(self.take(width), "big")
        need(major == 7 or argument >= (24, 1 << 8, 1 << 16, 1 << 32)[info - 24], "CBOR head is not the shortest")
        return major, -1 if major == 7 else argument

    def item(self, levels: int) -> Cbor:
        major, argument = self.head()
        if major == 0:
            return argument
        if major == 1:
            need(argument < 2**63, "CBOR integer is too small")
            return -1 - argument
        if major == 2:
            return self.take(argument)
        if major == 3:
            return self.text(argument)
        if major == 7:
            return simple(argument)
        need(major != 6, "CBOR tag")
        need(levels > 0, "CBOR is nested too deep")
        return self.array(argument, levels - 1) if major == 4 else self.map(argument, levels - 1)

    def text(self, size: int) -> str:
        try:
            return self.take(size).decode()
        except UnicodeDecodeError:
            raise Bad("CBOR text is not UTF-8") from None

    def array(self, count: int, levels: int) -> list[Cbor]:
        need(count <= len(self.data) - self.at, "CBOR array ends early")
        return [self.item(levels) for _ in range(count)]

    def map(self, count: int, levels: int) -> dict[int | bytes | str, Cbor]:
        need(2 * count <= len(self.data) - self.at, "CBOR map ends early")
        result: dict[int | bytes | str, Cbor] = {}
        before = b""
        for _ in range(count):
            start = self.at
            key = self.item(0)
            need(isinstance(key, int | bytes | str) and not isinstance(key, bool), "CBOR map key of another type")
            assert isinstance(key, int | bytes | str)
            encoded = self.data[start : self.at]
            need(encoded > before, "CBOR map keys are not in order")
            before = encoded
            result[key] = self.item(levels)
        return result


def simple(argument: int) -> bool | None:
    need(argument in (20, 21, 22), "CBOR float or simple value")
    return {20: False, 21: True, 22: None}[argument]


def cbor(data: bytes, levels: int = 16) -> Cbor:
    reader = CborReader(data)
    value = reader.item(levels)
    need(reader.at == len(data), "bytes after the CBOR item")
    return value


def encode_head(major: int, argument: int) -> bytes:
    for info, width, limit in ((24, 1, 1 << 8), (25, 2, 1 << 16), (26, 4, 1 << 32), (27, 8, 1 << 64)):
        if argument < 24:
            return bytes([major << 5 | argument])
        if argument < limit:
            return bytes([major << 5 | info]) + argument.to_bytes(width, "big")
    raise OverflowError(argument)


def encode_bytes(data: bytes) -> bytes:
    return encode_head(2, len(data)) + data


# --- 4.2 forms -------------------------------------------------------------------------------------------------------


def integer(value: Cbor, low: int = 0, high: int = UINT_MAX) -> int:
    need(type(value) is int and low <= value <= high, "not an integer, or out of bounds")
    assert isinstance(value, int)
    return value


def octets(value: Cbor, low: int, high: int) -> bytes:
    need(isinstance(value, bytes) and low <= len(value) <= high, "not a byte string, or of another length")
    assert isinstance(value, bytes)
    return value


def hash32(value: Cbor) -> bytes:
    return octets(value, 32, 32)


def address(value: Cbor) -> bytes:
    return octets(value, 20, 20)


def plain_text(value: Cbor, low: int, high: int) -> str:
    need(isinstance(value, str) and low <= len(value) <= high, "not a text, or of another length")
    assert isinstance(value, str)
    return value


def text(value: Cbor, low: int, high: int) -> str:
    result = plain_text(value, low, high)
    need(not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in result), "a control character in a text")
    return result


def matching(value: object, pattern: str) -> str:
    need(isinstance(value, str) and re.fullmatch(pattern, value) is not None, "a name of another form")
    assert isinstance(value, str)
    return value


def array(value: Cbor, low: int, high: int, member: Callable[[Cbor], T]) -> list[T]:
    need(isinstance(value, list) and low <= len(value) <= high, "not an array, or of another length")
    assert isinstance(value, list)
    return [member(item) for item in value]


def fields(value: Cbor, count: int) -> list[Cbor]:
    need(isinstance(value, list) and len(value) == count, f"not a record of {count} fields")
    assert isinstance(value, list)
    return value


def optional(value: Cbor, form: Callable[[Cbor], T]) -> T | None:
    return None if value is None else form(value)


def path_of(value: Cbor) -> list[bytes]:
    return array(value, 0, 64, hash32)


# --- 4.4 to 4.6 records ----------------------------------------------------------------------------------------------


class Leaf(NamedTuple):
    stream: str
    sequence: int
    arrival: int
    origin: int
    body: bytes


def leaf_of(value: Cbor) -> Leaf:
    version, salt, stream, sequence, arrival, content_type, origin, body = fields(value, 8)
    integer(version, 1, 1)
    octets(salt, 16, 16)
    text(content_type, 0, 127)
    return Leaf(
        text(stream, 3, 127), integer(sequence), integer(arrival), integer(origin, 0, 1), octets(body, 0, 262_144)
    )


class Row(NamedTuple):
    batch_root: bytes
    batch_size: int
    offset: int
    first: int
    messages: int
    height: int
    time: int
    gateway: bytes


def row_of(value: Cbor) -> Row:
    version, root, size, offset, first, count, height, time, gateway, schema_version = fields(value, 10)
    integer(version, 1, 1)
    integer(schema_version)
    return Row(
        hash32(root),
        integer(size, 1, 2**20),
        integer(offset, 0, 2**20 - 1),
        integer(first),
        integer(count, 1, 2**20),
        integer(height),
        integer(time),
        address(gateway),
    )


class Head(NamedTuple):
    log_size: int
    log_root: bytes
    definition_hash: bytes


def head_of(value: Cbor) -> Head:
    next_sequence, log_size, log_root, definition_hash = fields(value, 4)
    integer(next_sequence)
    return Head(integer(log_size), hash32(log_root), hash32(definition_hash))


class Definition(NamedTuple):
    id: int
    stream: str
    device_address: bytes


def definition_of(value: Cbor) -> Definition:
    version, number, device, device_address, name, organisation, gateway, schema_version, schema, at = fields(value, 10)
    integer(version, 1, 1)
    address(organisation)
    address(gateway)
    integer(schema_version)
    integer(at)
    need(isinstance(schema, dict) and list(schema) == [0, 1, 2, 3, 4, 5], "a schema of another form")
    stream = f"{matching(device, NAME)}/{matching(name, NAME)}"
    return Definition(integer(number), stream, address(device_address))


class KeyEntry(NamedTuple):
    suite: int
    public: bytes
    valid_from: int
    valid_to: int | None
    revoked_at: int | None


def key_entry_of(value: Cbor) -> KeyEntry:
    key, valid_from, valid_to, revoked_at = fields(value, 4)
    suite, public = fields(key, 2)
    return KeyEntry(
        integer(suite, ED25519, ES256),
        octets(public, 32, 33),
        integer(valid_from),
        optional(valid_to, integer),
        optional(revoked_at, integer),
    )


class Account(NamedTuple):
    kind: int
    keys: list[KeyEntry]


def account_of(value: Cbor) -> Account:
    version, kind, organisation, name, status, threshold, roles, keys = fields(value, 8)
    integer(version, 1, 1)
    address(organisation)
    matching(name, NAME)
    integer(status, 0, 2)
    integer(threshold, 0, 16)
    array(roles, 0, 8, lambda role: integer(role, 0, 1))
    return Account(integer(kind, 0, 5), array(keys, 0, 16, key_entry_of))


# --- 4.7 state proofs, 4.8 inclusion in a log ------------------------------------------------------------------------


def presence_of(value: Cbor) -> list[bytes]:
    """The siblings, the deepest first."""
    kind, depth, bitmap, hashes = fields(value, 4)
    integer(kind, 0, 0)
    count = integer(depth, 0, 256)
    bits = int.from_bytes(octets(bitmap, (count + 7) // 8, (count + 7) // 8), "little")
    need(bits < 1 << count, "a bit beyond the depth")
    need(count == 0 or bits & 1 == 1, "the deepest sibling is empty")
    written = octets(hashes, 32 * bits.bit_count(), 32 * bits.bit_count())
    given = [written[i : i + 32] for i in range(0, len(written), 32)]
    need(EMPTY not in given, "an empty hash written out")
    rest = iter(given)
    return [next(rest) if bits >> i & 1 else EMPTY for i in range(count)]


def check_present(root: bytes, key: bytes, value: bytes, siblings: Sequence[bytes]) -> None:
    path = digest(key)
    bits = int.from_bytes(path, "big")
    node = digest(b"\0", path, digest(value))
    for i, sibling in enumerate(siblings):
        bit = bits >> (255 - (len(siblings) - 1 - i)) & 1
        node = digest(b"\1", sibling, node) if bit else digest(b"\1", node, sibling)
    need(node == root, "the state does not hold this value")


def check_included(root: bytes, size: int, index: int, data: bytes, path: Sequence[bytes]) -> None:
    need(index < size, "an index beyond the tree")
    node = digest(b"\0", data)
    fn, sn = index, size - 1
    for sibling in path:
        need(sn > 0, "the path is too long")
        if fn & 1 or fn == sn:
            node = digest(b"\1", sibling, node)
            while fn & 1 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = digest(b"\1", node, sibling)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "the path is too short")
    need(node == root, "the tree does not hold this leaf")


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 0:
        return digest()
    if len(leaves) == 1:
        return digest(b"\0", leaves[0])
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return digest(b"\1", merkle_root(leaves[:split]), merkle_root(leaves[split:]))


# --- 4.9 headers, commits, validators --------------------------------------------------------------------------------


class Message:
    """Reads a protobuf message field by field, in order; a field that is not the next one is absent."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def is_next(self, number: int, wire: int) -> bool:
        """Takes the tag; all field numbers are below 16, so it is one byte."""
        found = self.at < len(self.data) and self.data[self.at] == number << 3 | wire
        self.at += found
        return found

    def varint(self) -> int:
        value = 0
        for i in range(10):
            need(self.at < len(self.data), "protobuf ends early")
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << 7 * i
            if byte < 128:
                need(i == 0 or byte > 0, "a varint is not the shortest")
                need(value < 2**64, "a varint is too large")
                return value
        raise Bad("a varint is too long")

    def number(self, number: int) -> int:
        """A number as it stands, negative ones as their two's complement."""
        if not self.is_next(number, 0):
            return 0
        value = self.varint()
        need(value != 0, "a zero written out")
        return value

    def body(self) -> bytes:
        size = self.varint()
        need(size <= len(self.data) - self.at, "protobuf ends early")
        self.at += size
        return self.data[self.at - size : self.at]

    def octets(self, number: int, *sizes: int) -> bytes:
        value = b""
        if self.is_next(number, 2):
            value = self.body()
            need(value != b"", "an empty string written out")
        need(not sizes or len(value) in sizes, f"field {number} has another length")
        return value

    def message(self, number: int) -> bytes:
        need(self.is_next(number, 2), f"message {number} is missing")
        return self.body()

    def end(self) -> None:
        need(self.at == len(self.data), "protobuf that no encoder writes")


class Time(NamedTuple):
    seconds: int
    nanos: int


ZERO_TIME = Time(-62_135_596_800, 0)


def time_of(data: bytes) -> Time:
    message = Message(data)
    seconds, nanos = message.number(1), message.number(2)
    message.end()
    seconds -= 2**64 if seconds >= 2**63 else 0
    need(ZERO_TIME.seconds <= seconds <= 253_402_300_799, "seconds out of bounds")
    need(nanos <= 999_999_999, "nanoseconds out of bounds")
    return Time(seconds, nanos)


def block_id_of(data: bytes) -> bytes:
    """The block's hash, empty in an empty block id."""
    message = Message(data)
    block_hash = message.octets(1, 0, 32)
    parts = Message(message.message(2))
    message.end()
    total = parts.number(1)
    parts_hash = parts.octets(2, 0, 32)
    parts.end()
    need(len(block_hash) == len(parts_hash), "a block id is half empty")
    need(1 <= total <= 1601 if block_hash else total == 0, "a number of parts out of bounds")
    return block_hash


class Header(NamedTuple):
    chain_id: bytes
    height: int
    time: Time
    last_block: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    app_hash: bytes
    hash: bytes


def varint(value: int) -> bytes:
    result = bytearray()
    while value > 127:
        result.append(value & 127 | 128)
        value >>= 7
    result.append(value)
    return bytes(result)


def delimited(tag: int, data: bytes) -> bytes:
    return bytes([tag]) + varint(len(data)) + data


def header_of(data: bytes) -> Header:
    need(len(data) <= 1024, "a header is too long")
    message = Message(data)
    version = message.message(1)
    check_version(version)
    chain_id = message.octets(2)
    check_chain_bytes(chain_id)
    height = message.number(3)
    need(1 <= height <= UINT_MAX, "a height out of bounds")
    time, last = message.message(4), message.message(5)
    hashes = [message.octets(number, 32) for number in range(6, 11)]
    app_hash = message.octets(11, *range(33))
    hashes += [app_hash, message.octets(12, 32), message.octets(13, 32), message.octets(14, 20)]
    message.end()
    leaves = [version, delimited(0x0A, chain_id), b"\x08" + varint(height), time, last]
    leaves += [delimited(0x0A, value) if value else b"" for value in hashes]
    last_block = block_id_of(last)
    return Header(chain_id, height, time_of(time), last_block, hashes[2], hashes[3], app_hash, merkle_root(leaves))


def check_version(data: bytes) -> None:
    message = Message(data)
    need(message.number(1) == 11, "another block protocol")
    message.number(2)
    message.end()


def check_chain_bytes(data: bytes) -> None:
    need(1 <= len(data) <= 50, "a chain id of another length")
    try:
        data.decode()
    except UnicodeDecodeError:
        raise Bad("a chain id is not UTF-8") from None


class CommitSig(NamedTuple):
    flag: int
    address: bytes
    time: bytes
    signature: bytes


class Commit(NamedTuple):
    height: int
    round: int
    block_id: bytes
    block_hash: bytes
    signatures: list[CommitSig]


def commit_of(data: bytes) -> Commit:
    message = Message(data)
    height, round_ = message.number(1), message.number(2)
    block_id = message.message(3)
    block_hash = block_id_of(block_id)
    signatures = []
    while message.is_next(4, 2):
        signatures.append(commit_sig_of(message.body()))
    message.end()
    need(height <= UINT_MAX and round_ < 2**31, "height or round out of bounds")
    if height == 0:
        need(round_ == 0 and block_hash == b"" and not signatures, "a commit of height 0 is not empty")
    else:
        need(block_hash != b"" and len(signatures) > 0, "a commit is empty")
    return Commit(height, round_, block_id, block_hash, signatures)


def commit_sig_of(data: bytes) -> CommitSig:
    message = Message(data)
    flag, signer = message.number(1), message.octets(2, 0, 20)
    time = message.message(3)
    signature = message.octets(4, 0, 64)
    message.end()
    at = time_of(time)
    need(1 <= flag <= 3, "another block id flag")
    if flag == 1:
        need(signer == b"" and signature == b"" and at == ZERO_TIME, "an absent vote with content")
    else:
        need(signer != b"" and signature != b"", "a vote without address or signature")
    return CommitSig(flag, signer, time, signature)


class Validator(NamedTuple):
    public: bytes
    power: int

    @property
    def address(self) -> bytes:
        return digest(self.public)[:20]


def in_order(validators: Sequence[Validator]) -> list[Validator]:
    return sorted(validators, key=lambda member: (-member.power, member.address))


def check_set(validators: Sequence[Validator]) -> None:
    need(len({member.public for member in validators}) == len(validators), "a validator twice")
    need(sum(member.power for member in validators) <= POWER_MAX, "too much power")


def set_hash(validators: Sequence[Validator]) -> bytes:
    return merkle_root([b"\x0a\x22\x0a\x20" + member.public + b"\x10" + varint(member.power) for member in validators])


class SignedHeader(NamedTuple):
    header: Header
    commit: Commit
    validators: list[Validator]


class RawSignedHeader(NamedTuple):
    header: bytes
    commit: bytes
    validators: list[Validator]

    def decode(self) -> SignedHeader:
        return SignedHeader(header_of(self.header), commit_of(self.commit), self.validators)


def validator_of(value: Cbor) -> Validator:
    public, power = fields(value, 2)
    return Validator(octets(public, 32, 32), integer(power, 1, 2**60))


def signed_header_of(value: Cbor) -> RawSignedHeader:
    header, commit, validators = fields(value, 3)
    members = array(validators, 1, 100, validator_of)
    check_set(members)
    need(in_order(members) == members, "validators are not in order")
    return RawSignedHeader(octets(header, 1, 1024), octets(commit, 1, 19_456), members)


def sign_bytes(commit: Commit, entry: CommitSig, chain_id: bytes) -> bytes:
    vote = b"\x08\x02\x11" + commit.height.to_bytes(8, "little")
    if commit.round:
        vote += b"\x19" + commit.round.to_bytes(8, "little")
    if entry.flag != 3:
        vote += delimited(0x22, commit.block_id)
    vote += delimited(0x2A, entry.time) + delimited(0x32, chain_id)
    return varint(len(vote)) + vote


def check_commit(signed: SignedHeader, chain_id: str) -> None:
    """*Valid commit* of §4.9."""
    header, commit, validators = signed
    need(header.chain_id == chain_id.encode(), "a header of another chain")
    need(set_hash(validators) == header.validators_hash, "validators are not those of the header")
    need(commit.height == header.height and commit.block_hash == header.hash, "a commit for another header")
    need(len(commit.signatures) == len(validators), "a commit of another size")
    for entry, member in zip(commit.signatures, validators, strict=True):
        check_vote(commit, entry, member, header.chain_id)
    voted = sum(member.power for entry, member in zip(commit.signatures, validators, strict=True) if entry.flag == 2)
    need(3 * voted > 2 * sum(member.power for member in validators), "too little power signed")


def check_vote(commit: Commit, entry: CommitSig, member: Validator, chain_id: bytes) -> None:
    if entry.flag == 1:
        return
    need(entry.address == member.address, "a vote of another validator")
    message = sign_bytes(commit, entry, chain_id)
    need(signature_verifies(ED25519, member.public, message, entry.signature), "a vote does not verify")


def check_next(trusted: SignedHeader, new: SignedHeader, chain_id: str) -> None:
    """The *adjacent* or the *skipping* rule of §4.9."""
    old, header = trusted.header, new.header
    need(header.chain_id == old.chain_id, "a link of another chain")
    need(header.time > old.time, "time does not grow")
    if header.height == old.height + 1:
        need(header.validators_hash == old.next_validators_hash, "not the validators announced")
        need(header.last_block in (b"", old.hash), "another block before")
    else:
        need(header.height >= old.height + 2, "height does not grow")
        check_overlap(trusted, new)
    check_commit(new, chain_id)


def check_overlap(trusted: SignedHeader, new: SignedHeader) -> None:
    known = set_hash(trusted.validators)
    need(known in (trusted.header.validators_hash, trusted.header.next_validators_hash), "validators of another header")
    need(len(new.commit.signatures) == len(new.validators), "a commit of another size")
    pairs = zip(new.commit.signatures, new.validators, strict=True)
    voted = {member.public for entry, member in pairs if entry.flag == 2}
    power = sum(member.power for member in trusted.validators if member.public in voted)
    need(3 * power > sum(member.power for member in trusted.validators), "too little trusted power signed")


# --- 4.11 signatures -------------------------------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
P256_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
P256_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@lru_cache(maxsize=1024)
def signature_verifies(suite: int, public: bytes, message: bytes, signature: bytes) -> bool:
    if len(signature) != 64:
        return False
    check = ed25519_verifies if suite == ED25519 else es256_verifies
    return check(public, message, signature)


def has_small_order(y: int) -> bool:
    """The y of the points whose eightfold is neutral: 0, ±1, and where doubling gives y = 0, so x² = −y²."""
    return y * (y * y - 1) * (D * y**4 + 2 * y * y - 1) % P == 0


@lru_cache(maxsize=1024)
def ed25519_key(public: bytes) -> Ed25519PublicKey | None:
    y = int.from_bytes(public, "little") & (2**255 - 1)
    if len(public) != 32 or y >= P or has_small_order(y):
        return None
    on_curve = pow((y * y - 1) * (D * y * y + 1), (P - 1) // 2, P) == 1  # x² = (y² − 1) / (d·y² + 1)
    return Ed25519PublicKey.from_public_bytes(public) if on_curve else None


def ed25519_verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """The library compares R with the canonical encoding of [S]B − [k]A; the other rules are ours."""
    key = ed25519_key(public)
    r, s = int.from_bytes(signature[:32], "little") & (2**255 - 1), int.from_bytes(signature[32:], "little")
    if key is None or s >= L or has_small_order(r):
        return False
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def es256_verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (0 < r < P256_N and 0 < s <= (P256_N - 1) // 2):
        return False
    if len(public) != 33 or public[0] not in (2, 3) or int.from_bytes(public[1:], "big") >= P256_P:
        return False
    try:
        key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), public)
        key.verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


# --- 4.10 a device's message -----------------------------------------------------------------------------------------


class DeviceMessage(NamedTuple):
    algorithm: int
    kid: bytes
    chain: str
    stream: str
    protected: bytes
    payload: bytes
    signature: bytes

    def signed(self, genesis_hash: bytes) -> bytes:
        aad = b"althing/message/v1" + genesis_hash
        return b"\x84\x6aSignature1" + encode_bytes(self.protected) + encode_bytes(aad) + encode_bytes(self.payload)


HEADERS: dict[int, Callable[[Cbor], object]] = {
    1: lambda value: integer(value, ED25519, ES256),
    4: lambda value: octets(value, 8, 8),
    -70001: lambda value: matching(value, CHAIN_ID),
    -70002: lambda value: matching(value, f"{NAME}/{NAME}"),
    -70003: lambda value: integer(value, 0, 2**64 - 1),
    -70004: integer,
    3: lambda value: plain_text(value, 0, 127),
}
OPTIONAL = {-70004, 3}


def device_message_of(data: bytes) -> DeviceMessage:
    need(data[:1] == b"\xd2" and len(data) - 1 <= 262_144, "not a tagged COSE_Sign1, or too long")
    protected, unprotected, payload, signature = fields(cbor(data[1:], 2), 4)
    need(unprotected == {} and isinstance(unprotected, dict), "unprotected headers")
    encoded = octets(protected, 0, 1024)
    headers = cbor(encoded, 2)
    need(isinstance(headers, dict), "protected headers are not a map")
    assert isinstance(headers, dict)
    check_headers(headers)
    return DeviceMessage(
        integer(headers[1], ED25519, ES256),
        octets(headers[4], 8, 8),
        matching(headers[-70001], CHAIN_ID),
        matching(headers[-70002], f"{NAME}/{NAME}"),
        encoded,
        octets(payload, 0, 262_144),
        octets(signature, 64, 64),
    )


def check_headers(headers: dict[int | bytes | str, Cbor]) -> None:
    need(set(HEADERS) - OPTIONAL <= set(headers), "a header is missing")
    for label, value in headers.items():
        need(isinstance(label, int) and label in HEADERS, "an unknown header")
        assert isinstance(label, int)
        HEADERS[label](value)


def key_id(suite: int, public: bytes) -> bytes:
    return digest(b"althing/key/v1\x82", encode_head(1, -1 - suite), encode_bytes(public))[:8]


# --- 1. the trust file -----------------------------------------------------------------------------------------------


class Trust(NamedTuple):
    chain_id: str
    genesis_hash: bytes
    height: int
    header_hash: bytes
    validators: list[Validator]


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    need(len(result) == len(pairs), "a member twice")
    return result


def no_constant(name: str) -> NoReturn:
    raise Bad(f"{name} is not JSON")


def members(value: object, names: str) -> list[object]:
    need(isinstance(value, dict), "not an object")
    assert isinstance(value, dict)
    for name in names.split():
        need(name in value, f"no member {name}")
    return [value[name] for name in names.split()]


def hex32(value: object) -> bytes:
    return bytes.fromhex(matching(value, "[0-9a-f]{64}"))


def whole(value: object) -> int:
    need(type(value) is int and 1 <= value < 2**53, "not an integer, or out of bounds")
    assert isinstance(value, int)
    return value


def trust_validator(value: object) -> Validator:
    public, power = members(value, "public_key power")
    return Validator(hex32(public), whole(power))


def trust_of(data: bytes) -> Trust:
    need(len(data) <= 65_536, "too long")
    try:
        value = json.loads(data.decode(), object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError):
        raise Bad("not JSON in UTF-8") from None
    names = "format chain_id genesis_hash height header_hash validators"
    form, chain_id, genesis, height, header, validators = members(value, names)
    need(form == "althing-trust/1", "another format")
    need(isinstance(validators, list) and 1 <= len(validators) <= 10_000, "not an array, or of another length")
    assert isinstance(validators, list)
    trusted = in_order([trust_validator(item) for item in validators])
    check_set(trusted)
    return Trust(matching(chain_id, CHAIN_ID), hex32(genesis), whole(height), hex32(header), trusted)


# --- 2. the proof file -----------------------------------------------------------------------------------------------


class History(NamedTuple):
    checkpoint: bytes
    head: bytes
    head_proof: list[bytes]
    entry: bytes
    place: int
    path: list[bytes]
    descent: list[bytes]


def history_of(value: Cbor) -> History:
    checkpoint, head, head_proof, entry, index, path, descent = fields(value, 7)
    return History(
        octets(checkpoint, 1, 1024),
        octets(head, 1, 256),
        presence_of(head_proof),
        octets(entry, 1, 64),
        integer(index),
        path_of(path),
        array(descent, 0, 128, lambda header: octets(header, 1, 1024)),
    )


class Proof(NamedTuple):
    chain_id: str
    genesis_hash: bytes
    leaf: bytes
    leaf_path: list[bytes]
    row: bytes
    row_index: int
    row_path: list[bytes]
    head: bytes
    head_proof: list[bytes]
    definition: bytes
    account: bytes
    account_proof: list[bytes]
    signed_header: RawSignedHeader
    links: list[RawSignedHeader]
    history: History | None


def proof_of(value: Cbor) -> Proof:
    item = fields(value, 17)
    need(text(item[0], 13, 13) == "althing-proof" and integer(item[1], 1, 1) == 1, "not a proof file of version 1")
    return Proof(
        matching(item[2], CHAIN_ID),
        hash32(item[3]),
        octets(item[4], 1, 263_168),
        path_of(item[5]),
        octets(item[6], 1, 512),
        integer(item[7]),
        path_of(item[8]),
        octets(item[9], 1, 256),
        presence_of(item[10]),
        octets(item[11], 1, 65_536),
        octets(item[12], 1, 65_536),
        presence_of(item[13]),
        signed_header_of(item[14]),
        array(item[15], 0, 128, signed_header_of),
        optional(item[16], history_of),
    )


# --- 3. verification -------------------------------------------------------------------------------------------------


@dataclass
class Check:
    """One verification; a step leaves what later steps use."""

    data: bytes
    trust_json: bytes
    require_device: bool
    trust: Trust = field(init=False)
    proof: Proof = field(init=False)
    signed: SignedHeader = field(init=False)
    leaf: Leaf = field(init=False)
    row: Row = field(init=False)
    head: Head = field(init=False)
    definition: Definition = field(init=False)
    account: Account = field(init=False)
    notes: list[str] = field(default_factory=list)

    def read_trust(self) -> None:
        self.trust = trust_of(self.trust_json)

    def form(self) -> None:
        need(len(self.data) <= 524_288, "too long")
        self.proof = proof_of(cbor(self.data))
        need(not self.proof.links or self.proof.history is None, "links and history")
        self.signed = self.proof.signed_header.decode()

    def chain(self) -> None:
        need(self.proof.chain_id == self.trust.chain_id, "another chain id")
        need(self.proof.genesis_hash == self.trust.genesis_hash, "another genesis")

    def batch(self) -> None:
        leaf, row = leaf_of(cbor(self.proof.leaf)), row_of(cbor(self.proof.row))
        need(row.first <= leaf.sequence < row.first + row.messages, "the row does not cover the sequence")
        need(row.offset + row.messages <= row.batch_size, "the row goes beyond the batch")
        index = row.offset + leaf.sequence - row.first
        check_included(row.batch_root, row.batch_size, index, self.proof.leaf, self.proof.leaf_path)
        self.leaf, self.row = leaf, row

    def log(self) -> None:
        self.head = head_of(cbor(self.proof.head))
        proof = self.proof
        check_included(self.head.log_root, self.head.log_size, proof.row_index, proof.row, proof.row_path)

    def stream(self) -> None:
        self.definition = definition_of(cbor(self.proof.definition))
        need(digest(self.proof.definition) == self.head.definition_hash, "another definition")
        need(self.definition.stream == self.leaf.stream, "a definition of another stream")
        key = b"streams/head/" + self.definition.id.to_bytes(8, "big")
        check_present(self.signed.header.app_hash, key, self.proof.head, self.proof.head_proof)

    def key_record(self) -> None:
        owner, kind = (self.definition.device_address, 5) if self.leaf.origin == 0 else (self.row.gateway, 3)
        key = b"identity/account/" + owner
        check_present(self.signed.header.app_hash, key, self.proof.account, self.proof.account_proof)
        self.account = account_of(cbor(self.proof.account))
        need(self.account.kind == kind, "an account of another kind")

    def origin(self) -> None:
        if self.leaf.origin == 1:
            need(not self.require_device, "the gateway attests, the device did not sign")
            self.notes.append("the gateway attests this message; the device did not sign it")
            return
        message = device_message_of(self.leaf.body)
        need(message.chain == self.proof.chain_id, "signed for another chain")
        need(message.stream == self.leaf.stream, "signed for another stream")
        entry = self.entry_of(message)
        check_validity(entry, self.leaf, self.row)
        signed = message.signed(self.proof.genesis_hash)
        need(signature_verifies(entry.suite, entry.public, signed, message.signature), "does not verify")

    def entry_of(self, message: DeviceMessage) -> KeyEntry:
        for entry in self.account.keys:
            if entry.suite == message.algorithm and key_id(entry.suite, entry.public) == message.kid:
                return entry
        raise Bad("the device has no such key")

    def commit(self) -> None:
        check_commit(self.signed, self.trust.chain_id)

    def anchor(self) -> None:
        if self.proof.links:
            self.follow_links([link.decode() for link in self.proof.links])
        elif self.proof.history is not None:
            self.follow_history(self.proof.history)
        else:
            self.compare()

    def follow_links(self, links: list[SignedHeader]) -> None:
        first = links[0]
        self.check_trusted(first.header)
        need(set_hash(first.validators) == set_hash(self.trust.validators), "validators are not the trusted ones")
        check_commit(first, self.trust.chain_id)
        for old, new in zip(links, [*links[1:], self.signed], strict=True):
            check_next(old, new, self.trust.chain_id)

    def check_trusted(self, header: Header) -> None:
        need(header.height == self.trust.height, "another height than the trusted one")
        need(header.hash == self.trust.header_hash, "another header than the trusted one")

    def follow_history(self, history: History) -> None:
        checkpoint = header_of(history.checkpoint)
        self.check_trusted(checkpoint)
        need(checkpoint.validators_hash == set_hash(self.trust.validators), "validators are not the trusted ones")
        check_present(checkpoint.app_hash, b"runtime/headers", history.head, history.head_proof)
        size, root = fields(cbor(history.head), 2)
        check_included(hash32(root), integer(size), history.place, history.entry, history.path)
        height, entry_hash = fields(cbor(history.entry), 2)
        integer(height)
        expected = hash32(entry_hash)
        for encoded in history.descent:
            header = header_of(encoded)
            need(header.hash == expected, "the descent leads to another header")
            expected = header.last_block
        need(self.signed.header.hash == expected, "the history leads to another header")

    def compare(self) -> None:
        header = self.signed.header
        if header.height == self.trust.height:
            need(header.hash == self.trust.header_hash, "another header than the trusted one")
        else:
            self.notes.append("assumes that two thirds of the trusted validators signed no other history")
        need(set_hash(self.signed.validators) == set_hash(self.trust.validators), "validators are not the trusted ones")


def check_validity(entry: KeyEntry, leaf: Leaf, row: Row) -> None:
    second = 10**9
    need(entry.valid_from * second <= row.time, "the key was not valid yet")
    need(entry.valid_to is None or leaf.arrival < entry.valid_to * second, "the key was not valid any more")
    need(entry.revoked_at is None or row.time < entry.revoked_at * second, "the key was revoked")


def verify(proof: bytes, trust_json: bytes, require_device: bool = False) -> dict[str, object]:
    """What the proof shows; raises Refused with the first step that does not hold."""
    check = Check(proof, trust_json, require_device)
    steps = (
        check.read_trust,
        check.form,
        check.chain,
        check.batch,
        check.log,
        check.stream,
        check.key_record,
        check.origin,
        check.commit,
        check.anchor,
    )
    for number, step in enumerate(steps):
        try:
            step()
        except Bad as error:
            raise Refused(number, str(error)) from None
    return {
        "stream": check.leaf.stream,
        "sequence": check.leaf.sequence,
        "origin": ("device", "gateway")[check.leaf.origin],
        "header_height": check.signed.header.height,
        "anchor_height": check.row.height,
        "body": check.leaf.body,
        "notes": check.notes,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Checks an Althing proof file against a trust file.")
    parser.add_argument("proof", type=Path)
    parser.add_argument("--trust", type=Path, required=True)
    parser.add_argument("--require", choices=["device"])
    options = parser.parse_args(arguments)
    try:
        result = verify(options.proof.read_bytes(), options.trust.read_bytes(), options.require == "device")
    except (Refused, OSError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    result["body"] = f"{len(str(result['body']))} bytes"
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
