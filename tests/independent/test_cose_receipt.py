"""COSE Receipts as a stranger reads them: RFC 9942 and RFC 9162 by hand, over cbor2 and cryptography, nothing of ours."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA256
from typer.testing import CliRunner

from althing.cli.main import app
from althing.client.keyfile import save_key
from althing.protocol.batch import Batch, Leaf, Origin, build_batch
from althing.protocol.cosereceipt import receipt_of_inclusion
from althing.protocol.errors import MerkleError
from althing.protocol.merkle import leaf_hash
from althing.protocol.signatures import PrivateKey, Suite
from althing.testing.harness import seeded_key

PROOFS = Path(__file__).resolve().parents[1] / "vectors" / "proof.json"


def read(receipt: bytes, entry: bytes, public: bytes) -> int:
    """The leaf's index, or an exception: what RFC 9942 §5.2.1 asks of a verifier."""
    tagged = cbor2.loads(receipt)
    assert tagged.tag == 18
    protected, unprotected, payload, signature = tagged.value
    headers = cbor2.loads(protected)
    assert headers[395] == 1, "RFC9162_SHA256"
    assert payload is None, "the root is detached"
    (proof,) = unprotected[396][-1]
    size, index, path = cbor2.loads(proof)
    signed = cbor2.dumps(["Signature1", protected, b"", root_of(entry, size, index, path)])
    if headers[1] == -8:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    else:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
        r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
        key.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))
    return int(index)


def root_of(entry: bytes, size: int, index: int, path: list[bytes]) -> bytes:
    """RFC 9162 §2.1.1, from the top: which half the leaf is in decides where its neighbour stands."""
    turns = []
    while size > 1:
        left = 1 << (size - 1).bit_length() - 1
        turns.append(index >= left)
        index, size = (index - left, size - left) if index >= left else (index, left)
    assert len(turns) == len(path)
    node = sha256(b"\x00" + entry).digest()
    for right, neighbour in zip(reversed(turns), path, strict=True):
        node = sha256(b"\x01" + (neighbour + node if right else node + neighbour)).digest()
    return node


def batch(count: int) -> Batch:
    leaves = [Leaf(1, bytes(16), "a/b", n, n, "", Origin.GATEWAY, b"%d" % n).to_bytes() for n in range(count)]
    return build_batch([(0, 0, leaves)])


def receipts(key: PrivateKey, count: int) -> list[tuple[bytes, bytes]]:
    made = batch(count)
    tree = made.tree
    return [
        (receipt_of_inclusion(key, made.root, count, at, leaf_hash(leaf), tree.path(at)), leaf)
        for at, leaf in enumerate(made.leaves)
    ]


@pytest.mark.parametrize("suite", [Suite.ED25519, Suite.ES256])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 13])
def test_a_stranger_reads_every_leaf_of_a_batch(suite: Suite, count: int) -> None:
    key = seeded_key("issuer", suite)
    for at, (receipt, leaf) in enumerate(receipts(key, count)):
        assert read(receipt, leaf, key.public) == at


def test_another_leaf_key_or_bit_is_refused() -> None:
    key = seeded_key("issuer")
    (receipt, leaf), (_, other) = receipts(key, 5)[2:4]
    with pytest.raises(InvalidSignature):
        read(receipt, other, key.public)
    with pytest.raises(InvalidSignature):
        read(receipt, leaf, seeded_key("stranger").public)
    survivors = set()
    for bit in range(8 * len(receipt)):
        changed = bytearray(receipt)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert read(bytes(changed), leaf, key.public) == 2
        except Exception:  # noqa: BLE001 -- whatever a reader stumbles over first
            continue
        survivors.add(bit // 8)
    # The tree's size is not under the signature: sizes 5 to 8 give the third leaf the same way to the same root.
    assert survivors == {receipt.index(b"\x83\x05\x02") + 1}


def test_nobody_signs_a_root_the_path_does_not_lead_to() -> None:
    made = batch(4)
    with pytest.raises(MerkleError):
        receipt_of_inclusion(seeded_key("issuer"), bytes(32), 4, 1, leaf_hash(made.leaves[1]), made.tree.path(1))


def test_the_command_exports_what_it_has_verified(tmp_path: Path) -> None:
    cases = {case["name"]: case for case in json.loads(PROOFS.read_text(encoding="utf-8"))["cases"]}
    case = cases["a later leaf of a larger batch, with device time"]
    issuer = seeded_key("issuer")
    save_key(tmp_path / "issuer.json", issuer)
    (tmp_path / "trust.json").write_text(json.dumps(case["trust"]))
    for name, data in (("good", bytes.fromhex(case["proof"])), ("bad", bytes.fromhex(case["proof"])[:-1])):
        (tmp_path / f"{name}.cbor").write_bytes(data)

    def run(name: str) -> int:
        arguments = ["proof", "receipt", f"{tmp_path}/{name}.cbor", "--trust", f"{tmp_path}/trust.json"]
        files = ["-o", f"{tmp_path}/{name}.cose", "--leaf", f"{tmp_path}/{name}.leaf"]
        return CliRunner().invoke(app, [*arguments, *files, "--key", f"{tmp_path}/issuer.json", "--json"]).exit_code

    assert run("good") == 0
    assert read((tmp_path / "good.cose").read_bytes(), (tmp_path / "good.leaf").read_bytes(), issuer.public) > 0
    assert run("bad") == 1
    assert not (tmp_path / "bad.cose").exists()
