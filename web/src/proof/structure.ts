/** The records of a proof file and of the state values it carries (docs/spec/proof.md §2). */

import type { Bytes } from "./bytes";
import { EncodingError, decode, type Item } from "./cbor";
import { presence } from "./presence";
import { ED25519, ES256, type Suite } from "./signatures";
import { ADDRESS, CHAIN_ID, HASH, NAME, UINT, array, blob, integer, optional, record, text, type Form, type Formed } from "./record";

const MESSAGE_BYTES_MAX = 256 * 1024;
const LEAF_BYTES_MAX = MESSAGE_BYTES_MAX + 1024;
const STATE_VALUE_MAX = 64 * 1024;
const HEADER_BYTES_MAX = 1024;
const VALIDATORS_MAX = 100;
const COMMIT_BYTES_MAX = 256 + 192 * VALIDATORS_MAX;
const PATH_MAX = 64;
const LINKS_MAX = 128;
const BATCH_LEAVES_MAX = 2n ** 20n;
const KEYS_MAX = 16;
export const PROOF_BYTES_MAX = MESSAGE_BYTES_MAX + 256 * 1024;

const PATH = array(HASH, PATH_MAX);
const HEADER = blob(1, HEADER_BYTES_MAX);

const SIGNED_HEADER = record("SignedHeaderPart", {
  header: HEADER,
  commit: blob(1, COMMIT_BYTES_MAX),
  validators: array(record("ValidatorPart", { publicKey: blob(32, 32), power: integer(1n, 2n ** 60n) }), VALIDATORS_MAX, 1),
});

const HISTORY = record("HeaderHistory", {
  checkpoint: HEADER,
  head: blob(1, 256),
  headProof: presence,
  entry: blob(1, 64),
  index: UINT,
  path: PATH,
  descent: array(HEADER, LINKS_MAX),
});

const PROOF = record("Proof", {
  magic: text(13, 13),
  version: integer(1n, 1n),
  chainId: CHAIN_ID,
  genesisHash: HASH,
  leaf: blob(1, LEAF_BYTES_MAX),
  leafPath: PATH,
  row: blob(1, 512),
  rowIndex: UINT,
  rowPath: PATH,
  head: blob(1, 256),
  headProof: presence,
  definition: blob(1, STATE_VALUE_MAX),
  account: blob(1, STATE_VALUE_MAX),
  accountProof: presence,
  signedHeader: SIGNED_HEADER,
  links: array(SIGNED_HEADER, LINKS_MAX),
  history: optional(HISTORY),
});

const LEAF = record("Leaf", {
  version: integer(1n, 1n),
  salt: blob(16, 16),
  stream: text(3, 127),
  sequence: UINT,
  arrival: UINT,
  contentType: text(0, 127),
  origin: integer(0n, 1n),
  body: blob(0, MESSAGE_BYTES_MAX),
});

const ROW = record("AnchorRow", {
  version: integer(1n, 1n),
  batchRoot: HASH,
  batchSize: integer(1n, BATCH_LEAVES_MAX),
  offset: integer(0n, BATCH_LEAVES_MAX - 1n),
  first: UINT,
  count: integer(1n, BATCH_LEAVES_MAX),
  height: UINT,
  time: UINT,
  gateway: ADDRESS,
  schemaVersion: UINT,
});

const HEAD = record("StreamHead", { nextSequence: UINT, logSize: UINT, logRoot: HASH, definitionHash: HASH });

const DEFINITION = record("StreamDefinition", {
  version: integer(1n, 1n),
  id: UINT,
  device: NAME,
  deviceAddress: ADDRESS,
  name: NAME,
  organisation: ADDRESS,
  gateway: ADDRESS,
  schemaVersion: UINT,
  schema: (item: Item) => {
    // Its content is bound by the definition's hash in the stream's head, and is not needed here.
    if (!(item instanceof Map) || item.size !== 6 || [...item.keys()].some((key, index) => key !== BigInt(index))) throw new EncodingError("not a stream schema");
    return item;
  },
  definedAt: UINT,
});

const SUITE: Form<Suite> = (item) => {
  if (item !== ED25519 && item !== ES256) throw new EncodingError("not a suite known here");
  return item;
};

const KEY_ENTRY = record("KeyEntry", {
  key: record("Key", { suite: SUITE, publicKey: blob(32, 33) }),
  validFrom: UINT,
  validTo: optional(UINT),
  revokedAt: optional(UINT),
});

const ACCOUNT = record("Account", {
  version: integer(1n, 1n),
  kind: integer(0n, 5n),
  organisation: ADDRESS,
  name: NAME,
  status: integer(0n, 2n),
  threshold: integer(0n, BigInt(KEYS_MAX)),
  roles: array(integer(0n, 1n), 8),
  keys: array(KEY_ENTRY, KEYS_MAX),
});

const HEADER_HEAD = record("HeaderHead", { size: UINT, root: HASH });
const HEADER_ENTRY = record("header log entry", { height: UINT, hash: HASH });

export type Proof = Formed<typeof PROOF>;
export type SignedHeaderPart = Formed<typeof SIGNED_HEADER>;
export type HeaderHistory = Formed<typeof HISTORY>;
export type Leaf = Formed<typeof LEAF>;
export type AnchorRow = Formed<typeof ROW>;
export type StreamHead = Formed<typeof HEAD>;
export type StreamDefinition = Formed<typeof DEFINITION>;
export type Account = Formed<typeof ACCOUNT>;
export type KeyEntry = Formed<typeof KEY_ENTRY>;

function parser<T>(form: Form<T>): (data: Bytes) => T {
  return (data) => form(decode(data));
}

export const parseProof = parser(PROOF);
export const parseLeaf = parser(LEAF);
export const parseRow = parser(ROW);
export const parseHead = parser(HEAD);
export const parseDefinition = parser(DEFINITION);
export const parseAccount = parser(ACCOUNT);
export const parseHeaderHead = parser(HEADER_HEAD);
export const parseHeaderEntry = parser(HEADER_ENTRY);
