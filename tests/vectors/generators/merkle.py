"""RFC 9162 trees by the recursive definitions of its §2.1 (docs/spec/batches.md §2)."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

Case = dict[str, Any]


def _split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def mth(data: list[bytes]) -> bytes:
    if not data:
        return sha256(b"").digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    k = _split(len(data))
    return sha256(b"\x01" + mth(data[:k]) + mth(data[k:])).digest()


def path(m: int, data: list[bytes]) -> list[bytes]:
    if len(data) == 1:
        return []
    k = _split(len(data))
    if m < k:
        return [*path(m, data[:k]), mth(data[k:])]
    return [*path(m - k, data[k:]), mth(data[:k])]


def consistency(m: int, data: list[bytes], whole: bool = True) -> list[bytes]:
    if m == len(data):
        return [] if whole else [mth(data)]
    k = _split(len(data))
    if m <= k:
        return [*consistency(m, data[:k], whole), mth(data[k:])]
    return [*consistency(m - k, data[k:], False), mth(data[:k])]


def _leaves(n: int) -> list[bytes]:
    return [bytes((i,)) * (i % 5) for i in range(n)]


def document() -> Case:
    cases: list[Case] = [{"name": "no leaves", "leaves": [], "root": mth([]).hex(), "paths": []}]
    for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17):
        data = _leaves(n)
        cases.append(
            {
                "name": f"{n} leaves",
                "leaves": [leaf.hex() for leaf in data],
                "root": mth(data).hex(),
                "paths": [[node.hex() for node in path(i, data)] for i in range(n)],
            }
        )
    for old, new in ((1, 2), (1, 7), (2, 3), (3, 7), (4, 7), (4, 8), (6, 8), (7, 7), (8, 17), (11, 17), (16, 17)):
        data = _leaves(new)
        cases.append(
            {
                "name": f"consistency {old} to {new}",
                "old_size": old,
                "old_root": mth(data[:old]).hex(),
                "new_size": new,
                "new_root": mth(data).hex(),
                "consistency": [node.hex() for node in consistency(old, data)],
            }
        )
    cases += _refused()
    return {
        "suite": "merkle",
        "spec": "docs/spec/batches.md",
        "description": (
            "RFC 9162 roots, inclusion paths of every leaf, consistency paths, and paths that are refused; by the "
            "recursive definitions of the RFC."
        ),
        "cases": cases,
    }


def _refused() -> list[Case]:
    data = _leaves(7)
    root, good = mth(data), path(4, data)
    leaf = sha256(b"\x00" + data[4]).digest()
    zero = bytes(32)
    cases = []
    for name, size, index, nodes in (
        ("index is the size", 7, 7, good),
        ("another index", 7, 5, good),
        ("a smaller size", 6, 4, good),
        ("size 0", 0, 0, []),
        ("path too short", 7, 4, good[:-1]),
        ("path too long", 7, 4, [*good, zero]),
        ("path in the other order", 7, 4, good[::-1]),
        ("a node of 31 bytes", 7, 4, [good[0][:31], *good[1:]]),
        ("no path", 7, 4, []),
        ("65 nodes", 2**63, 0, [zero] * 65),
    ):
        nodes_hex = [node.hex() for node in nodes]
        case = {"name": f"refused: {name}", "root": root.hex(), "size": size, "index": index, "leaf_hash": leaf.hex()}
        cases.append({**case, "path": nodes_hex, "valid": False})
    whole = {"name": "a node in the place of a leaf", "root": root.hex(), "size": 2, "index": 0}
    left, right = mth(data[:4]), mth(data[4:])
    cases.append({**whole, "leaf_hash": left.hex(), "path": [right.hex()], "valid": True})
    # A path does not prove the size: here the shapes of 7 and 8 leaves agree. What binds the size is said elsewhere.
    larger = {"name": "a size that the path does not tell apart", "root": root.hex(), "size": 8, "index": 4}
    cases.append({**larger, "leaf_hash": leaf.hex(), "path": [node.hex() for node in good], "valid": True})
    return cases
