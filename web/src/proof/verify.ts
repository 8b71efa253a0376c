/**
 * Checks a proof file against a trust file, in the reader's own browser (docs/spec/proof.md §3).
 *
 * 1. Form: the file is the deterministic encoding of a proof of a known version.
 * 2. Chain: it is of the trusted chain, by chain id and genesis hash.
 * 3. Batch: the leaf stands in the anchored batch, at the place the row gives its stream and sequence.
 * 4. Log: the anchor row stands in its stream's log.
 * 5. Stream: the state holds the stream's head, and the head names the definition.
 * 6. Key record: the state holds the account of the device, or of the gateway that attests.
 * 7. Origin: the device's signature verifies under a key valid then; or the gateway alone attests.
 * 8. Header: the header carries the state's root, and more than two thirds of its validators signed it.
 * 9. Trust: those validators are the trusted ones, by the pinned set, by linking headers, or through the header log.
 */

import { utf8, bigEndian, concat, equal, type Bytes } from "./bytes";
import { checkValidators, decodeCommit, decodeHeader, sameValidators, validatorsHash, type Header } from "./block";
import { EncodingError, encode } from "./cbor";
import { LightError, verifyAdjacent, verifyCommit, verifySkipping, type SignedHeader } from "./headers";
import { MerkleError, leafHash, sha256, verifyInclusion } from "./merkle";
import { parseMessage, type DeviceMessage } from "./message";
import { verifyPresence } from "./presence";
import { verify } from "./signatures";
import {
  PROOF_BYTES_MAX,
  parseAccount,
  parseDefinition,
  parseHead,
  parseHeaderEntry,
  parseHeaderHead,
  parseLeaf,
  parseProof,
  parseRow,
  type Account,
  type AnchorRow,
  type HeaderHistory,
  type KeyEntry,
  type Leaf,
  type Proof,
  type SignedHeaderPart,
  type StreamDefinition,
  type StreamHead,
} from "./structure";
import type { Trust } from "./trust";

export const STEPS = ["form", "chain", "batch", "log", "stream", "key_record", "origin", "header", "trust"] as const;
export type StepName = (typeof STEPS)[number];

/** A proof does not verify; `step` counts from 1. */
export class ProofError extends Error {
  constructor(
    readonly step: number,
    reason: string,
  ) {
    super(reason);
  }

  override get name(): string {
    return `proof.${STEPS[this.step - 1] ?? "form"}`;
  }
}

/** How the header is tied to the trust file. */
export type Tie = "same" | "before" | "after" | "links" | "history";

/** Everything a verified proof says; hashes and keys as bytes, times in nanoseconds since 1970. */
export interface Verified {
  readonly bytes: number;
  readonly fileHash: Bytes;
  readonly proof: Proof;
  readonly leaf: Leaf;
  readonly row: AnchorRow;
  readonly leafIndex: bigint;
  readonly head: StreamHead;
  readonly definition: StreamDefinition;
  readonly account: Account;
  /** What the device signed, and the key; null when only the gateway attests. */
  readonly device: { readonly message: DeviceMessage; readonly key: KeyEntry } | null;
  readonly signed: SignedHeader;
  readonly tie: Tie;
}

const MAGIC = "althing-proof";
const ORIGIN_DEVICE = 0n;
const KIND_GATEWAY = 3n;
const KIND_DEVICE = 5n;
const SECOND_NS = 1_000_000_000n;
const DOMAIN_KEY = utf8("althing/key/v1");

/** With `requireDevice` a message that only its gateway attests fails at step 7. */
export function verifyProof(data: Bytes, trust: Trust, { requireDevice = false } = {}): Verified {
  const proof = at(1, () => form(data));
  const signed = at(1, () => signedHeader(proof.signedHeader));
  at(1, () => proof.links.forEach((link) => checkValidators(link.validators)));
  at(2, () => chain(proof, trust));
  const { leaf, row, leafIndex } = at(3, () => batch(proof));
  const head = at(4, () => log(proof));
  const definition = at(5, () => stream(proof, leaf, head, signed.header.appHash));
  const account = at(6, () => keyRecord(proof, leaf, row, definition, signed.header.appHash));
  const device = at(7, () => origin(proof, leaf, row, account, requireDevice));
  at(8, () => verifyCommit(trust.chainId, signed));
  const tie = at(9, () => trusted(proof, trust, signed));
  return { bytes: data.length, fileHash: sha256(data), proof, leaf, row, leafIndex, head, definition, account, device, signed, tie };
}

/** The id of a key as messages name it: 8 bytes of its hash. */
export function keyId(suite: bigint, publicKey: Bytes): Bytes {
  return sha256(concat(DOMAIN_KEY, encode([suite, publicKey]))).slice(0, 8);
}

function at<T>(step: number, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (error instanceof EncodingError || error instanceof MerkleError || error instanceof LightError) {
      throw new ProofError(step, error.message);
    }
    throw error;
  }
}

function form(data: Bytes): Proof {
  if (data.length > PROOF_BYTES_MAX) throw new ProofError(1, "the file is larger than any proof");
  const proof = parseProof(data);
  if (proof.magic !== MAGIC) throw new ProofError(1, "this is not a proof file");
  if (proof.links.length > 0 && proof.history !== null) {
    throw new ProofError(1, "a proof goes by linking headers or through the header log, not both");
  }
  return proof;
}

function signedHeader(part: SignedHeaderPart): SignedHeader {
  checkValidators(part.validators);
  return { header: decodeHeader(part.header), commit: decodeCommit(part.commit), validators: part.validators };
}

function chain(proof: Proof, trust: Trust): void {
  if (proof.chainId !== trust.chainId || !equal(proof.genesisHash, trust.genesisHash)) {
    throw new ProofError(2, `the proof is of chain ${proof.chainId} with another genesis than the trusted one`);
  }
}

function batch(proof: Proof): { leaf: Leaf; row: AnchorRow; leafIndex: bigint } {
  const leaf = parseLeaf(proof.leaf);
  const row = parseRow(proof.row);
  if (leaf.sequence < row.first || leaf.sequence >= row.first + row.count || row.offset + row.count > row.batchSize) {
    throw new ProofError(3, "the anchor row does not cover the leaf's sequence");
  }
  const leafIndex = row.offset + leaf.sequence - row.first;
  verifyInclusion(row.batchRoot, row.batchSize, leafIndex, leafHash(proof.leaf), proof.leafPath);
  return { leaf, row, leafIndex };
}

function log(proof: Proof): StreamHead {
  const head = parseHead(proof.head);
  verifyInclusion(head.logRoot, head.logSize, proof.rowIndex, leafHash(proof.row), proof.rowPath);
  return head;
}

function stream(proof: Proof, leaf: Leaf, head: StreamHead, appHash: Bytes): StreamDefinition {
  const definition = parseDefinition(proof.definition);
  if (!equal(sha256(proof.definition), head.definitionHash)) throw new ProofError(5, "the stream's head names another definition");
  const path = `${definition.device}/${definition.name}`;
  if (path !== leaf.stream) throw new ProofError(5, `the definition is of stream ${path}, the leaf of ${leaf.stream}`);
  const key = concat(utf8("streams/head/"), bigEndian(definition.id, 8));
  verifyPresence(appHash, key, proof.head, proof.headProof);
  return definition;
}

function keyRecord(proof: Proof, leaf: Leaf, row: AnchorRow, definition: StreamDefinition, appHash: Bytes): Account {
  const byDevice = leaf.origin === ORIGIN_DEVICE;
  const address = byDevice ? definition.deviceAddress : row.gateway;
  verifyPresence(appHash, concat(utf8("identity/account/"), address), proof.account, proof.accountProof);
  const account = parseAccount(proof.account);
  if (account.kind !== (byDevice ? KIND_DEVICE : KIND_GATEWAY)) {
    throw new ProofError(6, `the account is not that of a ${byDevice ? "device" : "gateway"}`);
  }
  return account;
}

function origin(proof: Proof, leaf: Leaf, row: AnchorRow, account: Account, requireDevice: boolean): Verified["device"] {
  if (leaf.origin !== ORIGIN_DEVICE) {
    if (requireDevice) throw new ProofError(7, "only the gateway attests this message; the device did not sign it");
    return null;
  }
  const message = parseMessage(leaf.body, proof.genesisHash);
  if (message.chainId !== proof.chainId || message.stream !== leaf.stream) {
    throw new ProofError(7, `the device signed for stream ${message.stream} of chain ${message.chainId}`);
  }
  const key = account.keys.find(
    (entry) => entry.key.suite === message.suite && equal(keyId(entry.key.suite, entry.key.publicKey), message.keyId),
  );
  if (!key) throw new ProofError(7, "the device's record has no such key");
  if (!validThen(key, leaf.arrival, row.time)) {
    throw new ProofError(7, "the device's key was not valid when the message arrived and was anchored");
  }
  if (!verify(key.key.suite, key.key.publicKey, message.signed, message.signature)) {
    throw new ProofError(7, "the device's signature does not verify");
  }
  return { message, key };
}

/** Valid when anchored (its beginning) and when it arrived (its end), and not revoked before it was anchored. */
function validThen(entry: KeyEntry, arrivalNs: bigint, anchoredNs: bigint): boolean {
  if (entry.validFrom * SECOND_NS > anchoredNs) return false;
  if (entry.validTo !== null && arrivalNs >= entry.validTo * SECOND_NS) return false;
  return entry.revokedAt === null || anchoredNs < entry.revokedAt * SECOND_NS;
}

function trusted(proof: Proof, trust: Trust, signed: SignedHeader): Tie {
  const { header } = signed;
  if (proof.links.length > 0) {
    follow(proof.links.map(signedHeader), trust, signed);
    return "links";
  }
  if (proof.history !== null) {
    descend(proof.history, trust, header);
    return "history";
  }
  if (header.height === trust.height && !equal(header.hash, trust.headerHash)) {
    throw new ProofError(9, `at height ${header.height} the trusted header is another one`);
  }
  if (!sameValidators(signed.validators, trust.validators)) {
    throw new ProofError(9, "the validators that signed are not the trusted ones, and the proof carries no link to them");
  }
  if (header.height === trust.height) return "same";
  return header.height < trust.height ? "before" : "after";
}

function follow(links: readonly SignedHeader[], trust: Trust, last: SignedHeader): void {
  const [first, ...rest] = links as [SignedHeader, ...SignedHeader[]];
  if (first.header.height !== trust.height || !equal(first.header.hash, trust.headerHash)) {
    throw new ProofError(9, "the first linking header is not the trusted one");
  }
  if (!sameValidators(first.validators, trust.validators)) {
    throw new ProofError(9, "the first linking header's validators are not the trusted ones");
  }
  verifyCommit(trust.chainId, first);
  let known = first;
  for (const next of [...rest, last]) {
    if (next.header.height === known.header.height + 1n) verifyAdjacent(known.header, next);
    else verifySkipping(known.header, known.validators, next);
    known = next;
  }
}

function descend(history: HeaderHistory, trust: Trust, header: Header): void {
  const checkpoint = decodeHeader(history.checkpoint);
  if (checkpoint.height !== trust.height || !equal(checkpoint.hash, trust.headerHash)) {
    throw new ProofError(9, "the checkpoint is not the trusted header");
  }
  if (!equal(checkpoint.validatorsHash, validatorsHash(trust.validators))) {
    throw new ProofError(9, "the trusted header does not name the trusted validators");
  }
  verifyPresence(checkpoint.appHash, utf8("runtime/headers"), history.head, history.headProof);
  const head = parseHeaderHead(history.head);
  verifyInclusion(head.root, head.size, history.index, leafHash(history.entry), history.path);
  let expected = parseHeaderEntry(history.entry).hash;
  for (const data of history.descent) {
    const logged = decodeHeader(data);
    if (!equal(logged.hash, expected)) throw new ProofError(9, "a header on the way down is not the one named before it");
    expected = logged.lastBlockId.hash;
  }
  if (!equal(header.hash, expected)) throw new ProofError(9, "the way through the header log does not lead to the proof's header");
}
