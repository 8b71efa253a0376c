import { describe, expect, test } from "vitest";
import { EncodingError } from "../../src/proof/cbor";
import { parseTrust } from "../../src/proof/trust";
import { ProofError, verifyProof } from "../../src/proof/verify";
import { bytes } from "../vectors";
import recorded from "./recorded.json";

const trustText = JSON.stringify(recorded.trust);
const trust = parseTrust(trustText);

function failure(check: () => unknown): ProofError {
  try {
    check();
  } catch (error) {
    if (error instanceof ProofError) return error;
    throw error;
  }
  throw new Error("the proof was accepted");
}

describe.each(recorded.proofs)("$stream, $origin", ({ stream, sequence, origin, height, file }) => {
  const data = bytes(file);

  test("verifies", () => {
    const found = verifyProof(data, trust);
    expect(found.leaf.stream).toBe(stream);
    expect(found.leaf.sequence).toBe(BigInt(sequence));
    expect(found.device === null ? "gateway" : "device").toBe(origin);
    expect(found.signed.header.height).toBe(BigInt(height));
    expect(found.tie).toBe("same");
  });

  test("verifies against an earlier trust file of the same validators, and says so", () => {
    expect(verifyProof(data, parseTrust(JSON.stringify(recorded.earlier_trust))).tie).toBe("after");
  });

  test("every byte is under the check", { timeout: 60_000 }, () => {
    for (let at = 0; at < data.length; at++) {
      const changed = data.slice();
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      expect(failure(() => verifyProof(changed, trust)).step, `byte ${at}`).toBeGreaterThan(0);
    }
  });

  test("cut short or prolonged it fails at the form", () => {
    expect(failure(() => verifyProof(data.slice(0, -1), trust)).name).toBe("proof.form");
    expect(failure(() => verifyProof(new Uint8Array([...data, 0]), trust)).name).toBe("proof.form");
  });
});

describe("trust", () => {
  const file = bytes(recorded.proofs[0]?.file ?? "");
  const altered = (change: object): string => JSON.stringify({ ...recorded.trust, ...change });

  test("another genesis fails at the chain", () => {
    expect(failure(() => verifyProof(file, parseTrust(altered({ genesis_hash: "00".repeat(32) })))).step).toBe(2);
  });

  test("other validators, or another header at the height, fail at the trust", () => {
    const strangers = [{ public_key: "ab".repeat(32), power: 10 }];
    expect(failure(() => verifyProof(file, parseTrust(altered({ validators: strangers })))).step).toBe(9);
    expect(failure(() => verifyProof(file, parseTrust(altered({ header_hash: "00".repeat(32) })))).step).toBe(9);
  });

  test.each([
    ["not JSON", "{"],
    ["a list", "[]"],
    ["another format", altered({ format: "althing-trust/2" })],
    ["upper case", altered({ header_hash: "AB".repeat(32) })],
    ["height 0", altered({ height: 0 })],
    ["a height beyond 2^53", altered({ height: 2 ** 53 })],
    ["no validators", altered({ validators: [] })],
    ["a validator twice", altered({ validators: [...recorded.trust.validators, ...recorded.trust.validators] })],
    ["too large", trustText + " ".repeat(65_536)],
  ])("refused: %s", (_, text) => {
    expect(() => parseTrust(text)).toThrow(EncodingError);
  });
});
