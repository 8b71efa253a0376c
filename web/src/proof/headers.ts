/** Which header follows from a trusted one: CometBFT's light-client rules, with every carried signature checked. */

import { compare, equal } from "./bytes";
import {
  nanoseconds,
  signBytes,
  totalPower,
  validatorAddress,
  validatorsHash,
  type Commit,
  type Header,
  type Validator,
} from "./block";
import { ED25519, verify } from "./signatures";

export class LightError extends Error {}

export interface SignedHeader {
  readonly header: Header;
  readonly commit: Commit;
  readonly validators: readonly Validator[];
}

/**
 * 1. The header is of this chain and names this validator set.
 * 2. The commit is for its height and hash, one entry per validator, in their order.
 * 3. Every signature it carries, also for nil, verifies.
 * 4. More than two thirds of the power signed for the block.
 */
export function verifyCommit(chainId: string, { header, commit, validators }: SignedHeader): void {
  if (header.chainId !== chainId) throw new LightError(`the header is of chain ${header.chainId}`);
  if (!equal(header.validatorsHash, validatorsHash(validators))) {
    throw new LightError("the validators are not those the header names");
  }
  if (commit.height !== header.height || !equal(commit.blockId.hash, header.hash)) {
    throw new LightError("the commit is for another block");
  }
  if (commit.signatures.length !== validators.length) throw new LightError("the commit does not list one precommit per validator");
  let signed = 0n;
  commit.signatures.forEach((entry, index) => {
    const validator = validators[index] as Validator;
    if (entry.flag === "absent") return;
    if (!equal(entry.address, validatorAddress(validator))) {
      throw new LightError("the commit does not list its precommits in the order of the validators");
    }
    if (!verify(ED25519, validator.publicKey, signBytes(chainId, commit, entry), entry.signature)) {
      throw new LightError("a validator's signature does not verify");
    }
    if (entry.flag === "commit") signed += validator.power;
  });
  const total = totalPower(validators);
  if (3n * signed <= 2n * total) throw new LightError(`${signed} of ${total} power signed, more than two thirds must`);
}

/** `next` is the successor of `trusted`. */
export function verifyAdjacent(trusted: Header, next: SignedHeader): void {
  if (next.header.height !== trusted.height + 1n) throw new LightError("a header does not follow the one before it");
  checkProgress(trusted, next.header);
  if (!equal(next.header.validatorsHash, trusted.nextValidatorsHash)) {
    throw new LightError("the header's validators are not those the trusted header announces");
  }
  // The first header after a change of engine names none (docs/spec/genesis.md §6): then its validators alone decide.
  const named = next.header.lastBlockId.hash;
  if (named.length > 0 && !equal(named, trusted.hash)) throw new LightError("the header does not name its predecessor");
  verifyCommit(trusted.chainId, next);
}

/** A later header whose commit more than a third of the trusted power signed. */
export function verifySkipping(trusted: Header, trustedValidators: readonly Validator[], next: SignedHeader): void {
  if (next.header.height <= trusted.height + 1n) throw new LightError("a header does not lie beyond the trusted one");
  const known = validatorsHash(trustedValidators);
  if (!equal(known, trusted.validatorsHash) && !equal(known, trusted.nextValidatorsHash)) {
    throw new LightError("the trusted validators are not those the trusted header names");
  }
  checkProgress(trusted, next.header);
  verifyCommit(trusted.chainId, next);
  let signed = 0n;
  next.commit.signatures.forEach((entry, index) => {
    if (entry.flag !== "commit") return;
    const key = (next.validators[index] as Validator).publicKey;
    signed += trustedValidators.find((validator) => compare(validator.publicKey, key) === 0)?.power ?? 0n;
  });
  if (3n * signed <= totalPower(trustedValidators)) throw new LightError("too little of the trusted power signed a later header");
}

function checkProgress(trusted: Header, header: Header): void {
  if (header.chainId !== trusted.chainId) throw new LightError("the header is of another chain");
  if (nanoseconds(header.time) <= nanoseconds(trusted.time)) throw new LightError("the header's time is not after the trusted header's");
}
