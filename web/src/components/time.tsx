/** Times: exact in the tooltip, readable in the text, UTC always. */

import type { JSX } from "preact";
import { ago, clockTime, dateTime } from "../format/time";
import { now } from "../clock";
import { language } from "../settings";

export function Time({ value, short = false }: { value: string | null; short?: boolean }): JSX.Element {
  if (value === null) return <span class="muted">–</span>;
  return (
    <time dateTime={value} title={value}>
      {short ? clockTime(value) : dateTime(value)}
    </time>
  );
}

export function Ago({ value }: { value: string }): JSX.Element {
  return (
    <time dateTime={value} title={value}>
      {ago(value, now.value, language.value)}
    </time>
  );
}
