/** Long identifiers in a form short enough for a table. */

export function shorten(identifier: string, head = 8, tail = 6): string {
  return identifier.length <= head + tail + 1 ? identifier : `${identifier.slice(0, head)}…${identifier.slice(-tail)}`;
}

export function isHexadecimal(text: string): boolean {
  return /^[0-9a-f]{16,}$/.test(text);
}

export function isAddress(text: string): boolean {
  return /^al1[02-9ac-hj-np-z]{38}$/.test(text);
}
