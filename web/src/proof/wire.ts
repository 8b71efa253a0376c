/**
 * Protocol Buffers wire form as far as block structures need it: one encoding per value, strictly read. Fields ascend,
 * varints are shortest, defaults are left out, and nothing unknown may stand in between.
 */

import { concat, equal, type Bytes } from "./bytes";
import { EncodingError } from "./cbor";

const VARINT = 0n;
const FIXED64 = 1n;
const LENGTH = 2n;
const U64 = 1n << 64n;
const I64_MAX = (1n << 63n) - 1n;

export function uvarint(value: bigint): Bytes {
  const out: number[] = [];
  let rest = value;
  while (rest > 0x7fn) {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return Uint8Array.from(out);
}

function tag(number: number, type: bigint): Bytes {
  return uvarint((BigInt(number) << 3n) | type);
}

export function intField(number: number, value: bigint): Bytes {
  if (value === 0n) return new Uint8Array();
  return concat(tag(number, VARINT), uvarint(BigInt.asUintN(64, value)));
}

export function sfixed64Field(number: number, value: bigint): Bytes {
  if (value === 0n) return new Uint8Array();
  const little = Uint8Array.from({ length: 8 }, (_, i) => Number((BigInt.asUintN(64, value) >> BigInt(8 * i)) & 0xffn));
  return concat(tag(number, FIXED64), little);
}

export function messageField(number: number, value: Bytes): Bytes {
  return concat(tag(number, LENGTH), uvarint(BigInt(value.length)), value);
}

export function bytesField(number: number, value: Bytes): Bytes {
  return value.length === 0 ? value : messageField(number, value);
}

export function delimited(value: Bytes): Bytes {
  return concat(uvarint(BigInt(value.length)), value);
}

/** Reads one message's fields in ascending order; `end` is called last. */
export class WireReader {
  private at = 0;

  constructor(
    private readonly data: Bytes,
    private readonly what: string,
  ) {}

  uint(number: number): bigint {
    if (!this.next(number, VARINT)) return 0n;
    const value = this.varint();
    if (value === 0n) throw this.bad(`field ${number} holds its default`);
    return value;
  }

  int(number: number): bigint {
    const value = this.uint(number);
    return value > I64_MAX ? value - U64 : value;
  }

  bytes(number: number, lengthMax: number): Bytes {
    if (!this.next(number, LENGTH)) return new Uint8Array();
    const value = this.chunk(number, lengthMax);
    if (value.length === 0) throw this.bad(`field ${number} holds its default`);
    return value;
  }

  message(number: number, lengthMax: number): Bytes {
    if (!this.next(number, LENGTH)) throw this.bad(`field ${number} is missing`);
    return this.chunk(number, lengthMax);
  }

  repeated(number: number, lengthMax: number): Bytes[] {
    const items: Bytes[] = [];
    while (this.next(number, LENGTH)) items.push(this.chunk(number, lengthMax));
    return items;
  }

  end(): void {
    if (this.at !== this.data.length) throw this.bad("unknown, repeated or out-of-order field");
  }

  private next(number: number, type: bigint): boolean {
    const expected = tag(number, type);
    if (!equal(this.data.subarray(this.at, this.at + expected.length), expected)) return false;
    this.at += expected.length;
    return true;
  }

  private varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.data[this.at];
      if (byte === undefined) throw this.bad("truncated number");
      this.at++;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        if ((byte === 0 && shift > 0n) || value >= U64) throw this.bad("a number is not in its shortest form");
        return value;
      }
    }
    throw this.bad("a number is too long");
  }

  private chunk(number: number, lengthMax: number): Bytes {
    const length = this.varint();
    if (length > BigInt(lengthMax) || length > BigInt(this.data.length - this.at)) {
      throw this.bad(`field ${number} is too long or truncated`);
    }
    const start = this.at;
    this.at += Number(length);
    return this.data.slice(start, this.at);
  }

  private bad(why: string): EncodingError {
    return new EncodingError(`${this.what}: ${why}`);
  }
}
