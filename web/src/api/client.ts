/** The node's REST API as this page uses it. Times are RFC 3339 in UTC, bytes lower-case hexadecimal. */

import { refused, token } from "../session";

/** What JSON can hold; for parts that are shown as they are. */
export type Json = string | number | boolean | null | undefined | readonly Json[] | { readonly [name: string]: Json };

export interface Status {
  chain_id: string;
  genesis_hash: string;
  height: number;
  block_hash: string;
  block_time: string;
  app_hash: string;
  state_height: number;
  engine: string;
  phase: string;
  version: string;
  node: string;
  pool_count: number;
  base_height: number;
}

export interface Block {
  height: number;
  hash: string;
  time: string;
  app_hash: string;
  proposer: string;
  transactions: number;
  bytes: number;
}

export interface BlockDetail extends Block {
  transaction_ids: string[];
  commit: Json;
  [field: string]: Json;
}

export interface Transaction {
  id: string;
  height: number;
  index: number;
  code: string;
  gas_used: number;
  messages: string[];
  signers: string[];
}

export interface TransactionDetail {
  id: string;
  height: number;
  bundle: number;
  index: number;
  receipt: { code: string; gas_used: number; events: Json[] };
  /** null when the payload could not be read. */
  transaction: { messages?: Json[]; [field: string]: Json } | null;
}

export interface Key {
  suite: string;
  public: string;
  kid: string;
  valid_from: string | null;
  valid_to: string | null;
  revoked_at: string | null;
}

export interface Device {
  name: string;
  address: string;
  did: string;
  organisation: string;
  gateway: string | null;
  state: string;
  registered_at: string;
  metadata: Record<string, string>;
  keys?: Key[];
  streams?: string[];
}

export interface Quantity {
  name: string;
  unit: string;
  kind: string;
}

export interface Stream {
  stream: string;
  number: number;
  device: string;
  organisation: string;
  gateway: string;
  schema_version: number;
  quantities: Quantity[];
  next_sequence: number;
  log_size: number;
  defined_at: string;
  last_anchor: { height: number; time: string } | null;
}

export type Origin = "device" | "gateway";

export interface Reading {
  stream: string;
  sequence: number;
  index: number;
  quantity: string;
  kind: string;
  /** The exact text; null for a missing or bad value. */
  value: string | null;
  /** Rounded to a binary float, for charts only. */
  number: number | null;
  unit: string;
  device_time: string | null;
  arrival_time: string;
  block_time: string;
  flags: string[];
  origin: Origin;
}

export interface SeriesPoint {
  t: string;
  min: number;
  max: number;
  last: number;
  sequence: number;
  index: number;
  count: number;
}

export interface Message {
  sequence: number;
  arrival_time: string;
  content_type: string;
  origin: Origin;
  readings: Reading[];
  /** Why the body has no readings, if it has no readable form. */
  unreadable?: { code: string; message: string } | null;
}

export interface Batch {
  gateway: string;
  number: number;
  root: string;
  size: number;
  streams: number;
  height: number;
  time: string;
  transaction: string;
}

export interface Refusal {
  time: string;
  gateway: string;
  /** As the sender named them; may be empty. */
  device: string;
  stream: string;
  transport: string;
  code: string;
  reason: string;
  hash: string;
  bytes: number;
}

export interface NetworkValidator {
  address: string;
  public_key: string;
  organisation: string | null;
  organisation_name: string | null;
  power: number;
  blocks: number;
  signed: number;
  missed: number;
  signed_share: number | null;
  proposed: number;
  last_signed_height: number | null;
  /** A letter a block, oldest first: s signed, m missed, n for nil, - not in the set. */
  marks: string;
  this_node: boolean;
  peer: string | null;
}

export interface NetworkPeer {
  id: string;
  /** As it calls itself. */
  name: string;
  validator: string | null;
  connected: boolean;
  direction: "inbound" | "outbound" | "unknown";
  address_kind: "loopback" | "private" | "public" | "unknown";
  address: string | null;
  version: string;
  connected_since: string | null;
  last_seen: string | null;
  height: number | null;
  bytes_sent: number;
  bytes_received: number;
}

export interface ProposedBlock {
  height: number;
  proposer: string;
  round: number;
  signed: number;
  validators: number;
}

export interface Network {
  chain_id: string;
  node: {
    node: string;
    name: string;
    organisation: string | null;
    peer_id: string;
    validator: string | null;
    software: string;
    engine: string;
    engine_version: string;
    app_version: number;
  };
  sync: {
    phase: string;
    conditions: string[];
    height: number;
    state_height: number;
    base_height: number;
    latest_block_time: string;
    peers_height: number | null;
    blocks_behind: number | null;
  };
  window: { first: number; last: number; blocks: number };
  total_power: number;
  validators: NetworkValidator[];
  recent_blocks: ProposedBlock[];
  peers: NetworkPeer[];
}

export interface Account {
  address: string;
  name: string;
}

export type Page<K extends string, T> = Record<K, T[]> & { next: string | null };
export type TimeBasis = "device" | "arrival" | "block";

export interface Selection {
  time: TimeBasis;
  quantity?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
}

/** A refusal of the API (RFC 9457), or code `page.unreachable` / `page.answer` when there is none to read. */
export class Problem extends Error {
  constructor(
    readonly code: string,
    readonly detail: string,
    readonly hint: string,
    readonly status: number,
  ) {
    super(detail);
  }
}

type Query = Readonly<Record<string, string | number | undefined>>;

type Path = readonly (string | number)[];

/** The answer's body as `read` takes it. A connection that ends within the body counts as none. */
async function request<T>(
  path: Path,
  query: Query,
  accept: string,
  read: (body: Response) => Promise<T>,
  signal?: AbortSignal,
  sent: string | null = token.value,
): Promise<T> {
  const given = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
  const search = new URLSearchParams(given).toString();
  const url = `/v1/${path.map((part) => encodeURIComponent(part)).join("/")}${search && `?${search}`}`;
  try {
    const headers = { Accept: accept, ...(sent !== null && { Authorization: `Bearer ${sent}` }) };
    const response = await fetch(url, { headers, ...(signal && { signal }) });
    if (response.status === 401) refused(sent);
    if (!response.ok) throw await problem(response);
    return await read(response);
  } catch (error) {
    if (error instanceof TypeError) throw unreachable();
    throw error;
  }
}

/** What `fetch` and `import` mean by a TypeError: nobody answered. */
export function unreachable(): Problem {
  return new Problem("page.unreachable", "", "", 0);
}

async function problem(response: Response): Promise<Problem> {
  const document = (await response.json().catch(() => ({}))) as Partial<Record<"code" | "detail" | "title" | "hint", string>>;
  return new Problem(
    document.code ?? "page.answer",
    document.detail ?? document.title ?? `HTTP ${response.status}`,
    document.hint ?? "",
    response.status,
  );
}

function json<T>(path: Path, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return request(path, query, "application/json", (response) => response.json() as Promise<T>, signal);
}

function ofStream(stream: string, ...rest: (string | number)[]): (string | number)[] {
  return ["streams", ...stream.split("/"), ...rest];
}

interface Paging {
  limit?: number;
  cursor?: string | undefined;
}

/** One function per resource. Each takes the signal that ends the request when nobody waits for it any more. */
export const api = {
  /** Whether the node takes a token, before it is kept. */
  tryToken: (candidate: string) => request(["status"], {}, "application/json", (response) => response.json() as Promise<Status>, undefined, candidate),
  status: (signal?: AbortSignal) => json<Status>(["status"], {}, signal),
  network: (window: number, signal?: AbortSignal) => json<Network>(["network"], { window }, signal),
  blocks: (paging: Paging, signal?: AbortSignal) => json<Page<"blocks", Block>>(["blocks"], { ...paging }, signal),
  block: (height: number | string, signal?: AbortSignal) => json<BlockDetail>(["blocks", height], {}, signal),
  transactions: (paging: Paging, signal?: AbortSignal) =>
    json<Page<"transactions", Transaction>>(["transactions"], { ...paging }, signal),
  transaction: (id: string, signal?: AbortSignal) => json<TransactionDetail>(["transactions", id], {}, signal),
  devices: (paging: Paging, signal?: AbortSignal) => json<Page<"devices", Device>>(["devices"], { ...paging }, signal),
  device: (name: string, signal?: AbortSignal) => json<Device>(["devices", name], {}, signal),
  account: (address: string, signal?: AbortSignal) => json<Account>(["accounts", address], {}, signal),
  streams: (paging: Paging & { device?: string }, signal?: AbortSignal) =>
    json<Page<"streams", Stream>>(["streams"], { ...paging }, signal),
  stream: (stream: string, signal?: AbortSignal) => json<Stream>(ofStream(stream), {}, signal),
  readings: (stream: string, selection: Selection & Paging & { order: "asc" | "desc" }, signal?: AbortSignal) =>
    json<Page<"readings", Reading>>(ofStream(stream, "readings"), { ...selection }, signal),
  series: (stream: string, selection: Selection & { points: number }, signal?: AbortSignal) =>
    json<{ points: SeriesPoint[] }>(ofStream(stream, "series"), { ...selection }, signal),
  message: (stream: string, sequence: number, signal?: AbortSignal) =>
    json<Message>(ofStream(stream, "messages", sequence), {}, signal),
  batches: (paging: Paging, signal?: AbortSignal) => json<Page<"batches", Batch>>(["batches"], { ...paging }, signal),
  refusals: (paging: Paging, signal?: AbortSignal) => json<Page<"refusals", Refusal>>(["refusals"], { ...paging }, signal),

  /** The proof file, byte for byte, made for a trust file of this height: with what leads there from other validators. */
  proof: (stream: string, sequence: number, trustedHeight?: bigint, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> =>
    request(
      ["proofs", ...stream.split("/"), sequence],
      { trusted_height: trustedHeight?.toString() },
      "application/cbor",
      async (body) => new Uint8Array(await body.arrayBuffer()),
      signal,
    ),

  /** The text of the node's trust file. */
  trust: (signal?: AbortSignal) => request(["trust"], {}, "application/json", (body) => body.text(), signal),
};
