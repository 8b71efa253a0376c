import { expect, test } from "vitest";
import { decodeCommit, decodeHeader, signBytes, validatorAddress, validatorOrder, validatorsHash, type Validator } from "../../src/proof/block";
import { concat, hex, utf8, type Bytes } from "../../src/proof/bytes";
import { LightError, verifyAdjacent, verifySkipping } from "../../src/proof/headers";
import { bytesField, intField, messageField } from "../../src/proof/wire";
import { bytes, vectors } from "../vectors";

interface TimeJson {
  seconds: number;
  nanos: number;
}
interface BlockIdJson {
  hash: string;
  parts_total: number;
  parts_hash: string;
}
interface CommitJson {
  height: number;
  round: number;
  block_id: BlockIdJson;
  signatures: { flag: number; address: string; timestamp: TimeJson; signature: string }[];
}
type HeaderJson = Record<string, string> & { height: number; block_version: number; app_version: number; time: TimeJson; last_block_id: BlockIdJson };
interface ValidatorJson {
  public_key: string;
  power: number;
}

const HEADER_HASHES = [
  "last_commit_hash",
  "data_hash",
  "validators_hash",
  "next_validators_hash",
  "consensus_hash",
  "app_hash",
  "last_results_hash",
  "evidence_hash",
  "proposer_address",
];

const int = (field: number, value: number): Bytes => intField(field, BigInt(value));
const time = ({ seconds, nanos }: TimeJson): Bytes => concat(int(1, seconds), int(2, nanos));
const blockId = (id: BlockIdJson): Bytes =>
  concat(bytesField(1, bytes(id.hash)), messageField(2, concat(int(1, id.parts_total), bytesField(2, bytes(id.parts_hash)))));

function encodeHeader(header: HeaderJson): Bytes {
  return concat(
    messageField(1, concat(int(1, header.block_version), int(2, header.app_version))),
    bytesField(2, utf8(header.chain_id ?? "")),
    int(3, header.height),
    messageField(4, time(header.time)),
    messageField(5, blockId(header.last_block_id)),
    ...HEADER_HASHES.map((name, index) => bytesField(6 + index, bytes(header[name] ?? ""))),
  );
}

function encodeCommit(commit: CommitJson): Bytes {
  const signatures = commit.signatures.map((entry) =>
    messageField(
      4,
      concat(int(1, entry.flag), bytesField(2, bytes(entry.address)), messageField(3, time(entry.timestamp)), bytesField(4, bytes(entry.signature))),
    ),
  );
  return concat(int(1, commit.height), int(2, commit.round), messageField(3, blockId(commit.block_id)), ...signatures);
}

const set = (members: ValidatorJson[]): Validator[] =>
  members.map(({ public_key, power }) => ({ publicKey: bytes(public_key), power: BigInt(power) })).sort(validatorOrder);

test.each(vectors<{ name: string; encoded: string; hash: string; header: HeaderJson }>("cometbft_headers"))("header: $name", (vector) => {
  const header = decodeHeader(bytes(vector.encoded));
  expect(hex(header.hash)).toBe(vector.hash);
  expect(header.height).toBe(BigInt(vector.header.height));
  expect(hex(encodeHeader(vector.header))).toBe(vector.encoded);
});

test.each(vectors<{ name: string; chain_id: string; encoded: string; sign_bytes: string[] }>("cometbft_commits"))("commit: $name", (vector) => {
  const commit = decodeCommit(bytes(vector.encoded));
  const signed = commit.signatures.map((entry) => (entry.flag === "absent" ? "" : hex(signBytes(vector.chain_id, commit, entry))));
  expect(signed).toEqual(vector.sign_bytes);
});

test.each(vectors<{ name: string; validators: ValidatorJson[]; addresses: string[]; hash: string }>("cometbft_validators"))(
  "validators: $name",
  (vector) => {
    const validators = set(vector.validators);
    expect(hex(validatorsHash(validators))).toBe(vector.hash);
    expect(validators.map((validator) => hex(validatorAddress(validator)))).toEqual(vector.addresses);
  },
);

interface LightCase {
  name: string;
  accepted: boolean;
  stricter: boolean;
  trust: [number, number];
  header: HeaderJson;
  commit: CommitJson;
  validators: ValidatorJson[];
  trusted_header: HeaderJson;
  trusted_validators: ValidatorJson[];
}

/** Rules of an online client, which knows the time of day and may demand more trust, play no part in a proof. */
const ONLINE = /expired|about to expire|from the future|clock drift|trust of one half/;

test.each(vectors<LightCase>("cometbft_light").filter(({ name }) => !ONLINE.test(name)))("light: $name", (vector) => {
  const check = (): void => {
    const trusted = decodeHeader(encodeHeader(vector.trusted_header));
    const header = decodeHeader(encodeHeader(vector.header));
    const next = { header, commit: decodeCommit(encodeCommit(vector.commit)), validators: set(vector.validators) };
    if (header.height === trusted.height + 1n) verifyAdjacent(trusted, next);
    else verifySkipping(trusted, set(vector.trusted_validators), next);
  };
  if (vector.accepted && !vector.stricter) expect(check).not.toThrow();
  else expect(check).toThrow(LightError);
});

test("a header with a byte behind it, or a field written twice, is refused", () => {
  const [vector] = vectors<{ encoded: string }>("cometbft_headers");
  const encoded = bytes(vector?.encoded ?? "");
  expect(() => decodeHeader(concat(encoded, bytes("00")))).toThrow();
  expect(() => decodeHeader(concat(encoded, encoded.slice(-22)))).toThrow();
});
