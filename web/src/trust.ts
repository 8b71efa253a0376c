/** Which trust file proofs are checked against: the reader's own, or what this node gave when one was first needed. */

import { signal } from "@preact/signals";
import { api } from "./api/client";

export interface TrustText {
  readonly text: string;
  readonly own: boolean;
}

export const ownTrust = signal<TrustText | null>(null);

/** Kept as long as the page is open, so that a node which changes its story meanwhile is noticed. */
let fromNode: TrustText | null = null;

export async function presentTrust(abort: AbortSignal): Promise<TrustText> {
  if (ownTrust.value) return ownTrust.value;
  fromNode ??= { text: await api.trust(abort), own: false };
  return fromNode;
}
