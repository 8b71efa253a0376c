/** What each step of a verified proof found: hashes, positions, keys. */

import type { JSX } from "preact";
import { Identifier } from "../components/identifier";
import type { Fact } from "../components/layout";
import { Time } from "../components/time";
import { bytes, count } from "../format/number";
import { fromNanoseconds } from "../format/time";
import { t } from "../i18n";
import { nanoseconds, totalPower } from "../proof/block";
import { hex } from "../proof/bytes";
import { leafHash, sha256 } from "../proof/merkle";
import { ED25519, ES256 } from "../proof/signatures";
import type { Trust } from "../proof/trust";
import type { StepName, Verified } from "../proof/verify";
import { language } from "../settings";

const SUITES: ReadonlyMap<bigint, string> = new Map([
  [ED25519, "Ed25519"],
  [ES256, "ECDSA P-256"],
]);

/** The facts of a step, in the order in which the check meets them. */
export function stepFacts(step: StepName, verified: Verified, trust: Trust): Fact[] {
  const { proof, leaf, row, head, definition, account, device, signed } = verified;
  switch (step) {
    case "form":
      return [
        [t("fact.size"), bytes(verified.bytes, language.value)],
        [t("fact.fileHash"), hash(verified.fileHash)],
      ];
    case "chain":
      return [
        [t("fact.chain"), proof.chainId],
        [t("fact.genesis"), hash(proof.genesisHash)],
      ];
    case "batch":
      return [
        [t("fact.leaf"), hash(leafHash(proof.leaf))],
        [t("fact.position"), t("fact.position.of", { index: number(verified.leafIndex + 1n), size: number(row.batchSize) })],
        [t("fact.pathLength"), number(proof.leafPath.length)],
        [t("fact.batchRoot"), hash(row.batchRoot)],
      ];
    case "log":
      return [
        [t("fact.anchored"), t("fact.anchored.at", { time: fromNanoseconds(row.time), height: number(row.height) })],
        [t("fact.entry"), t("fact.position.of", { index: number(proof.rowIndex + 1n), size: number(head.logSize) })],
        [t("fact.logRoot"), hash(head.logRoot)],
      ];
    case "stream":
      return [
        [t("fact.definition"), hash(sha256(proof.definition))],
        [t("fact.pathLength"), number(proof.headProof.length)],
        [t("fact.stateRoot"), hash(signed.header.appHash)],
        [t("stream.stream"), `${definition.device}/${definition.name}`],
      ];
    case "key_record":
      return [
        [t("fact.account"), account.name],
        [t("fact.keys"), number(account.keys.length)],
        [t("fact.pathLength"), number(proof.accountProof.length)],
      ];
    case "origin":
      return device
        ? [
            [t("fact.suite"), SUITES.get(device.key.key.suite) ?? ""],
            [t("fact.key"), hash(device.key.key.publicKey)],
            [t("fact.counter"), number(device.message.counter)],
            [t("fact.signature"), hash(device.message.signature)],
          ]
        : [
            [t("fact.gateway"), account.name],
            [t("fact.received"), <Time value={fromNanoseconds(leaf.arrival)} />],
          ];
    case "header":
      return [
        [t("fact.height"), number(signed.header.height)],
        [t("fact.time"), <Time value={fromNanoseconds(nanoseconds(signed.header.time))} />],
        [t("fact.headerHash"), hash(signed.header.hash)],
        [t("fact.power"), t("fact.power.of", { signed: number(signedPower(verified)), total: number(totalPower(signed.validators)) })],
      ];
    case "trust":
      return [
        [t("fact.trusted"), number(trust.height)],
        ...trust.validators.map((validator): Fact => [t("fact.validator"), hash(validator.publicKey)]),
      ];
  }
}

function signedPower({ signed }: Verified): bigint {
  return signed.validators.reduce((sum, { power }, index) => {
    return signed.commit.signatures[index]?.flag === "commit" ? sum + power : sum;
  }, 0n);
}

function hash(data: Uint8Array): JSX.Element {
  return <Identifier value={hex(data)} />;
}

function number(value: number | bigint): string {
  return count(value, language.value);
}

/** What was sent, as text where it is text, else in hexadecimal. */
export function content({ device, leaf }: Verified): string {
  const payload = device ? device.message.payload : leaf.body;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(payload);
  } catch (error) {
    if (error instanceof TypeError) return hex(payload);
    throw error;
  }
}
