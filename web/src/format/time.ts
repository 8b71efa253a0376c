/** Times as people read them, always in UTC, so that two readers of one proof see the same text. */

/** Milliseconds since 1970 of an RFC 3339 time; digits behind the millisecond are dropped. */
export function milliseconds(rfc3339: string): number {
  return Date.parse(rfc3339.replace(/(\.\d{3})\d+/, "$1"));
}

/** `2026-11-22 18:51:08` of an RFC 3339 time; digits behind the second are left out. */
export function dateTime(rfc3339: string): string {
  return rfc3339.replace("T", " ").replace(/(\.\d+)?Z$/, "");
}

/** `18:51:08` of an RFC 3339 time. */
export function clockTime(rfc3339: string): string {
  return dateTime(rfc3339).slice(11);
}

/** RFC 3339 in UTC of nanoseconds since 1970, all digits kept. */
export function fromNanoseconds(ns: bigint): string {
  const fraction = ns % 1_000_000_000n;
  const whole = new Date(Number((ns - fraction) / 1_000_000n)).toISOString().slice(0, 19);
  const digits = fraction === 0n ? "" : `.${fraction.toString().padStart(9, "0").replace(/0+$/, "")}`;
  return `${whole}${digits}Z`;
}

export function rfc3339(ms: number): string {
  return new Date(ms).toISOString();
}

const UNITS: readonly (readonly [number, Intl.RelativeTimeFormatUnit])[] = [
  [86_400, "day"],
  [3_600, "hour"],
  [60, "minute"],
  [1, "second"],
];

/** `3 minutes ago`, in the reader's language. */
export function ago(rfc: string, nowMs: number, language: string): string {
  const seconds = Math.max(0, Math.round((nowMs - milliseconds(rfc)) / 1000));
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? ([1, "second"] as const);
  return new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" }).format(-Math.floor(seconds / size), unit);
}

/** `2 h 30 min`: the two largest units of a span. */
export function span(ms: number): string {
  const total = Math.round(ms / 1000);
  const parts: [number, string][] = [
    [Math.floor(total / 86_400), "d"],
    [Math.floor((total % 86_400) / 3_600), "h"],
    [Math.floor((total % 3_600) / 60), "min"],
    [total % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}
