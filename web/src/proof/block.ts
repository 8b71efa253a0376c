/** Headers, commits and validator sets exactly as CometBFT encodes, hashes and signs them (docs/spec/blocks.md). */

import { utf8, compare, concat, equal, type Bytes } from "./bytes";
import { EncodingError } from "./cbor";
import { leafHash, rootOf, sha256 } from "./merkle";
import { WireReader, bytesField, delimited, intField, messageField, sfixed64Field } from "./wire";

export interface Timestamp {
  readonly seconds: bigint;
  readonly nanos: bigint;
}

export interface BlockId {
  readonly hash: Bytes;
  readonly partsTotal: bigint;
  readonly partsHash: Bytes;
}

export interface Header {
  readonly chainId: string;
  readonly height: bigint;
  readonly time: Timestamp;
  readonly lastBlockId: BlockId;
  readonly validatorsHash: Bytes;
  readonly nextValidatorsHash: Bytes;
  readonly appHash: Bytes;
  /** The block's hash: the root over the fourteen encoded fields. */
  readonly hash: Bytes;
}

/** What a validator's precommit was for (CometBFT's BlockIDFlag). */
const FLAGS: ReadonlyMap<bigint, CommitSignature["flag"]> = new Map([
  [1n, "absent"],
  [2n, "commit"],
  [3n, "nil"],
] as const);

export interface CommitSignature {
  readonly flag: "absent" | "commit" | "nil";
  readonly address: Bytes;
  readonly time: Timestamp;
  readonly signature: Bytes;
}

export interface Commit {
  readonly height: bigint;
  readonly round: bigint;
  readonly blockId: BlockId;
  readonly signatures: readonly CommitSignature[];
}

export interface Validator {
  readonly publicKey: Bytes;
  readonly power: bigint;
}

const BLOCK_VERSION = 11n;
const HEADER_BYTES_MAX = 1024;
const BLOCK_ID_BYTES_MAX = 96;
const TIME_BYTES_MAX = 17;
const SIGNATURE_BYTES_MAX = 128;
const PARTS_MAX = 1601n;
const VALIDATORS_MAX = 10_000;
const POWER_MAX = ((1n << 63n) - 1n) / 8n;
const SECONDS_MIN = -62_135_596_800n;
const SECONDS_MAX = 253_402_300_799n;
const PRECOMMIT = 2n;

export function nanoseconds(time: Timestamp): bigint {
  return time.seconds * 1_000_000_000n + time.nanos;
}

// -- times and block ids --------------------------------------------------------------------------------------------

function decodeTime(data: Bytes): Timestamp {
  const reader = new WireReader(data, "timestamp");
  const seconds = reader.int(1);
  const nanos = reader.int(2);
  reader.end();
  if (seconds < SECONDS_MIN || seconds > SECONDS_MAX || nanos < 0n || nanos >= 1_000_000_000n) {
    throw new EncodingError("a time is not of the years 1 to 9999");
  }
  return { seconds, nanos };
}

function encodeTime(time: Timestamp): Bytes {
  return concat(intField(1, time.seconds), intField(2, time.nanos));
}

function isZero(id: BlockId): boolean {
  return id.hash.length === 0 && id.partsHash.length === 0 && id.partsTotal === 0n;
}

function decodeBlockId(data: Bytes): BlockId {
  const reader = new WireReader(data, "block id");
  const hash = reader.bytes(1, 32);
  const parts = new WireReader(reader.message(2, 48), "part set header");
  reader.end();
  const id = { hash, partsTotal: parts.uint(1), partsHash: parts.bytes(2, 32) };
  parts.end();
  if (isZero(id)) return id;
  if (hash.length !== 32 || id.partsHash.length !== 32 || id.partsTotal < 1n || id.partsTotal > PARTS_MAX) {
    throw new EncodingError("a block id is two 32-byte hashes and a part count, or empty");
  }
  return id;
}

function encodeBlockId(id: BlockId): Bytes {
  const parts = concat(intField(1, id.partsTotal), bytesField(2, id.partsHash));
  return concat(bytesField(1, id.hash), messageField(2, parts));
}

// -- headers --------------------------------------------------------------------------------------------------------

export function decodeHeader(data: Bytes): Header {
  if (data.length > HEADER_BYTES_MAX) throw new EncodingError("a header is too long");
  const reader = new WireReader(data, "header");
  const versionBytes = reader.message(1, 22);
  const version = new WireReader(versionBytes, "header version");
  if (version.uint(1) !== BLOCK_VERSION) throw new EncodingError("the block version is unknown");
  version.uint(2);
  version.end();
  const chain = reader.bytes(2, 50);
  const height = reader.int(3);
  const time = decodeTime(reader.message(4, TIME_BYTES_MAX));
  const lastBlockId = decodeBlockId(reader.message(5, BLOCK_ID_BYTES_MAX));
  const [lastCommit, content, validators, nextValidators, consensus, app, lastResults, evidence] = [
    6, 7, 8, 9, 10, 11, 12, 13,
  ].map((field) => reader.bytes(field, 32)) as [Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes];
  const proposer = reader.bytes(14, 20);
  reader.end();
  if (height < 1n || chain.length === 0) throw new EncodingError("the header has no height or no chain id");
  const full = [lastCommit, content, validators, nextValidators, consensus, lastResults, evidence];
  if (full.some((hash) => hash.length !== 32) || proposer.length !== 20) {
    throw new EncodingError("a hash in the header does not have its length");
  }
  const leaves = [
    versionBytes,
    bytesField(1, chain),
    intField(1, height),
    encodeTime(time),
    encodeBlockId(lastBlockId),
    ...[lastCommit, content, validators, nextValidators, consensus, app, lastResults, evidence, proposer].map((hash) => bytesField(1, hash)),
  ];
  return {
    chainId: decodeText(chain),
    height,
    time,
    lastBlockId,
    validatorsHash: validators,
    nextValidatorsHash: nextValidators,
    appHash: app,
    hash: rootOf(leaves.map(leafHash)),
  };
}

function decodeText(data: Bytes): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch (error) {
    if (error instanceof TypeError) throw new EncodingError("the chain id is not UTF-8");
    throw error;
  }
}

// -- commits --------------------------------------------------------------------------------------------------------

export function decodeCommit(data: Bytes): Commit {
  const reader = new WireReader(data, "commit");
  const height = reader.int(1);
  const round = reader.int(2);
  const blockId = decodeBlockId(reader.message(3, BLOCK_ID_BYTES_MAX));
  const signatures = reader.repeated(4, SIGNATURE_BYTES_MAX).map(decodeSignature);
  reader.end();
  if (height < 0n || round < 0n || round >= 1n << 31n) throw new EncodingError("height or round of the commit is out of range");
  if (height === 0n) {
    // Before the first block stands the empty commit.
    if (round !== 0n || signatures.length > 0 || !isZero(blockId)) throw new EncodingError("the commit of height 0 is empty");
  } else if (isZero(blockId) || signatures.length < 1 || signatures.length > VALIDATORS_MAX) {
    throw new EncodingError("a commit names a block and carries at least one precommit");
  }
  return { height, round, blockId, signatures };
}

function decodeSignature(data: Bytes): CommitSignature {
  const reader = new WireReader(data, "commit signature");
  const flag = reader.uint(1);
  const address = reader.bytes(2, 20);
  const time = decodeTime(reader.message(3, TIME_BYTES_MAX));
  const signature = reader.bytes(4, 64);
  reader.end();
  const meaning = FLAGS.get(flag);
  if (meaning === undefined) throw new EncodingError("a precommit's flag is unknown");
  if (meaning === "absent") {
    // Go's zero time is what an absent precommit carries.
    if (address.length > 0 || signature.length > 0 || time.seconds !== SECONDS_MIN || time.nanos !== 0n) {
      throw new EncodingError("an absent precommit carries nothing");
    }
  } else if (address.length !== 20 || signature.length !== 64) {
    throw new EncodingError("a precommit has a 20-byte address and a 64-byte signature");
  }
  return { flag: meaning, address, time, signature };
}

/** The length-delimited CanonicalVote that a validator signed. */
export function signBytes(chainId: string, commit: Commit, entry: CommitSignature): Bytes {
  return delimited(
    concat(
      intField(1, PRECOMMIT),
      sfixed64Field(2, commit.height),
      sfixed64Field(3, commit.round),
      entry.flag === "commit" ? messageField(4, encodeBlockId(commit.blockId)) : new Uint8Array(),
      messageField(5, encodeTime(entry.time)),
      bytesField(6, utf8(chainId)),
    ),
  );
}

// -- validators -----------------------------------------------------------------------------------------------------

export function validatorAddress(validator: Validator): Bytes {
  return sha256(validator.publicKey).slice(0, 20);
}

/** Negative when `a` stands before `b`: by falling power, then rising address. */
export function validatorOrder(a: Validator, b: Validator): number {
  if (a.power !== b.power) return a.power > b.power ? -1 : 1;
  return compare(validatorAddress(a), validatorAddress(b));
}

/** Refuses what is not a validator set in CometBFT's order. */
export function checkValidators(validators: readonly Validator[]): void {
  validators.forEach((validator, index) => {
    if (validator.power < 1n || validator.power > POWER_MAX) throw new EncodingError("a voting power is out of range");
    const next = validators[index + 1];
    if (next && validatorOrder(validator, next) >= 0) throw new EncodingError("validators do not stand in CometBFT's order");
  });
  const keys = new Set(validators.map((validator) => validator.publicKey.join()));
  if (keys.size !== validators.length) throw new EncodingError("a validator is listed twice");
  if (totalPower(validators) > POWER_MAX) throw new EncodingError("the total voting power is out of range");
}

export function totalPower(validators: readonly Validator[]): bigint {
  return validators.reduce((sum, validator) => sum + validator.power, 0n);
}

export function validatorsHash(validators: readonly Validator[]): Bytes {
  const leaves = validators.map((v) => concat(messageField(1, bytesField(1, v.publicKey)), intField(2, v.power)));
  return rootOf(leaves.map(leafHash));
}

export function sameValidators(a: readonly Validator[], b: readonly Validator[]): boolean {
  return equal(validatorsHash(a), validatorsHash(b));
}
