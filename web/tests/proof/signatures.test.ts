import { expect, test } from "vitest";
import { ED25519, ES256, verify } from "../../src/proof/signatures";
import { bytes, vectors } from "../vectors";

interface Case {
  name: string;
  algorithm: number;
  public_key: string;
  message?: string;
  signature?: string;
  valid?: boolean;
}

const cases = vectors<Case>("signatures").filter(({ signature }) => signature !== undefined);

test.each(cases)("$name", ({ algorithm, public_key, message = "", signature = "", valid = true }) => {
  const suite = algorithm === Number(ED25519) ? ED25519 : ES256;
  expect(verify(suite, bytes(public_key), bytes(message), bytes(signature))).toBe(valid);
});
