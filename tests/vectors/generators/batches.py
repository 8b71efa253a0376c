"""Leaves, batches over several streams, and the anchor rows they give (docs/spec/batches.md)."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from generators.merkle import mth, path

from althing.protocol.batch import Leaf, Origin
from althing.protocol.codec import Item, decode, encode
from althing.protocol.message import sign_message
from althing.protocol.messages.streams import AnchorRow
from althing.protocol.signatures import PrivateKey, Suite

Case = dict[str, Any]

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def _leaf(stream: str, sequence: int, origin: Origin, body: bytes, content_type: str) -> Leaf:
    salt = sha256(f"{stream} {sequence}".encode()).digest()[:16]
    return Leaf(1, salt, stream, sequence, START + sequence * SECOND, content_type, origin, body)


def _leaf_case(name: str, leaf: Leaf) -> Case:
    data = leaf.to_bytes()
    return {
        "name": f"leaf: {name}",
        "salt": leaf.salt.hex(),
        "stream": leaf.stream,
        "sequence": leaf.sequence,
        "arrival": str(leaf.arrival),
        "content_type": leaf.content_type,
        "origin": int(leaf.origin),
        "body": leaf.body.hex(),
        "leaf": data.hex(),
        "leaf_hash": sha256(b"\x00" + data).hexdigest(),
    }


def document() -> Case:
    key = PrivateKey(Suite.ED25519, bytes(range(1, 33)))
    senml = b'[{"n":"temperature","u":"Cel","v":21.5}]'
    signed = sign_message(key, sha256(b"a genesis").digest(), "demo-1", "pump-7/motor", 42, senml)
    leaves = [
        ("signed by the device", _leaf("pump-7/motor", 0, Origin.DEVICE, signed, "")),
        ("attested by the gateway", _leaf("scale-3/weight", 7, Origin.GATEWAY, b'{"kg": 12.5}', "application/json")),
        ("an empty body", _leaf("scale-3/weight", 8, Origin.GATEWAY, b"", "")),
    ]
    cases = [_leaf_case(name, leaf) for name, leaf in leaves]
    cases += [
        {"name": f"leaf refused: {name}", "leaf": data.hex(), "error": error}
        for name, data, error in _refused(decode(leaves[1][1].to_bytes()), leaves[1][1].to_bytes())
    ]
    for sizes in ((1,), (3, 1, 4), (1, 1, 1, 1, 1)):
        cases.append(_batch(sizes))
    return {
        "suite": "batches",
        "spec": "docs/spec/batches.md",
        "description": (
            "Leaves with their fields, leaves that are refused, and batches: leaves of several streams, the table of the "
            "anchor, root and paths, and the row that each stream's log gets from an anchor in a block of this height and time."
        ),
        "cases": cases,
    }


def _batch(sizes: tuple[int, ...]) -> Case:
    groups, rows, encoded = [], [], []
    gateway = sha256(b"gateway").digest()[:20]
    for number, size in enumerate(sizes):
        first = 10 * number
        leaves = [
            _leaf(f"device-{number}/stream", first + i, Origin.GATEWAY, b"%d" % i, "text/plain").to_bytes()
            for i in range(size)
        ]
        groups.append({"stream": 2 * number, "first": first, "leaves": [leaf.hex() for leaf in leaves]})
        encoded += leaves
    root, offset = mth(encoded), 0
    for group, size in zip(groups, sizes, strict=True):
        row = AnchorRow(1, root, len(encoded), offset, group["first"], size, 9, START + 9 * SECOND, gateway, 3)
        rows.append(row.to_bytes().hex())
        offset += size
    return {
        "name": f"batch of {len(sizes)} streams with {' + '.join(map(str, sizes))} leaves",
        "groups": groups,
        "root": root.hex(),
        "paths": [[node.hex() for node in path(i, encoded)] for i in range(len(encoded))],
        "gateway": gateway.hex(),
        "height": 9,
        "time": str(START + 9 * SECOND),
        "schema_version": 3,
        "rows": rows,
    }


def _refused(good: list[Item], data: bytes) -> list[tuple[str, bytes, str]]:
    def changed(index: int, value: Item) -> bytes:
        return encode([*good[:index], value, *good[index + 1 :]])

    return [
        ("version 2", changed(0, 2), "record.field"),
        ("salt of 15 bytes", changed(1, bytes(15)), "record.field"),
        ("stream of two characters", changed(2, "ab"), "record.field"),
        ("stream with a control character", changed(2, "a/\x07b"), "record.field"),
        ("sequence -1", changed(3, -1), "record.field"),
        ("sequence 2^63", changed(3, 2**63), "record.field"),
        ("arrival as text", changed(4, "now"), "record.field"),
        ("content type of 128 characters", changed(5, "a" * 128), "record.field"),
        ("origin 2", changed(6, 2), "record.field"),
        ("origin as boolean", changed(6, False), "record.field"),
        ("body as text", changed(7, "x"), "record.field"),
        ("seven fields", encode(good[:7]), "record.form"),
        ("nine fields", encode([*good, None]), "record.form"),
        ("a longer head", b"\x98\x08" + data[1:], "cbor.not_deterministic"),
        ("a byte follows", data + b"\x00", "cbor.not_deterministic"),
        ("cut off", data[:-1], "cbor.malformed"),
        ("empty", b"", "cbor.malformed"),
    ]
