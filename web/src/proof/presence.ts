/** Proofs that a key has a value in the state (docs/spec/state.md §4). */

import { concat, equal, type Bytes } from "./bytes";
import { EncodingError, type Item } from "./cbor";
import { MerkleError, nodeHash, sha256 } from "./merkle";

const EMPTY = new Uint8Array(32);
const DEPTH_MAX = 256;

/** The siblings of a presence proof, bottom up, from [0, depth, bitmap, hashes]; an empty sibling has a zero bit. */
export function presence(item: Item): Bytes[] {
  if (!Array.isArray(item) || item.length !== 4) throw malformed("not an array of four");
  const [kind, depth, bitmap, hashes] = item;
  if (kind !== 0n) throw malformed("not a proof of presence");
  if (typeof depth !== "bigint" || depth < 0n || depth > BigInt(DEPTH_MAX)) throw malformed("the depth is not 0 to 256");
  const levels = Number(depth);
  if (!(bitmap instanceof Uint8Array) || bitmap.length !== Math.ceil(levels / 8)) throw malformed("the bitmap does not fit the depth");
  if (!(hashes instanceof Uint8Array)) throw malformed("the hashes are not bytes");
  const set = (index: number): boolean => (((bitmap[index >> 3] ?? 0) >> (index & 7)) & 1) === 1;
  for (let index = levels; index < 8 * bitmap.length; index++) if (set(index)) throw malformed("the bitmap has bits beyond the depth");
  if (levels > 0 && !set(0)) throw malformed("the deepest sibling is not empty");
  const siblings: Bytes[] = [];
  let at = 0;
  for (let index = 0; index < levels; index++) {
    if (!set(index)) {
      siblings.push(EMPTY);
      continue;
    }
    const sibling = hashes.subarray(at, at + 32);
    at += 32;
    if (sibling.length !== 32 || equal(sibling, EMPTY)) throw malformed("the hashes do not fit the bitmap");
    siblings.push(sibling);
  }
  if (at !== hashes.length) throw malformed("the hashes do not fit the bitmap");
  return siblings;
}

/** `key` has `value` under `root`. */
export function verifyPresence(root: Bytes, key: Bytes, value: Bytes, siblings: readonly Bytes[]): void {
  const path = sha256(key);
  let node: Bytes = sha256(concat(Uint8Array.of(0), path, sha256(value)));
  siblings.forEach((sibling, index) => {
    const bit = siblings.length - 1 - index;
    const right = (((path[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1) === 1;
    node = right ? nodeHash(sibling, node) : nodeHash(node, sibling);
  });
  if (!equal(node, root)) throw new MerkleError("the proof does not lead to this state root");
}

function malformed(reason: string): EncodingError {
  return new EncodingError(`malformed state proof: ${reason}`);
}
