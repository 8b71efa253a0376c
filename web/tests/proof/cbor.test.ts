import { expect, test } from "vitest";
import { EncodingError, decode, encode } from "../../src/proof/cbor";
import { hex } from "../../src/proof/bytes";
import { bytes } from "../vectors";

test.each([
  ["00", 0n],
  ["17", 23n],
  ["1818", 24n],
  ["1bffffffffffffffff", 2n ** 64n - 1n],
  ["3b7fffffffffffffff", -(2n ** 63n)],
  ["63e6b0b4", "水"],
  ["f5", true],
  ["f6", null],
  ["8201820203", [1n, [2n, 3n]]],
])("%s", (encoded, value) => {
  expect(decode(bytes(encoded))).toEqual(value);
});

test.each([
  ["1817", "a number in a longer form"],
  ["190018", "a number in a longer form"],
  ["5800", "a length in a longer form"],
  ["5f4101ff", "an indefinite length"],
  ["9f01ff", "an indefinite array"],
  ["c100", "a tag"],
  ["f93c00", "a float"],
  ["f7", "undefined"],
  ["3bffffffffffffffff", "an integer below 64 bits"],
  ["61ff", "a text that is not UTF-8"],
  ["a201000100", "a key twice"],
  ["a202000100", "keys out of order"],
  ["a1f500", "a boolean as key"],
  ["0000", "bytes behind the value"],
  ["8201", "an array that ends early"],
  ["9affffffff", "an array longer than the data"],
  ["", "nothing"],
  ["81".repeat(17) + "00", "more than 16 levels"],
])("refused: %s (%s)", (encoded) => {
  expect(() => decode(bytes(encoded))).toThrow(EncodingError);
});

test("sixteen levels are allowed", () => {
  expect(() => decode(bytes("81".repeat(16) + "00"))).not.toThrow();
});

test("what is encoded is the one form", () => {
  const encoded = encode(["Signature1", bytes("a1"), 300n, -8n, "x".repeat(30)]);
  expect(hex(encoded)).toBe(`856a5369676e61747572653141a119012c27781e${"78".repeat(30)}`);
});
