/** Which part of a stream a chart shows, as it stands in the page's address. */

import { milliseconds, rfc3339 } from "../format/time";

export const PRESETS = [
  { name: "10m", label: "10 min", ms: 600_000 },
  { name: "1h", label: "1 h", ms: 3_600_000 },
  { name: "24h", label: "24 h", ms: 86_400_000 },
  { name: "7d", label: "7 d", ms: 7 * 86_400_000 },
  { name: "30d", label: "30 d", ms: 30 * 86_400_000 },
] as const;

export type Range =
  | { readonly kind: "all" }
  | { readonly kind: "last"; readonly name: string; readonly ms: number }
  | { readonly kind: "fixed"; readonly fromMs: number; readonly toMs: number };

export function parseRange(query: Readonly<Record<string, string>>): Range {
  const fromMs = milliseconds(query.from ?? "");
  const toMs = milliseconds(query.to ?? "");
  if (fromMs < toMs) return { kind: "fixed", fromMs, toMs };
  const preset = PRESETS.find(({ name }) => name === query.range);
  return preset ? { kind: "last", name: preset.name, ms: preset.ms } : { kind: "all" };
}

export interface Bounds {
  readonly from?: string;
  readonly to?: string;
}

/** Half-open bounds for the API. "The last hour" counts back from the newest reading: recordings end in the past. */
export function bounds(range: Range, newestMs: number | null): Bounds {
  switch (range.kind) {
    case "all":
      return {};
    case "fixed":
      return { from: rfc3339(range.fromMs), to: rfc3339(range.toMs) };
    case "last":
      return newestMs === null ? {} : { from: rfc3339(newestMs - range.ms) };
  }
}
