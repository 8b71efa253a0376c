/** A device's signed message: a tagged COSE_Sign1 (RFC 9052) of one strict profile (docs/spec/device-message.md). */

import { utf8, concat, type Bytes } from "./bytes";
import { EncodingError, decode, encode } from "./cbor";
import { CHAIN_ID, NAME, integer, text } from "./record";
import { ED25519, ES256, type Suite } from "./signatures";

const TAG_SIGN1 = 0xd2;
const ALGORITHM = 1n;
const CONTENT_TYPE = 3n;
const KEY_ID = 4n;
const CHAIN = -70001n;
const STREAM = -70002n;
const COUNTER = -70003n;
const TIME = -70004n;
const LABELS = new Set<unknown>([ALGORITHM, CONTENT_TYPE, KEY_ID, CHAIN, STREAM, COUNTER, TIME]);
const PROTECTED_BYTES_MAX = 1024;
const DOMAIN_MESSAGE = utf8("althing/message/v1");

export interface DeviceMessage {
  readonly chainId: string;
  readonly stream: string;
  readonly counter: bigint;
  readonly time: bigint | null;
  readonly contentType: string;
  readonly payload: Bytes;
  readonly suite: Suite;
  readonly keyId: Bytes;
  /** The bytes the device signed: RFC 9052 §4.4 Sig_structure. */
  readonly signed: Bytes;
  readonly signature: Bytes;
}

export function parseMessage(data: Bytes, genesisHash: Bytes): DeviceMessage {
  if (data[0] !== TAG_SIGN1) throw new EncodingError("expected a tagged COSE_Sign1");
  const parts = decode(data.subarray(1), 2);
  if (!Array.isArray(parts) || parts.length !== 4) throw new EncodingError("a COSE_Sign1 has four parts");
  const [protectedBytes, unprotected, payload, signature] = parts;
  if (!(protectedBytes instanceof Uint8Array) || !(payload instanceof Uint8Array) || !(signature instanceof Uint8Array)) {
    throw new EncodingError("a COSE_Sign1 is [protected, {}, payload, signature]");
  }
  if (!(unprotected instanceof Map) || unprotected.size > 0) throw new EncodingError("unprotected headers must be empty");
  if (signature.length !== 64) throw new EncodingError("a signature has 64 bytes");
  if (protectedBytes.length > PROTECTED_BYTES_MAX) throw new EncodingError("the protected headers are too long");
  const headers = decode(protectedBytes, 2);
  if (!(headers instanceof Map)) throw new EncodingError("protected headers are a map");
  for (const label of headers.keys()) if (!LABELS.has(label)) throw new EncodingError("a protected header is not known here");
  const suite = headers.get(ALGORITHM);
  if (suite !== ED25519 && suite !== ES256) throw new EncodingError("the algorithm is not EdDSA or ES256");
  const keyId = headers.get(KEY_ID);
  if (!(keyId instanceof Uint8Array) || keyId.length !== 8) throw new EncodingError("kid is a byte string of 8 bytes");
  const stream = text(3, 127)(headers.get(STREAM) ?? null);
  checkPath(stream);
  return {
    chainId: CHAIN_ID(headers.get(CHAIN) ?? null),
    stream,
    counter: integer(0n, 2n ** 64n - 1n)(headers.get(COUNTER) ?? null),
    time: headers.has(TIME) ? integer(0n, 2n ** 63n - 1n)(headers.get(TIME) ?? null) : null,
    contentType: headers.has(CONTENT_TYPE) ? text(0, 127)(headers.get(CONTENT_TYPE) ?? null) : "",
    payload,
    suite,
    keyId,
    signed: encode(["Signature1", protectedBytes, concat(DOMAIN_MESSAGE, genesisHash), payload]),
    signature,
  };
}

function checkPath(path: string): void {
  const [device, name, ...rest] = path.split("/");
  if (rest.length > 0) throw new EncodingError("a stream is named <device>/<stream>");
  NAME(device ?? null);
  NAME(name ?? null);
}
