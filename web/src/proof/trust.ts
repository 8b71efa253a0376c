/** The trust file: what a verifier takes on faith (docs/spec/proof.md §1). */

import { utf8, fromHex, type Bytes } from "./bytes";
import { checkValidators, validatorOrder, type Validator } from "./block";
import { EncodingError } from "./cbor";
import { CHAIN_ID } from "./record";

export interface Trust {
  readonly chainId: string;
  readonly genesisHash: Bytes;
  readonly height: bigint;
  readonly headerHash: Bytes;
  readonly validators: readonly Validator[];
}

const FORMAT = "althing-trust/1";

const BYTES_MAX = 65_536;

/** The trust of a file's text, or EncodingError. */
export function parseTrust(text: string): Trust {
  if (utf8(text).length > BYTES_MAX) throw new EncodingError("the trust file is too large");
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) throw new EncodingError("a trust file is JSON");
    throw error;
  }
  checkNames(text);
  // Parsed, 10.0 and 1e1 are 10; as written they are no integers.
  if (/"(?:height|power)"\s*:\s*-?\d+[.eE]/.test(text)) throw new EncodingError("a number in the trust file is not an integer");
  const file = members(document);
  if (file.format !== FORMAT) throw new EncodingError(`this is not a trust file of format ${FORMAT}`);
  if (!Array.isArray(file.validators) || file.validators.length === 0) throw new EncodingError("the trust file lists no validators");
  const validators = file.validators.map((entry) => {
    const validator = members(entry);
    return { publicKey: digest(validator.public_key), power: count(validator.power) };
  });
  validators.sort(validatorOrder);
  checkValidators(validators);
  return {
    chainId: CHAIN_ID(typeof file.chain_id === "string" ? file.chain_id : null),
    genesisHash: digest(file.genesis_hash),
    height: count(file.height),
    headerHash: digest(file.header_hash),
    validators,
  };
}

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\]:]/g;

/** Of two members of one name parsers take either, so two readers would trust different chains. `text` is JSON. */
function checkNames(text: string): void {
  const open: (Set<string> | null)[] = []; // the names of each object that is open; null for an array
  let last = "";
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === "{") open.push(new Set());
    else if (token === "[") open.push(null);
    else if (token === "}" || token === "]") open.pop();
    else if (token === ":") {
      const names = open.at(-1);
      const name = JSON.parse(last) as string;
      if (names?.has(name)) throw new EncodingError("a member of the trust file is named twice");
      names?.add(name);
    }
    last = token;
  }
}

function members(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw new EncodingError("the trust file is not of its form");
  return value as Record<string, unknown>;
}

function digest(value: unknown): Bytes {
  const data = typeof value === "string" ? fromHex(value) : null;
  if (data?.length !== 32) throw new EncodingError("a hash or key in the trust file is not 32 bytes in hexadecimal");
  return data;
}

/** JSON numbers beyond 2^53 lose digits here, so they are refused rather than rounded. */
function count(value: unknown): bigint {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value <= 0) {
    throw new EncodingError("a number in the trust file is not a positive integer below 2^53");
  }
  return BigInt(value);
}
