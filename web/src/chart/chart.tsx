/** A live chart whose points lead to their proofs, by pointer, touch or keyboard. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { JSX } from "preact";
import { Flags } from "../components/badges";
import { unit as sign } from "../format/number";
import { dateTime } from "../format/time";
import { t } from "../i18n";
import { isDark } from "../settings";
import type { ChartData } from "./load";
import { createPlot, look, type Plot } from "./plot";
import type { Point } from "./points";

interface Props {
  data: ChartData;
  unit: string;
  label: string;
  chosen: number | null;
  onPick: (point: Point) => void;
  onZoom: (fromMs: number, toMs: number) => void;
}

interface Hover {
  readonly at: number;
  readonly point: Point;
  readonly left: number;
  readonly top: number;
}

const HEIGHT_PX = 320;
const HEIGHT_PHONE_PX = 240;
const PHONE_PX = 560;

function height(width: number): number {
  return width < PHONE_PX ? HEIGHT_PHONE_PX : HEIGHT_PX;
}

export function Chart({ data, unit, label, chosen, onPick, onZoom }: Props): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | null>(null);
  const [hover, setHover] = useState<Hover | null>(null);
  const dark = isDark();
  const latest = useRef({ onPick, onZoom });
  latest.current = { onPick, onZoom };

  useEffect(() => {
    const target = frame.current;
    if (!target) return;
    const made = createPlot(target, {
      look: look(target),
      width: target.clientWidth,
      height: height(target.clientWidth),
      onHover: (at) => setHover(at === null ? null : hoverAt(made, at)),
      onPick: (at) => pick(made, at),
      onZoom: (from, to) => latest.current.onZoom(from, to),
    });
    plot.current = made;
    const observer = new ResizeObserver(() => made.resize(target.clientWidth, height(target.clientWidth)));
    observer.observe(target);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
    // A canvas knows nothing of style sheets: with the theme it is made anew.
  }, [dark]);

  useEffect(() => plot.current?.show(data), [data, dark]);
  useEffect(() => plot.current?.choose(chosen), [chosen, dark]);

  function pick(made: Plot, at: number): void {
    const point = made.point(at);
    if (point) latest.current.onPick(point);
  }

  function onKeyDown(event: KeyboardEvent): void {
    const made = plot.current;
    if (!made || made.length() === 0) return;
    const target = keyTarget(event.key, hover?.at ?? null, made);
    if (target !== null) {
      event.preventDefault();
      made.moveTo(target);
      setHover(hoverAt(made, target));
    } else if (event.key === "Enter" && hover) {
      event.preventDefault();
      pick(made, hover.at);
    }
  }

  const spoken = hover && t("chart.point", { value: `${hover.point.text ?? t("reading.none")} ${sign(unit)}`, time: dateTime(hover.point.time) });
  return (
    <div class="chart" tabIndex={0} role="application" aria-label={label} onKeyDown={onKeyDown}>
      <div class="chart-frame" ref={frame} />
      {hover && <Tooltip hover={hover} unit={unit} width={frame.current?.clientWidth ?? 0} />}
      <span class="visually-hidden" aria-live="polite">
        {spoken}
      </span>
    </div>
  );
}

function hoverAt(made: Plot, at: number): Hover | null {
  const point = made.point(at);
  return point && { at, point, ...made.place(at) };
}

/** The point that a key leads to, past the breaks in between. */
function keyTarget(key: string, at: number | null, made: Plot): number | null {
  const last = made.length() - 1;
  const step = key === "ArrowRight" || key === "Home" ? 1 : -1;
  const start = { ArrowLeft: (at ?? last + 1) - 1, ArrowRight: (at ?? -1) + 1, Home: 0, End: last }[key];
  if (start === undefined) return null;
  for (let to = start; to >= 0 && to <= last; to += step) if (made.point(to)) return to;
  return at;
}

const AXIS_PX = 50;
const TOOLTIP_PX = 190;

function Tooltip({ hover: { point, left, top }, unit, width }: { hover: Hover; unit: string; width: number }): JSX.Element {
  const flip = left + AXIS_PX + TOOLTIP_PX > width;
  return (
    <div class={`tooltip ${flip ? "tooltip-left" : ""}`} style={{ transform: `translate(${left + AXIS_PX}px, ${Math.max(0, top - 8)}px)` }}>
      <strong>
        {point.text ?? t("reading.none")} {point.text !== null && <span class="muted">{sign(unit)}</span>}
      </strong>
      <span class="muted">{dateTime(point.time)}</span>
      <span class="muted">#{point.sequence}</span>
      {point.flags.length > 0 && <Flags flags={point.flags} />}
    </div>
  );
}
