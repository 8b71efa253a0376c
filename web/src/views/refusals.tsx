/** What gateways refused, with code and reason. */

import type { JSX } from "preact";
import { api, type Refusal } from "../api/client";
import { AccountName } from "../components/account";
import { Identifier } from "../components/identifier";
import { Heading, Panel, Table } from "../components/layout";
import { Pages } from "../components/pages";
import { Time } from "../components/time";
import { t } from "../i18n";
import { beat } from "../live";
import { href } from "../route";

const PAGE = 100;

export function RefusalsView(): JSX.Element {
  return (
    <>
      <Heading title={t("nav.refusals")} lead={t("refusals.lead")} />
      <Panel>
        <Pages
          name="refusals"
          load={(cursor, signal) => api.refusals({ limit: PAGE, cursor }, signal)}
          version={beat.value}
          empty={t("refusals.empty")}
        >
          {(refusals) => <RefusalTable refusals={refusals} />}
        </Pages>
      </Panel>
    </>
  );
}

function RefusalTable({ refusals }: { refusals: readonly Refusal[] }): JSX.Element {
  return (
    <Table
      label={t("nav.refusals")}
      rows={refusals}
      id={(refusal) => `${refusal.time} ${refusal.hash}`}
      columns={[
        { title: t("devices.name"), cell: (refusal) => <Source refusal={refusal} /> },
        { title: t("refusals.reason"), kind: "text", cell: (refusal) => <Reason refusal={refusal} /> },
        { title: t("refusals.transport"), kind: "wide", cell: (refusal) => refusal.transport },
        { title: t("devices.gateway"), kind: "extra", cell: (refusal) => <AccountName address={refusal.gateway} /> },
        { title: t("refusals.hash"), kind: "extra", cell: (refusal) => <Identifier value={refusal.hash} /> },
      ]}
    />
  );
}

function Source({ refusal: { device, stream, time } }: { refusal: Refusal }): JSX.Element {
  return (
    <span class="stacked">
      <span>
        {device ? <a href={href(["devices", device])}>{device}</a> : "–"}
        {stream && <span class="muted"> / {stream}</span>}
      </span>
      <span class="muted">
        <Time value={time} />
      </span>
    </span>
  );
}

function Reason({ refusal: { code, reason } }: { refusal: Refusal }): JSX.Element {
  return (
    <span class="stacked">
      <code class="badge badge-bad">{code}</code>
      {reason}
    </span>
  );
}
