/**
 * Server-Sent Events by `fetch`, where a token has to be sent: the browser's EventSource cannot. It behaves as one that
 * has given up after the first failure; who follows it opens the next one with the cursor.
 */

const DATA_CHARS_MAX = 1_000_000;

export class TokenSource extends EventTarget {
  readyState: number = EventSource.CONNECTING;
  readonly #abort = new AbortController();

  constructor(url: string, token: string) {
    super();
    void this.#follow(url, token);
  }

  close(): void {
    this.readyState = EventSource.CLOSED;
    this.#abort.abort();
  }

  async #follow(url: string, token: string): Promise<void> {
    try {
      const headers = { Accept: "text/event-stream", Authorization: `Bearer ${token}` };
      const answer = await fetch(url, { headers, signal: this.#abort.signal });
      if (answer.ok && answer.body) {
        this.readyState = EventSource.OPEN;
        this.dispatchEvent(new Event("open"));
        await this.#read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
      }
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof DOMException)) throw error;
    }
    if (this.#abort.signal.aborted) return;
    this.readyState = EventSource.CLOSED;
    this.dispatchEvent(new Event("error"));
  }

  async #read(reader: ReadableStreamDefaultReader<string>): Promise<void> {
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      // The node ends lines by LF or CRLF, and events by an empty one.
      const events = text.split(/\r?\n\r?\n/);
      text = events.pop() ?? "";
      if (text.length > DATA_CHARS_MAX) return;
      events.forEach((event) => this.#tell(event));
    }
  }

  #tell(event: string): void {
    const fields = new Map<string, string>();
    for (const line of event.split(/\r?\n/)) {
      const [, name, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
      if (name !== undefined && value !== undefined) fields.set(name, fields.has(name) ? `${fields.get(name)}\n${value}` : value);
    }
    const data = fields.get("data");
    if (data === undefined) return;
    this.dispatchEvent(new MessageEvent(fields.get("event") ?? "message", { data, lastEventId: fields.get("id") ?? "" }));
  }
}
