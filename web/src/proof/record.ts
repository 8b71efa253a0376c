/** Records: arrays in CBOR whose fields each have a form. A form returns the value or throws, with the reason. */

import { EncodingError, type Item } from "./cbor";
import type { Bytes } from "./bytes";

export type Form<T> = (item: Item) => T;
export type Formed<F> = F extends Form<infer T> ? T : never;

export function integer(low: bigint, high: bigint): Form<bigint> {
  return (item) => {
    if (typeof item !== "bigint" || item < low || item > high) throw new EncodingError(`not an integer from ${low} to ${high}`);
    return item;
  };
}

export function blob(low: number, high: number): Form<Bytes> {
  return (item) => {
    if (!(item instanceof Uint8Array) || item.length < low || item.length > high) {
      throw new EncodingError(`not ${low} to ${high} bytes`);
    }
    return item;
  };
}

export function text(low: number, high: number): Form<string> {
  return (item) => {
    // eslint-disable-next-line no-control-regex -- control characters are what is refused
    if (typeof item !== "string" || /[\u0000-\u001f\u007f-\u009f]/.test(item)) throw new EncodingError("not a printable text");
    const length = Array.from(item).length; // code points, as the specification counts
    if (length < low || length > high) throw new EncodingError(`not ${low} to ${high} characters`);
    return item;
  };
}

export function pattern(shape: RegExp, lengthMax: number, what: string): Form<string> {
  return (item) => {
    if (typeof item !== "string" || item.length > lengthMax || !shape.test(item)) throw new EncodingError(`not ${what}`);
    return item;
  };
}

export function optional<T>(form: Form<T>): Form<T | null> {
  return (item) => (item === null ? null : form(item));
}

export function array<T>(form: Form<T>, high: number, low = 0): Form<T[]> {
  return (item) => {
    if (!Array.isArray(item) || item.length < low || item.length > high) {
      throw new EncodingError(`not an array of ${low} to ${high} members`);
    }
    return item.map(form);
  };
}

/** A record's fields stand in CBOR in the order in which they are written here. */
export function record<F extends Record<string, Form<unknown>>>(name: string, fields: F): Form<{ [K in keyof F]: Formed<F[K]> }> {
  const entries = Object.entries(fields);
  return (item) => {
    if (!Array.isArray(item) || item.length !== entries.length) {
      throw new EncodingError(`${name} is an array of ${entries.length}`);
    }
    const values = entries.map(([field, form], index) => {
      try {
        return [field, form(item[index] as Item)];
      } catch (error) {
        if (error instanceof EncodingError) throw new EncodingError(`${name}.${field}: ${error.message}`);
        throw error;
      }
    });
    return Object.fromEntries(values) as { [K in keyof F]: Formed<F[K]> };
  };
}

export const UINT = integer(0n, 2n ** 63n - 1n);
export const BOOL: Form<boolean> = (item) => {
  if (typeof item !== "boolean") throw new EncodingError("not true or false");
  return item;
};
export const HASH = blob(32, 32);
export const ADDRESS = blob(20, 20);
export const NAME = pattern(/^[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?$/, 63, "a name");
export const CHAIN_ID = pattern(/^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/, 50, "a chain id");
