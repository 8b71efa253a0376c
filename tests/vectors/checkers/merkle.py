"""RFC 9162 trees: roots, paths, frontiers, logs (docs/spec/batches.md §2)."""

from __future__ import annotations

from typing import Any

from althing.protocol.errors import MerkleError
from althing.protocol.merkle import (
    EMPTY_ROOT,
    Frontier,
    Tree,
    leaf_hash,
    log_path,
    root_of,
    verify_consistency,
    verify_inclusion,
)


def check(case: dict[str, Any]) -> None:
    if "consistency" in case:
        _consistency(case)
    elif "valid" in case:
        nodes = [bytes.fromhex(node) for node in case["path"]]
        root, leaf = bytes.fromhex(case["root"]), bytes.fromhex(case["leaf_hash"])
        try:
            verify_inclusion(root, case["size"], case["index"], leaf, nodes)
        except MerkleError:
            assert not case["valid"]
        else:
            assert case["valid"]
    else:
        _tree(case)


def _tree(case: dict[str, Any]) -> None:
    leaves, root = [leaf_hash(bytes.fromhex(leaf)) for leaf in case["leaves"]], bytes.fromhex(case["root"])
    assert root_of(leaves) == root
    frontier, nodes = Frontier(), {}
    for leaf in leaves:
        frontier, made = frontier.append(leaf)
        nodes.update({(level, index): value for level, index, value in made})
    assert frontier.root == root
    assert Frontier.from_bytes(frontier.to_bytes()) == frontier
    if not leaves:
        assert root == EMPTY_ROOT
        return
    tree = Tree(leaves)
    for index, expected in enumerate(case["paths"]):
        path = tree.path(index)
        assert [node.hex() for node in path] == expected
        assert log_path(index, len(leaves), lambda level, at: nodes[(level, at)]) == path
        verify_inclusion(root, len(leaves), index, leaves[index], path)


def _consistency(case: dict[str, Any]) -> None:
    old, new = bytes.fromhex(case["old_root"]), bytes.fromhex(case["new_root"])
    nodes = [bytes.fromhex(node) for node in case["consistency"]]
    verify_consistency(old, case["old_size"], new, case["new_size"], nodes)
    for broken in ([*nodes, bytes(32)], nodes[:-1] if nodes else [bytes(32)]):
        try:
            verify_consistency(old, case["old_size"], new, case["new_size"], broken)
        except MerkleError:
            continue
        raise AssertionError("a broken consistency path was accepted")
