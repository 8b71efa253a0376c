/** Gets what a chart shows: every reading where they are few, else a summary. */

import { api, type Selection } from "../api/client";
import { milliseconds } from "../format/time";
import { findGaps, fromReadings, fromSeries, readingTime, type Gap, type Point } from "./points";
import { bounds, type Range } from "./range";

export interface ChartData {
  readonly points: readonly Point[];
  readonly gaps: readonly Gap[];
  readonly readings: number;
  readonly exact: boolean;
  /** The span to draw where it was asked for; otherwise the points' own. */
  readonly window: { readonly fromMs: number; readonly toMs: number } | null;
}

const SUMMARY_POINTS = 480;
const EXACT_MAX = 1000; // one page of readings

export async function loadChart(stream: string, selection: Selection, range: Range, signal: AbortSignal): Promise<ChartData> {
  const newestMs = range.kind === "last" ? await newest(stream, selection, signal) : null;
  const selected = { ...selection, ...bounds(range, newestMs) };
  const { points: series } = await api.series(stream, { ...selected, points: SUMMARY_POINTS }, signal);
  const counted = series.reduce((sum, point) => sum + point.count, 0);
  const window =
    range.kind === "fixed" ? range : range.kind === "last" && newestMs !== null ? { fromMs: newestMs - range.ms, toMs: newestMs } : null;

  if (counted < EXACT_MAX) {
    const page = await api.readings(stream, { ...selected, order: "asc", limit: EXACT_MAX }, signal);
    if (page.next === null) {
      const points = fromReadings(page.readings, selection.time);
      return { points, gaps: findGaps(points), readings: points.length, exact: true, window };
    }
  }
  const points = fromSeries(series);
  return { points, gaps: findGaps(points), readings: counted, exact: false, window };
}

async function newest(stream: string, selection: Selection, signal: AbortSignal): Promise<number | null> {
  const { readings } = await api.readings(stream, { ...selection, order: "desc", limit: 1 }, signal);
  const time = readings[0] && readingTime(readings[0], selection.time);
  return time ? milliseconds(time) : null;
}
