/** What a chart draws: points in order of time, their gaps, and the columns the drawing library takes. */

import type { Reading, SeriesPoint, TimeBasis } from "../api/client";
import { milliseconds } from "../format/time";

export interface Point {
  readonly time: string;
  readonly ms: number;
  /** For drawing; null where the reading has no value. */
  readonly value: number | null;
  readonly low: number | null;
  readonly high: number | null;
  /** The exact text as the API gives it; for a summarised point the digits of its last value. */
  readonly text: string | null;
  readonly sequence: number;
  readonly index: number;
  readonly flags: readonly string[];
  /** How many readings this point stands for. */
  readonly count: number;
}

export interface Gap {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Twice the usual step may be jitter; four times is silence. */
const GAP_STEPS = 4;

export function readingTime(reading: Reading, basis: TimeBasis): string | null {
  switch (basis) {
    case "device":
      return reading.device_time;
    case "arrival":
      return reading.arrival_time;
    case "block":
      return reading.block_time;
  }
}

export function fromReadings(readings: readonly Reading[], basis: TimeBasis): Point[] {
  return readings.flatMap((reading) => {
    const time = readingTime(reading, basis);
    if (time === null) return [];
    const { number, value, sequence, index, flags } = reading;
    return [{ time, ms: milliseconds(time), value: number, low: number, high: number, text: value, sequence, index, flags, count: 1 }];
  });
}

export function fromSeries(series: readonly SeriesPoint[]): Point[] {
  return series.map(({ t, min, max, last, sequence, index, count }) => ({
    time: t,
    ms: milliseconds(t),
    value: last,
    low: min,
    high: max,
    text: String(last),
    sequence,
    index,
    flags: [],
    count,
  }));
}

/** Spans between neighbours much longer than the usual one. */
export function findGaps(points: readonly Point[]): Gap[] {
  const steps = points.slice(1).map((point, index) => point.ms - (points[index]?.ms ?? point.ms));
  const positive = steps.filter((step) => step > 0).sort((a, b) => a - b);
  const usual = positive[Math.floor(positive.length / 2)];
  if (usual === undefined) return [];
  return steps.flatMap((step, index) => {
    const before = points[index];
    return before && step > GAP_STEPS * usual ? [{ fromMs: before.ms, toMs: before.ms + step }] : [];
  });
}

/** The point that shows message `sequence`; where points are summed up, the one it went into. Null when out of sight. */
export function pointOf(points: readonly Point[], sequence: number, exact: boolean): Point | null {
  return points.find((point) => (exact ? point.sequence === sequence : point.sequence >= sequence)) ?? null;
}

export interface Columns {
  readonly seconds: number[];
  readonly value: (number | null)[];
  readonly low: (number | null)[];
  readonly high: (number | null)[];
  /** The point of each column entry; null for the break in the middle of a gap. */
  readonly points: (Point | null)[];
}

export function columns(points: readonly Point[], gaps: readonly Gap[]): Columns {
  const breaks = new Map(gaps.map((gap) => [gap.fromMs, (gap.fromMs + gap.toMs) / 2]));
  const made: Columns = { seconds: [], value: [], low: [], high: [], points: [] };
  points.forEach((point, at) => {
    made.seconds.push(point.ms / 1000);
    made.value.push(point.value);
    made.low.push(point.low);
    made.high.push(point.high);
    made.points.push(point);
    const next = points[at + 1];
    const middle = breaks.get(point.ms);
    if (middle !== undefined && next && next.ms > point.ms) {
      made.seconds.push(middle / 1000);
      made.value.push(null);
      made.low.push(null);
      made.high.push(null);
      made.points.push(null);
    }
  });
  return made;
}
