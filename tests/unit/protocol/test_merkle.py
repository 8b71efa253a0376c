"""Merkle trees against RFC 9162 §2.1 written down as its recursion."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.protocol.errors import MerkleError
from althing.protocol.merkle import (
    EMPTY_ROOT,
    Frontier,
    Tree,
    leaf_hash,
    log_path,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

SIZE_MAX = 70
LEAVES = [leaf_hash(b"entry %d" % i) for i in range(SIZE_MAX)]


def split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def mth(d: Sequence[bytes]) -> bytes:
    """§2.1.1, on hashed leaves."""
    if not d:
        return sha256(b"").digest()
    if len(d) == 1:
        return d[0]
    k = split(len(d))
    return sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path(m: int, d: Sequence[bytes]) -> list[bytes]:
    """§2.1.3.1."""
    if len(d) == 1:
        return []
    k = split(len(d))
    return [*path(m, d[:k]), mth(d[k:])] if m < k else [*path(m - k, d[k:]), mth(d[:k])]


def subproof(m: int, d: Sequence[bytes], whole: bool) -> list[bytes]:
    """§2.1.4.1."""
    if m == len(d):
        return [] if whole else [mth(d)]
    k = split(len(d))
    if m <= k:
        return [*subproof(m, d[:k], whole), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]


def changed(proof: list[bytes]) -> list[list[bytes]]:
    """Everything near a proof that is not it."""
    variants = [[*proof, bytes(32)], [bytes(32), *proof]]
    for i, sibling in enumerate(proof):
        variants.append(proof[:i] + proof[i + 1 :])
        variants.append([*proof[:i], sibling, *proof[i:]])
        variants.append([*proof[:i], bytes((sibling[0] ^ 1,)) + sibling[1:], *proof[i + 1 :]])
        variants.append([*proof[:i], sibling[:-1], *proof[i + 1 :]])
        variants.append([*proof[:i], sibling + b"\x00", *proof[i + 1 :]])
    if len(proof) > 1:
        variants.append(proof[::-1])
    return variants


def test_hashes_are_domain_separated() -> None:
    assert sha256(b"").digest() == EMPTY_ROOT
    assert leaf_hash(b"x") == sha256(b"\x00x").digest()
    assert node_hash(b"a" * 32, b"b" * 32) == sha256(b"\x01" + b"a" * 32 + b"b" * 32).digest()


@pytest.mark.parametrize("size", range(SIZE_MAX))
def test_roots_and_paths_of_every_size(size: int) -> None:
    d = LEAVES[:size]
    assert root_of(d) == mth(d)
    if not size:
        return
    tree = Tree(d)
    assert tree.size == size
    for index in range(size):
        assert tree.path(index) == path(index, d)
        verify_inclusion(tree.root, size, index, d[index], tree.path(index))


def test_the_frontier_is_the_tree_and_its_nodes_are_enough() -> None:
    frontier = Frontier()
    nodes: dict[tuple[int, int], bytes] = {}
    for size in range(SIZE_MAX):
        assert frontier.root == mth(LEAVES[:size])
        assert Frontier.from_bytes(frontier.to_bytes()) == frontier
        for index in range(size):
            assert log_path(index, size, lambda level, i: nodes[level, i]) == path(index, LEAVES[:size])
        frontier, made = frontier.append(LEAVES[size])
        for level, index, value in made:
            assert (level, index) not in nodes, "a node is stored once"
            assert value == mth(LEAVES[index << level : (index + 1) << level])
            nodes[level, index] = value


def test_a_frontier_of_another_length_is_refused() -> None:
    for data in (b"", bytes(7), bytes(8) + bytes(32), (3).to_bytes(8, "big") + bytes(32)):
        with pytest.raises(MerkleError, match=r"merkle\.frontier"):
            Frontier.from_bytes(data)


@given(st.integers(1, SIZE_MAX), st.data())
def test_no_other_inclusion_proof_holds(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    d = LEAVES[:size]
    root, proof = mth(d), path(index, d)
    for other in changed(proof):
        with pytest.raises(MerkleError):
            verify_inclusion(root, size, index, d[index], other)
    for at in range(-1, size + 2):
        if at != index:
            with pytest.raises(MerkleError):
                verify_inclusion(root, size, at, d[index], proof)
    with pytest.raises(MerkleError):
        verify_inclusion(root, size, index, leaf_hash(b"another"), proof)
    with pytest.raises(MerkleError):
        verify_inclusion(bytes(32), size, index, d[index], proof)


@given(st.integers(0, SIZE_MAX), st.integers(0, SIZE_MAX))
def test_consistency_is_the_rfcs(a: int, b: int) -> None:
    old, new = sorted((a, b))
    proof = subproof(old, LEAVES[:new], True) if 0 < old < new else []
    old_root, new_root = mth(LEAVES[:old]), mth(LEAVES[:new])
    verify_consistency(old_root, old, new_root, new, proof)
    for other in changed(proof):
        with pytest.raises(MerkleError):
            verify_consistency(old_root, old, new_root, new, other)
    with pytest.raises(MerkleError):
        verify_consistency(bytes(32), old, new_root, new, proof)
    if old != 0 or new == 0:
        with pytest.raises(MerkleError):
            verify_consistency(old_root, old, bytes(32), new, proof)


def test_a_rewritten_history_is_not_consistent() -> None:
    forged = [leaf_hash(b"forged"), *LEAVES[1:]]
    for old in range(1, 20):
        for new in range(old, 20):
            proof = subproof(old, forged[:new], True)
            with pytest.raises(MerkleError):
                verify_consistency(mth(LEAVES[:old]), old, mth(forged[:new]), new, proof)


def test_an_older_tree_is_not_larger() -> None:
    with pytest.raises(MerkleError):
        verify_consistency(mth(LEAVES[:3]), 3, mth(LEAVES[:2]), 2, [])


def test_sizes_of_64_bits() -> None:
    """Paths of a log that nobody holds whole: the last of 2^62 + 1 entries hangs directly under the root."""
    left, leaf = bytes(32), LEAVES[0]
    verify_inclusion(node_hash(left, leaf), 2**62 + 1, 2**62, leaf, [left])
    with pytest.raises(MerkleError):
        verify_inclusion(node_hash(left, leaf), 2**62 + 1, 0, leaf, [left])
    with pytest.raises(MerkleError, match=r"merkle\.path"):
        verify_inclusion(bytes(32), 2**64, 0, leaf, [bytes(32)] * 65)
