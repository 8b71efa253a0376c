import { expect, test } from "vitest";
import { hex } from "../../src/proof/bytes";
import { EncodingError, decode, encode } from "../../src/proof/cbor";
import { bytes, vectors } from "../vectors";

interface Case {
  name: string;
  bytes?: string;
  /** How many bytes are allowed; callers check that before they decode. */
  bytes_max?: number;
  depth_max?: number;
  error?: string;
}

const cases = vectors<Case>("cbor").filter((vector) => vector.bytes !== undefined && vector.bytes_max === undefined);

test.each(cases.filter(({ error }) => !error))("$name", (vector) => {
  expect(() => decode(bytes(vector.bytes ?? ""))).not.toThrow();
});

test.each(cases.filter(({ error }) => error))("$name", (vector) => {
  expect(() => decode(bytes(vector.bytes ?? ""), vector.depth_max)).toThrow(EncodingError);
});

test.each([
  ["1bffffffffffffffff", 2n ** 64n - 1n],
  ["3b7fffffffffffffff", -(2n ** 63n)],
  ["63e6b0b4", "水"],
  ["8201820203", [1n, [2n, 3n]]],
])("the value of %s", (encoded, value) => {
  expect(decode(bytes(encoded))).toEqual(value);
});

test("what is encoded is the one form", () => {
  const encoded = encode(["Signature1", bytes("a1"), 300n, -8n, "x".repeat(30)]);
  expect(hex(encoded)).toBe(`856a5369676e61747572653141a119012c27781e${"78".repeat(30)}`);
});
