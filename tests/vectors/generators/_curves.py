"""edwards25519 and P-256 from their definitions (RFC 8032 §5.1, FIPS 186-5, SEC 2), slow and for test vectors only.

Nothing here comes from the library that the project verifies with, so the vectors do not repeat its opinion.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256, sha512

Point = tuple[int, int]
Extended = tuple[int, int, int, int]

# --- edwards25519 -------------------------------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
_ROOT = pow(2, (P - 1) // 4, P)
NEUTRAL: Point = (0, 1)


def _x(y: int, sign: int) -> int | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * _ROOT % P
    if (x * x - square) % P:
        return None
    return (P - x) % P if x & 1 != sign else x


def ed_add(a: Point, b: Point) -> Point:
    return _affine(_add(_extended(a), _extended(b)))


def ed_mul(n: int, point: Point) -> Point:
    result, power = _extended(NEUTRAL), _extended(point)
    while n:
        if n & 1:
            result = _add(result, power)
        power = _add(power, power)
        n >>= 1
    return _affine(result)


def _extended(point: Point) -> Extended:
    return point[0], point[1], 1, point[0] * point[1] % P


def _affine(point: Extended) -> Point:
    inverse = pow(point[2], -1, P)
    return point[0] * inverse % P, point[1] * inverse % P


def _add(a: Extended, b: Extended) -> Extended:
    """RFC 8032 §5.1.4, which holds for every pair of points."""
    u, v = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = v - u, d - c, d + c, v + u
    return e * f % P, g * h % P, f * g % P, e * h % P


def _base() -> Point:
    y = 4 * pow(5, -1, P) % P
    x = _x(y, 0)
    assert x is not None
    return x, y


BASE = _base()


def ed_encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def ed_decode(data: bytes) -> Point | None:
    """The point of an encoding, also of one with y ≥ p or with x = 0 and the sign bit set; None if on no point."""
    number = int.from_bytes(data, "little")
    y = (number & 2**255 - 1) % P
    x = _x(y, number >> 255)
    return None if x is None else (x, y)


@cache
def torsion() -> list[Point]:
    """The eight points of small order, by multiples of one of order eight."""
    for y in range(2, 1000):
        x = _x(y, 0)
        if x is None:
            continue
        point = ed_mul(L, (x, y))
        if ed_mul(4, point) != NEUTRAL:
            return [ed_mul(n, point) for n in range(8)]
    raise AssertionError


def ed_challenge(r: bytes, a: bytes, message: bytes) -> int:
    return int.from_bytes(sha512(r + a + message).digest(), "little") % L


def ed_accepts(key: bytes, message: bytes, signature: bytes) -> bool:
    """The acceptance rule of docs/spec/signatures.md §2, step by step."""
    if len(key) != 32 or len(signature) != 64:
        return False
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if s >= L:
        return False
    small = torsion()
    point = ed_decode(key)
    if point is None or int.from_bytes(key, "little") & 2**255 - 1 >= P or point in small:
        return False
    if ed_decode(r) in small:
        return False
    k = ed_challenge(r, key, message)
    minus = ((P - point[0]) % P, point[1])
    return ed_encode(ed_add(ed_mul(s, BASE), ed_mul(k, minus))) == r


def ed_accepts_cofactored(key: bytes, message: bytes, signature: bytes) -> bool:
    """ZIP-215, for comparison: any encoding of any point, the equation times eight."""
    point, other, s = ed_decode(key), ed_decode(signature[:32]), int.from_bytes(signature[32:], "little")
    if point is None or other is None or s >= L:
        return False
    k = ed_challenge(signature[:32], key, message)
    return ed_mul(8, ed_mul(s, BASE)) == ed_mul(8, ed_add(other, ed_mul(k, point)))


# --- P-256 --------------------------------------------------------------------------------------------------------

Q = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G: Point = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


def on_p256(x: int, y: int) -> bool:
    return 0 <= x < Q and 0 <= y < Q and (y * y - x * x * x + 3 * x - _B) % Q == 0


def p256_add(a: Point | None, b: Point | None) -> Point | None:
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % Q == 0:
            return None
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, Q)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, Q)
    x = (slope * slope - a[0] - b[0]) % Q
    return x, (slope * (a[0] - x) - a[1]) % Q


def p256_mul(n: int, point: Point | None) -> Point | None:
    result: Point | None = None
    while n:
        if n & 1:
            result = p256_add(result, point)
        point = p256_add(point, point)
        n >>= 1
    return result


def p256_encode(point: Point) -> bytes:
    return bytes((2 + (point[1] & 1),)) + point[0].to_bytes(32, "big")


def p256_decode(data: bytes) -> Point | None:
    x = int.from_bytes(data[1:], "big")
    if len(data) != 33 or data[0] not in (2, 3) or x >= Q:
        return None
    y = pow(x**3 - 3 * x + _B, (Q + 1) // 4, Q)
    if not on_p256(x, y):
        return None
    return x, y if y & 1 == data[0] & 1 else Q - y


def p256_sign(secret: int, k: int, message: bytes) -> tuple[int, int]:
    """r and s for the nonce k, not brought to low s."""
    point = p256_mul(k, G)
    assert point is not None
    r = point[0] % N
    return r, pow(k, -1, N) * (int.from_bytes(sha256(message).digest(), "big") + r * secret) % N


def p256_accepts(key: bytes, message: bytes, signature: bytes) -> bool:
    """The acceptance rule of docs/spec/signatures.md §3, step by step."""
    point = p256_decode(key)
    if point is None or len(signature) != 64:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not 0 < r < N or not 0 < s <= N // 2:
        return False
    w = pow(s, -1, N)
    e = int.from_bytes(sha256(message).digest(), "big")
    found = p256_add(p256_mul(e * w % N, G), p256_mul(r * w % N, point))
    return found is not None and found[0] % N == r
