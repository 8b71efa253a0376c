/**
 * The node's event stream (Server-Sent Events). A lost connection is taken up again where it ended: the browser sends
 * Last-Event-ID by itself, and where it gives up, a new connection names the same cursor.
 */

import { token } from "../session";
import { TokenSource } from "./tokensource";

export interface BlockEvent {
  height: number;
  hash: string;
  time: string;
  transactions: number;
}

export type Connection = "connecting" | "open" | "lost";

interface Listener {
  readonly onBlock: (block: BlockEvent) => void;
  readonly onConnection: (connection: Connection) => void;
}

const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 15_000;

/** Follow the blocks; the answer ends it. */
export function followBlocks({ onBlock, onConnection }: Listener): () => void {
  let source: EventSource | TokenSource;
  let cursor = "";
  let retryMs = RETRY_FIRST_MS;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function open(): void {
    onConnection("connecting");
    const query = new URLSearchParams({ name: "block", ...(cursor && { cursor }) });
    const url = `/v1/events?${query}`;
    source = token.value === null ? new EventSource(url) : new TokenSource(url, token.value);
    source.addEventListener("open", () => {
      retryMs = RETRY_FIRST_MS;
      onConnection("open");
    });
    source.addEventListener("block", (raw: Event) => {
      const event = raw as MessageEvent<string>;
      cursor = event.lastEventId;
      onBlock(JSON.parse(event.data) as BlockEvent);
    });
    source.addEventListener("error", () => {
      onConnection("lost");
      // CONNECTING: the browser is already trying again. CLOSED: it has given up, for instance after a 503.
      if (source.readyState === EventSource.CLOSED) {
        timer = setTimeout(open, retryMs);
        retryMs = Math.min(2 * retryMs, RETRY_MAX_MS);
      }
    });
  }

  open();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}
