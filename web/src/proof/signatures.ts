/**
 * The one acceptance rule of each signature suite (docs/spec/signatures.md). Browsers' WebCrypto leaves Ed25519's edge
 * cases to its library and exists on secure origins only, so the rule is spelled out over curve arithmetic here.
 */

import { ed25519 } from "@noble/curves/ed25519.js";
import { p256 } from "@noble/curves/nist.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { concat, equal, fromBigEndian, type Bytes } from "./bytes";

/** COSE algorithm numbers (RFC 9053 §2.1, §2.2). */
export const ED25519 = -8n;
export const ES256 = -7n;
export type Suite = typeof ED25519 | typeof ES256;

export function verify(suite: Suite, publicKey: Bytes, message: Bytes, signature: Bytes): boolean {
  if (signature.length !== 64) return false;
  return suite === ED25519 ? verifyEd25519(publicKey, message, signature) : verifyEs256(publicKey, message, signature);
}

/** RFC 8032 §5.1.7 without cofactor: S below the group order, A canonical, neither A nor R of small order. */
function verifyEd25519(publicKey: Bytes, message: Bytes, signature: Bytes): boolean {
  const { Point } = ed25519;
  const order = Point.Fn.ORDER;
  const encodedR = signature.subarray(0, 32);
  const s = fromBigEndian(signature.slice(32).reverse());
  if (publicKey.length !== 32 || s >= order) return false;
  let a: InstanceType<typeof Point>;
  let r: InstanceType<typeof Point>;
  try {
    a = Point.fromBytes(publicKey);
    r = Point.fromBytes(encodedR);
  } catch {
    return false; // not the canonical encoding of a point
  }
  if (a.isSmallOrder() || r.isSmallOrder()) return false;
  const k = fromBigEndian(sha512(concat(encodedR, publicKey, message)).reverse()) % order;
  const expected = Point.BASE.multiplyUnsafe(s).add(a.negate().multiplyUnsafe(k));
  return equal(expected.toBytes(), encodedR);
}

/** FIPS 186-5 over P-256 with SHA-256: r‖s of 32 bytes each, s at most n/2, a compressed SEC 1 point as key. */
function verifyEs256(publicKey: Bytes, message: Bytes, signature: Bytes): boolean {
  if (publicKey.length !== 33) return false;
  try {
    return p256.verify(signature, message, publicKey, { lowS: true, prehash: true, format: "compact" });
  } catch {
    return false; // not a point of the curve, or r or s out of range
  }
}
