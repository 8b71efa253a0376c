/** How fast messages are being anchored, from the newest batches. */

import type { Batch } from "../api/client";
import { milliseconds } from "../format/time";

export interface AnchorRate {
  readonly messagesPerSecond: number;
  readonly batches: number;
}

const WINDOW_MS = 60_000;

/**
 * Over the last minute of chain time (the reader's clock may be off). `complete` is false where older batches exist that
 * were not asked for; then the span that is known counts.
 */
export function anchorRate(batches: readonly Batch[], chainTime: string, complete: boolean): AnchorRate {
  const end = milliseconds(chainTime);
  const recent = batches.filter((batch) => end - milliseconds(batch.time) < WINDOW_MS);
  const oldest = recent.at(-1);
  const truncated = oldest !== undefined && recent.length === batches.length && !complete;
  const spanMs = truncated ? Math.max(1_000, end - milliseconds(oldest.time)) : WINDOW_MS;
  const messages = recent.reduce((sum, batch) => sum + batch.size, 0);
  return { messagesPerSecond: (messages * 1000) / spanMs, batches: recent.length };
}
