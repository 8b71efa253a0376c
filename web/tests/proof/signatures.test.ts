import { ed25519 } from "@noble/curves/ed25519.js";
import { p256 } from "@noble/curves/nist.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { describe, expect, test } from "vitest";
import { bigEndian, concat, fromBigEndian, utf8, type Bytes } from "../../src/proof/bytes";
import { ED25519, ES256, verify } from "../../src/proof/signatures";
import { bytes } from "../vectors";

const little = (value: bigint): Bytes => bigEndian(value, 32).reverse();
const message = utf8("a reading");

describe("Ed25519", () => {
  const { Point } = ed25519;
  const order = Point.Fn.ORDER;
  const secret = 0x1234_5678_9abcn;
  const nonce = 0xfedc_ba98_7654n;

  function sign(publicKey: Bytes, text: Bytes): Bytes {
    const r = Point.BASE.multiply(nonce).toBytes();
    const k = fromBigEndian(sha512(concat(r, publicKey, text)).reverse()) % order;
    return concat(r, little((nonce + k * secret) % order));
  }

  const key = Point.BASE.multiply(secret).toBytes();

  test("a right signature is accepted, a changed one is not", () => {
    const signature = sign(key, message);
    expect(verify(ED25519, key, message, signature)).toBe(true);
    expect(verify(ED25519, key, utf8("another"), signature)).toBe(false);
    expect(verify(ED25519, key, message, signature.slice(0, 63))).toBe(false);
  });

  test("S at or above the group order is refused", () => {
    const signature = sign(key, message);
    const s = fromBigEndian(signature.slice(32).reverse());
    expect(verify(ED25519, key, message, concat(signature.slice(0, 32), little(s + order)))).toBe(false);
  });

  test("no cofactor: a key with a part of small order passes only where that part vanishes", () => {
    const mixed = Point.BASE.multiply(secret).add(Point.fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")).toBytes();
    const outcomes = Array.from({ length: 32 }, (_, i) => {
      const text = utf8(`m${i}`);
      const signature = sign(mixed, text);
      const k = fromBigEndian(sha512(concat(signature.slice(0, 32), mixed, text)).reverse()) % order;
      return [k % 8n === 0n, verify(ED25519, mixed, text, signature)];
    });
    for (const [vanishes, accepted] of outcomes) expect(accepted).toBe(vanishes);
    expect(outcomes.filter(([vanishes]) => !vanishes).length).toBeGreaterThan(20);
  });

  test.each([
    ["0100000000000000000000000000000000000000000000000000000000000000", "the neutral element"],
    ["0000000000000000000000000000000000000000000000000000000000000000", "order 4"],
    ["ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "order 2"],
    ["26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "order 8"],
    ["eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "not canonical"],
  ])("a key or R of small order is refused: %s (%s)", (point) => {
    // With S = 0 and R the neutral element such a key would verify everything.
    expect(verify(ED25519, bytes(point), message, concat(bytes(point), new Uint8Array(32)))).toBe(false);
    expect(verify(ED25519, key, message, concat(bytes(point), sign(key, message).slice(32)))).toBe(false);
  });
});

describe("ES256", () => {
  const secret = bigEndian(0x5151n, 32);
  const key = p256.getPublicKey(secret, true);
  const signature = p256.sign(message, secret, { lowS: true, prehash: true, format: "compact" });

  test("a right signature is accepted, a changed one is not", () => {
    expect(verify(ES256, key, message, signature)).toBe(true);
    expect(verify(ES256, key, utf8("another"), signature)).toBe(false);
  });

  test("a high s is refused", () => {
    const s = fromBigEndian(signature.slice(32));
    expect(verify(ES256, key, message, concat(signature.slice(0, 32), bigEndian(p256.Point.Fn.ORDER - s, 32)))).toBe(false);
  });

  test("zeros, long keys and points off the curve are refused", () => {
    expect(verify(ES256, key, message, new Uint8Array(64))).toBe(false);
    expect(verify(ES256, p256.getPublicKey(secret, false), message, signature)).toBe(false);
    expect(verify(ES256, concat(bytes("02"), new Uint8Array(32).fill(0xff)), message, signature)).toBe(false);
  });
});
