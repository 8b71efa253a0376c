/** The drawing itself: how uPlot is told about points, gaps, flags and the chosen point. */

import uPlot from "uplot";
import type { ChartData } from "./load";
import { columns, pointOf, type Columns, type Point } from "./points";

export interface Look {
  readonly line: string;
  readonly band: string;
  readonly grid: string;
  readonly text: string;
  readonly gap: string;
  readonly loud: string;
  readonly quiet: string;
  readonly surface: string;
  readonly font: string;
}

export interface Plot {
  readonly show: (data: ChartData) => void;
  readonly choose: (sequence: number | null) => void;
  readonly point: (at: number) => Point | null;
  /** Place of the point that the pointer or the keyboard is at, in CSS pixels within the chart. */
  readonly place: (at: number) => { readonly left: number; readonly top: number };
  readonly moveTo: (at: number) => void;
  readonly resize: (width: number, height: number) => void;
  readonly length: () => number;
  readonly destroy: () => void;
}

interface Options {
  readonly look: Look;
  readonly width: number;
  readonly height: number;
  readonly onHover: (at: number | null) => void;
  readonly onPick: (at: number) => void;
  readonly onZoom: (fromMs: number, toMs: number) => void;
}

const DRAG_MIN_PX = 6;
const QUIET = new Set(["late", "out_of_order", "no_clock", "unknown_unit", "unknown_quantity"]);
const MARGIN = 0.06;
const DATE_HALF_PX = 40; // a date is centred under its mark, also under one at the right edge

/** The colours that hold within `root`. A custom property may be a `light-dark()`, so an element has to resolve it. */
export function look(root: HTMLElement): Look {
  const probe = document.createElement("span");
  root.append(probe);
  const style = getComputedStyle(probe);
  const value = (name: string): string => {
    probe.style.color = `var(${name})`;
    return style.color;
  };
  const found = {
    line: value("--accent"),
    band: value("--chart-band"),
    grid: value("--line"),
    text: value("--muted"),
    gap: value("--chart-gap"),
    loud: value("--bad"),
    quiet: value("--warn"),
    surface: value("--surface"),
    font: `12px ${style.fontFamily}`,
  };
  probe.remove();
  return found;
}

export function createPlot(target: HTMLElement, { look, width, height, onHover, onPick, onZoom }: Options): Plot {
  let data: ChartData = { points: [], gaps: [], readings: 0, exact: true, window: null };
  let drawn: Columns = columns([], []);
  let chosen: number | null = null;

  const plot = new uPlot(
    {
      width,
      height,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      padding: [12, DATE_HALF_PX, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { size: 9, width: 2, stroke: look.line, fill: look.surface }, drag: { x: true, y: false, setScale: false } },
      scales: {
        x: { time: true, range: (_, low, high) => xRange(data, low, high) },
        y: { range: (_, low, high) => yRange(low, high) },
      },
      axes: [
        { stroke: look.text, font: look.font, grid: { stroke: look.grid, width: 1 }, ticks: { show: false }, values: (_, at, __, ___, step) => timeLabels(at, step), size: 40, space: 80 },
        { stroke: look.text, font: look.font, grid: { stroke: look.grid, width: 1 }, ticks: { show: false }, size: axisSize, gap: 6, space: 36 },
      ],
      series: [
        {},
        { stroke: "transparent", points: { show: false } },
        { stroke: "transparent", points: { show: false } },
        { stroke: look.line, width: 1.75, points: { size: 5, fill: look.line, space: 10 } },
      ],
      bands: [{ series: [2, 1], fill: look.band }],
      hooks: {
        drawClear: [drawGaps],
        draw: [drawMarks],
        setCursor: [(self) => onHover(self.cursor.idx ?? null)],
        setSelect: [zoom],
      },
    },
    [[], [], [], []],
    target,
  );

  plot.over.addEventListener("click", () => {
    const at = plot.cursor.idx;
    if (at !== null && at !== undefined) onPick(at);
  });

  function zoom(self: uPlot): void {
    const { left, width: across } = self.select;
    if (across < DRAG_MIN_PX) return;
    const from = self.posToVal(left, "x");
    const to = self.posToVal(left + across, "x");
    self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    onZoom(from * 1000, to * 1000);
  }

  function drawGaps(self: uPlot): void {
    const { ctx, bbox } = self;
    ctx.save();
    ctx.fillStyle = look.gap;
    for (const { fromMs, toMs } of data.gaps) {
      const left = Math.max(bbox.left, self.valToPos(fromMs / 1000, "x", true));
      const right = Math.min(bbox.left + bbox.width, self.valToPos(toMs / 1000, "x", true));
      if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
    }
    ctx.restore();
  }

  function drawMarks(self: uPlot): void {
    const { ctx, bbox } = self;
    const scale = devicePixelRatio;
    ctx.save();
    ctx.lineWidth = 1.75 * scale;
    const marked = chosen === null ? null : pointOf(data.points, chosen, data.exact);
    drawn.points.forEach((point, at) => {
      if (!point || (point.flags.length === 0 && point !== marked)) return;
      const x = self.valToPos(drawn.seconds[at] ?? 0, "x", true);
      if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) return;
      if (point.value === null) { triangle(ctx, x, bbox.top + bbox.height - 2 * scale, 5 * scale); return; }
      const y = self.valToPos(point.value, "y", true);
      if (point === marked) ring(ctx, x, y, 6.5 * scale, look.line);
      const colour = markColour(point);
      if (colour) ring(ctx, x, y, 4 * scale, colour);
    });
    ctx.restore();
  }

  function markColour(point: Point): string | null {
    if (point.flags.some((flag) => flag !== "backfill" && !QUIET.has(flag))) return look.loud;
    return point.flags.some((flag) => QUIET.has(flag)) ? look.quiet : null;
  }

  function ring(ctx: CanvasRenderingContext2D, x: number, y: number, radius: number, colour: string): void {
    ctx.beginPath();
    ctx.arc(x, y, radius, 0, 2 * Math.PI);
    ctx.fillStyle = look.surface;
    ctx.fill();
    ctx.strokeStyle = colour;
    ctx.stroke();
  }

  /** A reading without a value has no height: a mark at the foot tells that it was there. */
  function triangle(ctx: CanvasRenderingContext2D, x: number, foot: number, size: number): void {
    ctx.beginPath();
    ctx.moveTo(x, foot - 1.6 * size);
    ctx.lineTo(x + size, foot);
    ctx.lineTo(x - size, foot);
    ctx.closePath();
    ctx.fillStyle = look.loud;
    ctx.fill();
  }

  return {
    show: (next) => {
      data = next;
      drawn = columns(next.points, next.gaps);
      plot.setData([drawn.seconds, drawn.low, drawn.high, drawn.value]);
    },
    choose: (sequence) => {
      chosen = sequence;
      plot.redraw(false);
    },
    point: (at) => drawn.points[at] ?? null,
    place,
    moveTo: (at) => plot.setCursor(place(at)),
    resize: (newWidth, newHeight) => plot.setSize({ width: newWidth, height: newHeight }),
    length: () => drawn.points.length,
    destroy: () => plot.destroy(),
  };

  function place(at: number): { left: number; top: number } {
    const value = drawn.value[at];
    const left = plot.valToPos(drawn.seconds[at] ?? 0, "x");
    return { left, top: value === null || value === undefined ? plot.over.clientHeight : plot.valToPos(value, "y") };
  }
}

function xRange(data: ChartData, low: number, high: number): [number, number] {
  if (data.window) return [data.window.fromMs / 1000, data.window.toMs / 1000];
  return low === high ? [low - 60, high + 60] : [low, high];
}

function yRange(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  const margin = (high - low || Math.abs(high) || 1) * MARGIN;
  return [low - margin, high + margin];
}

function axisSize(_: uPlot, values: string[] | null): number {
  const longest = Math.max(0, ...(values ?? []).map((value) => value.length));
  return Math.max(36, 14 + 7 * longest);
}

const DAY_S = 86_400;

/** The clock on the first line, the date below it where it changes. */
function timeLabels(at: readonly number[], step: number): string[] {
  let day = "";
  return at.map((seconds) => {
    const text = new Date(seconds * 1000).toISOString();
    const date = text.slice(0, 10);
    if (step >= DAY_S) return date;
    const clock = text.slice(11, step >= 60 ? 16 : 19);
    const label = date === day ? clock : `${clock}\n${date}`;
    day = date;
    return label;
  });
}
