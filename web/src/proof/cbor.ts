/**
 * Deterministic CBOR (RFC 8949 §4.2.1): integers of 64 bits, byte and text strings, arrays, maps, booleans, null.
 * `decode` accepts exactly one encoding of a value and refuses everything else; nothing may follow the value.
 */

import { utf8, bigEndian, compare, concat, type Bytes } from "./bytes";

export type Item = bigint | Bytes | string | boolean | null | Item[] | Map<Item, Item>;

export class EncodingError extends Error {}

export const DEPTH_MAX = 16;
const INT64_MIN = -(2n ** 63n);

export function decode(data: Bytes, depthMax = DEPTH_MAX): Item {
  const reader = new Reader(data, depthMax);
  const item = reader.item(0);
  if (reader.at !== data.length) throw new EncodingError("bytes follow the CBOR value");
  return item;
}

class Reader {
  at = 0;

  constructor(
    private readonly data: Bytes,
    private readonly depthMax: number,
  ) {}

  item(depth: number): Item {
    const first = this.byte();
    const major = first >> 5;
    if (major === 7) return this.simple(first);
    const argument = this.argument(first & 31);
    switch (major) {
      case 0:
        return argument;
      case 1:
        if (-1n - argument < INT64_MIN) throw new EncodingError("an integer has more than 64 bits");
        return -1n - argument;
      case 2:
        return this.chunk(argument).slice();
      case 3:
        return this.text(argument);
      case 4:
        return this.array(argument, depth);
      case 5:
        return this.map(argument, depth);
      default:
        throw new EncodingError("tags are not part of the data model");
    }
  }

  private simple(first: number): boolean | null {
    if (first === 0xf4) return false;
    if (first === 0xf5) return true;
    if (first === 0xf6) return null;
    throw new EncodingError("floats and simple values are not part of the data model");
  }

  private argument(info: number): bigint {
    if (info < 24) return BigInt(info);
    if (info > 27) throw new EncodingError("indefinite lengths are not deterministic");
    const length = 1 << (info - 24);
    let value = 0n;
    for (let i = 0; i < length; i++) value = (value << 8n) | BigInt(this.byte());
    const least = length === 1 ? 24n : 1n << BigInt(4 * length);
    if (value < least) throw new EncodingError("a number is not in its shortest form");
    return value;
  }

  private byte(): number {
    const byte = this.data[this.at];
    if (byte === undefined) throw new EncodingError("the CBOR ends too early");
    this.at++;
    return byte;
  }

  private chunk(length: bigint): Bytes {
    if (length > BigInt(this.data.length - this.at)) throw new EncodingError("the CBOR ends too early");
    const start = this.at;
    this.at += Number(length);
    return this.data.subarray(start, this.at);
  }

  private text(length: bigint): string {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.chunk(length));
    } catch (error) {
      if (error instanceof TypeError) throw new EncodingError("a text is not UTF-8");
      throw error;
    }
  }

  private array(count: bigint, depth: number): Item[] {
    this.checkDepth(depth);
    if (count > BigInt(this.data.length - this.at)) throw new EncodingError("the CBOR ends too early");
    return Array.from({ length: Number(count) }, () => this.item(depth + 1));
  }

  private map(count: bigint, depth: number): Map<Item, Item> {
    this.checkDepth(depth);
    const map = new Map<Item, Item>();
    let last: Bytes | null = null;
    for (let i = 0n; i < count; i++) {
      const start = this.at;
      const key = this.item(depth + 1);
      if (typeof key === "object" && !(key instanceof Uint8Array)) throw new EncodingError("a map's key is not a plain value");
      if (typeof key === "boolean") throw new EncodingError("a map's key is not a plain value");
      const encoded = this.data.subarray(start, this.at);
      if (last !== null && compare(encoded, last) <= 0) throw new EncodingError("map keys are not in bytewise order");
      last = encoded;
      map.set(key, this.item(depth + 1));
    }
    return map;
  }

  private checkDepth(depth: number): void {
    if (depth >= this.depthMax) throw new EncodingError("the CBOR is nested too deeply");
  }
}

/** Encodes what signatures and key ids need: integers, byte and text strings, and arrays of them. */
export function encode(item: bigint | Bytes | string | readonly (bigint | Bytes | string)[]): Bytes {
  if (typeof item === "bigint") return item >= 0n ? head(0, item) : head(1, -1n - item);
  if (item instanceof Uint8Array) return concat(head(2, BigInt(item.length)), item);
  if (typeof item === "string") {
    const text = utf8(item);
    return concat(head(3, BigInt(text.length)), text);
  }
  return concat(head(4, BigInt(item.length)), ...item.map(encode));
}

function head(major: number, argument: bigint): Bytes {
  if (argument < 24n) return Uint8Array.of((major << 5) | Number(argument));
  const power = argument < 0x100n ? 0 : argument < 0x10000n ? 1 : argument < 0x100000000n ? 2 : 3;
  return concat(Uint8Array.of((major << 5) | (24 + power)), bigEndian(argument, 1 << power));
}
