/** Small marks: who vouches, what is remarkable, how a device stands. */

import type { JSX } from "preact";
import type { Origin } from "../api/client";
import { t, word } from "../i18n";

export function OriginBadge({ origin }: { origin: Origin }): JSX.Element {
  return (
    <span class={`badge badge-${origin}`} title={t(`origin.${origin}.hint`)}>
      {t(`origin.${origin}`)}
    </span>
  );
}

/** Flags that question the value are loud, those that only tell of its time are quiet. */
const LOUD = new Set(["missing", "bad_value", "out_of_range", "kind_mismatch", "unit_mismatch", "bad_time", "future"]);

export function isLoud(flags: readonly string[]): boolean {
  return flags.some((flag) => LOUD.has(flag));
}

export function Flags({ flags }: { flags: readonly string[] }): JSX.Element {
  return (
    <span class="flags">
      {flags.map((flag) => (
        <span key={flag} class={`badge ${LOUD.has(flag) ? "badge-loud" : "badge-quiet"}`} title={word("flag", `${flag}.hint`)}>
          {word("flag", flag)}
        </span>
      ))}
    </span>
  );
}

export function StateBadge({ state }: { state: string }): JSX.Element {
  return <span class={`badge badge-${state === "active" ? "good" : state === "suspended" ? "warn" : "quiet"}`}>{word("device.state", state)}</span>;
}

export function CodeBadge({ code }: { code: string }): JSX.Element {
  return code ? <code class="badge badge-bad">{code}</code> : <span class="badge badge-good">{t("tx.ok")}</span>;
}
