/** All streams, each with its trend and its last value. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { JSX } from "preact";
import { api, type Stream } from "../api/client";
import { useResource } from "../api/resource";
import { OriginBadge } from "../components/badges";
import { Heading } from "../components/layout";
import { Pages } from "../components/pages";
import { Sparkline } from "../components/sparkline";
import { Ago } from "../components/time";
import { count, unit } from "../format/number";
import { t } from "../i18n";
import { beat } from "../live";
import { streamHref } from "../route";
import { language } from "../settings";

const PAGE = 50;
const TREND_READINGS = 48;

export function StreamsView(): JSX.Element {
  return (
    <>
      <Heading title={t("nav.streams")} lead={t("streams.lead")} />
      <Pages name="streams" load={(cursor, signal) => api.streams({ limit: PAGE, cursor }, signal)} version={beat.value}>
        {(streams) => <StreamCards streams={streams} />}
      </Pages>
    </>
  );
}

export function StreamCards({ streams }: { streams: readonly Stream[] }): JSX.Element {
  return (
    <ul class="cards">
      {streams.map((stream) => (
        <li key={stream.stream}>
          <StreamCard stream={stream} />
        </li>
      ))}
    </ul>
  );
}

function StreamCard({ stream }: { stream: Stream }): JSX.Element {
  const card = useRef<HTMLAnchorElement>(null);
  const seen = useSeen(card);
  const quantity = stream.quantities[0];
  const trend = useResource(
    `${stream.stream}/${String(seen)}`,
    async (signal) => {
      if (!seen || !quantity || stream.next_sequence === 0) return [];
      const selection = { time: "arrival", quantity: quantity.name, order: "desc", limit: TREND_READINGS } as const;
      return (await api.readings(stream.stream, selection, signal)).readings;
    },
    stream.next_sequence,
  );
  const readings = trend.data ?? [];
  const last = readings[0];
  return (
    <a class="card" href={streamHref(stream.stream)} ref={card}>
      <span class="card-title">
        {stream.device}
        <span class="muted"> / {stream.stream.slice(stream.device.length + 1)}</span>
      </span>
      <Sparkline values={readings.map(({ number }) => number).reverse()} />
      <span class="card-value">
        {last ? (
          <>
            <strong>{last.value ?? t("reading.none")}</strong> <span class="muted">{last.value !== null && unit(last.unit)}</span>
          </>
        ) : (
          <span class="muted">{stream.next_sequence === 0 && t("state.empty")}</span>
        )}
      </span>
      <span class="card-foot muted">
        <span>{quantity ? quantity.name + (stream.quantities.length > 1 ? ` +${stream.quantities.length - 1}` : "") : t("stream.raw")}</span>
        <span>
          {count(stream.next_sequence, language.value)}
          {stream.last_anchor && (
            <>
              {" · "}
              <Ago value={stream.last_anchor.time} />
            </>
          )}
        </span>
      </span>
      <span class="card-badge">{last && <OriginBadge origin={last.origin} />}</span>
    </a>
  );
}

/** True from the moment the element was first in sight: a long list asks only for what is looked at. */
function useSeen(element: { current: Element | null }): boolean {
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    if (!element.current) return;
    const observer = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) {
        setSeen(true);
        observer.disconnect();
      }
    });
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [element]);
  return seen;
}
