"""Proofs that a key has a value in the state, or has none (docs/spec/state.md §4), and their ICS-23 form (§5).

    path  = SHA-256(key), 256 bits, most significant first
    leaf  = SHA-256(0x00 ‖ path ‖ SHA-256(value))      inner = SHA-256(0x01 ‖ left ‖ right)
    empty = 32 zero bytes; a subtree with one leaf is that leaf

A proof is the siblings from where the path ends up to the root. It has exactly one encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from althing.protocol.errors import MerkleError

__all__ = [
    "EMPTY_HASH",
    "ICS23_SPEC",
    "AbsenceProof",
    "PresenceProof",
    "Terminal",
    "absence_to_ics23",
    "presence_to_ics23",
    "proof_from_cbor_obj",
    "proof_to_cbor_obj",
    "verify_absence",
    "verify_presence",
]

EMPTY_HASH: Final = bytes(32)
_DEPTH_MAX: Final = 256
_PRESENCE, _ABSENCE_EMPTY, _ABSENCE_LEAF = 0, 1, 2


@dataclass(frozen=True, slots=True)
class PresenceProof:
    """`siblings` bottom up, 32 bytes each, `EMPTY_HASH` for an empty one; as many as the leaf is deep."""

    siblings: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Terminal:
    """Another key's leaf, standing where the path of the absent key ends."""

    path: bytes
    value_hash: bytes


@dataclass(frozen=True, slots=True)
class AbsenceProof:
    """The place where the key's path ends is empty (`terminal` None) or taken by the leaf of another key."""

    siblings: tuple[bytes, ...]
    terminal: Terminal | None


def verify_presence(root: bytes, key: bytes, value: bytes, proof: PresenceProof) -> None:
    """Raise MerkleError unless `key` has `value` under `root`. docs/spec/state.md §4.2."""
    if not key or not value:
        raise MerkleError("state_proof.form", "keys and values of the state are never empty")
    _check_siblings(proof.siblings)
    path = sha256(key).digest()
    _check_root(root, path, sha256(b"\x00" + path + sha256(value).digest()).digest(), proof.siblings)


def verify_absence(root: bytes, key: bytes, proof: AbsenceProof) -> None:
    """Raise MerkleError unless `key` has no value under `root`. docs/spec/state.md §4.3."""
    if not key:
        raise MerkleError("state_proof.form", "keys of the state are never empty")
    _check_siblings(proof.siblings)
    path = sha256(key).digest()
    node = EMPTY_HASH
    terminal = proof.terminal
    if terminal is not None:
        if len(terminal.path) != 32 or len(terminal.value_hash) != 32:
            raise MerkleError("state_proof.form", "the terminal leaf has a path and a value hash of 32 bytes")
        if terminal.path == path:
            raise MerkleError("state_proof.present", "the leaf at the end of the path is the key's own")
        common = _DEPTH_MAX - (int.from_bytes(terminal.path, "big") ^ int.from_bytes(path, "big")).bit_length()
        if common < len(proof.siblings):
            raise MerkleError("state_proof.place", "the leaf at the end does not lie on the key's path")
        node = sha256(b"\x00" + terminal.path + terminal.value_hash).digest()
    _check_root(root, path, node, proof.siblings)


def _check_siblings(siblings: tuple[bytes, ...]) -> None:
    """The deepest sibling is never empty: a lone leaf stands higher, an empty subtree begins higher."""
    if len(siblings) > _DEPTH_MAX or any(len(sibling) != 32 for sibling in siblings):
        raise MerkleError("state_proof.form", "a proof has at most 256 siblings of 32 bytes")
    if siblings and siblings[0] == EMPTY_HASH:
        raise MerkleError("state_proof.form", "the deepest sibling of a proof is not empty")


def _check_root(root: bytes, path: bytes, node: bytes, siblings: tuple[bytes, ...]) -> None:
    bits = int.from_bytes(path, "big") >> (_DEPTH_MAX - len(siblings))
    for sibling in siblings:
        pair = sibling + node if bits & 1 else node + sibling
        node = sha256(b"\x01" + pair).digest()
        bits >>= 1
    if node != root:
        raise MerkleError("state_proof.root", "the proof does not lead to this state root")


def proof_to_cbor_obj(proof: PresenceProof | AbsenceProof) -> list[int | bytes]:
    """[kind, depth, bitmap, hashes] and for kind 2 path and value hash behind. docs/spec/state.md §4.1."""
    siblings = proof.siblings
    bitmap = 0
    for index, sibling in enumerate(siblings):
        if sibling != EMPTY_HASH:
            bitmap |= 1 << index
    depth = len(siblings)
    hashes = b"".join([sibling for sibling in siblings if sibling != EMPTY_HASH])
    body: list[int | bytes] = [depth, bitmap.to_bytes((depth + 7) // 8, "little"), hashes]
    if isinstance(proof, PresenceProof):
        return [_PRESENCE, *body]
    if proof.terminal is None:
        return [_ABSENCE_EMPTY, *body]
    return [_ABSENCE_LEAF, *body, proof.terminal.path, proof.terminal.value_hash]


def proof_from_cbor_obj(obj: object) -> PresenceProof | AbsenceProof:
    """The proof in a decoded CBOR item; MerkleError `state_proof.form` for anything but the one right encoding."""
    if not isinstance(obj, list) or len(obj) < 4:
        raise _malformed("not an array of four or six items")
    kind, depth, bitmap, hashes, *rest = obj
    if type(kind) is not int or not _PRESENCE <= kind <= _ABSENCE_LEAF:
        raise _malformed("unknown kind")
    if len(rest) != (2 if kind == _ABSENCE_LEAF else 0):
        raise _malformed("wrong number of items for its kind")
    siblings = _decode_siblings(depth, bitmap, hashes)
    if kind == _PRESENCE:
        return PresenceProof(siblings)
    if kind == _ABSENCE_EMPTY:
        return AbsenceProof(siblings, None)
    path, value_hash = rest
    if type(path) is not bytes or type(value_hash) is not bytes or len(path) != 32 or len(value_hash) != 32:
        raise _malformed("the terminal leaf is not two strings of 32 bytes")
    return AbsenceProof(siblings, Terminal(path, value_hash))


def _decode_siblings(depth: object, bitmap: object, hashes: object) -> tuple[bytes, ...]:
    """1. depth in range; 2. bitmap of its size, no bit beyond; 3. one hash per bit; 4. none of them empty."""
    # 1.
    if type(depth) is not int or not 0 <= depth <= _DEPTH_MAX:
        raise _malformed("the depth is not 0 to 256")
    # 2.
    if type(bitmap) is not bytes or len(bitmap) != (depth + 7) // 8:
        raise _malformed("the bitmap does not fit the depth")
    bits = int.from_bytes(bitmap, "little")
    if bits >> depth:
        raise _malformed("the bitmap has bits beyond the depth")
    if depth and not bits & 1:
        raise _malformed("the deepest sibling is not empty")
    # 3.
    if type(hashes) is not bytes or len(hashes) != 32 * bits.bit_count():
        raise _malformed("the hashes do not fit the bitmap")
    siblings = []
    at = 0
    for index in range(depth):
        if bits >> index & 1:
            sibling = hashes[at : at + 32]
            at += 32
            # 4.
            if sibling == EMPTY_HASH:
                raise _malformed("an empty sibling is written out")
            siblings.append(sibling)
        else:
            siblings.append(EMPTY_HASH)
    return tuple(siblings)


def _malformed(reason: str) -> MerkleError:
    return MerkleError("state_proof.form", f"malformed state proof: {reason}")


# ICS-23 (cosmos/ics23 proto/cosmos/ics23/v1/proofs.proto): protobuf fields written by hand, in field order.

_SHA256: Final = 1  # HashOp; NO_PREFIX (LengthOp) is 0, which proto3 leaves out


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _number(field: int, number: int) -> bytes:
    return bytes((field << 3,)) + _varint(number)


def _string(field: int, content: bytes) -> bytes:
    return bytes((field << 3 | 2,)) + _varint(len(content)) + content


_LEAF_OP: Final = _number(1, _SHA256) + _number(2, _SHA256) + _number(3, _SHA256) + _string(5, b"\x00")

ICS23_SPEC: Final = (
    _string(1, _LEAF_OP)
    + _string(
        2,
        _string(1, b"\x00\x01")  # child_order, packed
        + _number(2, 32)  # child_size
        + _number(3, 1)  # min_prefix_length
        + _number(4, 1)  # max_prefix_length
        + _string(5, EMPTY_HASH)  # empty_child
        + _number(6, _SHA256),
    )
    + _number(3, _DEPTH_MAX)  # max_depth
    + _number(5, 1)  # prehash_key_before_comparison
)
"""The serialized ICS-23 `ProofSpec` of the state tree: what a stock verifier is configured with."""


def _existence(key: bytes, value: bytes, proof: PresenceProof) -> bytes:
    """An ICS-23 ExistenceProof; the empty sibling is written out there, as the spec's `empty_child`."""
    parts = [_string(1, key), _string(2, value), _string(3, _LEAF_OP)]
    bits = int.from_bytes(sha256(key).digest(), "big") >> (_DEPTH_MAX - len(proof.siblings))
    for sibling in proof.siblings:
        if bits & 1:
            step = _number(1, _SHA256) + _string(2, b"\x01" + sibling)
        else:
            step = _number(1, _SHA256) + _string(2, b"\x01") + _string(3, sibling)
        parts.append(_string(4, step))
        bits >>= 1
    return b"".join(parts)


def presence_to_ics23(key: bytes, value: bytes, proof: PresenceProof) -> bytes:
    """A serialized `CommitmentProof` with an ExistenceProof. ICS-23; docs/spec/state.md §5."""
    return _string(1, _existence(key, value, proof))


def absence_to_ics23(
    key: bytes, left: tuple[bytes, bytes, PresenceProof] | None, right: tuple[bytes, bytes, PresenceProof] | None
) -> bytes:
    """A serialized `CommitmentProof` with a NonExistenceProof from (key, value, proof) of the neighbours by path.

    None where the absent key's path lies before the first or behind the last leaf; never both.
    """
    assert left is not None or right is not None, "ICS-23 has no proof of absence from an empty tree"
    parts = [_string(1, key)]
    if left is not None:
        parts.append(_string(2, _existence(*left)))
    if right is not None:
        parts.append(_string(3, _existence(*right)))
    return _string(2, b"".join(parts))
