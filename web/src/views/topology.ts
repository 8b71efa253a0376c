/** Where the parties of a network are drawn: this node in the middle, the others on circles around it. Pure. */

import type { Network, NetworkPeer, NetworkValidator } from "../api/client";

export const WIDTH = 360;
export const HEIGHT = 300;
const CENTRE = { x: WIDTH / 2, y: HEIGHT / 2 - 6 } as const;
/** So many share a circle before there are two. */
const RING_MAX = 18;
const RADIUS = { max: 21, min: 5 } as const;
const LABELS_MAX = 12;

/** signing: its last precommit was in the block; late: of the last five some were; silent: none. */
export type Standing = "signing" | "late" | "silent" | "joining" | "observer";

export interface Party {
  readonly id: string;
  readonly label: string;
  readonly validator: NetworkValidator | undefined;
  readonly peer: NetworkPeer | undefined;
  readonly standing: Standing;
  readonly self: boolean;
  readonly x: number;
  readonly y: number;
  readonly r: number;
  /** Where its name's baseline is: on the side away from the middle, where no line passes. */
  readonly labelY: number;
}

export interface Link {
  readonly id: string;
  readonly connected: boolean;
  /** From the one that dialled; without an arrow where that is not known. */
  readonly arrow: boolean;
  readonly from: { readonly x: number; readonly y: number };
  readonly to: { readonly x: number; readonly y: number };
}

export interface Topology {
  readonly parties: readonly Party[];
  readonly links: readonly Link[];
  readonly labelled: boolean;
}

const RECENT = 5;

export function standing(validator: NetworkValidator | undefined): Standing {
  if (validator === undefined) return "observer";
  const recent = validator.marks.replaceAll("-", "").slice(-RECENT);
  if (recent === "") return "joining";
  if (recent.endsWith("s")) return "signing";
  return recent.includes("s") ? "late" : "silent";
}

type Unplaced = Pick<Party, "id" | "label" | "validator" | "peer" | "self">;

export function topology(network: Network): Topology {
  const byId = new Map(network.peers.map((peer) => [peer.id, peer]));
  const own = network.validators.find((validator) => validator.this_node);
  const others: Unplaced[] = [];
  const drawn = new Set<string>();
  for (const validator of network.validators) {
    if (validator === own) continue;
    const peer = validator.peer === null ? undefined : byId.get(validator.peer);
    if (peer) drawn.add(peer.id);
    others.push({ id: validator.address, label: validator.organisation_name ?? validator.address.slice(0, 8), validator, peer, self: false });
  }
  for (const peer of network.peers) {
    if (drawn.has(peer.id)) continue;
    others.push({ id: peer.id, label: peer.name || peer.id.slice(0, 8), validator: undefined, peer, self: false });
  }
  const middle: Unplaced = {
    id: own?.address ?? network.node.node,
    label: own?.organisation_name ?? network.node.name,
    validator: own,
    peer: undefined,
    self: true,
  };
  const rings = others.length > RING_MAX ? 2 : 1;
  const spread = ringRadius(rings - 1, rings);
  const most = Math.max(1, ...network.validators.map((validator) => validator.power));
  const room = Math.max(RADIUS.min, Math.min(RADIUS.max, (Math.PI * spread * rings) / Math.max(1, others.length) - 3));
  const place = (party: Unplaced, x: number, y: number): Party => {
    const power = party.validator ? Math.sqrt(party.validator.power / most) : 0;
    // The area grows with power; who has none is a small dot.
    const r = party.validator ? Math.max(RADIUS.min, room * (0.4 + 0.6 * power)) : Math.max(RADIUS.min, room * 0.4);
    return { ...party, standing: standing(party.validator), x, y, r, labelY: party.self ? y + r + 18 : y < CENTRE.y - 20 ? y - r - 7 : y + r + 14 };
  };
  const centre = place(middle, CENTRE.x, CENTRE.y);
  const around = others.map((party, index) => {
    const angle = (2 * Math.PI * index) / others.length - Math.PI / 2;
    const radius = ringRadius(index % rings, rings);
    return place(party, CENTRE.x + 1.2 * radius * Math.cos(angle), CENTRE.y + radius * Math.sin(angle));
  });
  return {
    parties: [centre, ...around],
    links: around.flatMap((party) => (party.peer ? [link(centre, party, party.peer)] : [])),
    labelled: others.length <= LABELS_MAX,
  };
}

function ringRadius(ring: number, rings: number): number {
  const outer = HEIGHT / 2 - 48;
  return rings === 1 ? outer : ring === 0 ? outer + 6 : outer * 0.62;
}

const GAP = 4;

function link(centre: Party, party: Party, peer: NetworkPeer): Link {
  const [start, end] = peer.direction === "inbound" ? [party, centre] : [centre, party];
  const length = Math.hypot(end.x - start.x, end.y - start.y) || 1;
  const along = (from: Party, distance: number, sign: number): { x: number; y: number } => ({
    x: from.x + (sign * (end.x - start.x) * distance) / length,
    y: from.y + (sign * (end.y - start.y) * distance) / length,
  });
  return {
    id: peer.id,
    connected: peer.connected,
    arrow: peer.connected && peer.direction !== "unknown",
    from: along(start, start.r + GAP, 1),
    to: along(end, end.r + GAP + 2, -1),
  };
}

export interface Bar {
  /** Signed share of the blocks in it, null where it was no validator. */
  readonly share: number | null;
}

/** Marks gathered into at most `count` bars. */
export function bars(marks: string, count: number): Bar[] {
  const size = Math.max(1, Math.ceil(marks.length / count));
  const found: Bar[] = [];
  for (let start = 0; start < marks.length; start += size) {
    const part = marks.slice(start, start + size).replaceAll("-", "");
    found.push({ share: part === "" ? null : part.replaceAll(/[^s]/g, "").length / part.length });
  }
  return found;
}
