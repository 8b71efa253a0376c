/** One stream: a live chart whose points lead to their proofs, and the latest readings with exact values. */

import { signal } from "@preact/signals";
import { useCallback, useEffect } from "preact/hooks";
import type { JSX } from "preact";
import { Problem, api, unreachable, type Quantity, type Reading, type Stream, type TimeBasis } from "../api/client";
import { useResource } from "../api/resource";
import { Chart } from "../chart/chart";
import { loadChart, type ChartData } from "../chart/load";
import { PRESETS, parseRange, type Range } from "../chart/range";
import { AccountName } from "../components/account";
import { isLoud, Flags, OriginBadge } from "../components/badges";
import { Choice } from "../components/choice";
import { Facts, Heading, Panel, Table } from "../components/layout";
import { Empty, Loaded, ProblemNote } from "../components/states";
import { Time } from "../components/time";
import { count, unit } from "../format/number";
import { rfc3339, span } from "../format/time";
import { t } from "../i18n";
import { beat } from "../live";
import { href, route, setQuery } from "../route";
import { language } from "../settings";
import type { ProofPanel } from "./proof-panel";

const LATEST = 25;
const BASES: readonly TimeBasis[] = ["device", "arrival", "block"];

interface Chosen {
  readonly sequence: number;
  readonly index: number | null;
}

function chosenIn(query: Readonly<Record<string, string>>): Chosen | null {
  const sequence = Number(query.proof ?? NaN);
  if (!Number.isSafeInteger(sequence) || sequence < 0) return null;
  const index = Number(query.reading ?? NaN);
  return { sequence, index: Number.isSafeInteger(index) ? index : null };
}

/** The panel brings the curve arithmetic with it, so it is fetched when the first proof is opened. */
const panel = signal<typeof ProofPanel | Problem | null>(null);

async function loadPanel(): Promise<void> {
  if (typeof panel.value === "function") return;
  try {
    panel.value = (await import("./proof-panel")).ProofPanel;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    panel.value = unreachable();
  }
}

function openProof(sequence: number, index: number | null): void {
  setQuery({ proof: String(sequence), reading: index === null ? undefined : String(index) });
}

export function StreamView({ stream }: { stream: string }): JSX.Element {
  const definition = useResource(stream, (signal) => api.stream(stream, signal), beat.value);
  const chosen = chosenIn(route.value.query);
  const close = useCallback(() => setQuery({ proof: undefined, reading: undefined }), []);
  const [device = "", name = ""] = stream.split("/");
  const open = chosen !== null;
  useEffect(() => {
    if (open) void loadPanel();
  }, [open]);
  const Proof = panel.value;
  return (
    <div class={chosen ? "with-proof" : ""}>
      <Heading
        title={
          <>
            <a href={href(["devices", device])}>{device}</a>
            <span class="muted"> / </span>
            {name}
          </>
        }
      />
      <Loaded of={definition}>
        {(loaded) => {
          const selection = selected(loaded);
          if (selection) return <Measured stream={loaded} {...selection} chosen={chosen} />;
          return (
            <>
              <StreamFacts stream={loaded} />
              <Panel title={t("stream.messages")}>
                <Empty>{t("stream.noQuantities")}</Empty>
                <RawMessages stream={loaded} chosen={chosen} />
              </Panel>
            </>
          );
        }}
      </Loaded>
      {chosen && typeof Proof === "function" && <Proof stream={stream} sequence={chosen.sequence} index={chosen.index} onClose={close} />}
      {chosen && Proof instanceof Problem && (
        <aside class="proof">
          <ProblemNote problem={Proof} onRetry={() => void loadPanel()} />
        </aside>
      )}
    </div>
  );
}

function StreamFacts({ stream }: { stream: Stream }): JSX.Element {
  return (
    <Panel>
      <Facts
        facts={[
          [t("stream.messages"), count(stream.next_sequence, language.value)],
          [t("stream.batches"), count(stream.log_size, language.value)],
          [t("stream.owner"), <AccountName address={stream.organisation} />],
          [t("stream.gateway"), <AccountName address={stream.gateway} />],
          [t("stream.defined"), <Time value={stream.defined_at} />],
        ]}
      />
    </Panel>
  );
}

/** What is chosen by the address: quantity, time basis, range. */
function selected(stream: Stream): { quantity: Quantity; time: TimeBasis; range: Range } | null {
  const { query } = route.value;
  const quantity = stream.quantities.find(({ name }) => name === query.quantity) ?? stream.quantities[0];
  if (!quantity) return null;
  return { quantity, time: BASES.find((basis) => basis === query.time) ?? "device", range: parseRange(query) };
}

interface MeasuredProps {
  stream: Stream;
  quantity: Quantity;
  time: TimeBasis;
  range: Range;
  chosen: Chosen | null;
}

function Measured({ stream, quantity, time, range, chosen }: MeasuredProps): JSX.Element {
  const selection = { quantity: quantity.name, time };
  const key = JSON.stringify([stream.stream, selection]);
  const chart = useResource(key + JSON.stringify(range), (signal) => loadChart(stream.stream, selection, range, signal), beat.value);
  const latest = useResource(
    key,
    (signal) => api.readings(stream.stream, { ...selection, order: "desc", limit: LATEST }, signal),
    beat.value,
  );
  return (
    <>
      <Panel class="chart-panel">
        <Controls stream={stream} quantity={quantity.name} time={time} range={range} />
        <p class="last-value">
          <span class="muted">{t("stream.last")}</span>
          <LastValue reading={latest.data?.readings[0]} />
        </p>
        <div class="chart-space">
          <Loaded of={chart} rows={6}>
            {(data) =>
              data.points.length === 0 || quantity.kind !== "number" ? (
                <Empty>{t(quantity.kind === "number" ? "stream.noReadings" : "stream.notNumbers")}</Empty>
              ) : (
                <Chart
                  data={data}
                  unit={quantity.unit}
                  label={t("chart.label", { quantity: quantity.name, stream: stream.stream })}
                  chosen={chosen?.sequence ?? null}
                  onPick={(point) => openProof(point.sequence, point.index)}
                  onZoom={(from, to) => setQuery({ from: rfc3339(from), to: rfc3339(to), range: undefined })}
                />
              )
            }
          </Loaded>
        </div>
        <ChartNotes data={chart.data} />
      </Panel>
      <StreamFacts stream={stream} />
      <Panel title={t("stream.latest")} more={<span class="muted">{t("unit.utc")}</span>}>
        <Loaded of={latest} rows={8}>
          {({ readings }) => (readings.length === 0 ? <Empty>{t("stream.noReadings")}</Empty> : <Readings rows={readings} chosen={chosen} />)}
        </Loaded>
      </Panel>
    </>
  );
}

/** Without quantities there is no value to show; the proof shows the content. */
function RawMessages({ stream, chosen }: { stream: Stream; chosen: Chosen | null }): JSX.Element {
  const newest = Array.from({ length: Math.min(LATEST, stream.next_sequence) }, (_, back) => stream.next_sequence - 1 - back);
  return (
    <Table
      label={t("stream.messages")}
      rows={newest}
      id={(sequence) => sequence}
      marked={(sequence) => sequence === chosen?.sequence}
      columns={[
        { title: t("reading.sequence"), cell: (sequence) => count(sequence, language.value) },
        { title: t("reading.proof"), cell: (sequence) => <ProofButton sequence={sequence} index={null} /> },
      ]}
    />
  );
}

function ProofButton({ sequence, index }: { sequence: number; index: number | null }): JSX.Element {
  return (
    <button
      type="button"
      class="button button-small"
      aria-label={t("reading.openProof", { sequence })}
      onClick={() => openProof(sequence, index)}
    >
      {t("reading.proof")}
    </button>
  );
}

interface ControlsProps {
  stream: Stream;
  quantity: string;
  time: TimeBasis;
  range: Range;
}

function Controls({ stream, quantity, time, range }: ControlsProps): JSX.Element {
  const zoomed = { from: undefined, to: undefined };
  return (
    <div class="controls">
      {stream.quantities.length > 1 && (
        <Choice
          label={t("stream.quantity")}
          value={quantity}
          options={stream.quantities.map(({ name }) => ({ value: name, label: name }))}
          onChange={(name) => setQuery({ quantity: name })}
        />
      )}
      <Choice
        label={t("stream.time")}
        value={time}
        options={BASES.map((basis) => ({ value: basis, label: t(`stream.time.${basis}`), hint: t(`stream.time.${basis}.hint`) }))}
        onChange={(basis) => setQuery({ time: basis, ...zoomed })}
      />
      <Choice
        label={t("stream.range")}
        value={range.kind === "last" ? range.name : range.kind}
        options={[
          ...PRESETS.map(({ name, label }) => ({ value: name, label })),
          { value: "all", label: t("stream.range.all") },
          ...(range.kind === "fixed" ? [{ value: "fixed", label: t("stream.range.custom") }] : []),
        ]}
        onChange={(name) => setQuery({ range: name === "all" ? undefined : name, ...zoomed })}
      />
    </div>
  );
}

function LastValue({ reading }: { reading: Reading | undefined }): JSX.Element {
  if (!reading) return <strong class="muted">–</strong>;
  return (
    <>
      <strong>
        {reading.value ?? t("reading.none")} {reading.value !== null && <span class="muted">{unit(reading.unit)}</span>}
      </strong>
      <OriginBadge origin={reading.origin} />
    </>
  );
}

/** Of averaged points only the scale's own gaps are known: neither their number nor their length is a fact about the stream. */
function gapText(data: ChartData): "chart.gap" | "chart.gaps" | "chart.gapCoarse" | "chart.gapsCoarse" {
  const one = data.gaps.length === 1;
  if (data.exact) return one ? "chart.gap" : "chart.gaps";
  return one ? "chart.gapCoarse" : "chart.gapsCoarse";
}

function ChartNotes({ data }: { data: ChartData | undefined }): JSX.Element {
  const number = (value: number): string => count(value, language.value);
  if (!data) return <p class="chart-notes muted"> </p>;
  const longest = span(Math.max(0, ...data.gaps.map((gap) => gap.toMs - gap.fromMs)));
  const missing = data.points.filter((point) => point.value === null).length;
  const flagged = data.points.filter((point) => point.value !== null && point.flags.some((flag) => flag !== "backfill")).length;
  return (
    <p class="chart-notes muted">
      <span>
        {data.exact
          ? t("chart.exact", { count: number(data.readings) })
          : t("chart.summary", { count: number(data.readings), points: number(data.points.length) })}
      </span>
      {data.gaps.length > 0 && (
        <span class="note-gap">{t(gapText(data), { count: number(data.gaps.length), longest })}</span>
      )}
      {missing > 0 && <span class="note-missing">{t("chart.missing", { count: number(missing) })}</span>}
      {flagged > 0 && <span class="note-flag">{t("chart.flagged", { count: number(flagged) })}</span>}
      <span class="only-mouse">{t("chart.help")}</span>
      <span class="only-touch">{t("chart.help.touch")}</span>
    </p>
  );
}

function Readings({ rows, chosen }: { rows: readonly Reading[]; chosen: Chosen | null }): JSX.Element {
  return (
    <Table
      label={t("stream.latest")}
      rows={rows}
      id={(row) => `${row.sequence}/${row.index}`}
      marked={(row) => row.sequence === chosen?.sequence}
      columns={[
        { title: t("reading.sequence"), kind: "number wide", cell: (row) => count(row.sequence, language.value) },
        { title: t("reading.value"), kind: "number", cell: (row) => <Value reading={row} /> },
        { title: t("reading.deviceTime"), cell: (row) => <Time value={row.device_time} /> },
        { title: t("reading.arrivalTime"), kind: "extra", cell: (row) => <Time value={row.arrival_time} /> },
        { title: t("reading.flags"), kind: "wide", cell: (row) => <Flags flags={row.flags} /> },
        { title: t("reading.origin"), kind: "extra", cell: (row) => <OriginBadge origin={row.origin} /> },
        {
          title: t("reading.proof"),
          cell: (row) => <ProofButton sequence={row.sequence} index={row.index} />,
        },
      ]}
    />
  );
}

function Value({ reading }: { reading: Reading }): JSX.Element {
  if (reading.value === null) return <span class="value-none">{t("reading.none")}</span>;
  return (
    <span class={isLoud(reading.flags) ? "value-loud" : ""}>
      {reading.value} <span class="muted">{unit(reading.unit)}</span>
    </span>
  );
}
