/** The chain at one glance, live. */

import type { ComponentChildren, JSX } from "preact";
import { api, type Batch, type Status, type Stream } from "../api/client";
import { useResource } from "../api/resource";
import { Identifier } from "../components/identifier";
import { Panel } from "../components/layout";
import { Empty, Loaded } from "../components/states";
import { Ago } from "../components/time";
import { count, rate } from "../format/number";
import { t } from "../i18n";
import { beat, recentBlocks } from "../live";
import { href } from "../route";
import { language } from "../settings";
import { anchorRate } from "./anchor-rate";
import { BatchTable, BlockTable } from "./chain-tables";
import { StreamCards } from "./streams";

const BATCHES = 200;
const SHOWN = 8;
const STREAMS = 6;
/** Among so many, those that measure something and have begun are shown first. */
const STREAMS_ASKED = 50;
const COUNTED_MAX = 1000;
/** Devices come and go slowly: they are counted at every tenth beat. */
const COUNT_BEATS = 10;

export function OverviewView(): JSX.Element {
  const version = beat.value;
  const status = useResource("status", (signal) => api.status(signal), version);
  const batches = useResource("batches", (signal) => api.batches({ limit: BATCHES }, signal), version);
  const blocks = useResource("blocks", (signal) => api.blocks({ limit: SHOWN }, signal), version);
  const streams = useResource("streams", (signal) => api.streams({ limit: STREAMS_ASKED }, signal), version);
  const counts = useResource("counts", (signal) => countAll(signal), Math.floor(version / COUNT_BEATS));
  return (
    <>
      <Loaded of={status} rows={2}>
        {(loaded) => (
          <>
            <header class="heading">
              <div class="heading-line">
                <h1>{loaded.chain_id}</h1>
                <span class="muted">{t("overview.engine", { engine: loaded.engine, phase: loaded.phase })}</span>
                <span class="genesis muted">
                  {t("overview.genesis")} <Identifier value={loaded.genesis_hash} />
                </span>
              </div>
              <p class="muted">{t("overview.lead")}</p>
            </header>
            <Figures status={loaded} batches={batches.data} counts={counts.data} />
          </>
        )}
      </Loaded>
      <Panel title={t("nav.streams")} more={<a href={href(["streams"])}>{t("overview.all")}</a>}>
        <Loaded of={streams}>{(page) => (page.streams.length === 0 ? <Empty /> : <StreamCards streams={liveliest(page.streams)} />)}</Loaded>
      </Panel>
      <div class="columns">
        <Panel title={t("overview.blocks")} more={<a href={href(["blocks"])}>{t("overview.all")}</a>}>
          <Loaded of={blocks} rows={SHOWN}>{(page) => <BlockTable blocks={page.blocks} />}</Loaded>
        </Panel>
        <Panel title={t("overview.batches")}>
          <Loaded of={batches} rows={SHOWN}>
            {(page) => (page.batches.length === 0 ? <Empty /> : <BatchTable batches={page.batches.slice(0, SHOWN)} />)}
          </Loaded>
        </Panel>
      </div>
    </>
  );
}

function liveliest(streams: readonly Stream[]): Stream[] {
  const rank = (stream: Stream): number => (stream.next_sequence === 0 ? 2 : stream.quantities.length === 0 ? 1 : 0);
  return streams.toSorted((a, b) => rank(a) - rank(b)).slice(0, STREAMS);
}

interface Counts {
  readonly devices: string;
  readonly streams: string;
}

async function countAll(signal: AbortSignal): Promise<Counts> {
  const [devices, streams] = await Promise.all([
    api.devices({ limit: COUNTED_MAX }, signal),
    api.streams({ limit: COUNTED_MAX }, signal),
  ]);
  const text = (length: number, next: string | null): string => count(length, language.value) + (next === null ? "" : "+");
  return { devices: text(devices.devices.length, devices.next), streams: text(streams.streams.length, streams.next) };
}

interface FiguresProps {
  status: Status;
  batches: { batches: Batch[]; next: string | null } | undefined;
  counts: Counts | undefined;
}

function Figures({ status, batches, counts }: FiguresProps): JSX.Element {
  const live = recentBlocks.value[0];
  const height = Math.max(status.height, live?.height ?? 0);
  const time = live && live.height >= status.height ? live.time : status.block_time;
  const anchored = batches && anchorRate(batches.batches, time, batches.next === null);
  return (
    <ul class="figures">
      <Figure label={t("overview.height")} note={<LastBlock time={time} />}>
        {count(height, language.value)}
      </Figure>
      <Figure label={t("overview.rate")} note={t("overview.rate.note")}>
        {anchored ? rate(anchored.messagesPerSecond, language.value) : "–"}
      </Figure>
      <Figure label={t("overview.anchors")} note={t("overview.anchors.note")}>
        {anchored ? count(anchored.batches, language.value) : "–"}
      </Figure>
      <Figure label={t("overview.devices")} note={`${counts?.streams ?? "–"} ${t("overview.streams").toLowerCase()}`}>
        {counts?.devices ?? "–"}
      </Figure>
    </ul>
  );
}

function LastBlock({ time }: { time: string }): JSX.Element {
  const [before = "", after = ""] = t("overview.lastBlock", { ago: "\u0000" }).split("\u0000");
  return (
    <>
      {before}
      <Ago value={time} />
      {after}
    </>
  );
}

function Figure({ label, note, children }: { label: string; note: ComponentChildren; children: ComponentChildren }): JSX.Element {
  return (
    <li class="figure">
      <span class="figure-label">{label}</span>
      <strong>{children}</strong>
      <span class="muted">{note}</span>
    </li>
  );
}
