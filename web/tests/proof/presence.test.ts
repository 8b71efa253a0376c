import { expect, test } from "vitest";
import { decode } from "../../src/proof/cbor";
import { presence, verifyPresence } from "../../src/proof/presence";
import { bytes, vectors } from "../vectors";

interface Case {
  name: string;
  root: string;
  key: string;
  value?: string;
  proof: string;
  error?: string;
}

const cases = vectors<Case>("state_proofs").filter(({ proof }) => proof);

test.each(cases.filter(({ value, error }) => value && !error))("$name", ({ root, key, value = "", proof }) => {
  verifyPresence(bytes(root), bytes(key), bytes(value), presence(decode(bytes(proof))));
});

test.each(cases.filter(({ value, error }) => value && error))("$name", ({ root, key, value = "", proof }) => {
  expect(() => verifyPresence(bytes(root), bytes(key), bytes(value), presence(decode(bytes(proof))))).toThrow();
});

test.each(cases.filter(({ value }) => !value))("never taken for presence: $name", ({ proof }) => {
  expect(() => presence(decode(bytes(proof)))).toThrow();
});
