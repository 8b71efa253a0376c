"""COSE_Sign1 and COSE_Sign envelopes of the profile, and what it refuses (docs/spec/cose.md)."""

from __future__ import annotations

from typing import Any

from althing.protocol.address import key_id
from althing.protocol.codec import Item, encode
from althing.protocol.cose import sign, sign1
from althing.protocol.signatures import PrivateKey, Suite

Case = dict[str, Any]

AAD = b"althing/example/v1" + bytes(range(32))
PAYLOAD = b"what is agreed"
KEYS = [
    PrivateKey(Suite.ED25519, bytes(range(1, 33))),
    PrivateKey(Suite.ES256, bytes(range(33, 65))),
    PrivateKey(Suite.ED25519, bytes(range(65, 97))),
]


def _kid(key: PrivateKey) -> bytes:
    return key_id(key.suite, key.public)


def _signer(key: PrivateKey) -> Case:
    return {"algorithm": int(key.suite), "seed": key.seed.hex(), "public_key": key.public.hex(), "kid": _kid(key).hex()}


def _good() -> list[Case]:
    cases = []
    for key, name in ((KEYS[0], "Ed25519"), (KEYS[1], "ES256")):
        protected = encode({1: int(key.suite), 4: _kid(key)})
        cases.append(
            {
                "name": f"COSE_Sign1 with {name}",
                "signers": [_signer(key)],
                "payload": PAYLOAD.hex(),
                "aad": AAD.hex(),
                "sig_structures": [encode(["Signature1", protected, AAD, PAYLOAD]).hex()],
                "envelope": sign1(key, _kid(key), PAYLOAD, AAD).hex(),
            }
        )
    ordered = sorted(KEYS, key=_kid)
    structures = [
        encode(["Signature", b"", encode({1: int(key.suite), 4: _kid(key)}), AAD, PAYLOAD]).hex() for key in ordered
    ]
    cases.append(
        {
            "name": "COSE_Sign with three keys of two suites",
            "signers": [_signer(key) for key in ordered],
            "payload": PAYLOAD.hex(),
            "aad": AAD.hex(),
            "sig_structures": structures,
            "envelope": sign([(key, _kid(key)) for key in KEYS], PAYLOAD, AAD).hex(),
        }
    )
    return cases


def _refused() -> list[tuple[str, bytes, str]]:
    key = KEYS[0]
    kid = _kid(key)
    protected = encode({1: -8, 4: kid})
    value = key.sign(encode(["Signature1", protected, AAD, PAYLOAD]))

    def one(parts: list[Item], tag: bytes = b"\xd2") -> bytes:
        return tag + encode(parts)

    def headed(headers: Item) -> bytes:
        raw = headers if isinstance(headers, bytes) else encode(headers)
        return one([raw, {}, PAYLOAD, key.sign(encode(["Signature1", raw, AAD, PAYLOAD]))])

    whole = one([protected, {}, PAYLOAD, value])
    ordered = sorted(KEYS, key=_kid)

    def entry(k: PrivateKey) -> list[Item]:
        raw = encode({1: int(k.suite), 4: _kid(k)})
        return [raw, {}, k.sign(encode(["Signature", b"", raw, AAD, PAYLOAD]))]

    def several(entries: list[Item], body: bytes = b"", unprotected: Item | None = None) -> bytes:
        return b"\xd8\x62" + encode([body, unprotected or {}, PAYLOAD, entries])

    entries = [entry(k) for k in ordered]
    first = entries[0]
    return [
        ("empty", b"", "cose.tag"),
        ("untagged", whole[1:], "cose.tag"),
        ("tag 18 in two bytes", b"\xd8\x12" + whole[1:], "cose.tag"),
        ("COSE_Mac0", b"\xd1" + whole[1:], "cose.tag"),
        ("tagged twice", b"\xd2" + whole, "cbor.type"),
        ("a byte follows", whole + b"\x00", "cbor.not_deterministic"),
        ("array of three", one([protected, {}, PAYLOAD]), "cose.form"),
        ("array of five", one([protected, {}, PAYLOAD, value, b""]), "cose.form"),
        ("detached payload", one([protected, {}, None, value]), "cose.form"),
        ("payload as text", one([protected, {}, "x", value]), "cose.form"),
        ("unprotected header", one([protected, {4: kid}, PAYLOAD, value]), "cose.unprotected"),
        ("unprotected as array", one([protected, [], PAYLOAD, value]), "cose.form"),
        ("protected as map", one([{1: -8}, {}, PAYLOAD, value]), "cose.form"),
        ("protected empty", headed(b""), "cbor.malformed"),
        ("protected an empty map", headed({}), "cose.algorithm"),
        ("protected an array", headed([1, -8]), "cose.headers"),
        ("protected not canonical", headed(b"\xa2\x01\x38\x07\x04\x48" + kid), "cbor.not_deterministic"),
        ("protected out of order", headed(b"\xa2\x04\x48" + kid + b"\x01\x27"), "cbor.map_order"),
        ("algorithm -9", headed({1: -9, 4: kid}), "cose.algorithm"),
        ("algorithm ES512", headed({1: -36, 4: kid}), "cose.algorithm"),
        ("algorithm as text", headed({1: "EdDSA", 4: kid}), "cose.algorithm"),
        ("no algorithm", headed({4: kid}), "cose.algorithm"),
        ("no kid", headed({1: -8}), "cose.kid"),
        ("kid of seven bytes", headed({1: -8, 4: kid[:7]}), "cose.kid"),
        ("kid as text", headed({1: -8, 4: "abcdefgh"}), "cose.kid"),
        ("crit", headed({1: -8, 2: [1], 4: kid}), "cose.headers"),
        ("a content type", headed({1: -8, 3: "text/plain", 4: kid}), "cose.headers"),
        ("a private header", headed({1: -8, 4: kid, -70001: "x"}), "cose.headers"),
        ("signature of 63 bytes", one([protected, {}, PAYLOAD, value[:-1]]), "cose.signature"),
        ("signature of 65 bytes", one([protected, {}, PAYLOAD, value + b"\x00"]), "cose.signature"),
        ("signature in DER", one([protected, {}, PAYLOAD, b"\x30\x44" + bytes(68)]), "cose.signature"),
        ("COSE_Sign with one signature", several([first]), "cose.signatures"),
        ("COSE_Sign with none", several([]), "cose.signatures"),
        ("COSE_Sign with 65", several([first] * 65), "cose.signatures"),
        ("COSE_Sign out of order", several(entries[::-1]), "cose.order"),
        ("COSE_Sign with a signature twice", several([first, first]), "cose.order"),
        ("COSE_Sign with a protected body header", several(entries, b"\xa0"), "cose.form"),
        ("COSE_Sign with an unprotected header", several(entries, b"", {1: -8}), "cose.unprotected"),
        (
            "COSE_Sign, unprotected in a signature",
            several([[first[0], {4: b"x"}, first[2]], *entries[1:]]),
            "cose.unprotected",
        ),
        ("COSE_Sign, a signature of four parts", several([[*first, b""], *entries[1:]]), "cose.form"),
        ("COSE_Sign under the tag of COSE_Sign1", b"\xd2" + several(entries)[2:], "cbor.malformed"),
    ]


def document() -> Case:
    refused = [
        {"name": f"refused: {name}", "envelope": data.hex(), "aad": AAD.hex(), "error": error}
        for name, data, error in _refused()
    ]
    return {
        "suite": "cose",
        "spec": "docs/spec/cose.md",
        "description": (
            "Envelopes of the profile with the bytes that each key signs, and envelopes that are refused for their form "
            "before any signature is verified. Both suites sign deterministically."
        ),
        "cases": [*_good(), *refused],
    }
