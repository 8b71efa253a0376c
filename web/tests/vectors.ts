/** Golden vectors of the repository, which every implementation runs. */

import { readFileSync } from "node:fs";
import { fromHex, type Bytes } from "../src/proof/bytes";

export function vectors<T>(name: string): T[] {
  const url = new URL(`../../tests/vectors/${name}.json`, import.meta.url);
  return (JSON.parse(readFileSync(url, "utf8")) as { cases: T[] }).cases;
}

export function bytes(hexadecimal: string): Bytes {
  const data = fromHex(hexadecimal);
  if (data === null) throw new Error(`not hexadecimal: ${hexadecimal}`);
  return data;
}
