import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { followBlocks, type BlockEvent, type Connection } from "../src/api/events";

/** Stands where the browser's EventSource stands; the test decides what arrives. */
class Source extends EventTarget {
  static readonly CLOSED = 2;
  static all: Source[] = [];
  readyState = 0;

  constructor(readonly url: string) {
    super();
    Source.all.push(this);
  }

  close(): void {
    this.readyState = Source.CLOSED;
  }

  block(id: string, height: number): void {
    this.dispatchEvent(new MessageEvent("block", { data: JSON.stringify({ height }), lastEventId: id }));
  }
}

let blocks: number[];
let states: Connection[];
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("EventSource", Source);
  Source.all = [];
  blocks = [];
  states = [];
  stop = followBlocks({
    onBlock: (block: BlockEvent) => blocks.push(block.height),
    onConnection: (state) => states.push(state),
  });
});

afterEach(() => {
  stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("a connection the browser gave up is opened again at the last event, ever more slowly", () => {
  const first = Source.all[0] as Source;
  expect(first.url).toBe("/v1/events?name=block");
  first.dispatchEvent(new Event("open"));
  first.block("7:0", 7);
  first.close();
  first.dispatchEvent(new Event("error"));
  expect(states).toEqual(["connecting", "open", "lost"]);

  vi.advanceTimersByTime(1_000);
  const second = Source.all[1] as Source;
  expect(second.url).toBe("/v1/events?name=block&cursor=7%3A0");
  second.close();
  second.dispatchEvent(new Event("error"));
  vi.advanceTimersByTime(1_999);
  expect(Source.all).toHaveLength(2);
  vi.advanceTimersByTime(1);
  const third = Source.all[2] as Source;
  third.dispatchEvent(new Event("open"));
  third.block("8:0", 8);
  expect(blocks).toEqual([7, 8]);
  expect(states.at(-1)).toBe("open");
});

test("while the browser itself tries again, nothing else is opened", () => {
  (Source.all[0] as Source).dispatchEvent(new Event("error"));
  vi.advanceTimersByTime(60_000);
  expect(Source.all).toHaveLength(1);
  expect(states.at(-1)).toBe("lost");
});
