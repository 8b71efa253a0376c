import { expect, test } from "vitest";
import { hex } from "../../src/proof/bytes";
import { MerkleError, leafHash, rootOf, verifyInclusion } from "../../src/proof/merkle";
import { bytes, vectors } from "../vectors";

interface Case {
  name: string;
  leaves?: string[];
  root: string;
  paths: string[][];
  size: number;
  index: number;
  leaf_hash?: string;
  path: string[];
  valid: boolean;
}

const cases = vectors<Case>("merkle");

test.each(cases.filter(({ leaves }) => leaves))("$name", ({ leaves = [], root, paths }) => {
  const hashes = leaves.map((leaf) => leafHash(bytes(leaf)));
  expect(hex(rootOf(hashes))).toBe(root);
  paths.forEach((path, index) => {
    verifyInclusion(bytes(root), BigInt(hashes.length), BigInt(index), hashes[index] ?? new Uint8Array(), path.map(bytes));
  });
});

test.each(cases.filter(({ leaf_hash }) => leaf_hash))("$name", ({ root, size, index, leaf_hash = "", path, valid }) => {
  const check = (): void => verifyInclusion(bytes(root), BigInt(size), BigInt(index), bytes(leaf_hash), path.map(bytes));
  if (valid) expect(check).not.toThrow();
  else expect(check).toThrow(MerkleError);
});
