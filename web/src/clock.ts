/** The time of day as a signal, so that "3 seconds ago" stays true. */

import { signal } from "@preact/signals";

export const now = signal(Date.now());

setInterval(() => (now.value = Date.now()), 1_000);
