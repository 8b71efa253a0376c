/** The network as this node sees it: who validates and signs, who proposed, and with whom it is connected. */

import type { ComponentChildren, JSX } from "preact";
import { api, type Network, type NetworkPeer, type NetworkValidator, type ProposedBlock } from "../api/client";
import { useResource } from "../api/resource";
import { now } from "../clock";
import { Identifier } from "../components/identifier";
import { Facts, Heading, Panel, Table } from "../components/layout";
import { Empty, Loaded } from "../components/states";
import { Ago } from "../components/time";
import { bytes, count, percent } from "../format/number";
import { t, word } from "../i18n";
import { beat } from "../live";
import { href } from "../route";
import { language } from "../settings";
import { bars, HEIGHT, standing, topology, WIDTH, type Link, type Party, type Standing } from "./topology";

const WINDOW = 100;
/** A chain that stands still sends no beats, and that is when one looks here. */
const ASK_MS = 5_000;

export function NetworkView(): JSX.Element {
  const version = beat.value + Math.floor(now.value / ASK_MS);
  const network = useResource("network", (signal) => api.network(WINDOW, signal), version);
  return (
    <>
      <Heading title={t("nav.network")} lead={t("network.lead")} />
      <Loaded of={network} rows={6}>
        {(found) => (
          <>
            <Conditions network={found} />
            <Figures network={found} />
            <div class="columns">
              <Panel title={t("network.topology")} class="topology-panel">
                <Drawing network={found} />
              </Panel>
              <Panel title={t("network.node")}>
                <ThisNode network={found} />
              </Panel>
            </div>
            <Panel title={t("network.validators")} more={<WindowNote network={found} />}>
              <Validators network={found} />
            </Panel>
            <div class="columns">
              <Panel title={t("network.peers")}>
                {found.peers.length === 0 ? <Empty>{t("network.noPeers")}</Empty> : <Peers peers={found.peers} />}
              </Panel>
              <Panel title={t("network.proposers")}>
                {found.recent_blocks.length === 0 ? <Empty /> : <Proposers network={found} />}
              </Panel>
            </div>
          </>
        )}
      </Loaded>
    </>
  );
}

function number(value: number): string {
  return count(value, language.value);
}

function Conditions({ network: { sync } }: { network: Network }): JSX.Element | null {
  const told = [...(sync.phase === "running" ? [] : [word("network.phase", sync.phase)]), ...sync.conditions.map((name) => word("network.condition", name))];
  if (told.length === 0) return null;
  return (
    <div class="problem problem-stale" role="status">
      {told.map((text) => (
        <p key={text}>{text}</p>
      ))}
    </div>
  );
}

function Figures({ network }: { network: Network }): JSX.Element {
  const { validators, total_power: total, peers, sync } = network;
  const signing = validators.filter((validator) => standing(validator) === "signing");
  const power = signing.reduce((sum, validator) => sum + validator.power, 0);
  const connected = peers.filter((peer) => peer.connected).length;
  return (
    <ul class="figures">
      <Figure label={t("network.signing")} note={t("network.signing.note")}>
        {t("network.of", { part: number(signing.length), whole: number(validators.length) })}
      </Figure>
      <Figure label={t("network.power")} note={t("network.power.note")} bad={3 * power <= 2 * total}>
        {total ? percent(power / total, language.value) : "–"}
      </Figure>
      <Figure label={t("network.connected")} note={t("network.connected.note", { known: number(peers.length) })}>
        {number(connected)}
      </Figure>
      <Figure label={t("overview.height")} note={<Progress network={network} />}>
        {number(sync.height)}
      </Figure>
    </ul>
  );
}

function Progress({ network: { sync } }: { network: Network }): JSX.Element {
  if (sync.blocks_behind === null) return <Ago value={sync.latest_block_time} />;
  return <>{sync.blocks_behind > 0 ? t("network.behind", { blocks: number(sync.blocks_behind) }) : t("network.upToDate")}</>;
}

function Figure({ label, note, bad = false, children }: { label: string; note: ComponentChildren; bad?: boolean; children: ComponentChildren }): JSX.Element {
  return (
    <li class="figure">
      <span class="figure-label">{label}</span>
      <strong class={bad ? "bad" : ""}>{children}</strong>
      <span class="muted">{note}</span>
    </li>
  );
}

function ThisNode({ network: { node, sync } }: { network: Network }): JSX.Element {
  return (
    <Facts
      facts={[
        [t("network.name"), node.name],
        [t("stream.owner"), node.organisation ?? "–"],
        [t("network.account"), <Identifier value={node.node} />],
        [t("network.validatorKey"), node.validator === null ? t("network.noValidator") : <Identifier value={node.validator} />],
        ...(node.peer_id ? [[t("network.peerId"), <Identifier value={node.peer_id} />] as const] : []),
        [t("network.phaseLabel"), word("network.state", sync.phase)],
        [t("network.software"), node.software],
        [t("network.engine"), `${node.engine} ${node.engine_version}`],
        [t("network.rules"), number(node.app_version)],
        [t("network.base"), number(sync.base_height)],
      ]}
    />
  );
}

function WindowNote({ network: { window } }: { network: Network }): JSX.Element {
  return <span class="muted">{window.blocks ? t("network.window", { first: number(window.first), last: number(window.last) }) : t("network.noBlocks")}</span>;
}

const BADGES: Readonly<Record<Standing, string>> = { signing: "good", late: "warn", silent: "bad", joining: "quiet", observer: "quiet" };

function StandingBadge({ validator }: { validator: NetworkValidator }): JSX.Element {
  const found = standing(validator);
  return <span class={`badge badge-${BADGES[found]}`}>{t(`network.standing.${found}`)}</span>;
}

function Validators({ network }: { network: Network }): JSX.Element {
  const total = network.total_power || 1;
  return (
    <Table
      label={t("network.validators")}
      rows={network.validators}
      id={(validator) => validator.address}
      marked={(validator) => validator.this_node}
      columns={[
        { title: t("stream.owner"), cell: (validator) => validator.organisation_name ?? "–" },
        { title: t("network.standing"), cell: (validator) => <StandingBadge validator={validator} /> },
        { title: t("network.address"), kind: "extra", cell: (validator) => <Identifier value={validator.address} /> },
        {
          title: t("network.powerShare"),
          kind: "number wide",
          cell: (validator) => `${number(validator.power)} (${percent(validator.power / total, language.value)})`,
        },
        { title: t("network.marks"), kind: "wide", cell: (validator) => <SignedBars validator={validator} /> },
        { title: t("network.signed"), kind: "number", cell: (validator) => (validator.signed_share === null ? "–" : percent(validator.signed_share, language.value)) },
        { title: t("network.missed"), kind: "number", cell: (validator) => number(validator.missed) },
        { title: t("network.proposed"), kind: "number wide", cell: (validator) => number(validator.proposed) },
        {
          title: t("network.lastSigned"),
          kind: "number extra",
          cell: ({ last_signed_height: last }) => (last === null ? "–" : <a href={href(["blocks", last])}>{number(last)}</a>),
        },
      ]}
    />
  );
}

const BARS = 50;
const STRIP = { width: 120, height: 24 } as const;

/** A bar for every few blocks, as high as the share that was signed; a whole one that was missed stands out. */
export function SignedBars({ validator }: { validator: NetworkValidator }): JSX.Element {
  const found = bars(validator.marks, BARS);
  const step = STRIP.width / Math.max(1, found.length);
  const width = Math.max(1, step - 0.6);
  const title = t("network.marks.title", { signed: number(validator.signed), blocks: number(validator.blocks) });
  return (
    <svg class="signed-bars" viewBox={`0 0 ${STRIP.width} ${STRIP.height}`} width={STRIP.width} height={STRIP.height} role="img" aria-label={title}>
      <title>{title}</title>
      {found.map(({ share }, index) => {
        if (share === null) return null;
        const height = Math.max(3, share * STRIP.height);
        const kind = share === 1 ? "bar-all" : share === 0 ? "bar-none" : "bar-some";
        return <rect key={index} class={kind} x={index * step} y={STRIP.height - height} width={width} height={height} />;
      })}
    </svg>
  );
}

function Peers({ peers }: { peers: readonly NetworkPeer[] }): JSX.Element {
  return (
    <Table
      label={t("network.peers")}
      rows={peers}
      id={(peer) => peer.id}
      columns={[
        { title: t("network.name"), cell: (peer) => <span title={peer.id}>{peer.name || peer.id.slice(0, 12)}</span> },
        {
          title: t("network.link"),
          cell: (peer) => (
            <span class={`badge badge-${peer.connected ? "good" : "bad"}`} title={peer.connected ? t(`network.direction.${peer.direction}.hint`) : ""}>
              {peer.connected ? t(`network.direction.${peer.direction}`) : t("network.gone")}
            </span>
          ),
        },
        { title: t("network.where"), kind: "wide", cell: (peer) => (peer.address === null ? t(`network.kind.${peer.address_kind}`) : <code>{peer.address}</code>) },
        { title: t("overview.height"), kind: "number", cell: (peer) => (peer.height === null ? "–" : number(peer.height)) },
        { title: t("network.engine"), kind: "extra", cell: (peer) => peer.version || "–" },
        { title: t("network.traffic"), kind: "number extra", cell: (peer) => bytes(peer.bytes_sent + peer.bytes_received, language.value) },
        { title: t("network.seen"), cell: (peer) => (peer.last_seen === null ? t("network.never") : <Ago value={peer.last_seen} />) },
      ]}
    />
  );
}

function Proposers({ network }: { network: Network }): JSX.Element {
  const names = new Map(network.validators.map((validator) => [validator.address, validator.organisation_name]));
  const late = (block: ProposedBlock): JSX.Element | string =>
    block.round > 0 ? <span class="badge badge-warn">{t("network.round", { round: number(block.round) })}</span> : "";
  return (
    <Table
      label={t("network.proposers")}
      rows={network.recent_blocks.slice(0, 10)}
      id={(block) => block.height}
      columns={[
        { title: t("block.height"), kind: "number", cell: (block) => <a href={href(["blocks", block.height])}>{number(block.height)}</a> },
        { title: t("block.proposer"), cell: (block) => <span title={block.proposer}>{names.get(block.proposer) ?? block.proposer.slice(0, 12)}</span> },
        { title: t("network.signatures"), kind: "number", cell: (block) => t("network.of", { part: number(block.signed), whole: number(block.validators) }) },
        { title: t("network.rounds"), cell: late },
      ]}
    />
  );
}

function Drawing({ network }: { network: Network }): JSX.Element {
  const { parties, links, labelled } = topology(network);
  return (
    <figure class="topology">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={t("network.topology.label", { parties: number(parties.length), links: number(links.length) })}>
        <defs>
          <marker id="dialled" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
            <path d="M0 0.5 8 4 0 7.5z" class="link-head" />
          </marker>
        </defs>
        {links.map((link) => (
          <Line key={link.id} link={link} />
        ))}
        {parties.map((party) => (
          <Dot key={party.id} party={party} labelled={labelled || party.self} />
        ))}
      </svg>
      <figcaption>
        <Legend />
      </figcaption>
    </figure>
  );
}

function Line({ link: { from, to, connected, arrow } }: { link: Link }): JSX.Element {
  return (
    <line class={connected ? "link" : "link link-gone"} x1={from.x} y1={from.y} x2={to.x} y2={to.y} {...(arrow && { "marker-end": "url(#dialled)" })} />
  );
}

function Dot({ party, labelled }: { party: Party; labelled: boolean }): JSX.Element {
  const { validator, peer, x, y, r } = party;
  const share = validator?.signed_share;
  const about = [
    validator ? t(`network.standing.${party.standing}`) : t("network.standing.observer"),
    ...(share === undefined || share === null ? [] : [t("network.dot.signed", { share: percent(share, language.value) })]),
    ...(party.self ? [t("network.dot.self")] : [t(peer === undefined ? "network.dot.unseen" : peer.connected ? "network.dot.connected" : "network.gone")]),
  ];
  return (
    <g class={`party party-${party.standing} ${peer || party.self ? "" : "party-unseen"}`}>
      <title>{[party.label, ...about].join(" · ")}</title>
      <circle cx={x} cy={y} r={r} />
      {share !== undefined && share !== null && <Arc x={x} y={y} r={r} share={share} />}
      {party.self && <circle class="party-self" cx={x} cy={y} r={r + 5} />}
      {labelled && (
        <text x={x} y={party.labelY} text-anchor="middle">
          {party.label}
        </text>
      )}
    </g>
  );
}

/** The signed share as a ring on the dot's edge, clockwise from the top. */
function Arc({ x, y, r, share }: { x: number; y: number; r: number; share: number }): JSX.Element {
  const around = 2 * Math.PI * r;
  return <circle class="party-share" cx={x} cy={y} r={r} stroke-dasharray={`${share * around} ${around}`} transform={`rotate(-90 ${x} ${y})`} />;
}

function Legend(): JSX.Element {
  return (
    <ul class="legend">
      {(["signing", "late", "silent", "observer"] as const).map((kind) => (
        <li key={kind}>
          <span class={`legend-dot party-${kind}`} />
          {t(`network.standing.${kind}`)}
        </li>
      ))}
      <li>
        <span class="legend-line" />
        {t("network.legend.link")}
      </li>
    </ul>
  );
}
