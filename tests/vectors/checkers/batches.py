"""Leaves, batches and anchor rows (docs/spec/batches.md)."""

from __future__ import annotations

from typing import Any

from althing.protocol.batch import Leaf, Origin, build_batch, parse_leaf
from althing.protocol.errors import EncodingError
from althing.protocol.merkle import leaf_hash, verify_inclusion
from althing.protocol.messages.streams import AnchorRow


def check(case: dict[str, Any]) -> None:
    if "error" in case:
        code = ""
        try:
            parse_leaf(bytes.fromhex(case["leaf"]))
        except EncodingError as exc:
            code = exc.code
        assert code == case["error"], code or "accepted"
    elif "groups" in case:
        _batch(case)
    else:
        _leaf(case)


def _leaf(case: dict[str, Any]) -> None:
    leaf = Leaf(
        1,
        bytes.fromhex(case["salt"]),
        case["stream"],
        case["sequence"],
        int(case["arrival"]),
        case["content_type"],
        Origin(case["origin"]),
        bytes.fromhex(case["body"]),
    )
    assert leaf.to_bytes().hex() == case["leaf"]
    assert parse_leaf(bytes.fromhex(case["leaf"])) == leaf
    assert leaf_hash(leaf.to_bytes()).hex() == case["leaf_hash"]


def _batch(case: dict[str, Any]) -> None:
    groups = [(g["stream"], g["first"], [bytes.fromhex(leaf) for leaf in g["leaves"]]) for g in case["groups"]]
    batch = build_batch(groups)
    root, size = bytes.fromhex(case["root"]), len(batch.leaves)
    assert batch.root == root
    assert [(e.stream, e.first, e.count) for e in batch.entries] == [(s, f, len(leaves)) for s, f, leaves in groups]
    rows = [AnchorRow.from_bytes(bytes.fromhex(row)) for row in case["rows"]]
    offset = 0
    for row, entry, data in zip(rows, batch.entries, case["rows"], strict=True):
        gateway = bytes.fromhex(case["gateway"])
        time, version = int(case["time"]), case["schema_version"]
        assert row == AnchorRow(1, root, size, offset, entry.first, entry.count, case["height"], time, gateway, version)
        assert row.to_bytes().hex() == data
        for number in range(entry.count):
            at = row.offset + number
            leaf = parse_leaf(batch.leaves[at])
            assert leaf.sequence == row.first + number
            nodes = [bytes.fromhex(node) for node in case["paths"][at]]
            assert batch.tree.path(at) == nodes
            verify_inclusion(root, size, at, leaf_hash(batch.leaves[at]), nodes)
        offset += entry.count
