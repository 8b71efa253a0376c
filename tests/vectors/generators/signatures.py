"""Edges of the acceptance rules, made from the curves' definitions (docs/spec/signatures.md §2 and §3)."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from generators import _curves as c

Case = dict[str, Any]


def document() -> Case:
    return {
        "suite": "signatures",
        "spec": "docs/spec/signatures.md",
        "description": (
            "Public keys, messages and signatures with the verdict 'valid'; suite -8 is Ed25519, -7 is ES256. 'zip215' "
            "is what ZIP-215 says, for comparison. Cases without a signature say whether a key may be registered: "
            "'key_error' is the refusal, null accepts. Cases with a 'seed' sign: their signature is the one that comes "
            "out. Made from the curves' definitions."
        ),
        "cases": [*_published(), *_ed25519(), *_ed_keys(), *_p256(), *_p256_keys()],
    }


def _published() -> list[Case]:
    """RFC 8032 §7.1 TEST 1 and 2; RFC 6979 §A.2.5 with SHA-256, brought to low s."""
    cases = []
    for name, seed, public, message, signature in (
        (
            "RFC 8032 test 1",
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"
            "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "RFC 8032 test 2",
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ):
        assert c.ed_accepts(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)), name
        case = {"name": f"sign: {name}", "algorithm": -8, "seed": seed, "public_key": public}
        cases.append({**case, "message": message, "signature": signature})
    secret = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    point = c.p256_mul(secret, c.G)
    assert point is not None
    for text, r, s in (
        (
            "sample",
            0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
            0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
        ),
        (
            "test",
            0xF1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367,
            0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
        ),
    ):
        signature = _rs(r, min(s, c.N - s)).hex()
        public = c.p256_encode(point).hex()
        assert c.p256_accepts(c.p256_encode(point), text.encode(), bytes.fromhex(signature)), text
        case = {"name": f"sign: RFC 6979 P-256 {text}", "algorithm": -7, "seed": f"{secret:064x}", "public_key": public}
        cases.append({**case, "message": text.encode().hex(), "signature": signature})
    return cases


def _scalar(text: str, order: int) -> int:
    return int.from_bytes(sha256(text.encode()).digest() * 2, "big") % order


def _ed_sign(key: bytes, secret: int, nonce: int, message: bytes, twist: c.Point = c.NEUTRAL) -> bytes:
    r = c.ed_encode(c.ed_add(c.ed_mul(nonce, c.BASE), twist))
    return r + ((nonce + c.ed_challenge(r, key, message) * secret) % c.L).to_bytes(32, "little")


def _small_encodings() -> list[bytes]:
    """Every 32-byte string that decodes to a point of small order, canonical ones first; fourteen in all."""
    points = c.torsion()
    canonical = sorted({c.ed_encode(point) for point in points})
    others = []
    for y in {point[1] for point in points} | {0, 1}:
        for written in (y, y + c.P):
            for sign in (0, 1):
                if written < 2**255:
                    data = (written | sign << 255).to_bytes(32, "little")
                    if c.ed_decode(data) in points and data not in canonical and data not in others:
                        others.append(data)
    return [*canonical, *sorted(others)]


def _ed_case(name: str, key: bytes, message: bytes, signature: bytes, expected: bool | None = None) -> Case:
    valid = c.ed_accepts(key, message, signature)
    assert expected is None or valid == expected, name
    proper = len(key) == 32 and len(signature) == 64
    return {
        "name": f"Ed25519: {name}",
        "algorithm": -8,
        "public_key": key.hex(),
        "message": message.hex(),
        "signature": signature.hex(),
        "valid": valid,
        "zip215": proper and c.ed_accepts_cofactored(key, message, signature),
    }


def _ed25519() -> list[Case]:
    secret = _scalar("secret", c.L)
    point = c.ed_mul(secret, c.BASE)
    key, message = c.ed_encode(point), b"althing"
    nonce = _scalar("nonce", c.L)
    good = _ed_sign(key, secret, nonce, message)
    r, s = good[:32], int.from_bytes(good[32:], "little")
    torsion = c.torsion()
    cases = [
        _ed_case("an ordinary signature", key, message, good, True),
        _ed_case("of the empty message", key, b"", _ed_sign(key, secret, nonce, b""), True),
        _ed_case("of another message", key, b"althinG", good, False),
        _ed_case("a bit of R changed", key, message, bytes((good[0] ^ 1,)) + good[1:], False),
        _ed_case("a bit of S changed", key, message, good[:32] + bytes((good[32] ^ 1,)) + good[33:], False),
        _ed_case("63 bytes", key, message, good[:-1], False),
        _ed_case("65 bytes", key, message, good + b"\x00", False),
        _ed_case("key of 31 bytes", key[:-1], message, good, False),
        _ed_case("key of 33 bytes", key + b"\x00", message, good, False),
    ]
    for name, value in (
        ("S + L", s + c.L),
        ("S + 8 L", s + 8 * c.L),
        ("S = L", c.L),
        ("S with its top bits set", s | 7 << 253),
    ):
        cases.append(_ed_case(name, key, message, r + value.to_bytes(32, "little"), False))

    # Small order in the key, in R, and in both; S = 0 makes the equation [k]A = R that such points satisfy easily.
    for number, small in enumerate(_small_encodings()):
        kind = "canonical" if number < 8 else "not canonical"
        cases.append(_ed_case(f"key of small order, {kind}, {number}", small, *_for_small_key(small), False))
        value = c.ed_challenge(small, key, message) * secret % c.L
        signature = small + value.to_bytes(32, "little")
        cases.append(_ed_case(f"R of small order, {kind}, {number}", key, message, signature, False))
    cases.append(_ed_case("key and R of small order, S = 0", *_both_small(), False))

    # Mixed order: a point of the large order plus one of small order, T. Without the cofactor such a key still has
    # valid signatures: those in which the parts of small order cancel exactly.
    mixed = c.ed_encode(c.ed_add(point, torsion[1]))

    def signed(twist: int, remainder: int) -> tuple[bytes, bytes]:
        """A message and a signature with R = [nonce]B + [twist]T and k = remainder mod 8."""
        for number in range(1000):
            text = b"message %d" % number
            signature = _ed_sign(mixed, secret, nonce, text, torsion[twist])
            if c.ed_challenge(signature[:32], mixed, text) % 8 == remainder:
                return text, signature
        raise AssertionError

    cases.append(_ed_case("key of mixed order, holds without the cofactor", mixed, *signed(0, 0), True))
    cases.append(_ed_case("key of mixed order, holds with the cofactor only", mixed, *signed(0, 1), False))
    cases.append(_ed_case("key and R of mixed order that cancel", mixed, *signed(3, 5), True))
    cases.append(_ed_case("key and R of mixed order, with the cofactor only", mixed, *signed(3, 4), False))
    for number in range(1, 8):
        twisted = _ed_sign(key, secret, nonce, message, torsion[number])
        cases.append(_ed_case(f"R of mixed order {number}, with the cofactor only", key, message, twisted, False))
    return cases


def _for_small_key(key: bytes) -> tuple[bytes, bytes]:
    """A message for which [k]A vanishes, so that the equation holds for any R = [S]B."""
    nonce = _scalar("small", c.L)
    r = c.ed_encode(c.ed_mul(nonce, c.BASE))
    for number in range(1000):
        text = b"small %d" % number
        if c.ed_challenge(r, key, text) % 8 == 0:
            return text, r + nonce.to_bytes(32, "little")
    raise AssertionError


def _both_small() -> tuple[bytes, bytes, bytes]:
    key, r = c.ed_encode(c.torsion()[1]), c.ed_encode(c.torsion()[2])
    for number in range(1000):
        text = b"both %d" % number
        if (2 + c.ed_challenge(r, key, text)) % 8 == 0:
            return key, text, r + bytes(32)
    raise AssertionError


def _key_case(name: str, algorithm: int, key: bytes, error: str | None) -> Case:
    return {"name": f"key: {name}", "algorithm": algorithm, "public_key": key.hex(), "key_error": error}


def _ed_keys() -> list[Case]:
    secret = _scalar("secret", c.L)
    point = c.ed_mul(secret, c.BASE)
    cases = [
        _key_case("Ed25519", -8, c.ed_encode(point), None),
        _key_case("Ed25519 of mixed order", -8, c.ed_encode(c.ed_add(point, c.torsion()[1])), None),
        _key_case("Ed25519 of 31 bytes", -8, bytes(31), "key.length"),
        _key_case("Ed25519 of 33 bytes", -8, c.ed_encode(point) + b"\x00", "key.length"),
    ]
    cases += [
        _key_case(f"Ed25519 of small order, {number}", -8, data, "key.weak")
        for number, data in enumerate(_small_encodings())
    ]
    small = _small_encodings()
    for y in range(c.P, 2**255):
        for sign in (0, 1):
            data = (y | sign << 255).to_bytes(32, "little")
            if data not in small:
                cases.append(_key_case(f"Ed25519 with y = p + {y - c.P}, sign {sign}", -8, data, "key.weak"))
    off = next(y for y in range(2, 100) if c.ed_decode(y.to_bytes(32, "little")) is None)
    cases.append(_key_case(f"Ed25519 with y = {off}, on no point", -8, off.to_bytes(32, "little"), "key.weak"))
    return cases


def _p256_case(name: str, key: bytes, message: bytes, signature: bytes, expected: bool) -> Case:
    assert c.p256_accepts(key, message, signature) == expected, name
    return {
        "name": f"ES256: {name}",
        "algorithm": -7,
        "public_key": key.hex(),
        "message": message.hex(),
        "signature": signature.hex(),
        "valid": expected,
    }


def _rs(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _p256() -> list[Case]:
    secret, nonce = _scalar("p256 secret", c.N), _scalar("p256 nonce", c.N)
    point = c.p256_mul(secret, c.G)
    assert point is not None
    key, message = c.p256_encode(point), b"althing"
    r, s = c.p256_sign(secret, nonce, message)
    low = min(s, c.N - s)
    other = c.p256_encode((point[0], c.Q - point[1]))
    cases = [
        _p256_case("an ordinary signature, low s", key, message, _rs(r, low), True),
        _p256_case("the same with high s", key, message, _rs(r, c.N - low), False),
        _p256_case("of the empty message", key, b"", _low(secret, nonce, b""), True),
        _p256_case("of another message", key, b"althinG", _rs(r, low), False),
        _p256_case("the opposite key", other, message, _rs(r, low), False),
        _p256_case("63 bytes", key, message, _rs(r, low)[:-1], False),
        _p256_case("65 bytes", key, message, _rs(r, low) + b"\x00", False),
        _p256_case("r = 0", key, message, _rs(0, low), False),
        _p256_case("s = 0", key, message, _rs(r, 0), False),
        _p256_case("r = s = 0", key, message, _rs(0, 0), False),
        _p256_case("r = n", key, message, _rs(c.N, low), False),
        _p256_case("s = n", key, message, _rs(r, c.N), False),
        _p256_case("r and s all ones", key, message, b"\xff" * 64, False),
        _p256_case("uncompressed key", _uncompressed(point), message, _rs(r, low), False),
        _p256_case("key with prefix 4", b"\x04" + key[1:], message, _rs(r, low), False),
        _p256_case("key of 32 bytes", key[1:], message, _rs(r, low), False),
        _p256_case("infinity as key", b"\x00", message, _rs(r, low), False),
        _p256_case("zeros as key", bytes(33), message, _rs(r, low), False),
        _p256_case("x of the key on no point", _off_curve(), message, _rs(r, low), False),
        _p256_case("x of the key not below p", b"\x02" + (c.Q + 5).to_bytes(32, "big"), message, _rs(r, low), False),
    ]
    cases += _wrapped(message)
    cases += _boundaries(message)
    # u1·G + u2·Q at infinity: e = -r d, so that the sum vanishes whatever s is.
    digest = int.from_bytes(sha256(message).digest(), "big")
    opposed = c.p256_mul(-digest * pow(r, -1, c.N) % c.N, c.G)
    assert opposed is not None
    cases.append(_p256_case("the sum is the point at infinity", c.p256_encode(opposed), message, _rs(r, low), False))
    return cases


def _low(secret: int, nonce: int, message: bytes) -> bytes:
    r, s = c.p256_sign(secret, nonce, message)
    return _rs(r, min(s, c.N - s))


def _key_for(r_point: c.Point, r: int, s: int, message: bytes) -> bytes:
    """The key under which (r, s) is valid with R = r_point: Q = r^-1 (s R - e G)."""
    digest = int.from_bytes(sha256(message).digest(), "big")
    inverse = pow(r, -1, c.N)
    key = c.p256_add(c.p256_mul(s * inverse % c.N, r_point), c.p256_mul(-digest * inverse % c.N, c.G))
    assert key is not None
    return c.p256_encode(key)


def _wrapped(message: bytes) -> list[Case]:
    """x of R not below n: r is x - n, and comparing without reduction would refuse."""
    for x in range(c.N, c.N + 1000):
        point = c.p256_decode(b"\x02" + x.to_bytes(32, "big"))
        if point is not None:
            key = _key_for(point, x - c.N, 12345, message)
            return [
                _p256_case("x of R beyond n, r reduced", key, message, _rs(x - c.N, 12345), True),
                _p256_case("x of R beyond n, r not reduced", key, message, _rs(x, 12345), False),
            ]
    raise AssertionError


def _boundaries(message: bytes) -> list[Case]:
    half = c.N // 2
    point = c.p256_mul(7, c.G)
    assert point is not None
    r = point[0] % c.N
    cases = []
    for name, s, valid in (("s = 1", 1, True), ("s = (n - 1) / 2", half, True), ("s = (n + 1) / 2", half + 1, False)):
        cases.append(_p256_case(name, _key_for(point, r, s, message), message, _rs(r, s), valid))
    return cases


def _uncompressed(point: c.Point) -> bytes:
    return b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def _off_curve() -> bytes:
    for x in range(1, 1000):
        data = b"\x02" + x.to_bytes(32, "big")
        if c.p256_decode(data) is None:
            return data
    raise AssertionError


def _p256_keys() -> list[Case]:
    point = c.p256_mul(_scalar("p256 secret", c.N), c.G)
    assert point is not None
    key = c.p256_encode(point)
    return [
        _key_case("P-256", -7, key, None),
        _key_case("P-256 base point", -7, c.p256_encode(c.G), None),
        _key_case("P-256 uncompressed", -7, _uncompressed(point), "key.point"),
        _key_case("P-256 infinity", -7, b"\x00", "key.point"),
        _key_case("P-256 zeros", -7, bytes(33), "key.point"),
        _key_case("P-256 prefix 5", -7, b"\x05" + key[1:], "key.point"),
        _key_case("P-256 x on no point", -7, _off_curve(), "key.point"),
        _key_case("P-256 x not below p", -7, b"\x02" + (c.Q + 5).to_bytes(32, "big"), "key.point"),
    ]
