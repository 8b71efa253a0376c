import { beforeAll, describe, expect, test, vi } from "vitest";
import type { Batch, Reading } from "../src/api/client";
import { columns, findGaps, fromReadings, fromSeries, pointOf } from "../src/chart/points";
import { bounds, parseRange } from "../src/chart/range";
import { sparkPath } from "../src/components/sparkline";
import { isAddress, isHexadecimal, shorten } from "../src/format/identifier";
import { bytes, unit } from "../src/format/number";
import { dateTime, fromNanoseconds, milliseconds, span } from "../src/format/time";
import { en } from "../src/i18n/en";
import { zhCN } from "../src/i18n/zh-CN";
import { messageSummary } from "../src/views/message-summary";
import { anchorRate } from "../src/views/anchor-rate";

function reading(seconds: number, number: number | null, flags: string[] = []): Reading {
  const time = new Date(seconds * 1000).toISOString();
  return {
    stream: "pump-7/motor",
    sequence: seconds,
    index: 0,
    quantity: "temperature",
    kind: "number",
    value: number === null ? null : number.toFixed(2),
    number,
    unit: "Cel",
    device_time: time,
    arrival_time: time,
    block_time: time,
    flags,
    origin: "device",
  };
}

describe("chart", () => {
  test("a silence of more than four steps is a gap, and breaks the line in its middle", () => {
    const points = fromReadings([0, 10, 20, 100, 110].map((at) => reading(at, at)), "device");
    const gaps = findGaps(points);
    expect(gaps).toEqual([{ fromMs: 20_000, toMs: 100_000 }]);
    expect(columns(points, gaps).value).toEqual([0, 10, 20, null, 100, 110]);
    expect(columns(points, gaps).seconds[3]).toBe(60);
  });

  test("several readings at one time make no gap of every other step", () => {
    const points = fromReadings([0, 0, 10, 10, 20, 20].map((at) => reading(at, at)), "device");
    expect(findGaps(points)).toEqual([]);
  });

  test("a missing value stays a point with its flag, without a height", () => {
    const [point] = fromReadings([reading(5, null, ["missing"])], "device");
    expect(point).toMatchObject({ value: null, text: null, flags: ["missing"], sequence: 5 });
  });

  test("a reading without device time is not drawn on the device's clock", () => {
    const odd = { ...reading(5, 1), device_time: null };
    expect(fromReadings([odd], "device")).toEqual([]);
    expect(fromReadings([odd], "arrival")).toHaveLength(1);
  });

  test("a summary keeps its range", () => {
    const [point] = fromSeries([{ t: "2026-01-01T00:00:00Z", min: 1, max: 9, last: 4, sequence: 7, index: 1, count: 12 }]);
    expect(pointOf(point ? [point] : [], 3, false)).toBe(point);
    expect(pointOf(point ? [point] : [], 3, true)).toBeNull();
    expect(point).toMatchObject({ low: 1, high: 9, value: 4, sequence: 7, index: 1, count: 12 });
  });
});

describe("range", () => {
  test("the last hour counts back from the newest reading, not from now", () => {
    const range = parseRange({ range: "1h" });
    expect(bounds(range, milliseconds("2014-01-03T08:00:00Z"))).toEqual({ from: "2014-01-03T07:00:00.000Z" });
    expect(bounds(range, null)).toEqual({});
  });

  test("a zoom stands in the address; nonsense means all", () => {
    expect(parseRange({ from: "2026-01-01T00:00:00Z", to: "2026-01-01T01:00:00Z" }).kind).toBe("fixed");
    expect(parseRange({ from: "2026-01-02T00:00:00Z", to: "2026-01-01T01:00:00Z" }).kind).toBe("all");
    expect(parseRange({ range: "tomorrow", from: "x" }).kind).toBe("all");
  });
});

describe("rate of anchoring", () => {
  const batch = (time: string, size: number): Batch => ({ gateway: "g", number: 0, root: "", size, streams: 1, height: 1, time, transaction: "" });
  const end = "2026-01-01T00:10:00Z";

  test("is a mean over the last minute of chain time", () => {
    const batches = [batch("2026-01-01T00:09:50Z", 120), batch("2026-01-01T00:09:10Z", 60), batch("2026-01-01T00:08:59Z", 999)];
    expect(anchorRate(batches, end, true)).toEqual({ messagesPerSecond: 3, batches: 2 });
  });

  test("counts only the span it knows where older batches were not asked for", () => {
    expect(anchorRate([batch("2026-01-01T00:09:58Z", 10), batch("2026-01-01T00:09:50Z", 10)], end, false).messagesPerSecond).toBe(2);
  });
});

test("types of messages are summed up", () => {
  expect(messageSummary(["a.b", "c.d", "a.b"])).toBe("a.b ×2, c.d");
});

describe("forms", () => {
  test("times", () => {
    expect(dateTime("2026-11-22T18:51:08.336001008Z")).toBe("2026-11-22 18:51:08");
    expect(milliseconds("2026-11-22T18:51:08.336001008Z")).toBe(Date.UTC(2026, 10, 22, 18, 51, 8, 336));
    expect(fromNanoseconds(1_795_000_000_000_000_120n)).toBe("2026-11-18T11:06:40.00000012Z");
    expect([span(0), span(59_400), span(9_000_000), span(90_000_000)]).toEqual(["0 s", "59 s", "2 h 30 min", "1 d 1 h"]);
  });

  test("numbers and identifiers", () => {
    expect([bytes(999, "en"), bytes(2_053, "en"), bytes(1_500_000, "en")]).toEqual(["999 B", "2.05 kB", "1.5 MB"]);
    expect([unit("Cel"), unit("lm")]).toEqual(["°C", "lm"]);
    expect(shorten("0123456789abcdef0123")).toBe("01234567…ef0123");
    expect(shorten("short")).toBe("short");
    expect(isHexadecimal("streams.anchor")).toBe(false);
    expect(isAddress("al1h05f3jxmjqvhpyac5edkmqu20ws24wlge2fmy7")).toBe(true);
  });

  test("a sparkline breaks where a value is missing", () => {
    expect(sparkPath([1, 2, null, 1]).match(/M/g)).toHaveLength(2);
    expect(sparkPath([null])).toBe("");
  });
});

describe("texts", () => {
  const names = (text: string): string[] => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "").sort();

  test.each(Object.keys(en) as (keyof typeof en)[])("%s has the same blanks in both languages", (key) => {
    expect(names(zhCN[key])).toEqual(names(en[key]));
    expect(zhCN[key]).not.toBe("");
  });
});

describe("route", () => {
  let route: typeof import("../src/route");

  beforeAll(async () => {
    vi.stubGlobal("location", { hash: "" });
    vi.stubGlobal("addEventListener", () => undefined);
    route = await import("../src/route");
  });

  test("an address leads back to itself", () => {
    const address = route.streamHref("machine-7/bearing", { time: "arrival", proof: "12", range: undefined });
    expect(address).toBe("#/streams/machine-7/bearing?time=arrival&proof=12");
    expect(route.parseRoute(address)).toEqual({ path: ["streams", "machine-7", "bearing"], query: { time: "arrival", proof: "12" } });
  });

  test("a stray % is taken as it is", () => {
    expect(route.parseRoute("#/devices/50%").path).toEqual(["devices", "50%"]);
  });
});
