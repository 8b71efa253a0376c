import { describe, expect, test } from "vitest";
import { hex, type Bytes } from "../../src/proof/bytes";
import { EncodingError } from "../../src/proof/cbor";
import { parseTrust, type Trust } from "../../src/proof/trust";
import { ProofError, verifyProof } from "../../src/proof/verify";
import { bytes, vectors } from "../vectors";

interface ProofCase {
  name: string;
  trust: object;
  require_device: boolean;
  proof: string;
  result?: { stream: string; sequence: number; origin: string; header_height: number; anchor_height: number; body: string };
  failing_step?: number;
  code?: string;
  /** With bit (i · stride mod 8) of byte i · stride inverted, the proof fails at the step of digit i. */
  stride?: number;
  flipped?: string;
}

const all = vectors<ProofCase & { trust_file?: string }>("proof");
const proofs = all.filter(({ trust_file }) => trust_file === undefined);

function failure(data: Bytes, trust: Trust, requireDevice: boolean): ProofError {
  try {
    verifyProof(data, trust, { requireDevice });
  } catch (error) {
    if (error instanceof ProofError) return error;
    throw error;
  }
  throw new Error("the proof was accepted");
}

test.each(proofs.filter(({ result }) => result))("$name", ({ trust, proof, require_device, result }) => {
  const found = verifyProof(bytes(proof), parseTrust(JSON.stringify(trust)), { requireDevice: require_device });
  expect({
    stream: found.leaf.stream,
    sequence: Number(found.leaf.sequence),
    origin: found.device ? "device" : "gateway",
    header_height: Number(found.signed.header.height),
    anchor_height: Number(found.row.height),
    body: hex(found.leaf.body),
  }).toEqual(result);
});

test.each(proofs.filter(({ code }) => code))("fails at step $failing_step: $name", ({ trust, proof, require_device, failing_step, code }) => {
  const error = failure(bytes(proof), parseTrust(JSON.stringify(trust)), require_device);
  expect([error.step, error.name]).toEqual([failing_step, code]);
});

describe("every byte is under the check", () => {
  test.each(proofs.filter(({ flipped }) => flipped))("$name", { timeout: 60_000 }, ({ trust, proof, require_device, stride = 1, flipped = "" }) => {
    const data = bytes(proof);
    const parsed = parseTrust(JSON.stringify(trust));
    const steps = Array.from(flipped, (_, index) => {
      const at = index * stride;
      const changed = data.slice();
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      return failure(changed, parsed, require_device).step;
    });
    // A link is decoded in step 9 (spec §3), also where the vectors' verifier names the form.
    const others = steps.filter((step, index) => String(step) !== flipped[index] && !(step === 9 && flipped[index] === "1"));
    expect(others).toEqual([]);
    expect(steps).toHaveLength(Math.ceil(data.length / stride));
  });
});

test.each(all.filter(({ trust_file }) => trust_file))("$name", ({ trust_file = "" }) => {
  expect(() => parseTrust(trust_file)).toThrow(EncodingError);
});

test("a trust file beyond its size is refused", () => {
  const [first] = proofs;
  expect(() => parseTrust(JSON.stringify(first?.trust) + " ".repeat(65_536))).toThrow(EncodingError);
});
