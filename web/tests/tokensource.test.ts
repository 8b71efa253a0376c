import { afterEach, expect, test, vi } from "vitest";
import { TokenSource } from "../src/api/tokensource";
import { tokenOf } from "../src/session";

vi.stubGlobal("EventSource", { CONNECTING: 0, OPEN: 1, CLOSED: 2 });
afterEach(() => void vi.restoreAllMocks());

function answering(status: number, ...parts: string[]): Promise<{ told: string[]; sent: Headers }> {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      parts.forEach((part) => controller.enqueue(new TextEncoder().encode(part)));
      controller.close();
    },
  });
  const fetched = vi.spyOn(globalThis, "fetch").mockResolvedValue(new Response(body, { status }));
  const source = new TokenSource("/v1/events?name=block", "secret");
  const told: string[] = [];
  source.addEventListener("open", () => told.push("open"));
  source.addEventListener("block", (raw) => {
    const event = raw as MessageEvent<string>;
    told.push(`${event.lastEventId} ${event.data}`);
  });
  return new Promise((done) =>
    source.addEventListener("error", () => {
      told.push(`error ${source.readyState}`);
      done({ told, sent: new Headers(fetched.mock.calls[0]?.[1]?.headers) });
    }),
  );
}

test("events arrive however the body is cut, and the token is sent", async () => {
  const { told, sent } = await answering(200, "id: 7:0\r\nevent: block\r\nda", 'ta: {"height":7}\r\n', "\r\n: beat\n\nid: 8:0\nevent: block\ndata: 8\n\nid: 9");
  expect(told).toEqual(["open", '7:0 {"height":7}', "8:0 8", "error 2"]);
  expect(sent.get("authorization")).toBe("Bearer secret");
});

test("a refusal closes it", async () => {
  expect((await answering(401)).told).toEqual(["error 2"]);
});

test("a pasted token may have a line end, but no spaces inside", () => {
  expect(tokenOf(" abc-123\n")).toBe("abc-123");
  expect([tokenOf(""), tokenOf("a b"), tokenOf("ключ")]).toEqual([null, null, null]);
});
