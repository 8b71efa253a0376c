/** Devices and their identities; and one device. */

import type { JSX } from "preact";
import { api, type Device, type Key } from "../api/client";
import { useResource } from "../api/resource";
import { AccountName } from "../components/account";
import { StateBadge } from "../components/badges";
import { Identifier } from "../components/identifier";
import { Facts, Heading, Panel, Table } from "../components/layout";
import { Pages } from "../components/pages";
import { Empty, Loaded } from "../components/states";
import { Time } from "../components/time";
import { t } from "../i18n";
import { beat } from "../live";
import { href } from "../route";
import { StreamCards } from "./streams";

const PAGE = 100;
const STREAMS = 100;
/** Devices change seldom: every tenth beat is soon enough. */
const BEATS = 10;

export function DevicesView(): JSX.Element {
  return (
    <>
      <Heading title={t("nav.devices")} lead={t("devices.lead")} />
      <Panel>
        <Pages name="devices" load={(cursor, signal) => api.devices({ limit: PAGE, cursor }, signal)} version={Math.floor(beat.value / BEATS)}>
          {(devices) => <DeviceTable devices={devices} />}
        </Pages>
      </Panel>
    </>
  );
}

function DeviceTable({ devices }: { devices: readonly Device[] }): JSX.Element {
  return (
    <Table
      label={t("nav.devices")}
      rows={devices}
      id={(device) => device.name}
      columns={[
        { title: t("devices.name"), cell: (device) => <a href={href(["devices", device.name])}>{device.name}</a> },
        { title: t("devices.state"), cell: (device) => <StateBadge state={device.state} /> },
        { title: t("devices.keys"), cell: (device) => <KeySuites keys={device.keys} /> },
        { title: t("devices.organisation"), kind: "wide", cell: (device) => <AccountName address={device.organisation} /> },
        { title: t("devices.gateway"), kind: "wide", cell: (device) => <AccountName address={device.gateway} /> },
        { title: t("device.address"), kind: "wide", cell: (device) => <Identifier value={device.address} /> },
        { title: t("devices.registered"), kind: "wide", cell: (device) => <Time value={device.registered_at} /> },
      ]}
    />
  );
}

function KeySuites({ keys }: { keys: Key[] | undefined }): JSX.Element {
  if (!keys) return <span class="muted">–</span>;
  if (keys.length === 0) return <span class="muted">{t("devices.noKeys")}</span>;
  return <code>{keys.map((key) => key.suite).join(", ")}</code>;
}

export function DeviceView({ name }: { name: string }): JSX.Element {
  const device = useResource(name, (signal) => api.device(name, signal), Math.floor(beat.value / BEATS));
  const streams = useResource(name, (signal) => api.streams({ device: name, limit: STREAMS }, signal), beat.value);
  return (
    <>
      <Heading title={name}>{device.data && <StateBadge state={device.data.state} />}</Heading>
      <Loaded of={device}>{(loaded) => <DeviceContent device={loaded} />}</Loaded>
      {!device.problem && (
        <Panel title={t("device.streams")}>
          <Loaded of={streams}>{(page) => (page.streams.length === 0 ? <Empty /> : <StreamCards streams={page.streams} />)}</Loaded>
        </Panel>
      )}
    </>
  );
}

function DeviceContent({ device }: { device: Device }): JSX.Element {
  return (
    <>
      <Panel>
        <Facts
          facts={[
            [t("devices.organisation"), <AccountName address={device.organisation} />],
            [t("devices.gateway"), <AccountName address={device.gateway} />],
            [t("devices.registered"), <Time value={device.registered_at} />],
            [t("device.address"), <Identifier value={device.address} head={12} tail={8} />],
            [t("device.did"), <Identifier value={device.did} head={20} tail={6} />],
            ...Object.entries(device.metadata).map(([name, value]) => [name, value] as const),
          ]}
        />
      </Panel>
      <Panel title={t("devices.keys")}>
        {device.keys && device.keys.length > 0 ? <KeyTable keys={device.keys} /> : <Empty>{t("device.keysNone")}</Empty>}
      </Panel>
    </>
  );
}

function KeyTable({ keys }: { keys: readonly Key[] }): JSX.Element {
  return (
    <Table
      label={t("devices.keys")}
      rows={keys}
      id={(key) => key.kid}
      columns={[
        { title: t("device.suite"), cell: (key) => <code>{key.suite}</code> },
        { title: t("device.key"), cell: (key) => <Identifier value={key.public} /> },
        { title: t("device.kid"), kind: "wide", cell: (key) => <Identifier value={key.kid} head={16} /> },
        { title: t("device.validFrom"), cell: (key) => <Time value={key.valid_from} /> },
        { title: t("device.validTo"), cell: (key) => (key.valid_to ? <Time value={key.valid_to} /> : t("device.open")) },
        { title: t("device.revoked"), kind: "wide", cell: (key) => <Time value={key.revoked_at} /> },
      ]}
    />
  );
}
