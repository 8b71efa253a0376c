import { expect, test } from "vitest";
import { hex } from "../../src/proof/bytes";
import { EncodingError } from "../../src/proof/cbor";
import { parseMessage } from "../../src/proof/message";
import { verify } from "../../src/proof/signatures";
import { keyId } from "../../src/proof/verify";
import { bytes, vectors } from "../vectors";

interface Case {
  name: string;
  algorithm: number;
  public_key?: string;
  kid: string;
  genesis_hash: string;
  chain: string;
  stream: string;
  counter: string;
  time_ns: string | null;
  content_type: string;
  payload: string;
  sig_structure: string;
  message: string;
  error?: string;
}

const cases = vectors<Case>("device_message");

test.each(cases.filter(({ error }) => !error))("$name", (vector) => {
  const message = parseMessage(bytes(vector.message), bytes(vector.genesis_hash));
  const key = bytes(vector.public_key ?? "");
  expect(message).toMatchObject({ chainId: vector.chain, stream: vector.stream, counter: BigInt(vector.counter), suite: BigInt(vector.algorithm) });
  expect(message.time).toBe(vector.time_ns === null ? null : BigInt(vector.time_ns));
  expect(message.contentType).toBe(vector.content_type);
  expect(hex(message.payload)).toBe(vector.payload);
  expect(hex(message.signed)).toBe(vector.sig_structure);
  expect(hex(keyId(message.suite, key))).toBe(vector.kid);
  expect(verify(message.suite, key, message.signed, message.signature)).toBe(true);
});

test.each(cases.filter(({ error, public_key }) => error && public_key))("refused: $name", (vector) => {
  const message = parseMessage(bytes(vector.message), bytes(vector.genesis_hash));
  expect(verify(message.suite, bytes(vector.public_key ?? ""), message.signed, message.signature)).toBe(false);
});

test.each(cases.filter(({ error, public_key }) => error && !public_key))("refused: $name", (vector) => {
  expect(() => parseMessage(bytes(vector.message), bytes(vector.genesis_hash))).toThrow(EncodingError);
});
