"""Addresses, key ids, their text forms, DIDs and names (docs/spec/addresses.md)."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

Case = dict[str, Any]

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
ED25519_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
P256_KEY = "0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"


def _polymod(values: list[int]) -> int:
    """BIP-173's checksum, written from its text."""
    generator = [0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]
    chk = 1
    for value in values:
        b = chk >> 25
        chk = (chk & 0x1FFFFFF) << 5 ^ value
        for i in range(5):
            chk ^= generator[i] if (b >> i) & 1 else 0
    return chk


def bech32(hrp: str, data: bytes, constant: int) -> str:
    bits = "".join(f"{byte:08b}" for byte in data)
    groups = [int(bits[i : i + 5], 2) for i in range(0, len(bits), 5)]
    expanded = [ord(x) >> 5 for x in hrp] + [0] + [ord(x) & 31 for x in hrp]
    checksum = _polymod([*expanded, *groups, 0, 0, 0, 0, 0, 0]) ^ constant
    groups += [(checksum >> 5 * (5 - i)) & 31 for i in range(6)]
    return hrp + "1" + "".join(_CHARSET[group] for group in groups)


def text_of(address: bytes) -> str:
    return bech32("al", address, 0x2BC830A3)


def _key(name: str, suite: int, public: str) -> Case:
    head = ("27" if suite == -8 else "26") + ("5820" if suite == -8 else "5821")
    item = bytes.fromhex("82" + head + public)
    address = sha256(b"althing/address/v1" + item).digest()[:20]
    return {
        "name": name,
        "suite": suite,
        "public": public,
        "encoded": item.hex(),
        "address": address.hex(),
        "key_id": sha256(b"althing/key/v1" + item).digest()[:8].hex(),
        "text": text_of(address),
        "chain_id": "demo-1",
        "did": f"did:althing:demo-1:{text_of(address)}",
    }


def _named(owner: str, kind: str, name: str) -> Case:
    parts = [bytes.fromhex("54" + owner), *(bytes((0x60 + len(t),)) + t.encode() for t in (kind, name))]
    item = b"\x83" + b"".join(parts)
    address = sha256(b"althing/address/v1" + item).digest()[:20]
    return {
        "name": f"address of a device without a key: {name}",
        "owner": owner,
        "kind": kind,
        "of_name": name,
        "encoded": item.hex(),
        "address": address.hex(),
        "text": text_of(address),
    }


def _under(owner: str, key: Case) -> Case:
    item = bytes.fromhex("8354" + owner + key["encoded"][2:])
    address = sha256(b"althing/address/v1" + item).digest()[:20]
    return {
        "name": f"address under {owner} without the key's signature: {key['name']}",
        "owner": owner,
        "suite": key["suite"],
        "of_public": key["public"],
        "encoded": item.hex(),
        "address": address.hex(),
        "text": text_of(address),
    }


def document() -> Case:
    ed, p256 = _key("Ed25519 key (RFC 8032 test 1)", -8, ED25519_KEY), _key("P-256 key (RFC 6979)", -7, P256_KEY)
    cases = [ed, p256, _named(ed["address"], "device", "scale-3"), _named(ed["address"], "device", "scale-4")]
    cases += [_under(cases[2]["address"], ed), _under(ed["address"], p256), _under(bytes(20).hex(), ed)]
    for name, address in (("zeros", bytes(20)), ("ones", b"\xff" * 20)):
        cases.append({"name": f"text of 20 bytes: {name}", "address": address.hex(), "text": text_of(address)})
    good: str = ed["text"]
    swapped = good[:10] + good[11] + good[10] + good[12:]
    for name, text, error in (
        ("a letter changed", good[:-1] + ("q" if good[-1] != "q" else "p"), "address.checksum"),
        ("two letters exchanged", swapped, "address.checksum"),
        ("upper case", good.upper(), "address.form"),
        ("one letter in upper case", good[:5] + good[5:].upper(), "address.checksum"),
        ("another prefix", bech32("bc", bytes.fromhex(ed["address"]), 0x2BC830A3), "address.form"),
        ("bech32, not bech32m", bech32("al", bytes.fromhex(ed["address"]), 1), "address.checksum"),
        ("40 characters", good[:-1], "address.form"),
        ("42 characters", good + "q", "address.form"),
        ("a letter outside the alphabet", good[:8] + "b" + good[9:], "address.checksum"),
        ("empty", "", "address.form"),
    ):
        cases.append({"name": f"address refused: {name}", "parse": text, "error": error})
    for name, text, error in (
        ("another method", f"did:web:demo-1:{good}", "did.form"),
        ("no chain", f"did:althing:{good}", "did.form"),
        ("chain in upper case", f"did:althing:Demo-1:{good}", "did.form"),
        ("a part more", f"did:althing:demo-1:{good}:x", "did.form"),
        ("address with an error", f"did:althing:demo-1:{swapped}", "address.checksum"),
    ):
        cases.append({"name": f"DID refused: {name}", "parse_did": text, "error": error})
    names = (
        ("a", True), ("7", True), ("pump-7", True), ("pump_7.a", True), ("a" * 63, True), ("a" * 64, False), ("", False),
        ("Pump", False), ("-a", False), ("a-", False), (".a", False), ("a_", False), ("a/b", False), ("a b", False),
        ("pümp", False), ("a\n", False), ("a\u0000", False),
    )  # fmt: skip
    cases += [{"name": f"name {text!r}", "is_name": text, "valid": valid} for text, valid in names]
    chains = (
        ("demo-1", True), ("a", True), ("a" * 50, True), ("a" * 51, False), ("demo_1", False), ("demo.1", False),
        ("-demo", False), ("demo-", False), ("Demo", False), ("", False), ("demo\n", False),
    )  # fmt: skip
    cases += [{"name": f"chain id {text!r}", "is_chain_id": text, "valid": valid} for text, valid in chains]
    paths = (
        ("pump-7/flow", ["pump-7", "flow"]), ("a/b", ["a", "b"]), ("a", None), ("a/", None), ("/a", None), ("a/b/c", None),
        ("a//b", None), ("A/b", None), (" a/b", None),
    )  # fmt: skip
    cases += [{"name": f"stream path {text!r}", "stream_path": text, "parts": parts} for text, parts in paths]
    return {
        "suite": "addresses",
        "spec": "docs/spec/addresses.md",
        "description": (
            "Addresses of keys and names with the bytes that are hashed, key ids, bech32m texts, DIDs; texts that are "
            "refused; names, chain ids and stream paths. Made from the specification's text with SHA-256 alone."
        ),
        "cases": cases,
    }
