/** What is going on now: the connection, the chain's last blocks, and a beat at which views refresh themselves. */

import { effect, signal, untracked } from "@preact/signals";
import { followBlocks, type BlockEvent, type Connection } from "./api/events";
import { token, wanted } from "./session";

/** Views ask again at most this often, however fast blocks come. */
const BEAT_MS = 1_500;
const RECENT_MAX = 60;

export const connection = signal<Connection>("connecting");
/** Blocks seen since the page was opened, newest first. */
export const recentBlocks = signal<readonly BlockEvent[]>([]);
/** Counts up when there is something new to show. Pass it to `useResource` as the version. */
export const beat = signal(0);

let waiting: ReturnType<typeof setTimeout> | undefined;

function refreshSoon(): void {
  waiting ??= setTimeout(() => {
    waiting = undefined;
    // A page in the background asks for nothing; it catches up when it is looked at again.
    if (document.visibilityState === "visible") beat.value++;
  }, BEAT_MS);
}

function follow(): () => void {
  return followBlocks({
    onBlock: (block) => {
      recentBlocks.value = [block, ...recentBlocks.value].slice(0, RECENT_MAX);
      refreshSoon();
    },
    onConnection: (state) => {
      // After a pause everything on the page may be old.
      if (state === "open" && connection.value === "lost") refreshSoon();
      connection.value = state;
    },
  });
}

/** Start following the chain; called once. */
export function goLive(): void {
  effect(() => {
    // A node that waits for its token tells nobody anything; another token is another session.
    const session = { token: token.value, waiting: wanted.value };
    return session.waiting ? undefined : untracked(follow);
  });
  document.addEventListener("visibilitychange", refreshSoon);
}
