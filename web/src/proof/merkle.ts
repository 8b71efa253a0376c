/** RFC 9162 §2.1 Merkle trees over SHA-256. */

import { sha256 } from "@noble/hashes/sha2.js";
import { concat, equal, type Bytes } from "./bytes";

export class MerkleError extends Error {}

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);
const PATH_MAX = 64;

export { sha256 };

export function leafHash(data: Bytes): Bytes {
  return sha256(concat(LEAF, data));
}

export function nodeHash(left: Bytes, right: Bytes): Bytes {
  return sha256(concat(NODE, left, right));
}

/** Merkle Tree Hash of hashed leaves; of no leaves SHA-256 of nothing. */
export function rootOf(leaves: readonly Bytes[]): Bytes {
  if (leaves.length === 0) return sha256(new Uint8Array());
  let level = leaves;
  while (level.length > 1) {
    const above: Bytes[] = [];
    for (let i = 0; i + 1 < level.length; i += 2) above.push(nodeHash(level[i] as Bytes, level[i + 1] as Bytes));
    // An odd last node moves up unchanged: this gives RFC 9162's split at the largest power of two.
    if (level.length % 2 === 1) above.push(level[level.length - 1] as Bytes);
    level = above;
  }
  return level[0] as Bytes;
}

/** RFC 9162 §2.1.3.2: `leaf` (a leaf hash) stands at `index` of the tree of `size` leaves. */
export function verifyInclusion(root: Bytes, size: bigint, index: bigint, leaf: Bytes, path: readonly Bytes[]): void {
  if (index < 0n || index >= size) throw new MerkleError("the index is outside the tree");
  if (path.length > PATH_MAX) throw new MerkleError("the path is longer than any tree");
  let fn = index;
  let sn = size - 1n;
  let value = leaf;
  for (const sibling of path) {
    if (sibling.length !== 32 || sn === 0n) throw new MerkleError("the path is longer than the tree is high");
    if (fn % 2n === 1n || fn === sn) {
      value = nodeHash(sibling, value);
      while (fn % 2n === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      value = nodeHash(value, sibling);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  if (sn !== 0n || !equal(value, root)) throw new MerkleError("the path does not lead to the root");
}
